"""Files of weights: safetensors are read, everything else is refused by name."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from morelli.errors import UnreadableBundle
from morelli.storage.decoder_file import read_weights


def test_tensors_and_digest(tmp_path: Path) -> None:
    save_file({"a.weight": torch.arange(4.0)}, tmp_path / "x.safetensors")
    tensors, digest = read_weights(tmp_path / "x.safetensors")
    assert torch.equal(tensors["a.weight"], torch.arange(4.0))
    assert len(digest) == 64


def test_what_is_no_file_of_weights(tmp_path: Path) -> None:
    with pytest.raises(UnreadableBundle, match="there is no file"):
        read_weights(tmp_path / "none.safetensors")
    torch.save({"a": torch.zeros(1)}, tmp_path / "x.pt")
    with pytest.raises(UnreadableBundle, match="looks like a pickle"):
        read_weights(tmp_path / "x.pt")
    (tmp_path / "y.safetensors").write_bytes(b"\x09\0\0\0\0\0\0\0no header")
    with pytest.raises(UnreadableBundle, match="is no safetensors file"):
        read_weights(tmp_path / "y.safetensors")
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(UnreadableBundle, match="holds no tensors"):
        read_weights(tmp_path / "empty.safetensors")
