"""Enrolling models, and asking a gallery, with a tiny network and pictures of filtered noise."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from prints import pictures, save_picture, save_pictures, tiny, tiny_network, write_tiny

import morelli
from morelli.app import galleries
from morelli.attribution.gallery import Entry
from morelli.attribution.verification import Answer
from morelli.errors import MismatchError, OutOfRange, TooFewSamples, UnreadableBundle, UnreadableSample
from morelli.features.fingerprint import FingerprintExtractor
from morelli.numerics.state import State
from morelli.storage import gallery_folder
from morelli.storage.fingerprint_network import write_fingerprint_network


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network, pictures of three models and a gallery of two of them."""
    place = tmp_path_factory.mktemp("zero")
    write_tiny(place / "net")
    for model in range(3):
        save_pictures(place / f"m{model}", model, 12)
        save_pictures(place / f"q{model}", model, 8, seed=7)
    for model in range(2):
        morelli.enrol(f"m{model}", place / f"m{model}", place / "g", network=place / "net")
    return place


def test_an_entry_and_its_card(place: Path) -> None:
    found = galleries.entries(place / "g")
    assert [entry.name for entry in found] == ["m0", "m1"]
    expected = tiny()[0].extract(list(pictures(0, 12)))
    torch.testing.assert_close(found[0].fingerprints, expected, rtol=0.01, atol=0.02)
    card = galleries.cards(place / "g", "m0")["m0"]
    assert (card["samples"], card["formats"], card["sizes"]) == (12, {"PNG": 12}, {"64x64": 12})
    assert (card["warnings"], card["refused"]) == ([], [])
    assert card["network"] == galleries.open_network(place / "net")[0].digest
    with pytest.raises(UnreadableBundle, match="no entry 'm7'; it has m0, m1"):
        galleries.cards(place / "g", "m7")


def test_copies_count_once_and_are_said(place: Path, tmp_path: Path) -> None:
    save_pictures(tmp_path / "s", 0, 5)
    for i in range(7):
        shutil.copy(tmp_path / "s" / "00.png", tmp_path / "s" / f"copy{i}.png")
    entry = morelli.enrol("c", tmp_path / "s", tmp_path / "g", network=place / "net")
    assert len(entry.fingerprints) == entry.card["samples"] == 5
    assert any("copies" in warning for warning in entry.card["warnings"])
    assert any("5 samples are few" in warning for warning in entry.card["warnings"])
    (tmp_path / "s" / "04.png").unlink()
    with pytest.raises(TooFewSamples, match="'d' has 4 different samples; an entry needs 5"):
        morelli.enrol("d", tmp_path / "s", tmp_path / "g", network=place / "net")
    assert gallery_folder.names(tmp_path / "g") == ["c"]


def test_every_kind_of_picture(place: Path, tmp_path: Path) -> None:
    """Grey, 16 bits, opaque alpha and larger ones are read; small, transparent and broken ones are refused by name."""
    folder = save_pictures(tmp_path / "s", 0, 5)
    grey = pictures(1, 1)[0, 0].numpy()
    Image.fromarray(grey).save(folder / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "deep.png")
    Image.open(folder / "00.png").convert("RGBA").save(folder / "alpha.png")
    Image.open(folder / "00.png").resize((200, 130)).save(folder / "large.webp")
    save_picture(pictures(0, 1, side=80)[0, :, :63], folder / "small.png")
    clear = Image.open(folder / "01.png").convert("RGBA")
    clear.putalpha(3)
    clear.save(folder / "clear.png")
    (folder / "torn.png").write_bytes((folder / "00.png").read_bytes()[:99])
    entry = morelli.enrol("mixed", folder, tmp_path / "g", network=place / "net")
    assert entry.card["samples"] == 9
    refused = {Path(each["file"]).name: each["reason"] for each in entry.card["refused"]}
    assert refused.keys() == {"small.png", "clear.png", "torn.png"}
    assert refused["small.png"].startswith("small.png is 80x63; a fingerprint needs 64 pixels a side")
    assert any("different formats (PNG, WEBP)" in warning for warning in entry.card["warnings"])
    prints = galleries.fingerprint([folder / "grey.png", folder / "deep.png"], *tiny()).values
    assert torch.equal(prints[0], prints[1])


