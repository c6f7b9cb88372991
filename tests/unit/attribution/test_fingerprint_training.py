"""Training the fingerprint network: it learns, goes on to the same bits, and refuses what is not its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from prints import TINY, pictures
from torch import nn

from morelli.attribution.fingerprint_training import FingerprintTraining, TrainingSettings, made, pooled, some, wild
from morelli.errors import MismatchError, TooFewSamples
from morelli.features.denoiser import Denoiser
from morelli.storage import bundle

POOL = torch.stack([pictures(i, 6) for i in range(6)])
SETTINGS = TrainingSettings(30, models=4, photographs=3, learning_rate=5e-3, backbone=TINY)


def training(settings: TrainingSettings = SETTINGS, pool: torch.Tensor = POOL) -> FingerprintTraining:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FingerprintTraining(settings, pool, Denoiser())


def bits(one: FingerprintTraining) -> dict[str, torch.Tensor]:
    return dict(one.state().tensors)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole = training()
    for _ in range(2):
        whole.step()
    state = whole.state()
    bundle.write(tmp_path / "c", "checkpoint", state)
    kept = {name: x.clone() for name, x in state.tensors.items()}
    torch.rand(3)  # the global state does not count
    last = whole.step()
    assert same(dict(state.tensors), kept)  # a checkpoint does not move on with the training
    half = training()
    half.restore(bundle.read(tmp_path / "c").state)
    assert half.done == 2
    assert half.step() == last
    assert same(bits(half), bits(whole))
    assert not same(bits(half), kept)


def test_the_loss_falls() -> None:
    one = training(replace(SETTINGS, perturbed=0.0))
    losses = [one.step() for _ in range(30)]
    first, last = (sum(x["entropy"] + x["contrast"] for x in part) for part in (losses[:5], losses[-5:]))
    assert last < 0.8 * first
    assert not one.finished().training
    frozen = training().network.denoiser.state_dict()
    assert all(torch.equal(x, frozen[name]) for name, x in one.network.denoiser.state_dict().items())


def test_another_training_is_refused() -> None:
    state = training().state()
    training(replace(SETTINGS, steps=99)).restore(state)  # more steps may be asked for
    for other in (training(replace(SETTINGS, seed=1)), training(pool=POOL[:5])):
        with pytest.raises(MismatchError, match="other settings or another bank"):
            other.restore(state)
    for small in (POOL[:3], POOL[:, :2]):
        with pytest.raises(TooFewSamples, match="do not fill a batch of 4"):
            training(pool=small)


def test_the_rate_rises_and_falls() -> None:
    one = training(replace(SETTINGS, steps=100, warm=0.1))
    rates = []
    for one.done in range(101):
        rates.append(one._rate())
    assert rates.index(max(rates)) in (9, 10)
    assert rates[0] == pytest.approx(SETTINGS.learning_rate / 10)
    assert rates[55] == pytest.approx(SETTINGS.learning_rate / 2, rel=0.01)
    assert rates[100] == pytest.approx(0, abs=1e-12)


def test_a_batch_shows_the_same_photographs_through_every_model() -> None:
    one = training(replace(SETTINGS, perturbed=0.0))
    windows, labels = one._batch(torch.Generator().manual_seed(1))
    assert labels.tolist() == labels.reshape(4, 3)[:, :1].expand(-1, 3).flatten().tolist()
    assert len(labels.unique()) == 4
    found = (windows * 255).round().to(torch.uint8).reshape(4, 3, 3, 64, 64)
    shown = [
        [next(i for i in range(6) if torch.equal(POOL[m, i], x)) for x in row]
        for m, row in zip(labels[::3], found, strict=True)
    ]
    assert all(row == shown[0] for row in shown)
    assert len(set(shown[0])) == 3


def test_pooled_is_made_one_by_one() -> None:
    generators = [nn.Identity(), nn.AvgPool2d(3, 1, 1)]
    images, done = pictures(0, 70), []
    pool = pooled(images, generators, progress=done.append)
    assert pool.shape == (3, 70, 3, 64, 64)
    assert torch.equal(pool[0], images)
    assert torch.equal(pool[1], images)
    assert torch.equal(pool[2], made(images.float() / 255, generators[1:]))
    assert done == [1, 1]


def test_eight_bits_are_rounded_and_clipped() -> None:
    values = torch.tensor([-1.0, 0.499 / 255, 0.501 / 255, 2.0]).reshape(1, 1, 2, 2)
    assert made(values, [nn.Identity()]).flatten().tolist() == [0, 0, 1, 255]


def test_what_happens_in_the_wild() -> None:
    pixels, kinds = pictures(0, 40), set()
    found = wild(pixels, torch.Generator().manual_seed(0))
    assert (found.shape, found.dtype) == (pixels.shape, torch.uint8)
    share = (found == pixels).flatten(1).all(1).double().mean()
    assert 0.05 < share < 0.6
    assert torch.equal(found, wild(pixels, torch.Generator().manual_seed(0)))
    rng = torch.Generator().manual_seed(0)
    for _ in range(100):
        kinds.add(type(some(rng)).__name__)
    assert kinds == {"Jpeg", "Webp", "Resize", "Crop", "Blur", "Noise"}
