"""A decoder's last blocks from named tensors and a line of words, one for each layer, in the order in which they run.

    "batch relu convt:2,1 relu convt:2,1 tanh"

The words stand in `WORDS`. A word with weights may name its layer ("convt=decoder.convT3"); others take the
layer of the file before that of the word after them, the last word the last. No code is stored in a file of weights:
shapes and these words are all there is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from morelli.errors import MismatchError
from morelli.generators.simulation import Tail
from morelli.generators.synthetic import Blur
from morelli.generators.tiny_autoencoder import Block

SHOWN = 16  # layers in an error
IMAGE = (3, 1)  # channels
PARTS = ("weight", "bias", "running_mean", "running_var")
EPS = 1e-5  # of a batch norm, unless its word says otherwise: no file does
CHAINED = (".conv.0", ".conv.2", ".conv.4")  # of a block
PLAIN: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky": lambda: nn.LeakyReLU(0.2),
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "blur": Blur,
    "unit": nn.Identity,
    "signed": nn.Identity,
}
ENLARGING = ("up", "shuffle", "convt")
WEIGHTED = ("conv", "convt", "batch", "instance", "group", "block")
WORDS = (*PLAIN, *ENLARGING[:2], *WEIGHTED)
STRIDES = {2: "2,0", 3: "2,1,1", 4: "2,1", 5: "2,2,1", 6: "2,2", 8: "2,3"}  # of transposed convolutions that double


@dataclass(frozen=True, eq=False)
class Layer:
    """The tensors of one layer of a file: `key` is what their names begin with."""

    key: str
    tensors: Mapping[str, Tensor]

    @property
    def weight(self) -> Tensor:
        return self.tensors["weight"]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.weight.shape)


@dataclass(frozen=True)
class Word:
    name: str
    options: tuple[str, ...] = ()
    key: str | None = None

    def __str__(self) -> str:
        options = f":{','.join(self.options)}" if self.options else ""
        return f"{self.name}{options}" + (f"={self.key}" if self.key else "")

    def numbers(self, least: int, most: int) -> list[int]:
        if not least <= len(self.options) <= most or not all(option.isdigit() for option in self.options):
            raise MismatchError(f"'{self}': expected {least} to {most} whole numbers after the colon.")
        return [int(option) for option in self.options]


def spoken(words: Sequence[Word]) -> str:
    return " ".join(map(str, words))


def parse_words(text: str) -> list[Word]:
    """Raises MismatchError for a word that does not exist."""
    found = []
    for each in text.split():
        rest, _, key = each.partition("=")
        name, _, options = rest.partition(":")
        if name not in WORDS or (key and name not in WEIGHTED):
            raise MismatchError(f"there is no layer '{each}'; expected words among {', '.join(WORDS)}.")
        found.append(Word(name, tuple(options.split(",")) if options else (), key or None))
    return found


def layers_of(tensors: Mapping[str, Tensor]) -> list[Layer]:
    """The file's layers in the order of their names, numbers as such; a TAESD block is one layer."""
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        key, _, part = name.rpartition(".")
        if part in PARTS:
            groups.setdefault(key, {})[part] = tensor.float()
    found = {key: parts for key, parts in groups.items() if "weight" in parts}
    for key in [key.removesuffix(CHAINED[0]) for key in found if key.endswith(CHAINED[0])]:
        if all(key + suffix in found for suffix in CHAINED):
            inner = {
                f"{i}.{part}": x for i, suffix in enumerate(CHAINED) for part, x in found.pop(key + suffix).items()
            }
            found[key] = inner | {"weight": inner["2.weight"]}
    return [Layer(key, found[key]) for key in sorted(found, key=_natural)]


def _natural(key: str) -> list[tuple[int, str]]:
    return [(int(x), "") if x.isdigit() else (-1, x) for x in re.split(r"[._]|(?<=\D)(?=\d)|(?<=\d)(?=\D)", key)]


def listing(layers: Sequence[Layer]) -> str:
    """Names and shapes, for an error: one line."""
    some = [f"{layer.key} {list(layer.shape)}" for layer in layers[-SHOWN:]]
    return "; ".join(([f"{len(layers) - SHOWN} others"] if len(layers) > SHOWN else []) + some)