def test_enrolling_is_refused_before_a_file_is_written(place: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in (place / "g").iterdir())
    for name in ("", "../x", ".hidden", "a b"):
        with pytest.raises(OutOfRange, match="cannot name a model"):
            morelli.enrol(name, place / "m2", place / "g", network=place / "net")
    with pytest.raises(UnreadableBundle, match=r"has an entry 'm0'\. Choose another name"):
        morelli.enrol("m0", place / "m2", place / "g", network=place / "net")
    with pytest.raises(UnreadableSample, match="does not exist"):
        morelli.enrol("new", place / "nothing", place / "g", network=place / "net")
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(UnreadableSample, match=r"none of 1 files can be used; the first: text\.png"):
        morelli.enrol("new", tmp_path, place / "g", network=place / "net")
    with pytest.raises(UnreadableBundle, match="does not exist"):
        morelli.enrol("new", place / "m2", place / "g", network=place / "none")
    with pytest.raises(UnreadableBundle, match="cannot be written"):
        morelli.enrol("new", place / "m2", tmp_path / "text.png", network=place / "net")
    assert sorted(path.name for path in (place / "g").iterdir()) == before


def test_another_network_is_refused(place: Path, tmp_path: Path) -> None:
    write_fingerprint_network(FingerprintExtractor(tiny_network(1)), tiny()[1].state(), tmp_path / "net", {})
    with pytest.raises(MismatchError, match="another fingerprint network"):
        morelli.enrol("m2", place / "m2", place / "g", network=tmp_path / "net")
    for ask in (morelli.identify, morelli.lineage):
        with pytest.raises(MismatchError, match="another fingerprint network"):
            ask(place / "q0", place / "g", network=tmp_path / "net")


def test_replacing_and_removing(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "g", tmp_path / "g")
    entry = morelli.enrol("m0", place / "m2", tmp_path / "g", network=place / "net", overwrite=True)
    assert torch.equal(galleries.entries(tmp_path / "g")[0].fingerprints, entry.fingerprints)
    galleries.remove("m0", tmp_path / "g")
    galleries.remove("m1", tmp_path / "g")
    assert galleries.cards(tmp_path / "g") == {}
    with pytest.raises(TooFewSamples, match="the gallery is empty"):
        morelli.identify(place / "q0", tmp_path / "g", network=place / "net")


def test_export_and_import(place: Path, tmp_path: Path) -> None:
    assert galleries.export_gallery(place / "g", tmp_path / "g.zip") == 2
    assert galleries.import_gallery(tmp_path / "g.zip", tmp_path / "h") == ["m0", "m1"]
    assert galleries.cards(tmp_path / "h") == galleries.cards(place / "g")


def spoilt(entry: Entry, **changes: object) -> State:
    state = entry.state()
    return replace(state, settings={**state.settings, **changes})


