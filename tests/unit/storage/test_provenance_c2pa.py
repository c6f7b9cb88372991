"""Manifests that were really signed, by c2pa-python and a chain of our own: sound, altered, cut, elsewhere."""

import io
import random
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from PIL import Image

from morelli.storage.provenance import provenance_of

pytest.importorskip("c2pa", reason="needs the extra c2pa")
pytest.importorskip("cryptography", reason="needs the extra sign")

from certificates import MIME, Chain, chain, with_manifest


@pytest.fixture(scope="module")
def signer() -> Chain:
    return chain()


def picture(kind: str, seed: int = 0) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def read(data: bytes, kind: str = "PNG", trust: str = "") -> tuple[dict, list[str]]:
    notes: list[str] = []
    return provenance_of(data, kind, notes, trust), notes


@pytest.mark.parametrize("kind", MIME)
def test_a_sound_manifest_is_untrusted_until_its_root_is_named(kind: str, signer: Chain) -> None:
    signed = with_manifest(picture(kind), kind, signer, "trainedAlgorithmicMedia")
    said = {
        "state": "untrusted",
        "claim_generator": "Toy Generator 1.0",
        "signer": "Toy signer, Toys",
        "time": None,
        "actions": ["c2pa.created"],
        "ai_generated": True,
    }
    assert read(signed, kind) == ({"c2pa": said, "metadata": [], "tools": []}, [])
    assert read(signed, kind, signer.root)[0]["c2pa"] == said | {"state": "valid"}
    assert read(signed, kind, chain().root)[0]["c2pa"] == said


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_one_altered_byte_of_the_pixels_is_invalid(kind: str, signer: Chain) -> None:
    signed = bytearray(with_manifest(picture(kind), kind, signer))
    signed[-40] ^= 1
    found, _ = read(bytes(signed), kind, signer.root)
    assert found["c2pa"]["state"] == "invalid"
    assert found["c2pa"]["signer"] == "Toy signer, Toys"  # still what it says


def test_a_manifest_of_another_picture_is_invalid(signer: Chain) -> None:
    first, second = (with_manifest(picture("JPEG", seed), "JPEG", signer) for seed in (0, 1))
    at = [data.index(b"\xff\xdb") for data in (first, second)]  # where the manifest's segment has ended
    assert read(first[: at[0]] + second[at[1] :], "JPEG", signer.root)[0]["c2pa"]["state"] == "invalid"


@pytest.mark.parametrize(
    ("source", "generated"),
    [
        ("trainedAlgorithmicMedia", True),
        ("compositeWithTrainedAlgorithmicMedia", True),
        ("digitalCapture", False),
        ("nothingKnown", None),
    ],
)
def test_what_it_says_of_its_source(source: str, generated: bool | None, signer: Chain) -> None:
    assert read(with_manifest(picture("PNG"), "PNG", signer, source))[0]["c2pa"]["ai_generated"] is generated


def test_what_a_picture_was_made_from_counts(signer: Chain) -> None:
    before = with_manifest(picture("PNG"), "PNG", signer, "trainedAlgorithmicMedia", softwareAgent={"name": "DALL·E"})
    after = with_manifest(picture("PNG"), "PNG", signer, parent=before)
    found, _ = read(after, trust=signer.root)
    assert found["c2pa"]["state"] == "valid"
    assert found["c2pa"]["actions"] == ["c2pa.opened", "c2pa.edited", "c2pa.created"]
    assert found["c2pa"]["ai_generated"] is True
    assert found["tools"] == ["OpenAI"]


@pytest.mark.parametrize("name", ["c2pa", "other"])
def test_nothing_is_fetched(name: str, signer: Chain) -> None:
    asked: list[str] = []

    class Trap(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    with HTTPServer(("127.0.0.1", 0), Trap) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{name}"
        found, notes = read(with_manifest(picture("JPEG"), "JPEG", signer, remote=address), "JPEG")
        server.shutdown()
    assert found["c2pa"] is None
    assert notes == ["names a C2PA manifest that lies elsewhere; it was not fetched"]
    assert {"where": "XMP", "name": "provenance", "value": address, "tool": None} in found["metadata"]
    assert asked == []


def test_absence(signer: Chain) -> None:
    nothing = {"c2pa": None, "metadata": [], "tools": []}, []
    assert read(picture("PNG")) == nothing
    assert read(picture("PNG") + b"c2pa") == nothing


def test_without_the_library_the_command_is_named(signer: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    signed = with_manifest(picture("PNG"), "PNG", signer)
    monkeypatch.setitem(sys.modules, "c2pa", None)
    found, (note,) = read(signed)
    assert found["c2pa"] is None
    assert note.startswith("C2PA not looked for") and "pip install 'morelli[c2pa]'" in note
    assert read(picture("PNG"))[1] == []  # surely without a manifest: nothing to look for


def test_damaged_manifests_end_as_facts(signer: Chain) -> None:
    signed = with_manifest(picture("PNG"), "PNG", signer, "trainedAlgorithmicMedia")
    start, chance, states = signed.index(b"c2pa"), random.Random(0), set()
    for _ in range(150):
        broken = bytearray(signed)
        for _ in range(chance.randint(1, 8)):
            broken[chance.randrange(start - 30, start + 3000)] = chance.randrange(256)
        found, notes = read(bytes(broken)[: chance.choice([None, start + 500])])
        states.add(found["c2pa"] and found["c2pa"]["state"])
        assert all(note.isprintable() and len(note) < 200 for note in notes)
    assert "invalid" in states and "valid" not in states
