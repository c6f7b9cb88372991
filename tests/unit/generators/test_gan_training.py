"""Training steps of the small GANs: they move weights, resume to the same bits, and refuse what does not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from morelli import Tanh, TorchGenerator
from morelli.errors import MismatchError, MorelliError
from morelli.generators.gan_training import LOSSES, GanSettings, GanTraining
from morelli.generators.small_gans import FAMILIES, build_generator
from morelli.numerics.state import State

ROWS = pytest.mark.parametrize("family", FAMILIES)


def training(family: str, **changes: object) -> GanTraining:
    data = torch.rand(12, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return GanTraining(replace(GanSettings(family, width=4, batch=8), **changes), data)


def weights(run: GanTraining) -> dict[str, torch.Tensor]:
    return run.state().flatten()


def test_every_family_has_its_losses() -> None:
    assert set(LOSSES) == set(FAMILIES)


@ROWS
def test_one_step_changes_both_networks(family: str) -> None:
    run = training(family)
    before = weights(run)
    losses = run.step()
    assert run.done == 1
    assert set(losses) == {"critic", "generator"}
    assert all(torch.tensor(list(losses.values())).isfinite())
    after = weights(run)
    for network in ("generator", "critic"):
        names = [name for name in before if name.startswith(network) and name.endswith("weight")]
        assert names
        assert all(not torch.equal(after[name], before[name]) for name in names)
    assert all(tensor.isfinite().all() for tensor in after.values())


@ROWS
def test_stopping_changes_no_bit(family: str) -> None:
    straight = training(family)
    for _ in range(4):
        straight.step()
    first = training(family)
    for _ in range(2):
        first.step()
    described, flat = first.state().describe(), first.state().flatten()
    torch.manual_seed(99)
    second = training(family)
    second.restore(State.rebuild(described, {name: tensor.contiguous() for name, tensor in flat.items()}))
    for _ in range(2):
        second.step()
    expected, found = weights(straight), weights(second)
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


@ROWS
def test_a_run_depends_on_its_seed_alone(family: str) -> None:
    runs = []
    for seed, noise in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(noise)
        run = training(family, seed=seed)
        state = torch.get_rng_state()
        run.step()
        assert torch.equal(torch.get_rng_state(), state)
        runs.append(weights(run))
    same = [all(torch.equal(runs[0][name], other[name]) for name in runs[0]) for other in runs[1:]]
    assert same == [True, False]


@ROWS
def test_the_finished_generator_is_still(family: str) -> None:
    run = training(family)
    run.step()
    generator = run.finished_generator(batches=3)
    assert not any(layer.training for layer in generator.modules())
    latents = torch.randn(4, 100, 1, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        samples = generator(latents)
        assert samples.shape == (4, 3, 64, 64)
        assert samples.abs().max() <= 1
        torch.testing.assert_close(generator(latents[1:2]), samples[1:2], rtol=1e-4, atol=1e-5)
        assert torch.equal(run.finished_generator(batches=3)(latents), samples)
        assert not torch.equal(run.finished_generator(batches=4)(latents), samples)
    with torch.no_grad():
        generator[-2].weight *= 0.5 / samples.abs().mean()  # so early, outputs are too small to tell tanh from identity
    assert TorchGenerator(generator, (100, 1, 1), announce=lambda line: None).activation == Tanh()


def test_bfloat16_keeps_weights_in_single_precision() -> None:
    run = training("dcgan", bf16=True)
    run.step()
    assert {tensor.dtype for name, tensor in weights(run).items() if name.endswith("weight")} == {torch.float32}


@pytest.mark.parametrize("change", [{"width": 8}, {"seed": 1}, {"batch": 4}, {"learning_rate": 1e-3}, {"bf16": True}])
def test_a_checkpoint_of_other_settings_is_refused(change: dict[str, object]) -> None:
    checkpoint = training("dcgan").state()
    with pytest.raises(MismatchError, match="the checkpoint is of"):
        training("dcgan", **change).restore(checkpoint)


def test_data_that_does_not_fit_is_refused() -> None:
    with pytest.raises(MismatchError, match="64×64"):
        GanTraining(GanSettings("dcgan", width=4, batch=2), torch.zeros(4, 3, 32, 32))
    with pytest.raises(MismatchError, match="fewer than one batch"):
        GanTraining(GanSettings("dcgan", width=4, batch=5), torch.zeros(4, 3, 64, 64))
    with pytest.raises(MorelliError, match=r"'stylegan'.*dcgan"):
        GanTraining(GanSettings("stylegan", width=4, batch=2), torch.zeros(4, 3, 64, 64))


@ROWS
@pytest.mark.parametrize("channels", [1, 3])
def test_generators_make_64_by_64(family: str, channels: int) -> None:
    samples = build_generator(family, 4, channels)(torch.zeros(2, 100, 1, 1))
    assert samples.shape == (2, channels, 64, 64)


@pytest.mark.parametrize(("family", "parameters"), [("dcgan", 3_576_704), ("lsgan", 1_198_723)])
def test_generators_have_the_papers_size(family: str, parameters: int) -> None:
    """Counted by hand from the paper's table of layers, batch norms included."""
    assert sum(p.numel() for p in build_generator(family).parameters()) == parameters


@ROWS
def test_every_step_draws_anew(family: str) -> None:
    """With a learning rate of zero, losses differ only by what was drawn."""
    run = training(family, learning_rate=0.0)
    assert run.step() != run.step()
