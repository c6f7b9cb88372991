"""What a file of weights alone says of a decoder's last blocks: names, shapes, and positions that are left out.

In a `Sequential` layers without weights leave gaps in the numbering. A gap of one after a convolution or normalisation
is an activation, of two an activation and an enlargement; after a TAESD block a gap of one is an enlargement. Which
activation, no file says: ReLU inside; at the end tanh after a transposed convolution, else none. Whoever knows better
says so in words (`decoder_layers.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from morelli.errors import MismatchError
from morelli.generators.decoder_layers import ENLARGING, IMAGE, Layer, Word, listing

BLOCKS = 2  # enlargements; Yang et al. (arXiv 2307.15977) find the traces in the last two
DECODERS = ("decoder", "decode", "generator", "netg", "gen")
TRANSPOSED = ("convt", "deconv", "transpose", "upconv")
OTHERS = {  # in a name → what such a file holds, and what to do
    "lora": "adapters, not a decoder; fingerprints certify the decoder. Give the base model's decoder",
    "time_embed": "a denoising network; fingerprints certify the decoder behind it. Give the decoder (VAE)",
    "time_mlp": "a denoising network; fingerprints certify the decoder behind it. Give the decoder (VAE)",
    "up_blocks": "a U-Net or AutoencoderKL with residual blocks, which no weights are built into. Enrol pictures of it",
    "synthesis": "a style-based generator, whose weights depend on the style. Enrol pictures of it",
    "torgb": "a style-based generator, whose images are sums of several layers. Enrol pictures of it",
    "attn": "a network with attention, which is not built from weights. Enrol pictures of it",
}


def decoder_only(layers: Sequence[Layer]) -> list[Layer]:
    """Without an encoder or discriminator that the same file may hold."""
    mine = [layer for layer in layers if set(layer.key.lower().split(".")) & set(DECODERS)]
    return mine or list(layers)


def refuse_others(layers: Sequence[Layer]) -> None:
    """Raises MismatchError for files that hold something else, as far as names tell."""
    for layer in layers:
        for sign, what in OTHERS.items():
            if sign in layer.key.lower():
                raise MismatchError(
                    f"'{layer.key}' {list(layer.shape)} looks like {what}, or say the layers (--layers)."
                )


def guess_words(layers: Sequence[Layer], upsample: str = "nearest") -> list[Word]:
    """The words of the last two enlarging blocks. Raises MismatchError where names and shapes do not say enough."""
    refuse_others(layers)
    convolutions = [layer for layer in layers if layer.weight.ndim == 4]
    ends = [layer for layer in convolutions if "0.weight" not in layer.tensors and set(layer.shape[:2]) & set(IMAGE)]
    if not ends:
        raise _unclear(layers, "no convolution makes 3 channels or 1")
    if layers[-1] is not ends[-1]:
        stray = layers[layers.index(ends[-1]) + 1].key
        raise _unclear(layers, f"'{stray}' comes after '{ends[-1].key}', which makes the picture, by name")
    last = layers[-1]
    end = _convolution(last, last.shape[1] if last.shape[1] in IMAGE else last.shape[0])
    words, count = [Word("tanh" if end.name == "convt" else "unit")], 0
    channels = last.shape[0] if end.name == "convt" else last.shape[1]
    words.insert(0, end)
    count += _enlarges(end, last)
    for before, after in reversed(list(zip(layers, layers[1:], strict=False))):
        if before.weight.ndim == 2:
            break
        words[:0] = between = _between(layers, before, after, upsample)
        count += sum(word.name in ENLARGING for word in between)
        if count >= BLOCKS and before.weight.ndim != 1:
            break
        word, channels = _word(layers, before, channels)
        words.insert(0, word)
        count += _enlarges(word, before)
    if not count:
        raise _unclear(layers, "nothing enlarges")
    return words


def _word(layers: Sequence[Layer], layer: Layer, channels: int) -> tuple[Word, int]:
    """The layer's word, and how many channels it reads where it gives so many."""
    if "0.weight" in layer.tensors:
        return Word("block"), channels
    if layer.weight.ndim == 4:
        word = _convolution(layer, channels)
        return word, layer.shape[0] if word.name == "convt" else layer.shape[1]
    if layer.weight.ndim == 1 and "running_mean" in layer.tensors:
        return Word("batch"), channels
    what = "a normalisation without statistics" if layer.weight.ndim == 1 else f"a layer of {list(layer.shape)}"
    raise _unclear(layers, f"'{layer.key}' is {what}")


def _convolution(layer: Layer, gives: int) -> Word:
    """Transposed or not: by which side has the channels that are given on, else by name, else by an even kernel."""
    plain, transposed = layer.shape[0] == gives, layer.shape[1] == gives
    if len(layer.tensors.get("bias", ())) and layer.shape[0] != layer.shape[1]:
        plain, transposed = len(layer.tensors["bias"]) == layer.shape[0], len(layer.tensors["bias"]) == layer.shape[1]
    if plain and transposed:
        transposed = any(sign in layer.key.lower() for sign in TRANSPOSED) or not layer.shape[-1] % 2
    return Word("convt" if transposed else "conv")


def _enlarges(word: Word, layer: Layer) -> bool:
    return word.name == "convt" and layer.shape[-1] > 1


def _between(layers: Sequence[Layer], before: Layer, after: Layer, upsample: str) -> list[Word]:
    """What has no weights: by the gap in the numbers, or, where there are none, an activation before a convolution."""
    if after.weight.ndim == 1:
        return []
    gap, up = _gap(before.key, after.key), Word("up", () if upsample == "nearest" else (upsample,))
    if gap is None:
        return [Word("relu")]
    block = "0.weight" in before.tensors
    if gap > 2 - block:
        raise _unclear(layers, f"{gap} layers without weights lie between '{before.key}' and '{after.key}'")
    if block:
        return [up] * gap
    return [[], [Word("relu")], [Word("relu"), up]][gap]


def _gap(before: str, after: str) -> int | None:
    """Numbers left out between two layers of one `Sequential`; None where names do not say."""
    one, other = before.rpartition("."), after.rpartition(".")
    if one[0] != other[0] or not (one[2].isdigit() and other[2].isdigit()):
        return None
    return int(other[2]) - int(one[2]) - 1


def _unclear(layers: Sequence[Layer], why: str) -> MismatchError:
    return MismatchError(
        f"names and shapes do not say what the last blocks are ({why}). Say their layers in order, for example "
        f"--layers 'relu convt:2,1 relu convt:2,1 tanh'. The file's are {listing(layers)}."
    )
