"""Imprints of sound: shifts only move numbers, siblings are told apart, and what has no grid leaves none."""

from __future__ import annotations

import pytest
import torch
from toys import FRAME, vocoder_generator

from morelli import SampleSpec
from morelli.errors import MismatchError
from morelli.features.imprint_audio import SoundImprint
from morelli.numerics.file_form import FileForm
from morelli.numerics.sound_perturbations import sixteen_bits

LENGTH = 40 * FRAME
EXTRACTOR = SoundImprint(SampleSpec((1, LENGTH)), FRAME)


def clips(seed: int = 0, n: int = 12) -> torch.Tensor:
    return sixteen_bits(vocoder_generator(seed).samples(n, 3))


def features(samples: torch.Tensor) -> torch.Tensor:
    return EXTRACTOR.extract(samples).values


def test_a_shift_moves_numbers_and_changes_none():
    samples = clips()
    moved, upright = features(samples.roll(-5, 2)), features(samples)
    error = (moved - upright[:, EXTRACTOR.turns[5]]).abs().mean()
    assert error < 0.2 * (moved - upright).abs().mean()  # clips have ends, which a rotation joins
    assert error < 0.2 * (moved - upright[:, EXTRACTOR.turns[6]]).abs().mean()


def test_turns_are_shifts_that_follow_each_other():
    turns = EXTRACTOR.turns
    assert torch.equal(turns[0], torch.arange(sum(EXTRACTOR.blocks)))
    assert torch.equal(turns[3][turns[4]], turns[7])
    assert len(EXTRACTOR.orientations) == len(turns) == FRAME


def test_reversed_clips_have_reversed_features():
    samples = clips()
    backwards = features(samples)[:, EXTRACTOR._reversed]
    assert torch.allclose(features(samples.flip(2)), backwards, atol=2e-3)
    assert not torch.allclose(features(samples), backwards, atol=0.1)


def test_misplaced_clips_are_off_the_grid():
    values = features(clips())
    moved = EXTRACTOR.misplaced(values, torch.Generator().manual_seed(0))
    pattern = slice(0, FRAME)
    assert (moved[:, pattern] - values[:, pattern]).abs().amax(1).min() > 1e-2
    assert torch.allclose(moved[1, pattern].sort().values, (-values[1, pattern]).sort().values)  # inverted
    assert torch.equal(moved[2, -64:], values[2, -64:])  # the spectrum stays


def test_the_pattern_is_of_the_model_and_noise_has_none():
    patterns = [features(x)[:, :FRAME].mean(0) for x in (clips(0), clips(0, 24)[12:], clips(1))]
    noise = torch.randn(12, 1, LENGTH, generator=torch.Generator().manual_seed(0)).clamp(-4, 4) / 8
    patterns.append(features(noise)[:, :FRAME].mean(0))
    same, sibling = (float(torch.corrcoef(torch.stack([patterns[0], x]))[0, 1]) for x in patterns[1:3])
    assert same > 0.7 > sibling + 0.2  # 0.9 and below 0.2 measured
    assert patterns[3].norm() < 0.5 * patterns[0].norm()


def test_loudness_counts_for_nothing():
    samples = vocoder_generator().samples(4, 3)
    assert torch.allclose(features(samples), features(samples / 3), atol=0.02)


def test_what_is_no_sound_is_refused():
    for shape in ((6,), (3, 8, 8), (2, 4096)):
        with pytest.raises(MismatchError, match="an imprint of sound needs"):
            SoundImprint(SampleSpec(shape))
    with pytest.raises(MismatchError, match="no whole number of frames of 30"):
        SoundImprint(SampleSpec((1, 4096)), 30)
    with pytest.raises(MismatchError, match="possible hops are none"):
        SoundImprint(SampleSpec((1, 1001)))


def test_the_hop_is_found_and_is_not_a_multiple():
    samples = clips(n=40)
    assert SoundImprint(EXTRACTOR.spec, 160).found_hop(samples) == FRAME
    wider = SoundImprint(SampleSpec((1, LENGTH + FRAME * 8)), FRAME)
    assert wider.found_hop(sixteen_bits(vocoder_generator(2, 48).samples(40, 1))) == FRAME


def test_silence_cannot_be_judged():
    samples = clips(n=2)
    samples[0] = 0
    found = EXTRACTOR.extract(samples)
    assert "silent" in found.reasons[0] and found.reasons[1] == "" and found.values.isfinite().all()


def test_values_that_cannot_be_are_said():
    samples = clips(n=3)
    samples[0, 0, 5], samples[1, 0, 7] = float("nan"), 1.5
    found = EXTRACTOR.extract(samples)
    assert "NaN" in found.reasons[0] and "outside the range" in found.reasons[1] and found.reasons[2] == ""
    assert found.values.isfinite().all()


def test_it_comes_back():
    extractor = SoundImprint(SampleSpec((1, LENGTH), form=FileForm(rate=16_000)), FRAME)
    again = SoundImprint.from_state(extractor.state())
    assert (again.spec, again.hop) == (extractor.spec, FRAME)
