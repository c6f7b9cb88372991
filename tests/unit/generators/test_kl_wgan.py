"""KL-WGAN: steps move both networks, a run resumes to the same bits, and the finished generator is a plain one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from morelli.errors import MismatchError, MorelliError
from morelli.generators.kl_wgan import LATENT, KlWganSettings, KlWganTraining
from morelli.numerics.state import State

SMALL = KlWganSettings(width=8, batch=16)


def training(**changes: object) -> KlWganTraining:
    return KlWganTraining(replace(SMALL, **changes), torch.randn(40, 3, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("loss", ["kl", "hinge"])
def test_stopping_changes_no_bit(loss: str) -> None:
    straight, first, second = training(loss=loss), training(loss=loss), training(loss=loss)
    before = {name: tensor.clone() for name, tensor in straight.state().flatten().items()}
    for _ in range(2):
        losses = straight.step()
    assert all(torch.tensor(list(losses.values())).isfinite())
    for _ in range(1):
        first.step()
    first.finished_generator()  # looking at it changes nothing
    state = first.state()
    torch.manual_seed(5)
    second.restore(State.rebuild(state.describe(), {k: v.contiguous() for k, v in state.flatten().items()}))
    for _ in range(1):
        second.step()
    expected, found = straight.state().flatten(), second.state().flatten()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    moved = [name for name in before if name.endswith(("weight", "original"))]
    assert moved
    assert all(not torch.equal(before[name], expected[name]) for name in moved)


def test_losses_and_seeds_differ() -> None:
    runs = [training(), training(loss="hinge"), training(seed=1), training()]
    for run in runs:
        run.step()
    kl, hinge, other, again = (run.finished_generator()[0].weight for run in runs)
    assert torch.equal(kl, again)
    assert not torch.equal(kl, hinge)
    assert not torch.equal(kl, other)


def test_the_finished_generator_is_plain_and_the_same() -> None:
    run = training()
    run.step()
    plain, z = run.finished_generator(), torch.randn(7, LATENT, generator=torch.Generator().manual_seed(1))
    assert [type(layer) for layer in plain] == [nn.Linear, nn.LeakyReLU, nn.Linear, nn.LeakyReLU, nn.Linear]
    run.generator.eval()
    assert torch.allclose(plain(z), run.generator(z), atol=1e-6)
    assert torch.linalg.matrix_norm(plain[2].weight, 2) < 1.5  # one step of the power iteration


def test_the_weighted_loss_by_hand() -> None:
    scores = torch.tensor([0.0, 2.0])
    ratio = scores.exp() / scores.exp().mean()
    assert torch.allclose(training()._weighted(scores), scores * ratio)
    assert torch.equal(training(loss="hinge")._weighted(scores), scores)


def test_what_does_not_fit() -> None:
    with pytest.raises(MismatchError, match="at least one batch of 50"):
        training(batch=50)
    with pytest.raises(MorelliError, match="kl, hinge"):
        training(loss="wgan")
    with pytest.raises(MismatchError, match="the checkpoint is of"):
        training(seed=1).restore(training().state())
    wide = KlWganTraining(SMALL, torch.randn(40, 4, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(MismatchError, match="another number of columns than 3"):
        training().restore(wide.state())
