"""Sound files: formats, facts, windows, refusals."""

from __future__ import annotations

import sys

import pytest
import torch

from morelli import SampleSpec
from morelli.errors import MismatchError, MorelliError, UnreadableSample
from morelli.numerics.file_form import FileForm
from morelli.storage.audio import format_of, to_sixteen_bits, write_audio, write_coded
from morelli.storage.codings import mp3_kilobits
from morelli.storage.samples import Limits, find, read, read_all

soundfile = pytest.importorskip("soundfile")
RATE = 16_000
SPEC = SampleSpec((1, 4096), form=FileForm(rate=RATE))


def sound(length: int = 10_000, seed: int = 0) -> torch.Tensor:
    """[1, length], smooth, on the grid of 16 bits."""
    noise = torch.randn(length + 8, generator=torch.Generator().manual_seed(seed))
    return (noise.unfold(0, 9, 1).mean(1) * 0.3 * 32768).round()[None] / 32768


def test_sixteen_bits_come_back_exactly_in_windows(tmp_path):
    wave = sound()
    write_audio(wave, tmp_path / "a.wav", RATE)
    reading = read(tmp_path / "a.wav", SPEC)
    assert torch.equal(reading.samples, wave[:, :8192].reshape(1, 2, 4096).transpose(0, 1))
    facts = reading.facts
    assert (facts["format"], facts["coding"], facts["bits"], facts["rate"]) == ("WAV", "none", 16, RATE)
    assert (facts["windows"], facts["size"], facts["seconds"]) == (2, [10_000, 1], 0.625)
    assert "0.11 s" in facts["notes"][0]


def test_flac_holds_the_same(tmp_path):
    wave = sound()
    soundfile.write(tmp_path / "a.flac", wave[0].numpy(), RATE, subtype="PCM_16")
    reading = read(tmp_path / "a.flac", SPEC)
    assert torch.equal(reading.samples[1], wave[:, 4096:8192])
    assert (reading.facts["format"], reading.facts["coding"]) == ("FLAC", "none")


@pytest.mark.parametrize(("coding", "suffix", "format"), [("mp3:64", ".mp3", "MP3"), ("opus:32", ".ogg", "OGG")])
def test_lossy_files_say_so_and_stay_in_place(tmp_path, coding, suffix, format):
    wave = sound(48_000)
    write_coded(wave, tmp_path / f"a{suffix}", RATE, coding)
    reading = read(tmp_path / f"a{suffix}", SPEC)
    name, kilobits = reading.facts["coding"].split(":")
    assert (name, reading.facts["format"], reading.facts["bits"]) == (coding.split(":")[0], format, None)
    assert 0.7 < float(kilobits) / float(coding.split(":")[1]) < 1.4
    both = torch.stack([reading.samples[2, 0], wave[0, 8192:12288]])
    assert float(torch.corrcoef(both)[0, 1]) > 0.9
    assert float(torch.corrcoef(torch.stack([both[0, 8:], both[1, :-8]]))[0, 1]) < 0.9  # and the check can fail


def test_the_bit_rate_of_mp3_is_read_from_its_frames(tmp_path):
    for asked, told in ((128, 128), (64, 64), (24, 24)):
        write_coded(sound(), tmp_path / "a.mp3", RATE, f"mp3:{asked}")
        assert read(tmp_path / "a.mp3", SPEC).facts["coding"] == f"mp3:{told}"
    write_coded(sound(), tmp_path / "b.mp3", 44_100, "mp3:192")
    assert mp3_kilobits((tmp_path / "b.mp3").read_bytes()) == 192
    assert mp3_kilobits(b"no frames at all") is None


def test_the_rate_is_never_changed(tmp_path):
    write_audio(sound(), tmp_path / "a.wav", 22_050)
    with pytest.raises(MismatchError, match=r"22050 samples a second; this model makes 16000.*never resampled"):
        read(tmp_path / "a.wav", SPEC)
    assert read(tmp_path / "a.wav", SampleSpec((1, 4096))).facts["rate"] == 22_050


def test_channels_are_never_mixed(tmp_path):
    left = sound()
    write_audio(torch.cat([left, left.flip(1)]), tmp_path / "two.wav", RATE)
    with pytest.raises(MismatchError, match="has 2 channels; this model makes 1"):
        read(tmp_path / "two.wav", SPEC)
    write_audio(torch.cat([left, left]), tmp_path / "same.wav", RATE)
    reading = read(tmp_path / "same.wav", SPEC)
    assert torch.equal(reading.samples[0], left[:, :4096])
    assert "2 equal channels were read as one" in reading.facts["notes"]


def test_short_clips_and_limits(tmp_path):
    write_audio(sound(4000), tmp_path / "a.wav", RATE)
    with pytest.raises(MismatchError, match=r"4000 samples, 0.25 s; this model is judged by windows of 4096"):
        read(tmp_path / "a.wav", SPEC)
    write_audio(sound(), tmp_path / "b.wav", RATE)
    with pytest.raises(UnreadableSample, match="has 10000 samples; the limit is 5000"):
        read(tmp_path / "b.wav", SPEC, Limits(max_values=5000))


def test_full_scale_is_the_range_of_the_model(tmp_path):
    write_audio(torch.cat([sound(4096), torch.full((1, 4096), -1.0)], 1), tmp_path / "a.wav", RATE)
    low = read(tmp_path / "a.wav", SampleSpec((1, 4096), 0.0, 1.0)).samples
    assert float(low.min()) == 0.0 and float(low.max()) < 1.0


def test_floats_beyond_full_scale_are_clipped_and_said(tmp_path):
    soundfile.write(tmp_path / "a.wav", (sound()[0] * 8).numpy(), RATE, subtype="FLOAT")
    reading = read(tmp_path / "a.wav", SPEC)
    assert float(reading.samples.abs().max()) == 1.0
    assert "times full scale and were clipped" in reading.facts["notes"][0]


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF\x00\x00\x00\x00WAVEjunk")
    (tmp_path / "b.wav").write_bytes(b"hello, this is text")
    write_audio(sound(), tmp_path / "c.wav", RATE)
    found = read_all(find(tmp_path), SPEC)
    assert len(found.samples) == 2
    assert "cannot be decoded as WAV" in found.refused[0][1]
    assert "no known format; expected WAV, FLAC" in found.refused[1][1]


def test_formats_by_their_first_bytes():
    assert format_of(b"\xff\xf3\xe8\xc4") == "MP3"
    assert format_of(b"ID3\x04") == "MP3"
    with pytest.raises(UnreadableSample, match="starts with 46 4f 52 4d"):
        format_of(b"FORM\0\0\0\0AIFF")


def test_sixteen_bits_round():
    rounded = to_sixteen_bits(torch.full((1, 1, 4096), 0.3), SPEC)
    assert float(rounded[0, 0, 0]) == pytest.approx(9830 / 32768)


def test_without_soundfile_the_error_says_what_to_install(monkeypatch, tmp_path):
    write_audio(sound(), tmp_path / "a.wav", RATE)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MorelliError, match=r"pip install 'morelli\[audio\]'"):
        read(tmp_path / "a.wav", SPEC)
