"""What happens to sound, what its file tells of it, and mel spectrograms."""

from __future__ import annotations

import math

import pytest
import torch

from morelli.errors import MismatchError, OutOfRange
from morelli.numerics.mel import log_mel, magnitudes, mel_bands
from morelli.numerics.sound_history import SoundHistory
from morelli.numerics.sound_perturbations import coded, parse_sound, sixteen_bits, suits

RATE = 16_000


def sounds(n: int = 3, length: int = 8000) -> torch.Tensor:
    noise = torch.randn(n, length + 8, generator=torch.Generator().manual_seed(0))
    return sixteen_bits(noise.unfold(1, 9, 1).mean(2) * 0.3)


@pytest.mark.parametrize("text", ["none", "mp3:64", "opus:32", "hiss:20"])
def test_shape_grid_and_place_are_kept(text):
    if text[0] in "mo":
        pytest.importorskip("soundfile")
    before = sounds()
    after = parse_sound(text).apply(before, RATE, torch.Generator().manual_seed(1))
    assert after.shape == before.shape
    assert torch.equal(after, sixteen_bits(after))
    assert float(torch.corrcoef(torch.cat([before[1:2], after[1:2]]))[0, 1]) > 0.9
    assert torch.equal(after, before) == (text == "none")


def test_hiss_is_so_many_decibels_below():
    before = sounds(1, 40_000)
    noise = parse_sound("hiss:30").apply(before, RATE, torch.Generator().manual_seed(0)) - before
    assert 20 * math.log10(float(before.std() / noise.std())) == pytest.approx(30, abs=0.2)


@pytest.mark.parametrize("text", ["mp3", "mp3:2", "opus:900", "jpeg:80", "hiss:loud"])
def test_what_is_no_perturbation_is_refused(text):
    with pytest.raises(OutOfRange):
        parse_sound(text)


def test_opus_refuses_rates_that_it_does_not_hold():
    with pytest.raises(MismatchError, match="not of 22050 Hz"):
        parse_sound("opus:64").apply(sounds(), 22_050, torch.Generator())
    with pytest.raises(MismatchError, match="not of 20000 Hz"):
        parse_sound("mp3:64").apply(sounds(), 20_000, torch.Generator())
    assert [suits(text, 22_050) for text in ("none", "mp3:64", "opus:64", "hiss:9")] == [True, True, False, True]


def test_only_codecs_are_codings():
    with pytest.raises(OutOfRange, match="no coding"):
        coded(sounds()[0], RATE, "hiss:30")


def test_a_file_says_what_happened_and_one_without_loss_does_not():
    history = SoundHistory(("none", "mp3:128", "mp3:64", "hiss:30"))
    assert history.plausible(["mp3:134", "mp3:70", "none"]) == [["mp3:128"], ["mp3:64"], list(history.conditions)]
    assert history.learned("mp3:160") and history.learned("none")
    assert not history.learned("mp3:32") and not history.learned("opus:64") and not history.learned("alaw")


def test_histories_need_conditions_once():
    with pytest.raises(MismatchError):
        SoundHistory(("none", "none"))


def test_history_comes_back():
    history = SoundHistory(("none", "mp3:128"))
    assert SoundHistory.from_state(history.state()) == history


def test_a_tone_is_in_its_band():
    time = torch.arange(RATE) / RATE
    bands = mel_bands(80, RATE)
    mels = log_mel(torch.sin(2 * math.pi * 1000 * time)[None], bands)
    centre = (bands[int(mels.mean(2).argmax())] * torch.linspace(0, RATE / 2, 513)).sum() / bands[
        int(mels.mean(2).argmax())
    ].sum()
    assert float(centre) == pytest.approx(1000, abs=60)


def test_frames_stand_for_256_samples():
    wave = torch.zeros(1, 20 * 256 + 768)
    assert log_mel(wave, mel_bands(80, RATE)).shape == (1, 80, 20)
    assert magnitudes(wave, 512, 128).shape[1] == 257
