"""From folders of sound to verdicts, in Python and on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toys import FRAME, toy_heads, vocoder_generator
from typer.testing import CliRunner

import morelli
from morelli.app.imprinting_audio import by_file
from morelli.app.methods import default_method
from morelli.cli.main import app
from morelli.errors import MismatchError, MorelliError
from morelli.storage.audio import write_audio, write_coded

pytest.importorskip("soundfile")
RATE = 16_000
FRAMES = 50


def write(folder: Path, seed: int, first: int, count: int, coding: str | None = None, cut: int = 0) -> Path:
    """Files of two windows each."""
    folder.mkdir()
    waves = vocoder_generator(seed, 2 * FRAMES + 1).samples(count, first)
    for i, wave in enumerate(waves):
        if coding:
            write_coded(wave[:, cut:], folder / f"{i}.mp3", RATE, coding)
        else:
            write_audio(wave[:, cut:], folder / f"{i}.wav", RATE)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    head = vocoder_generator(0, FRAMES).head(64)
    own = write(folder / "own", 0, 1, 80)
    found = morelli.train(head, own, out=folder / "a.attributor", rate=0.05, perturb=("mp3:64",))
    return folder, found


def outcomes(folder: Path, source: Path) -> list[str]:
    report = morelli.attribute(source, folder / "a.attributor")
    return [each.verdict.outcome.value for each in report.judged]


def share(found: list[str]) -> float:
    return found.count("attributed") / len(found)


def test_own_clips_are_attributed_wherever_they_were_cut_and_siblings_are_not(trained):
    folder, found = trained
    assert (found.extractor.spec.form.rate, found.extractor.hop) == (RATE, FRAME)
    assert share(outcomes(folder, write(folder / "fresh", 0, 2, 12))) > 0.8
    assert share(outcomes(folder, write(folder / "cut", 0, 2, 12, cut=13))) > 0.6
    assert share(outcomes(folder, write(folder / "sibling", 1, 2, 12))) < 0.2
    assert share(outcomes(folder, write(folder / "coded", 0, 2, 12, "mp3:64"))) > 0.7


def test_files_coded_in_an_unknown_way_are_inconclusive(trained):
    folder, _ = trained
    report = morelli.attribute(write(folder / "other", 0, 2, 2, "mp3:16"), folder / "a.attributor")
    assert {each.verdict.outcome.value for each in report.judged} == {"inconclusive"}
    assert "coded as mp3:" in report.judged[0].verdict.reason


def test_rows_are_windows_and_another_rate_is_inconclusive(trained, tmp_path):
    folder, _ = trained
    wave = vocoder_generator(0, 2 * FRAMES + 7).samples(1, 3)[0]
    write_audio(wave, tmp_path / "a.wav", RATE)
    write_audio(wave, tmp_path / "b.wav", 22_050)
    report = morelli.attribute(tmp_path, folder / "a.attributor", together=True)
    assert [(Path(each.file).name, each.row) for each in report.judged] == [("a.wav", 0), ("a.wav", 1), ("b.wav", None)]
    assert "never resampled" in report.judged[2].verdict.reason
    assert report.together["samples"] == 2
    assert "in about 5.00% of cases" in report.attributor["promise"]


def test_held_out_windows_are_of_files_that_were_not_trained_on(trained):
    _, found = trained
    assert found.card["own"]["samples"] == 160
    assert found.card["own"]["held_out"] % 2 == 0
    assert found.card["own"]["trained_on"] + found.card["own"]["held_out"] == 160
    facts = [{"sha256": name} for name in "aabbbcc"]
    names = [facts[i]["sha256"] for i in by_file(facts, 1).tolist()]
    assert sorted(names) == list("aabbbcc")
    assert sum(a != b for a, b in zip(names, names[1:], strict=False)) == 2  # no file is torn apart


def test_the_command_line_says_the_same(trained, tmp_path):
    folder, _ = trained
    head, source = vocoder_generator(0, FRAMES).head(64), folder / "own"
    morelli.save(head, tmp_path / "a.head")
    run = CliRunner().invoke
    arguments = ["--method", "imprint", "--hop", "32", "--rate", "0.05", "--perturb", "none"]
    done = run(app, ["train", str(tmp_path / "a.head"), "--own", str(source), "--out", str(tmp_path / "a"), *arguments])
    assert done.exit_code == 0, done.output
    done = run(app, ["attribute", str(source / "0.wav"), "--with", str(tmp_path / "a"), "--together"])
    assert done.exit_code == 0 and "0.wav row 1" in done.output and "together: 2 samples" in done.output


def test_other_methods_read_sound_too(trained, tmp_path):
    folder, _ = trained
    head, own = vocoder_generator(0, FRAMES).head(64), write(tmp_path / "own", 0, 5, 20)
    other = write(tmp_path / "other", 1, 5, 10)
    for settings in ({"method": "flipad", "inversion": "closed-form"}, {"method": "dctpad"}):
        found = morelli.train(head, own, other, detector="lda", rate=0.1, **settings)
        assert found.extractor.spec.form.rate == RATE
        assert morelli.attribute(folder / "own" / "0.wav", found).judged[0].verdict.score is not None


def test_own_files_of_several_rates_are_refused(tmp_path):
    folder = write(tmp_path / "own", 0, 1, 3)
    write_audio(torch.zeros(1, 4000), folder / "x.wav", 8_000)
    with pytest.raises(MismatchError, match="8000, 16000 samples a second"):
        morelli.train(vocoder_generator(0, FRAMES).head(64), folder)


def test_conditions_that_a_rate_cannot_have_are_left_out(tmp_path):
    (tmp_path / "own").mkdir()
    for i, wave in enumerate(vocoder_generator(0, FRAMES).samples(40, 1)):
        write_audio(wave, tmp_path / "own" / f"{i}.wav", 22_050)
    found = morelli.train(vocoder_generator(0, FRAMES).head(16), tmp_path / "own", rate=0.1)
    assert found.card["perturb"] == ["none", "mp3:128", "mp3:64", "hiss:30"]


def test_short_windows_default_to_the_inversion_and_hops_are_of_imprints():
    assert default_method(toy_heads()["audio"]) == "flipad"
    assert default_method(vocoder_generator(0, 20).head(16)) == "imprint"
    with pytest.raises(MorelliError, match="only imprints of sound"):
        morelli.train(toy_heads()["audio"], torch.zeros(9, 1, 64), method="flipad", hop=32)
