"""The command line, as a user types it: from a module to verdicts, and every way to get it wrong."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import torch

import morelli
from morelli.attribution.kinds import INVERSIONS, METHODS, RECIPES
from morelli.cli.main import DetectorName, InversionName, Method

FACTORY = """
import torch
from torch import nn

def build(seed=0):
    torch.manual_seed(seed)
    layers = nn.ConvTranspose2d(8, 16, 4), nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.ReLU()
    return nn.Sequential(*layers, nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh())

def broken():
    raise ValueError("no weights here")

def number():
    return 7
"""
SPEC = morelli.SampleSpec((3, 16, 16))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a factory, own/, other/ and suspects/ (both kinds, one broken file, one of another size)."""
    place = tmp_path_factory.mktemp("user")
    (place / "toygan.py").write_text(FACTORY)
    namespace: dict[str, object] = {}
    exec(FACTORY, namespace)
    for seed, folder, count in ((0, "own", 120), (1, "other", 60)):
        generator = morelli.TorchGenerator(namespace["build"](seed), (8, 1, 1), announce=lambda line: None)
        (place / folder).mkdir()
        for i, sample in enumerate(generator.samples(count, seed=3) * 8):
            morelli.write_image(sample.clamp(-1, 1), place / folder / f"{i:03d}.png", SPEC)
    suspects = place / "suspects"
    suspects.mkdir()
    for i in range(5):
        (suspects / f"own{i}.png").write_bytes((place / "own" / f"{i:03d}.png").read_bytes())
        (suspects / f"other{i}.png").write_bytes((place / "other" / f"{i:03d}.png").read_bytes())
    (suspects / "torn.png").write_bytes((place / "own" / "000.png").read_bytes()[:60])
    morelli.write_image(torch.zeros(3, 8, 8), suspects / "small.png", morelli.SampleSpec((3, 8, 8)))
    return place


@pytest.fixture
def run(place: Path, run_in):
    return run_in(place)


@pytest.fixture
def trained(run, place: Path) -> str:
    """The user's path up to an attributor; made once."""
    if not (place / "my.attributor").exists():
        assert run("head", "toygan:build", "--latent", "8x1x1", "--draws", 200, "--out", "my.head")[0] == 0
        words = "train my.head --own own --other other --method flipad --detector lda --rate 0.05 --out my.attributor"
        code, out, err = run(*words.split())
        assert code == 0, err
        assert "written: my.attributor" in out
    return "my.attributor"


def test_inversions_have_one_list() -> None:
    assert {str(name) for name in InversionName} == set(INVERSIONS)


def test_another_inversion(run, trained: str) -> None:
    words = "train my.head --own own --other other --detector lda --rate 0.05 --inversion ridge --out ridge.attributor"
    code, _, err = run(*words.split())
    assert code == 2
    assert "method 'imprint' inverts nothing. Leave it out, or use method 'flipad'." in err
    words += " --method flipad"
    assert run(*words.split())[0] == 0
    extractor = json.loads(run("inspect", "ridge.attributor", "--json")[1])["content"]["parts"]["extractor"]
    assert extractor["settings"]["solver"]["type"] == "least_squares"
    code, _, err = run(*words.replace("ridge.attributor", "no.attributor").split(), "--gap", 0.1)
    assert code == 2
    assert "closed form" in err


def test_certified_inversions(run, trained: str) -> None:
    code, out, _ = run(
        "attribute", "suspects/own0.png", "suspects/own1.png", "--with", trained, "--certify", 1, "--json"
    )
    assert code == 0
    (proof,) = json.loads(out)["certificates"]
    assert Path(proof["file"]).name == "own0.png"
    assert 0 < proof["excess"] < 1
    assert proof["gap"] < 1e-5
    text = run("attribute", "suspects/own0.png", "--with", trained, "--certify", 1)[1]
    assert "certified: suspects/own0.png: the inversion's objective is at most" in text


def test_only_inversions_are_certified(run, trained: str) -> None:
    words = "train my.head --own own --other other --method rawpad --detector lda --rate 0.05 --out raw.attributor"
    assert run(*words.split())[0] == 0
    code, _, err = run("attribute", "suspects/own0.png", "--with", "raw.attributor", "--certify", 1)
    assert code == 2
    assert "nothing to certify" in err


def test_methods_and_detectors_have_one_list() -> None:
    assert {str(name) for name in Method} == set(METHODS)
    assert {str(name) for name in DetectorName} == set(RECIPES)


