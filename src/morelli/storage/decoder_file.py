"""Files of weights that other programs wrote: safetensors alone, since nothing in them is executed."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from morelli.errors import UnreadableBundle

LARGEST = 8 * 2**30
PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle")


def read_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """Named tensors and the file's SHA-256. Raises UnreadableBundle: no such file, no safetensors, or too large."""
    if not path.is_file():
        raise UnreadableBundle(f"there is no file {path}; expected weights as safetensors.")
    if path.suffix.lower() in PICKLES:
        raise UnreadableBundle(
            f"{path} looks like a pickle, which can run code when it is read. Convert it: "
            "safetensors.torch.save_file(module.state_dict(), 'decoder.safetensors')."
        )
    if path.stat().st_size > LARGEST:
        raise UnreadableBundle(f"{path} has {path.stat().st_size:,} bytes; the limit is {LARGEST:,}.")
    raw = path.read_bytes()
    try:
        tensors = load(raw)
    except (SafetensorError, ValueError, KeyError) as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        raise UnreadableBundle(f"{path} is no safetensors file ({why}). Save the weights again.") from None
    if not tensors:
        raise UnreadableBundle(f"{path} holds no tensors.")
    return tensors, sha256(raw).hexdigest()
