"""From pictures to a signed report and back, as a user types it; every way in which what was signed may not fit."""

import base64
import json
import shutil
import sys
from pathlib import Path

import pytest
from toys import imprinting_samples

import morelli

pytest.importorskip("cryptography", reason="needs the extra sign")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from PIL import Image, PngImagePlugin

ATTRIBUTOR = Path(__file__).parents[1] / "artefacts" / "images-1.attributor"
PEM = serialization.Encoding.PEM
SETTINGS = "a toy\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1"


@pytest.fixture
def run(place: Path, run_in):
    return run_in(place)


def write_key(place: Path, name: str, seed: int, passphrase: bytes = b"") -> None:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    (place / f"{name}.pem").write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, lock))
    told = key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (place / f"{name}.pub.pem").write_bytes(told)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """suspects/ (a picture of each of two sources, one with metadata, one torn), judged: report.json. Keys, a page."""
    made = tmp_path_factory.mktemp("made")
    spec = morelli.load(ATTRIBUTOR).extractor.spec
    (made / "suspects").mkdir()
    for name, generator in (("own", 0), ("other", 1)):
        sample = imprinting_samples(1, 7, generator_seed=generator)[0]
        morelli.write_image(sample, made / "suspects" / f"{name}.png", spec)
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", SETTINGS)
    with Image.open(made / "suspects" / "own.png") as image:
        image.save(made / "suspects" / "told.png", pnginfo=texts)
    (made / "suspects" / "torn.png").write_bytes((made / "suspects" / "own.png").read_bytes()[:60])
    write_key(made, "my", 1)
    write_key(made, "their", 2)
    write_key(made, "locked", 1, b"word")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        (made / "report.json").write_text(json.dumps(morelli.attribute("suspects", ATTRIBUTOR).to_dict()))
    (made / "report.html").write_text("<p>A page about it.</p>")
    return made


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "user"))


@pytest.fixture
def signed(run, place: Path) -> Path:
    """The same with report.json.dsse over report and page."""
    code, out, err = run("sign", "report.json", "report.html", "--key", "my.pem")
    assert (code, out) == (0, "written: report.json.dsse\n"), err
    return place


VERIFY = ("verify-report", "report.json", "--signature", "report.json.dsse", "--public-key", "my.pub.pem")


def statement(place: Path) -> dict:
    return json.loads(base64.b64decode(json.loads((place / "report.json.dsse").read_text())["payload"]))


def odd_predicates(said: dict) -> list[str]:
    without = {key: value for key, value in said.items() if key != "predicate"}
    odd = [
        said | {"predicate": predicate} for predicate in (3, [], {}, {"attributor": 3}, {"attributor": {"name": "a"}})
    ]
    return [json.dumps(each) for each in (without, *odd)]


def test_facts_alone(run, place: Path) -> None:
    code, out, _ = run("provenance", "suspects")
    assert code == 0
    assert "suspects/other.png: nothing found\n" in out
    assert "suspects/told.png: names Stable Diffusion web UI; 1 entry of metadata\n" in out
    assert "  PNG text, parameters [Stable Diffusion web UI]: a toy Steps: 20, Sampler" in out
    assert "no verdict rests on any of it" in out
    found = json.loads(run("provenance", "suspects", "--json")[1])
    assert found == morelli.provenance("suspects")
    assert [file["provenance"]["tools"] for file in found["files"]][2] == ["Stable Diffusion web UI"]


