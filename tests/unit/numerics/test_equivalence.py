"""Heads of one network in two guises are found out; a changed network is not taken for the same."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from toys import toy_heads

from morelli import Clip, Head, Rescaled, TorchGenerator
from morelli.errors import MismatchError
from morelli.numerics.cropped import Cropped
from morelli.numerics.equivalence import Relation, compare_heads


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    last = nn.ConvTranspose2d(6, 3, 4, 2, 1)
    return nn.Sequential(nn.Linear(5, 6 * 16), nn.ReLU(), nn.Unflatten(1, (6, 4, 4)), last, nn.Hardtanh(-1, 1))


def head_of(module: nn.Module, *, whole: bool) -> Head:
    generator = TorchGenerator(module, (5,), layer="3", activation=Clip(-1, 1), announce=lambda line: None)
    head = generator.head(8)
    return replace(head, generator=generator.program()) if whole else head


@torch.no_grad()
def disguised(module: nn.Sequential) -> nn.Sequential:
    """The same function, its channels in another order and at other scales, which a ReLU lets through."""
    first, last = module[0], module[3]
    order, scale = torch.tensor([3, 0, 5, 1, 4, 2]), torch.tensor([2.0, 0.5, 1, 4, 0.1, 3])
    places = (order[:, None] * 16 + torch.arange(16)).flatten()
    stretch = scale.repeat_interleave(16)
    first.weight.copy_(first.weight[places] * stretch[:, None])
    first.bias.copy_(first.bias[places] * stretch)
    last.weight.copy_(last.weight[order] / scale[:, None, None, None])
    return module


@pytest.fixture(scope="module")
def head() -> Head:
    return head_of(network(), whole=True)


def test_one_network_in_two_guises(head: Head) -> None:
    found = compare_heads(head, head_of(disguised(network()), whole=True))
    assert (found.relation, found.permuted, found.rescaled) == (Relation.EQUAL, True, True)
    assert found.weights < 1e-5
    assert found.outputs is not None
    assert found.outputs < 1e-5


def test_half_precision_is_the_same_network(head: Head) -> None:
    rounded = network().bfloat16().float()
    assert compare_heads(head, head_of(rounded, whole=False)).relation is Relation.LAST_LAYER


def test_a_last_layer_alone_proves_nothing(head: Head) -> None:
    found = compare_heads(head, head_of(network(), whole=False))
    assert (found.relation, found.weights, found.outputs) == (Relation.LAST_LAYER, 0, None)
    assert (found.permuted, found.rescaled) == (False, False)
    tuned = network()
    with torch.no_grad():
        tuned[0].weight.add_(0.05)
    found = compare_heads(head, head_of(tuned, whole=True))
    assert found.relation is Relation.LAST_LAYER
    assert found.outputs is not None
    assert found.outputs > 0.01


def test_other_networks_differ(head: Head) -> None:
    assert compare_heads(head, head_of(network(1), whole=True)).relation is Relation.DIFFERENT
    slightly = network()
    with torch.no_grad():
        slightly[3].bias[1] += 0.01
    assert compare_heads(head, head_of(slightly, whole=True)).relation is Relation.DIFFERENT
    stretched = replace(head, activation=Rescaled(Clip(-1, 1), 2.0, 0.0))
    assert compare_heads(head, stretched).relation is Relation.DIFFERENT
    assert compare_heads(head, toy_heads()["convolution"]).weights == float("inf")
    assert compare_heads(head, toy_heads()["deconvolution"]).weights == float("inf")


def test_another_range_of_the_same_images(head: Head) -> None:
    """TAESD makes images in [0, 1], its copy in diffusers in [−1, 1]."""
    weight = head.map.weight / 2  # type: ignore[attr-defined]
    unit = Head(replace(head.map, weight=weight), head.bias / 2 + 0.5, Clip(0.0, 1.0), head.anchor)  # type: ignore[type-var]
    assert compare_heads(head, unit).relation is Relation.LAST_LAYER
    assert compare_heads(unit, head).relation is Relation.LAST_LAYER


def test_a_head_of_several_layers_is_refused(head: Head) -> None:
    inner = head.map
    cropped = Cropped(inner, (0, 0), inner.out_shape)
    with pytest.raises(MismatchError, match="cropped layers cannot be compared; expected a single dense or"):
        compare_heads(head, replace(head, map=cropped))