@pytest.fixture
def imprinted(run, trained: str, place: Path) -> str:
    """What comes of the fewest words; made once."""
    if not (place / "plain.attributor").exists():
        words = "train my.head --own own --rate 0.01 --out plain.attributor"
        code, out, err = run(*words.split())
        assert code == 0, err
        assert "less than 32 pixels" in err
        assert "trained on 120 own samples, threshold from 120 ones left out in turn" in out
        assert "none         own samples are told from misplaced and other ones in" in out
    return "plain.attributor"


def test_imprints_need_no_other_samples_and_no_method(run, imprinted: str) -> None:
    outcomes = judged(run, imprinted)
    assert outcomes.pop("small") == "inconclusive"
    assert {name: found == "attributed" for name, found in outcomes.items()} == {
        name: name.startswith("own") for name in outcomes
    }
    text = run("inspect", imprinted)[1]
    assert "imprint, stacked" in text


def test_samples_of_one_source_are_judged_together(run, imprinted: str) -> None:
    own = [f"suspects/own{i}.png" for i in range(5)]
    code, out, _ = run("attribute", *own, own[0], "--with", imprinted, "--together")
    assert code == 0
    assert "together: 5 samples are attributed, p-value" in out
    report = json.loads(run("attribute", "suspects", "--with", imprinted, "--together", "--json")[1])
    assert set(report["together"]) == {"samples", "outcome", "p_value", "log10_e_value"}
    assert report["together"]["samples"] == 10
    assert report["together"]["outcome"] == "not attributed"
    assert json.loads(run("attribute", *own, "--with", imprinted, "--json")[1])["together"] is None
    assert (
        "together: no sample could be judged"
        in run("attribute", "suspects/small.png", "--with", imprinted, "--together")[1]
    )


def judged(run, attributor: str) -> dict[str, str]:
    report = json.loads(run("attribute", "suspects", "--with", attributor, "--json")[1])
    return {Path(file["file"]).stem: file["outcome"] for file in report["verdicts"]}


def test_fingerprints(run, trained: str) -> None:
    words = "train my.head --own own --method sm-f --rate 0.05 --out smf.attributor"
    assert run(*words.split())[0] == 0
    assert set(judged(run, "smf.attributor").values()) <= {"attributed", "not attributed", "inconclusive"}


@pytest.fixture
def whole(run, trained: str, place: Path) -> str:
    """A head that holds the whole generator."""
    if not (place / "whole.head").exists():
        words = "head toygan:build --whole --latent 8x1x1 --draws 200 --out whole.head"
        code, _, err = run(*words.split())
        assert code == 0, err
    return "whole.head"


@pytest.mark.parametrize("method", ["sm-inv", "sm-inv-perceptual"])
def test_full_inversion_needs_and_takes_the_whole_generator(run, whole: str, method: str) -> None:
    words = f"--own own --method {method} --restarts 2 --steps 30 --rate 0.05 --out {method}.attributor".split()
    code, _, err = run("train", "my.head", *words)
    assert code == 2
    assert "--whole" in err
    code, out, err = run("train", whole, *words, "--start", "nearest")
    assert code == 0, err
    assert "threshold from 120 held-out" in out  # nothing is learned, so every own sample is held out
    assert judged(run, f"{method}.attributor")["own0"] == "attributed"


def test_a_latent_search_is_trained_and_looks_again(run, whole: str) -> None:
    words = ["--own", "own", "--method", "latent", "--restarts", 2, "--steps", 10, "--rate", 0.05]
    words += ["--out", "latent.attributor"]
    code, _, err = run("train", "my.head", *words)
    assert code == 2
    assert "--whole" in err
    code, _, err = run("train", whole, *words, "--start", "normal")
    assert code == 2
    assert "leave it out" in err
    code, out, err = run("train", whole, *words)
    assert code == 0, err
    assert "threshold from 120 held-out" in out
    assert judged(run, "latent.attributor")["own0"] == "attributed"
    code, out, _ = run("attribute", "suspects/own0.png", "--with", "latent.attributor", "--certify", 1, "--json")
    assert code == 0
    (proof,) = json.loads(out)["certificates"]
    assert proof["starts"] == 8
    assert proof["best"] <= proof["judged"]
    text = run("attribute", "suspects/own0.png", "--with", "latent.attributor", "--certify", 1)[1]
    assert "8 starts reach" in text