def test_what_is_no_picture_is_refused(run, place: Path) -> None:
    (place / "t.csv").write_text("1,2\n")
    (place / "p.dcm").write_bytes(bytes(128) + b"DICM" + b"Doe^John")
    code, out, _ = run("provenance", "t.csv", "p.dcm", "suspects/own.png")
    assert code == 3
    assert "refused: t.csv starts with" in out
    assert "refused: p.dcm is DICOM; what it says beside its pixels is about a patient." in out
    assert "Doe" not in out
    assert run("provenance", "nowhere")[0] == 2
    assert "holds no certificate" in run("provenance", "suspects", "--trust", "my.pem")[2]
    (place / "bad.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert "holds a damaged certificate" in run("provenance", "suspects", "--trust", "bad.pem")[2]


def test_names_of_files_forge_no_lines(run, place: Path) -> None:
    name = "a\nb.png: nothing found\x1b[2K.png"
    shutil.copy(place / "suspects" / "own.png", place / name)
    out = run("provenance", name)[1]
    assert "a\\nb.png: nothing found\\x1b[2K.png: nothing found\n" in out
    assert "\x1b" not in out and len(out.splitlines()) == 3
    report = json.loads((place / "report.json").read_text())
    report["verdicts"][0]["file"] = "gone\nverified"
    (place / "report.json").write_text(json.dumps(report))
    assert run("sign", "report.json", "--key", "my.pem")[0] == 0
    out = run(*VERIFY)[1]
    assert "not verified: gone\\nverified, which was judged, is missing" in out


def test_manifests_and_roots(run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("c2pa", reason="needs the extra c2pa")
    from certificates import chain, with_manifest

    signer = chain()
    picture = (place / "suspects" / "own.png").read_bytes()
    (place / "c.png").write_bytes(with_manifest(picture, "PNG", signer, "trainedAlgorithmicMedia"))
    (place / "root.pem").write_text(signer.root)
    line = "c.png: C2PA manifest, untrusted, by Toy Generator 1.0, signed by Toy signer, Toys, says AI-generated\n"
    assert line in run("provenance", "c.png")[1]
    assert line.replace("untrusted", "valid") in run("provenance", "c.png", "--trust", "root.pem")[1]
    words = ("attribute", "c.png", "--with", ATTRIBUTOR, "--device", "cpu")
    assert f"says of its origin: {line}" in run(*words)[1]
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert "says of its origin: c.png: C2PA not looked for" in run(*words)[1]
    out = run("provenance", "c.png")[1]
    assert "c.png: C2PA not looked for, though the file may hold a manifest" in out
    assert "nothing found" not in out and out.count("not looked for") == 1


def test_beside_the_verdict_and_never_in_it(run, place: Path) -> None:
    words = ("attribute", "suspects/own.png", "suspects/told.png", "--with", ATTRIBUTOR, "--device", "cpu")
    out = run(*words)[1]
    assert "says of its origin: suspects/told.png: names Stable Diffusion web UI; 1 entry of metadata\n" in out
    assert out.count("says of its origin") == 1
    plain, told = json.loads(run(*words, "--json")[1])["verdicts"]
    assert plain["facts"]["provenance"] == {"c2pa": None, "metadata": [], "tools": []}
    without = [{key: each[key] for key in ("outcome", "score", "p_value", "reason", "notes")} for each in (plain, told)]
    assert without[0] == without[1]


def test_sound(run, signed: Path) -> None:
    code, out, _ = run(*VERIFY)
    assert code == 0
    assert out.startswith("verified\nsound          report  report.json\nnot looked at  report  report.html\n")
    assert "sound          judged  suspects/told.png" in out
    assert "no time is claimed" in out
    assert "no signature proves" in out
    assert "sound  report  report.html" in run(VERIFY[0], "report.html", *VERIFY[1:])[1]
    found = json.loads(run(*VERIFY, "--json")[1])
    assert found["verified"] and found["problems"] == []
    assert found["predicate"]["attributor"]["digest"] == morelli.inspect(ATTRIBUTOR)["digest"]


def test_what_is_signed(run, signed: Path) -> None:
    said = statement(signed)
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicateType"].startswith("https://")
    subjects = {each["name"]: each["annotations"]["role"] for each in said["subject"]}
    assert subjects == {
        "report.json": "report",
        "report.html": "report",
        "suspects/other.png": "judged",
        "suspects/own.png": "judged",
        "suspects/told.png": "judged",
    }
    report = json.loads((signed / "report.json").read_text())
    assert said["predicate"]["settings"]["rate"] == report["attributor"]["rate"]
    assert "time" not in said["predicate"]


def test_the_same_bytes_every_time(run, signed: Path) -> None:
    first = (signed / "report.json.dsse").read_bytes()
    assert run("sign", "report.json", "report.html", "--key", "my.pem", "--out", "again.dsse")[0] == 0
    assert (signed / "again.dsse").read_bytes() == first


def test_a_time_is_the_signers_word(run, signed: Path) -> None:
    words = ("sign", "report.json", "--key", "my.pem", "--overwrite", "--time")
    assert run(*words, "2026-01-31T12:00:00Z")[0] == 0
    assert "time, as the signer says: 2026-01-31T12:00:00+00:00" in run(*VERIFY)[1]
    assert "names no time zone" in run(*words, "2026-01-31T12:00:00")[2]
    assert "is no time" in run(*words, "yesterday")[2]


def test_an_altered_report(run, signed: Path) -> None:
    report = signed / "report.json"
    report.write_text(report.read_text().replace('"not attributed"', '"attributed"', 1))
    code, out, _ = run(*VERIFY)
    assert code == 2
    assert out.startswith("not verified: report.json was altered: its SHA-256 is ")
    (signed / "copy.json").write_bytes(report.read_bytes())
    code, out, _ = run(VERIFY[0], "copy.json", *VERIFY[2:])
    assert (code, out) == (2, "not verified: copy.json was not signed; signed were report.json, report.html\n")


def test_a_sound_copy_does_not_hide_an_altered_report(run, signed: Path) -> None:
    shutil.copy(signed / "report.json", signed / "copy.json")
    assert run(VERIFY[0], "copy.json", *VERIFY[2:])[0] == 0
    (signed / "report.json").write_text("{}")
    code, out, _ = run(VERIFY[0], "copy.json", *VERIFY[1:])
    assert code == 2
    assert "report.json was altered" in out


def test_a_report_under_the_name_of_another_is_altered(run, signed: Path) -> None:
    shutil.copy(signed / "report.html", signed / "report.json")
    code, out, _ = run(VERIFY[0], "report.json", *VERIFY[2:])
    assert code == 2
    assert "report.json was altered" in out
    states = {file["file"]: file["state"] for file in json.loads(run(*VERIFY, "--json")[1])["files"]}
    assert (states["report.json"], states["report.html"]) == ("altered", "not looked at")


@pytest.mark.parametrize("name", ["shard.tar/a.png", "rows.parquet/17"])
def test_samples_inside_of_larger_files_are_not_looked_at(run, place: Path, name: str) -> None:
    report = json.loads((place / "report.json").read_text())
    report["verdicts"][0]["file"] = name
    (place / "report.json").write_text(json.dumps(report))
    assert run("sign", "report.json", "--key", "my.pem")[0] == 0
    code, out, _ = run(*VERIFY)
    assert code == 0
    assert f"not looked at  judged  {name}\n" in out


def test_judged_files(run, signed: Path) -> None:
    own, told = signed / "suspects" / "own.png", signed / "suspects" / "told.png"
    own.write_bytes(own.read_bytes() + b"\0")
    told.unlink()
    code, out, _ = run(*VERIFY)
    assert code == 2
    assert "not verified: suspects/own.png, which was judged, was altered: its SHA-256 is " in out
    assert "not verified: suspects/told.png, which was judged, is missing\n" in out
    found = json.loads(run(*VERIFY, "--json")[1])
    states = {file["file"]: file["state"] for file in found["files"]}
    assert [states[f"suspects/{name}.png"] for name in ("own", "told", "other")] == ["altered", "missing", "sound"]
    assert run(*VERIFY, "--report-only")[0] == 0


def test_files_beside_the_report_are_found(run, signed: Path) -> None:
    moved = signed / "moved"
    moved.mkdir()
    for name in ("report.json", "report.json.dsse", "suspects/own.png", "suspects/told.png", "suspects/other.png"):
        shutil.move(signed / name, moved)
    assert run(VERIFY[0], "moved/report.json", "--signature", "moved/report.json.dsse", *VERIFY[4:])[0] == 0


def test_another_key_and_an_altered_envelope(run, signed: Path) -> None:
    code, out, _ = run(*VERIFY[:-1], "their.pub.pem")
    assert code == 2
    assert "not verified: no signature is by the key given" in out
    envelope = json.loads((signed / "report.json.dsse").read_text())
    envelope["payload"] = base64.b64encode(json.dumps(statement(signed) | {"subject": []}).encode()).decode()
    (signed / "report.json.dsse").write_text(json.dumps(envelope))
    code, out, _ = run(*VERIFY)
    assert (code, out) == (
        2,
        "not verified: the envelope names this key, but its signature does not fit: it was altered.\n",
    )
    (signed / "report.json.dsse").write_text("{}")
    assert "no DSSE envelope" in run(*VERIFY)[2]


def test_another_statement_of_the_same_key_does_not_pass(run, signed: Path) -> None:
    from morelli.app.signing import PREDICATE
    from morelli.storage.signing import seal

    whole = statement(signed)
    other = json.dumps(whole | {"predicateType": "https://slsa.dev/provenance/v1"}).encode()
    (signed / "report.json.dsse").write_bytes(seal(other, (signed / "my.pem").read_bytes()))
    code, out, _ = run(*VERIFY)
    assert code == 2
    assert "no report of Morelli's: 'https://slsa.dev/provenance/v1'" in out
    for text in ("hello", "[]", "3", "[" * 100_000, *odd_predicates(whole)):
        (signed / "report.json.dsse").write_bytes(seal(text.encode(), (signed / "my.pem").read_bytes()))
        code, out, _ = run(*VERIFY)
        assert (code, out[: out.index("'")]) == (2, "not verified: what was signed is no report of Morelli")
    odd = json.dumps(whole | {"subject": [{}]} | {"predicateType": PREDICATE}).encode()
    (signed / "report.json.dsse").write_bytes(seal(odd, (signed / "my.pem").read_bytes()))
    assert "names no files" in run(*VERIFY)[2]


def test_a_passphrase(run, signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = (signed / "report.json.dsse").read_bytes()
    words = ("sign", "report.json", "report.html", "--key", "locked.pem", "--overwrite")
    monkeypatch.setenv("MORELLI_KEY_PASSPHRASE", "word")
    assert run(*words)[0] == 0
    assert (signed / "report.json.dsse").read_bytes() == first
    monkeypatch.setenv("MORELLI_KEY_PASSPHRASE", "another")
    assert "the passphrase is wrong" in run(*words)[2]
    assert (signed / "report.json.dsse").read_bytes() == first
    monkeypatch.delenv("MORELLI_KEY_PASSPHRASE")
    monkeypatch.setattr("typer.prompt", lambda *words, **options: "word")
    assert run(*words)[0] == 0


def test_what_is_not_signed(run, signed: Path) -> None:
    sign = ("sign", "report.json", "--key", "my.pem")
    assert "report.json.dsse exists" in run(*sign)[2]
    assert "cannot be read" in run("sign", "report.json", "--key", "none.pem", "--overwrite")[2]
    assert "cannot be read" in run("sign", "none.json", "--key", "my.pem")[2]
    for text in ('{"a": 1}', "[]", "{", '{"attributor": {}, "verdicts": [{"facts": 1}]}'):
        (signed / "no.json").write_text(text)
        assert "no.json is no report" in run("sign", "no.json", "--key", "my.pem")[2]
    assert "my.pem/a.dsse cannot be written (File exists" in run(*sign, "--out", "my.pem/a.dsse")[2]
    (signed / "report.json.dsse.new").write_text("mine")
    assert run(*sign, "--overwrite")[0] == 0
    assert (signed / "report.json.dsse.new").read_text() == "mine"
    (signed / "sub").mkdir()
    shutil.copy(signed / "report.html", signed / "sub")
    assert "two reports are called" in run("sign", "report.html", "sub/report.html", "--key", "my.pem")[2]
    own = signed / "suspects" / "own.png"
    own.write_bytes(own.read_bytes() + b"\0")
    code, _, err = run(*sign, "--out", "new.dsse")
    assert code == 2
    assert "suspects/own.png is no longer the file that was judged" in err
    assert not (signed / "new.dsse").exists()
