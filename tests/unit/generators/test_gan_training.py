"""Training steps of the small GANs: they move weights, resume to the same bits, and refuse what does not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from morelli import Tanh, TorchGenerator
from morelli.errors import MismatchError, MorelliError
from morelli.generators.capture import capture
from morelli.generators.gan_training import LOSSES, GanSettings, GanTraining
from morelli.generators.labels import DrawnLabel
from morelli.generators.small_gans import FAMILIES, build_generator, latent_shape
from morelli.numerics.state import State

ROWS = pytest.mark.parametrize("family", FAMILIES)
LABELS = torch.tensor([0, 1, 2, 1] * 3)


def training(family: str, shape: tuple[int, ...] = (3, 64, 64), **changes: object) -> GanTraining:
    data = torch.rand(12, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    labels = LABELS if FAMILIES[family].conditional else None
    return GanTraining(replace(GanSettings(family, width=4, batch=8), **changes), data, labels)


def built(family: str, channels: int = 3, size: int = 64) -> torch.nn.Module:
    return build_generator(family, 4, channels, size, classes=3 if FAMILIES[family].conditional else 0)


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


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "style"])  # which draws noise
def test_the_finished_generator_is_still(family: str) -> None:
    run = training(family)
    run.step()
    generator = run.finished_generator(batches=3)
    assert not any(layer.training for layer in generator.modules())
    latents = torch.randn(4, *latent_shape(family), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        samples = generator(latents)
        assert samples.shape == (4, 3, 64, 64)
        assert samples.abs().max() <= 1
        torch.testing.assert_close(generator(latents[1:2]), samples[1:2], rtol=1e-4, atol=1e-5)
        assert torch.equal(run.finished_generator(batches=3)(latents), samples)
        assert not torch.equal(run.finished_generator(batches=4)(latents), samples)
    with torch.no_grad():
        generator[-2].weight *= 0.5 / samples.abs().mean()  # so early, outputs are too small to tell tanh from identity
    assert TorchGenerator(generator, latent_shape(family), announce=lambda line: None).activation == Tanh()


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
@pytest.mark.parametrize("shape", [(1, 64), (3, 64), (1, 128), (3, 128)])
def test_generators_make_both_sizes(family: str, shape: tuple[int, int]) -> None:
    channels, size = shape
    samples = built(family, *shape)(torch.zeros(2, *latent_shape(family)))
    assert samples.shape == (2, channels, size, size)


@ROWS
def test_a_step_at_128_by_128_in_grey(family: str) -> None:
    run = training(family, (1, 128, 128))
    assert all(torch.tensor(list(run.step().values())).isfinite())
    assert run.finished_generator(1)(torch.zeros(2, *latent_shape(family))).shape == (2, 1, 128, 128)


@pytest.mark.parametrize(
    ("family", "shape", "parameters"),
    [("dcgan", (3, 64), 3_576_704), ("lsgan", (3, 64), 1_198_723), ("dcgan", (1, 128), 12_784_512)],
)
def test_generators_have_the_papers_size(family: str, shape: tuple[int, int], parameters: int) -> None:
    """Counted by hand from the paper's table of layers, batch norms included; 128×128 are those of mammograms."""
    assert sum(p.numel() for p in build_generator(family, 64, *shape).parameters()) == parameters


def test_layers_of_the_generator_of_mammograms() -> None:
    layers = [x for x in build_generator("wgan-gp", 64, 1, 128) if isinstance(x, torch.nn.ConvTranspose2d)]
    assert [layer.in_channels for layer in layers] == [100, 1024, 512, 256, 128, 64]
    assert [(x.kernel_size[0], x.stride[0], x.padding[0]) for x in layers] == [(4, 1, 0)] + [(4, 2, 1)] * 5


def test_names_of_weights_stay() -> None:
    """Of 64×64, as in checkpoints and bundles."""
    assert [name for name in built("dcgan").state_dict() if name.endswith("weight")] == [
        f"{i}.weight" for i in (0, 1, 3, 4, 6, 7, 9, 10, 12)
    ]
    decoder = [name for name in training("ebgan").critic.decode.state_dict() if not name.startswith(("1.", "4."))]
    assert decoder == ["0.weight", "3.weight", "6.weight", "6.bias"]


def test_labels_are_drawn_in_the_shares_of_the_data() -> None:
    label = DrawnLabel(3)
    label.share_like(LABELS)  # 3, 6, 3 of 12
    latents = torch.randn(40_000, 5, 1, 1, generator=torch.Generator().manual_seed(0))
    changed = label(latents)
    assert torch.equal(changed[:, :4], latents[:, :4])
    codes = changed[:, 4:].flatten(1)
    assert torch.equal(codes.sum(1), torch.ones(40_000))
    assert set(codes.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(codes.mean(0), torch.tensor([0.25, 0.5, 0.25]), rtol=0, atol=0.01)
    assert not torch.allclose(DrawnLabel(3).code(latents).flatten(1).mean(0), codes.mean(0), atol=0.01)


def test_a_label_changes_the_sample() -> None:
    generator = training("c-dcgan").finished_generator(batches=2)
    latents = torch.zeros(2, 101, 1, 1)
    latents[:, -1, 0, 0] = torch.tensor([-5.0, 5.0])
    with torch.no_grad():
        one, other = generator(latents)
    assert not torch.allclose(one, other)


def test_a_conditional_critic_sees_the_label_of_each_image() -> None:
    data = LABELS.float()[:, None, None, None].expand(-1, 1, 64, 64) / 2  # an image is its label
    run = GanTraining(GanSettings("c-dcgan", width=4, batch=8), data, LABELS)
    seen = run._batch(torch.Generator().manual_seed(0))
    assert seen.shape == (8, 4, 64, 64)
    assert torch.equal(seen[:, 1:].argmax(1).float() / 2, seen[:, 0])
    assert len(seen[:, 0].unique()) > 1


def test_a_conditional_generator_is_a_program() -> None:
    generator = training("c-dcgan").finished_generator(batches=2)
    latents = torch.randn(6, 101, 1, 1, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(capture(generator, (101, 1, 1))(latents), generator(latents))


def test_labels_that_do_not_fit_are_refused() -> None:
    data = torch.zeros(4, 3, 64, 64)
    settings = GanSettings("c-dcgan", width=4, batch=2)
    with pytest.raises(MismatchError, match=r"at least two labels; it was given 0"):
        GanTraining(settings, data)
    with pytest.raises(MismatchError, match="at least two labels"):
        GanTraining(settings, data, torch.zeros(4, dtype=torch.long))
    with pytest.raises(MismatchError, match="3 labels for 4 images"):
        GanTraining(settings, data, torch.tensor([0, 1, 1]))
    with pytest.raises(MismatchError, match="'dcgan' takes no labels"):
        GanTraining(replace(settings, family="dcgan"), data, torch.tensor([0, 1, 1, 0]))


def test_a_checkpoint_of_other_images_is_refused() -> None:
    checkpoint = training("dcgan", (1, 64, 64)).state()
    with pytest.raises(MismatchError, match=r"of another size.*\(1, 128, 128\)"):
        training("dcgan", (1, 128, 128)).restore(checkpoint)


@ROWS
def test_every_step_draws_anew(family: str) -> None:
    """With a learning rate of zero, losses differ only by what was drawn."""
    run = training(family, learning_rate=0.0)
    assert run.step() != run.step()
