"""Settings that ask for a network of any size are compared with its weights before anything is allocated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from morelli.errors import UnreadableBundle, UnreadableSample
from morelli.generators.small_gans import build_generator
from morelli.storage.generators import load_generator, save_generator
from morelli.storage.latents import read_latents


def test_a_generator_of_another_width(tmp_path: Path) -> None:
    """Found by fuzzing: a million channels were asked of the allocator."""
    save_generator(build_generator("dcgan", 8, 3, 64), "dcgan", tmp_path / "g", {})
    load_generator(tmp_path / "g")
    manifest = json.loads((tmp_path / "g" / "manifest.json").read_text())
    manifest["content"]["settings"]["width"] = 10**6
    (tmp_path / "g" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UnreadableBundle, match="its weights are of another network"):
        load_generator(tmp_path / "g")


def test_a_header_of_latents_that_is_no_python(tmp_path: Path) -> None:
    """Found by fuzzing: numpy parses it with Python's tokenizer."""
    (tmp_path / "l.npy").write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': (((   \n")
    with pytest.raises(UnreadableSample, match="holds no latents"):
        read_latents(tmp_path / "l.npy")
