"""Bundles: what is written comes back, and whatever is wrong with one is refused in one clear line."""

import json
import os
import pickle
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

import morelli
from morelli.errors import UnreadableBundle
from morelli.numerics.activation import Tanh
from morelli.numerics.head import Head
from morelli.numerics.linear import Dense
from morelli.numerics.state import State
from morelli.storage import bundle, writing

STATE = State({"a": [1, 2.5, "x"]}, {"t": torch.arange(6.0).reshape(2, 3).T}, {"p": State({}, {"u": torch.ones(2)})})


def toy_head() -> Head:
    weight = torch.arange(8.0).reshape(4, 2)
    return Head(Dense(weight, (2,), (4,)), torch.zeros(4), Tanh(), torch.ones(2))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    bundle.write(tmp_path / "b", "thing", STATE)
    return tmp_path / "b"


def change_manifest(path: Path, **changes: object) -> None:
    manifest = json.loads((path / "manifest.json").read_text()) | changes
    (path / "manifest.json").write_text(json.dumps(manifest))


def replace_tensors(path: Path, blob: bytes) -> None:
    (path / "tensors.safetensors").write_bytes(blob)
    change_manifest(path, sha256=sha256(blob).hexdigest(), bytes=len(blob))


def test_round_trip(written: Path) -> None:
    state = bundle.read(written, "thing").state
    assert state.describe() == STATE.describe()
    assert state.flatten().keys() == STATE.flatten().keys()
    for name, tensor in STATE.flatten().items():
        assert torch.equal(state.flatten()[name], tensor)


def test_same_state_same_bytes(written: Path, tmp_path: Path) -> None:
    assert bundle.write(tmp_path / "c", "thing", STATE) == bundle.read(written).digest
    for name in ("manifest.json", "tensors.safetensors"):
        assert (tmp_path / "c" / name).read_bytes() == (written / name).read_bytes()


def truncate(path: Path) -> None:
    blob = (path / "tensors.safetensors").read_bytes()
    (path / "tensors.safetensors").write_bytes(blob[:-4])


def tamper(path: Path) -> None:
    blob = bytearray((path / "tensors.safetensors").read_bytes())
    blob[-1] ^= 1
    (path / "tensors.safetensors").write_bytes(bytes(blob))


def truncate_header(path: Path) -> None:
    replace_tensors(path, (path / "tensors.safetensors").read_bytes()[:20])


def claim_a_huge_header(path: Path) -> None:
    replace_tensors(path, (2**62).to_bytes(8, "little") + b"{}")


def put_nan(path: Path) -> None:
    replace_tensors(path, save({"t": torch.tensor([1.0, float("nan")])}))


def put_infinity_into_json(path: Path) -> None:
    text = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(text.replace("2.5", "Infinity"))


def nest_deeply(path: Path) -> None:
    (path / "manifest.json").write_text('{"a":' * 100_000)


def put_a_pickle(path: Path) -> None:
    (path / "manifest.json").write_bytes(pickle.dumps({"format": 1}))


def lose_the_tensors(path: Path) -> None:
    (path / "tensors.safetensors").unlink()


def lose_the_content(path: Path) -> None:
    change_manifest(path, content=[1, 2])


def list_for_manifest(path: Path) -> None:
    (path / "manifest.json").write_text("[]")


def write_as_latin(path: Path) -> None:
    (path / "manifest.json").write_bytes(b'{"format": "\xff"}')


HOSTILE: list[tuple[Callable[[Path], None], str]] = [
    (truncate, "bytes instead of"),
    (tamper, "was changed"),
    (truncate_header, "damaged"),
    (claim_a_huge_header, "damaged"),
    (put_nan, "NaN or infinite"),
    (put_infinity_into_json, "Infinity is not JSON"),
    (nest_deeply, "damaged"),
    (put_a_pickle, "damaged"),
    (lose_the_tensors, "has no tensors.safetensors"),
    (lose_the_content, "damaged"),
    (list_for_manifest, "damaged"),
    (write_as_latin, "damaged"),
    (lambda path: change_manifest(path, format=2), "Update morelli"),
    (lambda path: change_manifest(path, format="1"), "Update morelli"),
    (lambda path: change_manifest(path, bytes=10**15), "bytes instead of"),
]


