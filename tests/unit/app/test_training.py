"""Training without other samples: what is chosen, how few samples calibrate, what is refused, and what is judged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from toys import imprinting_generator, imprinting_samples, toy_heads, toy_samples

import morelli
from morelli import Attributor, Head, SampleSpec, attribute
from morelli.app import imprinting
from morelli.app.conditions import conditions_of
from morelli.app.imprinting import CONDITIONS, MOST
from morelli.app.methods import default_method
from morelli.app.pages import write_report
from morelli.app.sources import gather, silent
from morelli.app.training import _held_out_count, train
from morelli.detectors.stacked import StackedRecipe
from morelli.errors import MismatchError, MorelliError, OutOfRange, TooFewSamples, UnreadableBundle

SPEC = SampleSpec((3, 32, 32))


@pytest.fixture(scope="module")
def head() -> Head:
    return imprinting_generator().head(100)


@pytest.fixture(scope="module")
def small() -> Head:
    return imprinting_generator(0, 16).head(100)


@pytest.fixture(scope="module")
def trained(small: Head, tmp_path_factory: pytest.TempPathFactory) -> tuple[Attributor, Path]:
    """On 16×16, calibrated by left-out scores, with its bundle."""
    out = tmp_path_factory.mktemp("bundle") / "small.attributor"
    return train(small, imprinting_samples(60, 1, side=16), rate=0.05, out=out), out


def written(samples: torch.Tensor, folder: Path, suffix: str = "png", **options: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, sample in enumerate(samples):
        path = folder / f"{i:03d}.png"
        morelli.write_image(sample, path, SampleSpec(tuple(sample.shape)))
        if suffix != "png":
            from PIL import Image

            Image.open(path).save(path.with_suffix(f".{suffix}"), **options)
            path.unlink()
    return folder


def test_images_leave_imprints_and_tables_are_inverted(head: Head) -> None:
    heads = toy_heads()
    found = {name: default_method(one) for name, one in heads.items()}
    assert found == {
        "deconvolution": "imprint",
        "convolution": "imprint",
        "table": "flipad",
        "audio": "flipad",
        "skips": "imprint",
    }
    card = train(heads["table"], toy_samples("table", 60), detector="mahalanobis", rate=0.05).card
    assert card["method"] == "flipad"
    assert "calibrated" not in card


def test_few_samples_calibrate_by_turns_and_many_are_held_out(trained: tuple[Attributor, Path], small: Head) -> None:
    few, _ = trained
    assert (few.card["method"], few.card["calibrated"]) == ("imprint", "left out in turn")
    assert (few.card["own"]["trained_on"], few.card["own"]["held_out"], len(few.held_out)) == (60, 60, 60)
    many = train(small, imprinting_samples(80, 1, side=16), rate=0.05)
    assert (many.card["calibrated"], many.card["own"]["trained_on"], len(many.held_out)) == ("held out", 61, 19)
    asked = train(small, imprinting_samples(45, 1, side=16), rate=0.05, held_out=30)  # fewer train than calibrate
    assert (asked.card["own"]["trained_on"], len(asked.held_out)) == (15, 30)


def test_how_many_are_held_out() -> None:
    recipe = StackedRecipe()
    assert _held_out_count(199, 0.005, None, recipe) == 0
    assert _held_out_count(795, 0.005, None, recipe) == 0
    assert _held_out_count(796, 0.005, None, recipe) == 199
    assert _held_out_count(800, 0.005, 0, recipe) == 0
    assert [_held_out_count(n, 0.005, None, recipe) for n in (800, 1000, 1400, 1600, 4000)] == [199, 199, 399, 399, 999]
    assert _held_out_count(12_000, 1e-4, None, recipe) == 9_999  # more than leaving out can calibrate
    for own, rate, asked in ((198, 0.005, None), (5_000, 1 / (MOST + 2), 0)):
        with pytest.raises(TooFewSamples, match=r"left out in turn.*at least"):
            _held_out_count(own, rate, asked, recipe)
    with pytest.raises(TooFewSamples, match="at least 9999"):
        _held_out_count(9_000, 1e-4, None, recipe)


def test_small_images_have_no_conditions_and_say_so(trained: tuple[Attributor, Path], small: Head) -> None:
    attributor, _ = trained
    assert attributor.card["perturb"] == ["none"]
    assert attributor.experts is None
    assert any("less than 32 pixels" in warning for warning in attributor.card["warnings"])
    with pytest.raises(MismatchError, match="32 pixels a side"):
        train(small, imprinting_samples(60, 1, side=16), rate=0.05, perturb=("jpeg:80",))
    quiet = train(small, imprinting_samples(60, 1, side=16), rate=0.05, perturb=("none",))
    assert quiet.card["warnings"] == []


def test_perturb_names_the_conditions(head: Head, tmp_path: Path) -> None:
    attributor = train(
        head, imprinting_samples(60, 1), rate=0.05, perturb=("jpeg:80", "none", "jpeg:80"), out=tmp_path / "a"
    )
    assert attributor.card["perturb"] == ["none", "jpeg:80"]
    assert list(attributor.card["separated"]) == ["none", "jpeg:80"]
    assert attributor.experts is not None
    files = (
        written(imprinting_samples(4, 2), tmp_path / "png"),
        written(imprinting_samples(4, 2), tmp_path / "jpg", "jpg", quality=80),
    )
    samples = imprinting_samples(6, 3)
    assert attributor.judge(samples) == morelli.load(tmp_path / "a").judge(samples)
    assert morelli.save(morelli.load(tmp_path / "a"), tmp_path / "b") == morelli.inspect(tmp_path / "a")["digest"]
    notes = [[v.verdict.notes["condition"] for v in attribute(folder, tmp_path / "a").judged] for folder in files]
    assert notes == [["none"] * 4, ["jpeg:80"] * 4]
    assert conditions_of(gather(imprinting_samples(2, 1), SPEC, "", silent), SPEC, ())[0] == CONDITIONS


def test_lossy_own_files_are_one_condition_with_a_warning(head: Head, tmp_path: Path) -> None:
    own = written(imprinting_samples(40, 1), tmp_path / "own", "jpg", quality=90)
    attributor = train(head, own, rate=0.05)
    assert attributor.card["perturb"] == ["none"]
    assert any("lossy" in warning for warning in attributor.card["warnings"])
    for asked in (("jpeg:80",), ("none", "blur:3")):
        with pytest.raises(MismatchError, match=r"coded as jpeg:90.*Give files without loss"):
            train(head, own, rate=0.05, perturb=asked)


def test_upright_rejects_mirrored_samples(small: Head) -> None:
    samples = imprinting_samples(60, 1, side=16)
    mirrored = imprinting_samples(20, 2, side=16).flip(3)
    for upright, outcome in ((True, "not attributed"), (False, "attributed")):
        found = train(small, samples, rate=0.05, upright=upright).judge(mirrored)
        assert sum(verdict.outcome.value == outcome for verdict in found) > 16


def test_other_samples_help_to_tell_them_apart(small: Head) -> None:
    other = imprinting_samples(MOST + 10, 1, generator_seed=1, side=16)  # more than count
    attributor = train(small, imprinting_samples(30, 1, side=16), other[:50], rate=0.05)
    assert attributor.card["other"]["samples"] == 50
    found = attributor.judge(other[100:130])
    assert sum(verdict.outcome.value == "not attributed" for verdict in found) > 27


def test_imprints_learn_from_a_sibling_alone_if_they_are_told_to(small: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    own, sibling = imprinting_samples(120, 1, side=16), imprinting_samples(120, 1, generator_seed=1, side=16)
    assert train(small, own, sibling, rate=0.05, perturb=("none",)).card["turned"] is True
    monkeypatch.setattr(imprinting, "misplaced", lambda *args: pytest.fail("own images were turned"))
    alone = train(small, own, sibling, rate=0.05, perturb=("none",), turned=False)
    assert alone.card["turned"] is False
    for seed, outcome in ((1, "not attributed"), (0, "attributed")):
        found = alone.judge(imprinting_samples(40, 2, generator_seed=seed, side=16))
        assert sum(v.outcome.value == outcome for v in found) > 34


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"folds": 3}, "Leave `folds` out"),
        ({"method": "flipad", "upright": True}, "`upright` was given"),
        ({"detector": "lda", "upright": True}, "`upright` was given"),
        ({"turned": False}, "learn from other samples alone"),
        ({"detector": "lda"}, "mahalanobis"),
        ({"detector": "ridge"}, "mahalanobis"),
        ({"detector": "stacked"}, "no detector 'stacked'"),
        ({"epochs": 3}, "detector 'stacked' has none"),
        ({"inversion": "ridge"}, "use method 'flipad'"),
        ({"perturb": ("sepia:3",)}, "is no perturbation"),
        ({"rate": 0.001}, "at least 999"),
        ({"rate": 0.2, "held_out": 28}, "10 own and 10 other"),
    ],
    ids=str,
)
def test_mistakes_are_named(small: Head, options: dict[str, object], says: str, tmp_path: Path) -> None:
    with pytest.raises(MorelliError, match=says):
        train(small, imprinting_samples(30, 1, side=16), out=tmp_path / "no", **({"rate": 0.05} | options))
    assert not (tmp_path / "no").exists()


def test_own_samples_that_are_none_are_refused(small: Head) -> None:
    samples = imprinting_samples(30, 1, side=16)
    samples[3] = float("nan")
    with pytest.raises(OutOfRange, match="NaN"):
        train(small, samples, rate=0.05)
    with pytest.raises(MorelliError, match="the same"):
        train(small, torch.zeros(30, 3, 16, 16), rate=0.05)


def test_turned_goes_without_saying_and_other_detectors_take_imprints(small: Head) -> None:
    samples = imprinting_samples(60, 1, side=16)
    assert train(small, samples, rate=0.05, turned=True).card["turned"] is True
    lda = train(small, samples, rate=0.05, detector="lda", turned=True)
    assert lda.card["turned"] is True
    assert not lda.any_orientation
    assert sum(v.outcome.value == "attributed" for v in lda.judge(imprinting_samples(20, 2, side=16))) > 14


def test_a_model_without_an_imprint_is_reported(small: Head) -> None:
    noise = torch.rand(150, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    warnings = train(small, noise, rate=0.05, held_out=0).card["warnings"]
    assert any("hardly told from the same ones mirrored" in warning for warning in warnings)


# judged together


def test_the_bundle_says_the_same(trained: tuple[Attributor, Path], tmp_path: Path) -> None:
    attributor, out = trained
    files = written(torch.cat([imprinting_samples(6, 3, side=16), imprinting_samples(4, 3, 1, 16)]), tmp_path / "f")
    in_memory, read = attribute(files, attributor, together=True), attribute(files, out, together=True)
    assert read.judged == in_memory.judged
    assert read.together == in_memory.together
    assert "each left out in turn" in read.attributor["promise"]
    assert attribute(files, out).together is None


def test_copies_count_once(trained: tuple[Attributor, Path], tmp_path: Path) -> None:
    _, out = trained
    files = written(imprinting_samples(5, 3, side=16), tmp_path / "f")
    alone = attribute(files, out, together=True)
    for i in range(4):
        shutil.copy(files / "000.png", files / f"copy{i}.png")
    morelli.write_image(torch.zeros(3, 8, 8), files / "small.png", SampleSpec((3, 8, 8)))
    copied = attribute(files, out, together=True)
    assert len(copied.judged) == 10
    assert copied.together == alone.together
    assert copied.together is not None
    assert (copied.together["samples"], copied.together["outcome"]) == (5, "attributed")


def test_a_run_that_goes_on_says_the_same_together(trained: tuple[Attributor, Path], tmp_path: Path) -> None:
    _, out = trained
    files = written(imprinting_samples(6, 3, 1, 16), tmp_path / "f")
    table, whole = tmp_path / "verdicts.csv", attribute(files, out, together=True)
    assert attribute([files / "001.png", files / "004.png"], out, csv=table).together is None
    resumed = attribute(files, out, csv=table, together=True)
    assert resumed.together == whole.together == attribute(files, out, csv=table, together=True).together
    assert whole.together is not None
    assert (whole.together["samples"], whole.together["outcome"]) == (6, "not attributed")
    assert json.loads(json.dumps(resumed.to_dict()))["together"]["p_value"] < 0.05
    write_report(whole, out, tmp_path / "page.html")
    assert "Together, 6 samples are <strong>not attributed</strong>" in (tmp_path / "page.html").read_text()


def test_nothing_to_judge_together_is_inconclusive(trained: tuple[Attributor, Path], tmp_path: Path) -> None:
    files = written(torch.zeros(2, 3, 8, 8), tmp_path / "f")
    assert attribute(files, trained[1], together=True).together == {
        "samples": 0,
        "outcome": "inconclusive",
        "p_value": None,
        "log10_e_value": None,
    }


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("extractor", "stride", 0),
        ("extractor", "stride", "two"),
        ("extractor", "spec", {"shape": [6]}),
        ("detector", "type", "ridge"),
        ("detector", "width", 7),
    ],
)
def test_a_bundle_whose_parts_do_not_fit_is_refused(
    trained: tuple[Attributor, Path], tmp_path: Path, part: str, name: str, value: object
) -> None:
    shutil.copytree(trained[1], tmp_path / "b")
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    found = manifest
    while "parts" not in found:
        found = next(v for v in found.values() if isinstance(v, dict) and ("parts" in v or "settings" in v))
    found["parts"][part]["settings"][name] = value
    (tmp_path / "b" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UnreadableBundle, match="do not fit together"):
        morelli.load(tmp_path / "b")
