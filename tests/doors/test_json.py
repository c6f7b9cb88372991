"""`--json` on every command: one object on standard output and nothing else, also where something fails."""

import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from prints import save_pictures, write_tiny
from toys import imprinting_generator, imprinting_samples, write_tiny_autoencoder
from typer.main import get_command

import morelli
from morelli.cli.main import app

COMMANDS = get_command(app).commands
EXEMPT = {"serve", "schema"}  # one runs until it is stopped, the other prints JSON alone
WORDS = {  # command → what to call it with, and keys of its object
    "head": ("--diffusers vae/toy_decoder.safetensors --size 32 --draws 4 --out made.head", {"written", "found"}),
    "reconstruct": ("vae/toy_decoder.safetensors pictures --size 32 --out own2", {"written", "images", "refused"}),
    "train": ("a.head --own own --rate 0.05 --out made.attributor", {"written", "rate", "threshold", "card"}),
    "attribute": ("own --with a.attributor", {"summary", "verdicts", "attributor"}),
    "calibrate": ("a.attributor --population others --out c.attributor", {"sources", "conditions"}),
    "inspect": ("a.head", {"kind", "digest", "content"}),
    "provenance": ("own/0.png", {"files", "refused"}),
    "sign": ("report.json --key my.pem --out report.dsse", {"written"}),
    "verify-report": ("report.json --signature signed.dsse --public-key my.pub.pem", {"verified", "files"}),
    "compare": ("a.head b.head", {"text", "heads"}),
    "enrol": ("m pictures --gallery g --network net", {"enrolled", "gallery", "card"}),
    "gallery": ("g0", {"known"}),
    "identify": ("pictures --gallery g0 --network net", {"samples", "gallery"}),
    "verify": ("pictures pictures2 --network net", {"answer", "score"}),
    "lineage": ("pictures --gallery g0 --network net", {"base", "nearest"}),
    "train-gan": ("numbers.csv --family kl-wgan --steps 1 --width 8 --batch 8 --out t.generator", {"written", "steps"}),
    "demo": ("--fast --out demo", {"written", "result"}),
}


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("json")
    spec = morelli.SampleSpec((3, 16, 16))
    for name, seed in (("own", 0), ("others/x", 1), ("others/y", 2)):
        (place / name).mkdir(parents=True)
        for i, sample in enumerate(imprinting_samples(24, 1, generator_seed=seed, side=16)):
            morelli.write_image(sample, place / name / f"{i}.png", spec)
    for name, seed in (("a.head", 0), ("b.head", 1)):
        morelli.save(imprinting_generator(seed, 16).head(64), place / name)
    morelli.train(place / "a.head", place / "own", rate=0.05, out=place / "a.attributor")
    write_tiny_autoencoder(place / "vae")
    write_tiny(place / "net")
    save_pictures(place / "pictures", 0, 10)
    save_pictures(place / "pictures2", 1, 10)
    for name, folder in (("known", "pictures"), ("also", "pictures2")):
        morelli.enrol(name, place / folder, place / "g0", network=place / "net")
    report = morelli.attribute(place / "own/0.png", place / "a.attributor")
    morelli.write_report(report, place / "a.attributor", place / "report.json")
    key = Ed25519PrivateKey.generate()
    (place / "my.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (place / "my.pub.pem").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    morelli.sign([place / "report.json"], place / "my.pem", out=place / "signed.dsse")
    rows = "\n".join(f"{i},{i * i % 7}.5" for i in range(40))
    (place / "numbers.csv").write_text(f"a,b\n{rows}\n")
    return place


@pytest.fixture
def run(ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_in):
    place = shutil.copytree(ready, tmp_path / "place")
    monkeypatch.chdir(place)
    monkeypatch.setattr("morelli.app.demo.run_demo", lambda out, **_: {"imprint": {"x": COLUMNS}})
    return lambda words: run_in(place)(*words.split())


COLUMNS = {"balanced_accuracy": float("nan"), "auroc": 1.0, "n": 2}  # a number that JSON does not have


def test_every_command_has_a_row() -> None:
    assert set(COMMANDS) - EXEMPT == set(WORDS)


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - EXEMPT))
def test_every_command_takes_json(command: str) -> None:
    assert "--json" in {option for parameter in COMMANDS[command].params for option in parameter.opts}


@pytest.mark.parametrize("command", WORDS)
def test_standard_output_is_one_object(command: str, run) -> None:
    words, keys = WORDS[command]
    code, out, err = run(f"{command} {words} --json")
    assert code == 0, err
    found = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert isinstance(found, dict)
    assert keys <= set(found)


@pytest.mark.parametrize(
    "words",
    [
        "head --onnx nowhere.onnx --out x",
        "reconstruct nowhere own --out x",
        "train nowhere --own own --out x",
        "attribute own --with nowhere",
        "calibrate nowhere --population others",
        "inspect nowhere",
        "compare nowhere nowhere",
        "enrol m nowhere --gallery g",
        "gallery nowhere",
        "identify pictures --gallery nowhere --network net",
        "verify nowhere nowhere --network net",
        "lineage pictures --gallery nowhere --network net",
        "train-gan nowhere --family dcgan --steps 1 --out x",
        "train-gan numbers.csv --family kl-wgan --steps 1 --out x --size 64",
    ],
)
def test_a_failure_is_one_object_on_standard_error(words: str, run) -> None:
    code, out, err = run(f"{words} --json")
    assert (code, out) == (2, "")
    said = json.loads(err)["error"]
    assert set(said) == {"kind", "message"}
    assert hasattr(morelli.errors, said["kind"])
    assert run(words)[2] == f"error: {said['message']}\n"


def test_actions_on_a_gallery_are_one_object(run) -> None:
    assert json.loads(run("gallery g0 --export g.zip --json")[1]) == {"exported": {"entries": 2, "to": "g.zip"}}
    assert json.loads(run("gallery g1 --import g.zip --remove also --json")[1]) == {
        "imported": ["also", "known"],
        "removed": "also",
    }


def test_refused_files_are_in_the_object(run) -> None:
    Path("own/torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, out, _ = run("attribute own --with a.attributor --json")
    assert code == 3
    assert [Path(each["file"]).name for each in json.loads(out)["refused"]] == ["torn.png"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            "--family kl-wgan --size 64",
            "--size given, but only a family of images takes it, and this is --family kl-wgan",
        ),
        ("--family kl-wgan --channels 3 --bf16", "--channels, --bf16 given, but only a family of images takes them"),
        ("--family kl-wgan-hinge --critic-width 8", "--critic-width given"),
        ("--family dcgan --without a", "--without given, but only a family of tables, as kl-wgan, takes it"),
    ],
)
def test_settings_of_another_family_are_refused(words: str, says: str, run) -> None:
    code, out, err = run(f"train-gan numbers.csv --steps 1 --out t.generator {words}")
    assert (code, out) == (2, "")
    assert says in err
    assert not Path("t.generator").exists()