@pytest.mark.parametrize(("harm", "says"), HOSTILE)
def test_hostile_bundles_are_refused(written: Path, harm: Callable[[Path], None], says: str) -> None:
    harm(written)
    with pytest.raises(UnreadableBundle, match=says) as refusal:
        bundle.read(written)
    assert "\n" not in str(refusal.value)
    assert written.name in str(refusal.value)


@pytest.mark.parametrize("limit", ["MANIFEST_LIMIT", "TENSORS_LIMIT"])
def test_oversized(written: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(bundle, limit, 10)
    with pytest.raises(UnreadableBundle, match="the limit is 10"):
        bundle.read(written)


def test_other_kind(written: Path) -> None:
    with pytest.raises(UnreadableBundle, match="holds a thing; expected a head"):
        bundle.read(written, "head")
    with pytest.raises(UnreadableBundle, match="'thing'"):
        morelli.load(written)


def test_parts_that_do_not_fit(tmp_path: Path) -> None:
    state = toy_head().state()
    wrong = State(state.settings, {**state.tensors, "anchor": torch.ones(3)}, state.parts)
    bundle.write(tmp_path / "h", "head", wrong)
    with pytest.raises(UnreadableBundle, match="do not fit together"):
        morelli.load(tmp_path / "h")
    bundle.write(tmp_path / "i", "head", State({}, {}, {}))
    with pytest.raises(UnreadableBundle, match="do not fit together"):
        morelli.load(tmp_path / "i")


def test_nothing_is_overwritten_by_accident(written: Path, tmp_path: Path) -> None:
    before = bundle.read(written).digest
    with pytest.raises(UnreadableBundle, match="exists"):
        bundle.write(written, "thing", STATE)
    with pytest.raises(UnreadableBundle, match="holds a thing"):
        bundle.write(written, "head", STATE, overwrite=True)
    assert bundle.read(written).digest == before
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "precious.txt").write_text("mine")
    with pytest.raises(UnreadableBundle, match="left alone"):
        bundle.write(photos, "thing", STATE, overwrite=True)
    assert (photos / "precious.txt").read_text() == "mine"


def test_overwriting_on_request(written: Path) -> None:
    bundle.write(written, "thing", State({"new": True}), overwrite=True)
    assert bundle.read(written).state.settings == {"new": True}
    assert [entry.name for entry in written.parent.iterdir()] == ["b"]  # nothing temporary is left


@pytest.mark.parametrize("failing_rename", [1, 2])
def test_a_failure_while_replacing_keeps_the_old(
    written: Path, monkeypatch: pytest.MonkeyPatch, failing_rename: int
) -> None:
    """Where the system cannot exchange two folders."""
    before, rename, calls = bundle.read(written).digest, os.rename, []
    monkeypatch.setattr(writing, "_exchanged", lambda one, other: False)

    def fail_once(*paths: object) -> None:
        calls.append(paths)
        if len(calls) == failing_rename:
            raise OSError("disk full")
        rename(*paths)

    monkeypatch.setattr(os, "rename", fail_once)
    with pytest.raises(UnreadableBundle, match="disk full"):
        bundle.write(written, "thing", State({"new": True}), overwrite=True)
    assert bundle.read(written).digest == before
    assert [entry.name for entry in written.parent.iterdir()] == ["b"]


def test_head_round_trip(tmp_path: Path) -> None:
    head = toy_head()
    morelli.save(head, tmp_path / "h")
    again = morelli.load(tmp_path / "h")
    assert isinstance(again, Head)
    z = torch.randn(3, 2)
    assert torch.equal(again.forward(z), head.forward(z))


def test_a_kind_that_is_a_list(written: Path) -> None:
    """Found by fuzzing."""
    change_manifest(written, kind=["head"])
    with pytest.raises(UnreadableBundle, match="expected one of"):
        morelli.load(written)
