"""Declaring a population: what is judged, what is refused, and what verdicts carry afterwards."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toys import imprinting_samples, toy_heads, toy_samples

import morelli
from morelli import Attributor, SampleSpec, attribute, calibrate
from morelli.app.calibrating import changed
from morelli.app.pages import write_report
from morelli.app.sources import digests
from morelli.errors import MismatchError, MorelliError, OutOfRange, TooFewSamples, UnreadableBundle, UnreadableSample

ARTEFACTS = Path(__file__).parents[2] / "artefacts"
SPEC = SampleSpec((3, 32, 32))
EACH = 12


def write_table(rows: torch.Tensor, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(",".join(f"{x:.6f}" for x in row) for row in rows.tolist()) + "\n")


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    """An attributor of rows that is not calibrated, and a population of four other generators."""
    shutil.copytree(ARTEFACTS / "table-1.attributor", tmp_path / "my.attributor")
    for k in range(1, 5):
        write_table(toy_samples("table", 40, 3, generator_seed=k), tmp_path / "others" / f"table-{k}" / "rows.csv")
    return tmp_path / "my.attributor", tmp_path / "others"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Attributor, Path]:
    """An attributor with two experts, calibrated, and its population of three other generators."""
    place = tmp_path_factory.mktemp("images")
    for k in range(1, 4):
        (place / f"gan-{k}").mkdir()
        for i, sample in enumerate(imprinting_samples(EACH, 2, generator_seed=k)):
            morelli.write_image(sample, place / f"gan-{k}" / f"{i}.png", SPEC)
    (place / "gan-1" / "note.txt").write_text("not a picture")
    return calibrate(ARTEFACTS / "images-1.attributor", place, out=place.parent / "c", leave_source_out=True), place


def test_verdicts_carry_likelihood_ratios(tables: tuple[Path, Path], tmp_path: Path) -> None:
    bundle, others = tables
    before = morelli.inspect(bundle)["digest"]
    write_table(toy_samples("table", 6, 9), tmp_path / "own.csv")
    plain = attribute(tmp_path / "own.csv", bundle)
    assert plain.attributor["population"] is None
    calibrate(bundle, others, leave_source_out=True)  # in place
    assert morelli.inspect(bundle)["digest"] != before
    report = attribute(tmp_path / "own.csv", bundle).to_dict()
    for old, new in zip(plain.to_dict()["verdicts"], report["verdicts"], strict=True):
        ratio = new.pop("likelihood_ratio")
        assert old.pop("likelihood_ratio") is None
        assert old == new  # the verdict itself is as it was
        assert ratio["condition"] == "all"
        assert set(ratio["false_attribution"]) == {"rate", "low", "high", "unseen", "sources", "samples"}
    population = report["attributor"]["population"]
    assert population["sources"] == [f"table-{k}" for k in range(1, 5)]
    bounds = population["conditions"]["all"]
    ratios = [v["likelihood_ratio"] for v in attribute(tmp_path / "own.csv", bundle).to_dict()["verdicts"]]
    assert all(bounds["lower"] <= r["log10"] <= bounds["upper"] + 1e-4 for r in ratios)
    assert sum(r["log10"] > 0 for r in ratios) >= 5
    foreign = attribute(others / "table-1", bundle).to_dict()["verdicts"]
    assert sum(v["likelihood_ratio"]["log10"] < 0 for v in foreign) > 20  # measured: 24 of 40
    again = attribute(tmp_path / "own.csv", bundle, csv=tmp_path / "v.csv").to_dict()
    assert (
        attribute(tmp_path / "own.csv", bundle, csv=tmp_path / "v.csv").to_dict()
        == again
        == attribute(tmp_path / "own.csv", bundle).to_dict()
    )


def test_sources_are_judged_in_every_condition(images: tuple[Attributor, Path]) -> None:
    attributor, _ = images
    population = attributor.population
    assert population is not None
    judged = population.judged
    assert judged.sources == ("gan-1", "gan-2", "gan-3")
    assert int(judged.made.sum()) == int((~judged.made).sum()) == 3 * EACH
    assert set(judged.condition[judged.made].tolist()) == {1}  # files say that they are JPEG
    card = population.card
    assert card["sources"]["gan-1"]["refused"] == 1
    assert card["sources"]["gan-2"]["judged"] == EACH
    assert any("1 files were refused" in warning for warning in card["warnings"])
    assert any("3 sources" in warning and "above 4" in warning for warning in card["warnings"])
    assert any("cannot be told whether" in warning for warning in card["warnings"])  # the bundle is of old
    assert attributor.own_scores().keys() == {"none", "jpeg:80"}


def test_calibration_repeats_itself(images: tuple[Attributor, Path], tmp_path: Path) -> None:
    attributor, place = images
    again = calibrate(ARTEFACTS / "images-1.attributor", place, out=tmp_path / "d", leave_source_out=True)
    assert again.population is not None and attributor.population is not None
    assert torch.equal(again.population.judged.score, attributor.population.judged.score)
    first, second = (each.population.about(0.05) for each in (again, attributor))  # type: ignore[union-attr]
    assert first | {"made": ""} == second | {"made": ""}
    assert morelli.load(tmp_path / "d").population.about(0.05) == first  # type: ignore[union-attr]


def test_pages_show_it(images: tuple[Attributor, Path], tmp_path: Path) -> None:
    attributor, place = images
    report = attribute(place / "gan-1" / "0.png", attributor, fdr=0.5)
    write_report(report, attributor, tmp_path / "r.html")
    page = tmp_path.joinpath("r.html").read_text()
    assert "Likelihood ratio" in page
    assert "times more probable if made by another source of the declared population" in page
    assert "gan-1, gan-2, gan-3" in page
    assert "in all conditions together" not in page  # there is one
    assert "How good the likelihood ratios are" in page
    write_report(
        attribute(place / "gan-1" / "0.png", replace(attributor, population=None)), attributor, tmp_path / "u.html"
    )
    assert "No population is declared" in tmp_path.joinpath("u.html").read_text()


def test_what_was_seen_in_training_is_refused_by_name(images: tuple[Attributor, Path], tmp_path: Path) -> None:
    attributor, place = images
    pictures = imprinting_samples(EACH, 2, generator_seed=2)
    known = replace(attributor, seen=digests(pictures[4:6], SPEC))
    with pytest.raises(MorelliError, match=r"gan-2/4\.png trained or calibrated this attributor, so source 'gan-2'"):
        calibrate(known, place, out=tmp_path / "never")
    assert not (tmp_path / "never").exists()
    rows = toy_samples("table", 60, 1)
    fresh = morelli.train(toy_heads()["table"], rows, rows[:20] + 1, detector="lda", rate=0.05)
    assert set(fresh.seen.tolist()) == set(digests(torch.cat([rows, rows[:20] + 1]), fresh.extractor.spec).tolist())


def test_queues(tables: tuple[Path, Path], tmp_path: Path) -> None:
    bundle, _ = tables
    write_table(toy_samples("table", 20, 9), tmp_path / "own.csv")
    write_table(toy_samples("table", 40, 3) + 10, tmp_path / "far" / "rows.csv")
    (tmp_path / "far" / "copy.csv").write_bytes((tmp_path / "far" / "rows.csv").read_bytes())
    report = attribute([tmp_path / "far", tmp_path / "own.csv"], bundle, fdr=0.2)
    queue = report.to_dict()["queue"]
    assert queue["samples"] == 60
    named = [each["file"] for each in queue["not_attributed"]]
    assert sum("copy" in name for name in named) == 40
    assert not any("rows" in name for name in named)  # the same bytes again
    assert sum("own" in name for name in named) <= 6
    assert attribute(tmp_path / "own.csv", bundle).to_dict()["queue"] is None
    with pytest.raises(OutOfRange, match="false-discovery"):
        attribute(tmp_path / "own.csv", bundle, fdr=1.5)


def test_strengths_are_drawn_from_ranges() -> None:
    pixels = torch.randint(256, (5, 3, 32, 32), dtype=torch.uint8)
    copied, facts = changed(pixels, "jpeg:70..86", torch.Generator().manual_seed(0))
    strengths = [int(each["coding"].split(":")[1]) for each in facts]
    assert copied.shape == pixels.shape
    assert len(set(strengths)) > 2
    assert all(70 <= strength <= 86 for strength in strengths)
    again, same = changed(pixels, "jpeg:70..86", torch.Generator().manual_seed(0))
    assert torch.equal(copied, again) and same == facts
    noisy, facts = changed(pixels, "noise:0.01..0.05", torch.Generator().manual_seed(0))
    assert {each["coding"] for each in facts} == {"none"}
    assert not torch.equal(noisy, pixels)


def test_folders_that_are_no_population(tables: tuple[Path, Path], tmp_path: Path) -> None:
    bundle, others = tables
    before = morelli.inspect(bundle)["digest"]
    with pytest.raises(OutOfRange, match="logistic, pav, kde"):
        calibrate(bundle, others, calibrator="magic")
    with pytest.raises(UnreadableSample, match="no folder"):
        calibrate(bundle, tmp_path / "nowhere")
    with pytest.raises(UnreadableBundle, match="overwrite"):
        calibrate(bundle, others, out=others)
    (others / "loose.csv").write_text("1,2,3,4,5,6\n")
    with pytest.raises(MismatchError, match=r"loose\.csv beside the sources' folders"):
        calibrate(bundle, others)
    (others / "loose.csv").unlink()
    (others / "odd").mkdir()
    (others / "odd" / "rows.csv").write_text("1,2\n3,4\n")
    with pytest.raises(TooFewSamples, match="not one of 1 files of source 'odd' could be judged"):
        calibrate(bundle, others)
    for name in ("odd", "table-2", "table-3", "table-4"):
        shutil.rmtree(others / name)
    with pytest.raises(TooFewSamples, match="1 sub-folders"):
        calibrate(bundle, others)
    assert morelli.inspect(bundle)["digest"] == before


def test_a_source_like_the_model_is_pointed_out(tables: tuple[Path, Path]) -> None:
    bundle, others = tables
    write_table(toy_samples("table", 40, 77), others / "twin" / "rows.csv")
    population = calibrate(bundle, others).population
    assert population is not None
    assert any("source 'twin' are attributed" in warning for warning in population.card["warnings"])