def test_two_methods_both_have_to_attribute(run, whole: str, place: Path) -> None:
    words = "--own own --rate 0.1 --restarts 2 --steps 10 --method latent --out two.attributor"
    assert run("train", whole, *words.split())[0] == 0
    words = "train my.head --own own --other other --method flipad --detector lda --rate 0.1 --out one.attributor"
    assert run(*words.split())[0] == 0
    words = "attribute suspects --with one.attributor --second two.attributor --csv two.csv --json"
    code, out, err = run(*words.split(), "--report", "two.html")
    assert code == 3, err
    told = json.loads(out)
    jsonschema.validate(told, morelli.report_schema())
    assert told["attributor"]["second"]["method"] == "latent"
    assert "--second two.attributor" in told["custody"]["command"]
    assert "Both attributors have to attribute" in (place / "two.html").read_text()
    verdicts = {Path(verdict["file"]).stem: verdict for verdict in told["verdicts"]}
    own = verdicts["own0"]
    assert own["outcome"] == "attributed"
    assert own["p_value"] == min(1.0, 2 * min(own["notes"]["p_first"], own["notes"]["p_second"]))
    assert {verdicts[f"other{i}"]["outcome"] for i in range(5)} == {"not attributed"}
    assert json.loads(run(*words.split())[1]) == told, "read back from the CSV"
    code, _, err = run("attribute", "suspects", "--with", "one.attributor", "--csv", "two.csv")
    assert (code, "holds verdicts of another attributor" in err) == (2, True)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("--together", "by one attributor"),
        ("--fdr 0.1", "by one attributor"),
        ("--out rows.parquet", "--second given with --out"),
        ("", "is the first one again"),
    ],
)
def test_what_two_attributors_cannot_do(more: str, says: str, run, trained: str) -> None:
    code, _, err = run("attribute", "suspects", "--with", trained, "--second", trained, *more.split())
    assert (code, err.count("\n")) == (2, 1)
    assert says in err


def test_the_whole_generator_stays_out_of_other_methods_bundles(run, whole: str) -> None:
    words = "--own own --other other --method flipad --detector lda --rate 0.05 --out w.attributor"
    assert run("train", whole, *words.split())[0] == 0
    parts = json.loads(run("inspect", "w.attributor", "--json")[1])["content"]["parts"]["extractor"]["parts"]
    assert "generator" not in parts["head"]["parts"]


def test_perturbed_training(run, trained: str) -> None:
    words = "train my.head --own own --other other --method flipad --detector lda --rate 0.05 --perturb none "
    words += "--out p.attributor"
    code, _, err = run(*words.split(), "--perturb", "jpeg:60")
    assert code == 0, err
    card = json.loads(run("inspect", "p.attributor", "--json")[1])["content"]["settings"]["card"]
    assert card["perturb"] == ["none", "jpeg:60"]
    other = json.loads(run("inspect", trained, "--json")[1])["threshold"]
    assert json.loads(run("inspect", "p.attributor", "--json")[1])["threshold"] != other


def test_own_images_turned_stand_in_for_others(run, trained: str) -> None:
    words = (
        "train my.head --own own --turned --method flipad --inversion closed-form --detector lda --rate 0.05 "
        "--out turned.attributor"
    )
    code, _, err = run(*words.split())
    assert code == 0, err
    outcomes = judged(run, "turned.attributor")
    assert outcomes["own0"] == "attributed"
    assert outcomes["other0"] == "not attributed"


def test_folds_hold_nothing_out(run, trained: str) -> None:
    words = "train my.head --own own --other other --method flipad --detector lda --rate 0.05 --folds 4 "
    words += "--out folds.attributor"
    code, out, err = run(*words.split())
    assert code == 0, err
    assert "trained on 120 own samples, threshold from 120" in out
    text = run("attribute", "suspects/own0.png", "--with", "folds.attributor")[1]
    assert "about 5.00% of cases, at most 14.60% (120 samples in 4 folds)" in text  # 2·0.05 + 2·0.95·3/124
    outcomes = judged(run, "folds.attributor")
    assert outcomes["own0"] == "attributed"
    code, _, err = run(*words.split(), "--overwrite", "--held-out", 30)
    assert code == 2
    assert "Leave it out" in err


def test_a_detector_that_learned_nothing_is_reported(run, trained: str) -> None:
    words = "train my.head --own own --other own --detector lda --rate 0.05 --method rawpad --out same.attributor"
    code, _, err = run(*words.split())
    assert code == 0
    assert "warning: the detector does not tell" in " ".join(err.split()) or "still attributed" in err


def test_the_users_path(run, trained: str) -> None:
    code, out, _ = run("attribute", "suspects", "--with", trained, "--json")
    report = json.loads(out)
    assert code == 3  # one file is torn
    assert [Path(refused["file"]).name for refused in report["refused"]] == ["torn.png"]
    outcome = {Path(v["file"]).name: v["outcome"] for v in report["verdicts"]}
    assert outcome.pop("small.png") == "inconclusive"
    assert len(outcome) == 10
    for name, found in outcome.items():
        assert found == ("attributed" if name.startswith("own") else "not attributed"), name
    small = next(v for v in report["verdicts"] if v["file"].endswith("small.png"))
    assert "8x8" in small["reason"]
    assert small["p_value"] is None