def build_tail(words: Sequence[Word], layers: Sequence[Layer]) -> Tail:
    """The blocks that these words describe, with the file's weights.

    Raises MismatchError: a layer that is not there, has another shape than its word needs, or too few layers.
    """
    if not words:
        raise MismatchError("no layers were given; name those of the last blocks, as in 'relu convt:2,1 tanh'.")
    known, free = {layer.key: layer for layer in layers}, list(layers)
    taken: list[Layer | None] = []
    for word in reversed(words):
        if word.name not in WEIGHTED:
            taken.append(None)
        elif word.key is not None:
            if word.key not in known:
                raise MismatchError(f"the file has no '{word.key}.weight'; its layers are {listing(layers)}.")
            taken.append(known[word.key])
            free = free[: free.index(known[word.key])] if known[word.key] in free else free
        elif not free:
            raise MismatchError(f"there are fewer layers than words with weights; the file's are {listing(layers)}.")
        else:
            taken.append(free.pop())
    pairs = list(zip(words, reversed(taken), strict=True))
    modules, channels, factor, entering = [], None, 1, None
    for word, layer in pairs:
        module, reads, gives, times = _module(word, layer)
        if channels is not None and reads is not None and reads != channels:
            assert layer is not None
            raise MismatchError(_misfit(word, layer, reads, channels))
        if word.name == "shuffle" and channels is not None:
            gives = channels // 4
        entering = entering or reads
        channels, factor = gives or channels, factor * times
        modules.append(module)
    if entering is None or channels not in IMAGE:
        raise MismatchError(
            f"the last layer makes {channels} channels; expected 3 or 1. Name the last blocks' layers in their order "
            f"(--layers). The file's are {listing(layers)}."
        )
    if factor == 1:
        raise MismatchError(
            f"'{spoken(words)}' does not enlarge. Fingerprints are of whole blocks: add the layers from the last "
            "enlargement on ('up', 'shuffle' or a 'convt' of stride 2)."
        )
    signed = words[-1].name in ("tanh", "signed")
    first = modules[0]
    statistics = (first.running_mean, first.running_var) if isinstance(first, nn.BatchNorm2d) else None
    assert statistics is None or all(x is not None for x in statistics)
    low, module = -1.0 if signed else 0.0, nn.Sequential(*modules).eval().requires_grad_(False)
    return Tail(module, entering, factor, low, 1.0, statistics)  # type: ignore[arg-type]


def _misfit(word: Word, layer: Layer, reads: int, channels: int) -> str:
    said = f"'{layer.key}' is {list(layer.shape)}: as '{word}' it reads {reads} channels, but {channels} arrive."
    if word.name in ("conv", "convt") and layer.shape[word.name == "conv"] != layer.shape[word.name != "conv"]:
        other = "convt" if word.name == "conv" else "conv"
        if layer.shape[0 if other == "convt" else 1] == channels:
            return f"{said} As '{other}' it would fit."
    return f"{said} Is a layer missing, or 'shuffle' (which takes four channels to one) before it?"


def _module(word: Word, layer: Layer | None) -> tuple[nn.Module, int | None, int | None, int]:
    """The module, channels that it reads and gives (None: whatever comes), and by how much it enlarges."""
    if word.name in PLAIN:
        return PLAIN[word.name](), None, None, 1
    if word.name == "up":
        mode = word.options[0] if word.options else "nearest"
        if mode not in ("nearest", "bilinear"):
            raise MismatchError(f"'{word}': expected up:nearest or up:bilinear.")
        return nn.Upsample(scale_factor=2, mode=mode, align_corners=None if mode == "nearest" else False), None, None, 2
    if word.name == "shuffle":
        return nn.PixelShuffle(2), None, None, 2
    assert layer is not None
    if word.name == "block":
        if "0.weight" not in layer.tensors:
            raise MismatchError(f"'{layer.key}' is no block of conv.0, conv.2 and conv.4; it is {list(layer.shape)}.")
        inner = [{k[2:]: x for k, x in layer.tensors.items() if k.startswith(f"{i}.")} for i in range(3)]
        parts = [_module(Word("conv"), Layer(f"{layer.key}{CHAINED[i]}", x))[0] for i, x in enumerate(inner)]
        block = Block(layer.shape[1])
        block.conv[0], block.conv[2], block.conv[4] = parts
        return block, layer.shape[1], layer.shape[0], 1
    if word.name in ("conv", "convt"):
        return _convolution(word, layer)
    return _norm(word, layer)


