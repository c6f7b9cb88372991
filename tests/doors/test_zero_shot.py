"""The gallery's commands, as a user types them; every door says the same."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from prints import save_pictures, write_tiny
from safetensors.torch import save_file
from torch import nn

import morelli


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("user")
    write_tiny(place / "net")
    for model in range(2):
        save_pictures(place / f"m{model}", model, 10)
    save_pictures(place / "q", 0, 6, seed=5)
    shutil.copytree(place / "q", place / "mixed")
    (place / "mixed" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return place


@pytest.fixture
def run(place: Path, run_in):
    run = run_in(place)
    return lambda words: run(*words.split())


@pytest.fixture
def enrolled(run, place: Path) -> str:
    if not (place / "g").exists():
        for model in ("m0", "m1"):
            code, out, err = run(f"enrol {model} {model} --gallery g --network net")
            assert code == 0, err
            assert out == f"enrolled: {model}, 10 samples, in g\n"
    return "g"


def test_every_door_says_the_same(run, enrolled: str, place: Path) -> None:
    net, gallery = place / "net", place / "g"
    code, out, err = run("identify q --gallery g --network net --json")
    assert (code, err) == (0, "")
    assert json.loads(out) == json.loads(json.dumps(morelli.identify("q", gallery, network=net).to_dict()))
    code, out, _ = run("verify m0 q --network net --json")
    assert code == 0
    assert json.loads(out) == json.loads(json.dumps(morelli.verify("m0", "q", network=net).to_dict()))
    code, out, _ = run("lineage q --gallery g --network net --json")
    assert code == 0
    assert json.loads(out) == json.loads(json.dumps(morelli.lineage("q", gallery, network=net).to_dict()))


def test_a_model_is_enrolled_from_weights_and_upgraded_by_pictures(run, place: Path) -> None:
    torch.manual_seed(0)
    layers = [nn.ConvTranspose2d(4, 4, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(4, 3, 4, 2, 1)]
    save_file(nn.Sequential(*layers).state_dict(), place / "d.safetensors")
    words = "enrol d --weights d.safetensors --gallery w --network net"
    code, out, err = run(words)
    assert (code, out) == (0, "enrolled: d, from weights alone, in w\n")
    assert "warning: the last blocks are read as 'convt relu convt tanh'; say otherwise by --layers." in err
    assert "predicted  True" in run("gallery w")[1]
    assert run("enrol m1 m1 --gallery w --network net")[0] == 0
    assert "weights only" in run("gallery w")[1]
    out = run("identify q --gallery w --network net --together")[1]
    assert "by weights alone, candidates without a p-value, 6 files: d (" in out
    assert "1 models known" in out
    code, out, err = run("enrol d m0 --gallery w --network net")
    assert (code, out) == (0, "enrolled: d, 10 samples, in w\n")
    assert "weights only" not in run("gallery w")[1]
    shutil.rmtree(place / "w")
    (place / "d.safetensors").unlink()


def test_answers_in_plain_text(run, enrolled: str) -> None:
    code, out, _ = run("identify q --gallery g --network net --together")
    assert code == 0
    assert "6 files" in out
    assert "2 models known. Samples of unrelated ones are identified in at most 5.0% of cases" in out
    out = run("verify m0 m1 --network net")[1]
    assert "p(two models)" in out
    assert "90 % interval" in out
    out = run("lineage q --gallery g --network net")[1]
    assert "rather than" in out
    assert "decoder" in out


@pytest.mark.parametrize(
    "words",
    ["identify mixed --gallery g", "verify m0 mixed", "lineage mixed --gallery g", "enrol x mixed --gallery new"],
)
def test_refused_files_are_named_and_change_the_exit_code(run, enrolled: str, words: str) -> None:
    code, out, err = run(f"{words} --network net")
    assert code == 3
    assert "refused: torn.png starts like PNG but is damaged" in out + err
    if not words.startswith("enrol"):
        assert [Path(each["file"]).name for each in json.loads(run(f"{words} --network net --json")[1])["refused"]] == [
            "torn.png"
        ]


def test_the_gallery_is_listed_shown_exported_imported_and_emptied(run, enrolled: str, place: Path) -> None:
    code, out, _ = run("gallery g")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:3]] == ["m0", "m1"]
    assert out.endswith("2 models\n")
    assert json.loads(run("gallery g --card m1 --json")[1])["m1"]["samples"] == 10
    assert "64x64" in run("gallery g --card m1")[1]
    assert run("gallery g --export g.zip")[1] == "exported: 2 entries to g.zip\n"
    assert run("gallery h --import g.zip")[1] == "imported: m0, m1\n"
    assert run("gallery h --remove m0")[:2] == (0, "removed: m0\n")
    assert run("gallery h --remove m1")[0] == 0
    assert run("gallery h")[1].endswith("0 models\n")
    code, _, err = run("gallery g --import g.zip")
    assert (code, "m0, m1 already" in err) == (2, True)
    assert run("gallery g --import g.zip --overwrite")[0] == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("enrol m0 q --gallery g --network net", "has an entry 'm0'"),
        ("enrol a/b q --gallery g --network net", "cannot name a model"),
        ("enrol m2 q/00.png --gallery g --network net", "1 different samples; an entry needs 5"),
        ("enrol m2 nowhere --gallery g --network net", "nowhere does not exist"),
        ("enrol m2 q --gallery q/00.png --network net", "cannot be written"),
        ("enrol m2 q --gallery g --network m0", "m0 has no manifest.json"),
        ("enrol m2 q --gallery g --network net --device tpu", "expected auto, cpu or cuda"),
        ("enrol m2 --gallery g --network net", "given neither of samples and weights"),
        ("enrol m2 --weights q/00.png --gallery g --network net", "00.png is no safetensors file"),
        ("enrol m2 --weights nowhere --gallery g --network net", "there is no file nowhere"),
        ("enrol m2 q --layers relu --gallery g --network net", "layers and photographs are for weights"),
        ("gallery nowhere", "there is no gallery at nowhere"),
        ("gallery g --card m7", "no entry 'm7'; it has m0, m1"),
        ("gallery g --remove ../m0", "no entry"),
        ("gallery new2 --import q/00.png", "is no exported gallery"),
        ("gallery new2 --import nowhere", "is no exported gallery"),
        ("gallery g --export m0", "is a folder"),
        ("identify q --gallery nowhere --network net", "there is no gallery"),
        ("identify q --gallery g --network net --rate 0", "between 0 and 1"),
        ("identify q --gallery g --network net --rate 0.0001", "ask for at least"),
        ("verify m0 nowhere --network net", "does not exist"),
        ("verify m0 m1 --network net --rate 0.01", "ask for a larger one"),
        ("lineage q/00.png --gallery g --network net", "needs 5 or more"),
    ],
)
def test_mistakes_are_one_line(run, enrolled: str, place: Path, words: str, says: str) -> None:
    before = sorted(path.name for path in place.iterdir())
    code, out, err = run(words)
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err
    assert out == ""
    assert sorted(path.name for path in place.iterdir()) == before


@pytest.mark.parametrize("command", ["enrol", "gallery", "identify", "verify", "lineage"])
def test_every_command_has_an_example(run, command: str) -> None:
    code, out, _ = run(f"{command} --help")
    assert code == 0
    assert f"morelli {command}" in out.replace("Usage: morelli", "")