def test_same_input_same_json(run, trained: str) -> None:
    first = run("attribute", "suspects", "--with", trained, "--json")[1]
    assert run("attribute", "suspects", "--with", trained, "--json")[1] == first


def test_plain_output_and_page(run, trained: str, tmp_path: Path) -> None:
    page = tmp_path / "sub" / "report.html"
    code, out, _ = run("attribute", "suspects/own0.png", "--with", trained, "--report", page)
    assert code == 0
    assert "attributed" in out
    assert "1 attributed" in out
    html = page.read_text()
    assert "own0.png" in html
    assert html.count("data:image/png;base64,") == 7  # the picture, three maps and their scales
    assert html.count("<svg") == 1
    assert "http://" not in html
    assert "https://" not in html


def test_csv_goes_on_after_an_interruption(run, trained: str, tmp_path: Path) -> None:
    table = tmp_path / "verdicts.csv"
    assert run("attribute", "suspects", "--with", trained, "--csv", table)[0] == 3
    whole = table.read_text()
    lines = whole.splitlines(keepends=True)
    table.write_text("".join(lines[:5]) + lines[5][: len(lines[5]) // 2])  # killed in the middle of a line
    code, out, _ = run("attribute", "suspects", "--with", trained, "--csv", table, "--json")
    assert code == 3
    assert table.read_text() == whole
    assert len(json.loads(out)["verdicts"]) == 11
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["outcome"] for row in rows} == {"attributed", "not attributed", "inconclusive", "refused"}
    run("attribute", "suspects", "--with", trained, "--csv", table)
    assert table.read_text() == whole  # nothing left to do, nothing doubled


def test_csv_of_another_attributor_is_left_alone(run, trained: str, tmp_path: Path) -> None:
    table = tmp_path / "verdicts.csv"
    run("attribute", "suspects", "--with", trained, "--csv", table)
    text = table.read_text().replace(morelli.inspect(trained)["digest"], "0" * 64)
    table.write_text(text)
    code, _, err = run("attribute", "suspects", "--with", trained, "--csv", table)
    assert code == 2
    assert "another attributor" in err
    assert table.read_text() == text


def test_inspect(run, trained: str) -> None:
    code, out, _ = run("inspect", trained)
    assert code == 0
    assert "flipad, lda" in out
    assert "transposed_conv" in out
    assert json.loads(run("inspect", "my.head", "--json")[1])["kind"] == "head"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("attribute nowhere --with my.attributor", "nowhere"),
        ("attribute suspects --with nowhere", "does not exist"),
        ("attribute suspects --with my.head", "holds a head; expected a attributor"),
        ("train my.head --own own --other other --out my.attributor", "exists"),
        ("train my.head --own own --other other --out new", "at least 199"),
        ("train my.head --own own --rate 0.05 --detector lda --out new", "mahalanobis"),
        ("train my.head --own own --other other --rate 2 --out new", "between 0 and 1"),
        ("train my.head --own own --rate 0.05 --folds 4 --out new", "Leave `folds` out"),
        ("train my.head --own own --rate 0.05 --perturb jpeg:80 --out new", "32 pixels a side"),
        ("train my.head --own own --other other --method flipad --upright --out new", "`upright` was given"),
        ("head toygan:build --out new", "--latent 100x1x1"),
        ("head toygan --latent 8x1x1 --out new", "mypkg.gan:load"),
        ("head toygan:broken --latent 8x1x1 --out new", "no weights here"),
        ("head toygan:number --latent 8x1x1 --out new", "returned a int"),
        ("head toygan:missing --latent 8x1x1 --out new", "missing"),
        ("inspect suspects", "manifest.json"),
    ],
)
def test_mistakes_are_one_line(run, trained: str, place: Path, words: str, says: str) -> None:
    code, out, err = run(*words.split())
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err
    assert out == ""
    assert not (place / "new").exists()


def test_every_command_has_an_example(run) -> None:
    for command in ("head", "train", "attribute", "inspect", "train-gan", "demo"):
        code, out, _ = run(command, "--help")
        assert code == 0
        assert f"morelli {command}" in out.replace("Usage: morelli", "")


def test_help_does_not_load_torch() -> None:
    script = "import sys, morelli, morelli.cli.main; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
