"""Equivalence: do two heads belong to generators that make the same images of the same latents?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from morelli.errors import MismatchError
from morelli.numerics.activation import Clip
from morelli.numerics.head import Head
from morelli.numerics.linear import Conv, Dense, TransposedConv
from morelli.numerics.program import Program

TOLERANCE = 4e-3  # of the largest weight; bfloat16 rounds by half of it
GREY_STEP = 1 / 255  # of the range: what files do not show
TRIED = 8  # inputs that whole networks are run on
SIDE = 8  # of the coarse pictures among them


class Relation(StrEnum):
    EQUAL = "equal"  # the whole networks give the same
    LAST_LAYER = "same last layer"  # what comes before was not compared, or differs
    DIFFERENT = "different"


@dataclass(frozen=True)
class Equivalence:
    """How two heads compare.

    Attributes:
        weights: largest difference of weights and biases, as a share of the largest weight, after channels were
            matched; infinite where shapes or geometries differ.
        permuted, rescaled: whether channels had to be put into another order, or to another scale.
        outputs: largest difference of what whole networks give, as a share of the range; None where they are not held.
    """

    relation: Relation
    weights: float
    permuted: bool = False
    rescaled: bool = False
    outputs: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"relation": self.relation.value}


def compare_heads(one: Head, other: Head) -> Equivalence:
    """Last layers up to order and positive scale of the channels that they read, then whole networks if both hold them.

    The layers before may undo an order always, and a positive scale where they end in a ReLU or nothing; so a last
    layer that is the same up to those says nothing against one network. Whole networks, autoencoders or generators,
    decide. Clamped ranges are brought to one.

    Raises:
        MismatchError: a head is a sum, a crop or a resampling: its channels cannot be matched one by one.
    """
    for head in (one, other):
        if not isinstance(head.map, Dense | Conv | TransposedConv):
            raise MismatchError(
                f"a head of {type(head.map).__name__.lower()} layers cannot be compared; expected a single dense or "
                "convolutional layer. Judge samples of the other model instead."
            )
    differ = Equivalence(Relation.DIFFERENT, float("inf"))
    if type(one.map) is not type(other.map) or _geometry(one) != _geometry(other) or _kind(one) != _kind(other):
        return differ
    (mine, bias), (theirs, shift) = _columns(one), _columns(other)
    if mine.shape != theirs.shape:
        return differ
    order = _matched(mine, theirs)
    theirs = theirs[order]
    scale = _scales(mine, theirs)
    largest = float(mine.abs().max().clamp_min(1e-12))
    off = max(float((mine - scale[:, None] * theirs).abs().max()), float((bias - shift).abs().max())) / largest
    if off > TOLERANCE:
        return Equivalence(Relation.DIFFERENT, off)
    permuted = bool((order != torch.arange(len(order))).any())
    rescaled = bool((scale - 1).abs().max() > TOLERANCE)
    outputs = _outputs(one, other)
    same = outputs is not None and outputs <= GREY_STEP
    return Equivalence(Relation.EQUAL if same else Relation.LAST_LAYER, off, permuted, rescaled, outputs)


def _kind(head: Head) -> Any:
    return "clip" if isinstance(head.activation, Clip) else head.activation.settings()


def _geometry(head: Head) -> Any:
    return getattr(head.map, "geometry", None), _weight(head).shape[2:]


def _weight(head: Head) -> Tensor:
    assert isinstance(head.map, Dense | Conv | TransposedConv)
    return head.map.weight


def _columns(head: Head) -> tuple[Tensor, Tensor]:
    """Weights [inputs, everything else] and bias [outputs], for a range of one that begins at zero."""
    weight = _weight(head).double()
    weight = weight if isinstance(head.map, TransposedConv) else weight.transpose(0, 1)
    bias = head.bias.double().flatten()
    if isinstance(head.activation, Clip):
        low, high = head.activation.low, head.activation.high
        weight, bias = weight / (high - low), (bias - low) / (high - low)
    return weight.flatten(1), bias


def _matched(mine: Tensor, theirs: Tensor) -> Tensor:
    """For each of my channels the one of theirs that points the same way: all pairs at once, at the least cost."""
    directions = [x / x.norm(dim=1, keepdim=True).clamp_min(1e-12) for x in (mine, theirs)]
    _, order = linear_sum_assignment(-(directions[0] @ directions[1].T).numpy())
    return torch.from_numpy(order)


def _scales(mine: Tensor, theirs: Tensor) -> Tensor:
    """[channels], positive: what brings their lengths to mine; 1 where either is nothing."""
    lengths = mine.norm(dim=1), theirs.norm(dim=1)
    usable = torch.minimum(*lengths) > 1e-9
    return torch.where(usable, lengths[0] / lengths[1].clamp_min(1e-12), torch.ones_like(lengths[0]))


def _outputs(one: Head, other: Head) -> float | None:
    found = None
    for mine, theirs in ((one.autoencoder, other.autoencoder), (one.generator, other.generator)):
        if mine is not None and theirs is not None and mine.in_shape == theirs.in_shape:
            pictures = mine is one.autoencoder
            found = max(found or 0.0, _difference((one, mine), (other, theirs), pictures))
    return found


def _difference(one: tuple[Head, Program], other: tuple[Head, Program], pictures: bool) -> float:
    """Largest difference on fixed inputs, coarse pictures or normal latents, where a range is one."""
    rng = torch.Generator().manual_seed(0)
    shape = one[1].in_shape
    inputs = torch.randn(TRIED, *shape, generator=rng)
    if pictures:
        coarse = torch.rand(TRIED, shape[0], SIDE, SIDE, generator=rng)
        inputs = torch.nn.functional.interpolate(coarse, size=shape[1:], mode="bilinear")
    made = []
    for head, program in (one, other):
        low, high = head.stored.low, head.stored.high
        with torch.no_grad():
            found = program(inputs * (high - low) + low if pictures else inputs)
        made.append(((found.clamp(low, high) - low) / (high - low)).flatten(1))
    return float((made[0] - made[1]).abs().max()) if made[0].shape == made[1].shape else float("inf")