def _convolution(word: Word, layer: Layer) -> tuple[nn.Module, int, int, int]:
    weight, bias, kernel = layer.weight, layer.tensors.get("bias"), layer.shape[-1]
    if weight.ndim != 4 or weight.shape[2] != kernel:
        raise MismatchError(f"'{layer.key}' is {list(layer.shape)}; '{word}' needs [·, ·, k, k].")
    transposed = word.name == "convt"
    reads, gives = (weight.shape[0], weight.shape[1]) if transposed else (weight.shape[1], weight.shape[0])
    module: nn.Module
    if transposed:
        if not word.options and kernel not in STRIDES:
            raise MismatchError(
                f"'{layer.key}' has a kernel of {kernel}; say its stride and padding, as in 'convt:2,1'."
            )
        numbers = (word if word.options else Word("convt", tuple(STRIDES[kernel].split(",")))).numbers(2, 3)
        stride, padding, more = (*numbers, 0)[:3]
        if not stride or more >= max(stride, 1):
            raise MismatchError(f"'{word}': the stride is 1 or more, and the output padding is less.")
        module = nn.ConvTranspose2d(reads, gives, kernel, stride, padding, more, bias=bias is not None)
    else:
        stride, padding = 1, *(word.numbers(0, 1) or [kernel // 2])
        module = nn.Conv2d(reads, gives, kernel, 1, padding, bias=bias is not None)
    if bias is not None and len(bias) != gives:
        raise MismatchError(
            f"'{layer.key}' is {list(layer.shape)} with a bias of {len(bias)}; as '{word}' it would have {gives}. "
            f"Is it '{'conv' if transposed else 'convt'}'?"
        )
    _filled(module, layer)
    return module, reads, gives, stride


def _norm(word: Word, layer: Layer) -> tuple[nn.Module, int, int, int]:
    if layer.weight.ndim != 1:
        raise MismatchError(f"'{layer.key}' is {list(layer.shape)}; '{word}' needs one number for each channel.")
    channels = len(layer.weight)
    if word.name == "batch":
        if missing := [part for part in PARTS if part not in layer.tensors]:
            names = ", ".join(f"'{layer.key}.{part}'" for part in missing)
            raise MismatchError(f"the file has no {names}; a batch norm needs it. Is it 'instance' or 'group:8'?")
        try:
            eps = float(word.options[0]) if word.options else EPS
        except ValueError:
            raise MismatchError(f"'{word}': expected the norm's epsilon after the colon, as in 'batch:1e-5'.") from None
        module: nn.Module = nn.BatchNorm2d(channels, eps)
    elif word.name == "instance":
        module = nn.InstanceNorm2d(channels, affine=True)
    else:
        groups = word.numbers(1, 1)[0]
        if not groups or channels % groups:
            raise MismatchError(f"'{word}': {channels} channels ('{layer.key}') do not make {groups} groups.")
        module = nn.GroupNorm(groups, channels)
    _filled(module, layer)
    return module, channels, channels, 1


def _filled(module: nn.Module, layer: Layer) -> None:
    wanted = {name: x for name, x in module.state_dict().items() if name in PARTS}
    found = {name: x for name, x in layer.tensors.items() if name in wanted}
    for name, x in wanted.items():
        if name not in found or found[name].shape != x.shape:
            given = list(found[name].shape) if name in found else "missing"
            raise MismatchError(f"'{layer.key}.{name}' is {given}; expected {list(x.shape)}.")
    if not all(x.isfinite().all() for x in found.values()):
        raise MismatchError(f"'{layer.key}' holds NaN or infinite values.")
    with torch.no_grad():
        module.load_state_dict(found, strict=False)