HOSTILE = {
    "another name": lambda e: spoilt(e, name="other"),
    "no card": lambda e: spoilt(e, card=[]),
    "an empty card": lambda e: spoilt(e, card={}),
    "formats of text": lambda e: spoilt(e, card={**e.card, "formats": "PNG"}),
    "control characters": lambda e: spoilt(e, card={**e.card, "made": "\x1b[2J"}),
    "no network": lambda e: State({"name": "m0"}, e.state().tensors),
    "no fingerprints": lambda e: State(e.state().settings, {}),
    "a row": lambda e: State(e.state().settings, {"fingerprints": e.fingerprints[0]}),
    "too few": lambda e: State(e.state().settings, {"fingerprints": e.fingerprints[:2]}),
    "integers": lambda e: State(e.state().settings, {"fingerprints": e.fingerprints.round().long()}),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_entries_of_strangers_are_checked(place: Path, tmp_path: Path, kind: str) -> None:
    gallery_folder.write_entry(tmp_path / "bad", "m0", HOSTILE[kind](galleries.entries(place / "g")[0]))
    with pytest.raises(UnreadableBundle, match="'m0' is no entry"):
        galleries.entries(tmp_path / "bad")
    gallery_folder.export_gallery(tmp_path / "bad", tmp_path / "bad.zip")
    with pytest.raises(UnreadableBundle, match=r"bad\.zip: 'm0' is no entry"):
        galleries.import_gallery(tmp_path / "bad.zip", tmp_path / "fresh")
    assert not (tmp_path / "fresh").exists()


def test_a_damaged_world_is_refused(place: Path, tmp_path: Path) -> None:
    extractor, world = tiny()
    states = (
        State({"scoring": "cosine"}),
        State({"scoring": "?"}, {"models": world.models, "strangers": world.strangers}),
        State({}, {"models": world.models, "strangers": world.strangers}),
        State({"scoring": "cosine"}, {"models": world.models}),
        State({"scoring": "cosine"}, {"models": world.models[:1], "strangers": world.strangers}),
    )
    for i, state in enumerate(states):
        write_fingerprint_network(extractor, state, tmp_path / str(i), {})
        with pytest.raises(UnreadableBundle, match="its world is damaged"):
            galleries.open_network(tmp_path / str(i))


def test_identify(place: Path) -> None:
    found = morelli.identify([place / "q0", place / "q1"], place / "g", network=place / "net")
    named = [(Path(each.file).parent.name, each.ranking.candidates[0].name) for each in found.identified]
    assert sum(folder[1] == name[1] for folder, name in named) >= 10
    for model in ("0", "1"):
        (whole,) = morelli.identify(place / f"q{model}", place / "g", network=place / "net", together=True).identified
        assert whole.ranking.identified == f"m{model}"
    told = json.loads(json.dumps(found.to_dict()))
    assert told["gallery"]["entries"] == 2
    assert len(told["samples"]) == 16
    assert told["refused"] == []
    assert all(s["identified"] in (None, s["candidates"][0]["name"]) for s in told["samples"])
    again = morelli.identify([place / "q0", place / "q1"], place / "g", network=place / "net")
    assert again.to_dict() == found.to_dict()


def test_together_copies_count_once(place: Path, tmp_path: Path) -> None:
    def ask(folder: Path) -> dict:
        return morelli.identify(folder, place / "g", network=place / "net", together=True).to_dict()

    shutil.copytree(place / "q1", tmp_path / "q")
    whole = ask(tmp_path / "q")
    assert whole["samples"][0]["candidates"][0]["name"] == "m1"
    for i in range(9):
        shutil.copy(tmp_path / "q" / "03.png", tmp_path / "q" / f"z{i}.png")
    again = ask(tmp_path / "q")["samples"][0]
    assert again["p_value"] == whole["samples"][0]["p_value"]
    assert again["file"] == "8 files"
    scores = [[c["score"] for c in told["candidates"]] for told in (again, whole["samples"][0])]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


def test_copies_are_no_evidence(place: Path, tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / "q").mkdir(exist_ok=True)
        shutil.copy(place / "q0" / "00.png", tmp_path / "q" / f"{i}.png")
    with pytest.raises(TooFewSamples, match="1 samples were given"):
        morelli.lineage(tmp_path / "q", place / "g", network=place / "net")
    copies = morelli.verify(tmp_path / "q", place / "q0", network=place / "net")
    once = morelli.verify(place / "q0" / "00.png", place / "q0", network=place / "net")
    assert (copies.p_one, copies.p_two, copies.missed) == (once.p_one, once.p_two, once.missed)


def test_verify(place: Path, tmp_path: Path) -> None:
    same = morelli.verify(place / "m0", place / "q0", network=place / "net")
    different = morelli.verify(place / "m0", place / "q1", network=place / "net")
    assert same.score < different.score
    assert same.answer is Answer.ONE
    assert different.answer is not Answer.ONE
    shutil.copytree(place / "q0", tmp_path / "q")
    (tmp_path / "q" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = morelli.verify(place / "m0", tmp_path / "q", network=place / "net")
    assert [Path(each.file).name for each in found.refused] == ["torn.png"]
    assert replace(found, refused=()) == same


def test_lineage(place: Path) -> None:
    found = morelli.lineage(place / "q1", place / "g", network=place / "net")
    assert found.ranking.candidates[0].name == "m1"
    assert [relation.name for relation in found.relations] == ["m0"]
    assert found.refused == ()


def test_no_gallery(place: Path, tmp_path: Path) -> None:
    for ask in (morelli.identify, morelli.lineage):
        with pytest.raises(UnreadableBundle, match="there is no gallery"):
            ask(place / "q0", tmp_path / "none", network=place / "net")
    with pytest.raises(OutOfRange, match="false-identification rate"):
        morelli.identify(place / "q0", place / "g", network=place / "net", rate=2)


def test_the_network_is_read_once(place: Path) -> None:
    assert galleries.open_network(place / "net")[0] is galleries.open_network(place / "net")[0]
