"""Autoencoders of latent-diffusion models from disk: diffusers' folders, single safetensors files, plain TAESD files.

Only JSON and safetensors are read; pickled checkpoints are refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from morelli.errors import MismatchError, UnreadableBundle
from morelli.generators.latent_decoder import Autoencoder
from morelli.generators.tiny_autoencoder import SIDE, tiny_decoder, tiny_encoder
from morelli.storage.autoencoder_keys import architecture, config_of, is_kl, is_plain, kl_keys, tiny_halves

CONFIG, PIPELINE = "config.json", "model_index.json"
INSTALL = "pip install 'morelli[diffusers]'"
SHOWN = 4  # names in an error

Weights = dict[str, Tensor]


def load_autoencoder(path: str | Path) -> Autoencoder:
    """An autoencoder in float32, on the CPU, in evaluation mode.

    Args:
        path: a folder as diffusers writes it (`config.json` of an `AutoencoderKL` or `AutoencoderTiny`, and a
            safetensors file), a pipeline's folder with such a `vae` folder, a safetensors file of either, also with the
            keys of Stable Diffusion's own checkpoints, or a plain TAESD decoder, whose encoder is looked for beside it
            (`taesd_decoder.safetensors`, `taesd_encoder.safetensors`).
    Raises:
        UnreadableBundle: nothing is there, or it is not read.
        MismatchError: weights are missing, misshapen or of another architecture; or diffusers is missing.
    """
    path = Path(path)
    if path.is_dir():
        return _from_folder(path)
    weights = _weights(path)
    if is_plain(weights):
        return _plain(path, weights)
    return _from_weights(path, weights, None)


def _from_folder(folder: Path) -> Autoencoder:
    if (folder / PIPELINE).exists():
        return _from_folder(folder / "vae")
    if not (folder / CONFIG).is_file():
        raise UnreadableBundle(
            f"{folder} has no {CONFIG}; expected a folder of diffusers', with {CONFIG} and a safetensors file. "
            "Of a plain file give the file itself."
        )
    try:
        config = json.loads((folder / CONFIG).read_text())
        kind = str(config.get("_class_name"))
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UnreadableBundle(
            f"{folder / CONFIG} is no JSON object ({type(error).__name__}). Copy it again."
        ) from None
    if kind not in ("AutoencoderKL", "AutoencoderTiny"):
        raise MismatchError(
            f"{folder} holds a {kind}; expected an AutoencoderKL or AutoencoderTiny: a pipeline's `vae`."
        )
    files = sorted(folder.glob("*.safetensors"), key=lambda file: (len(file.name), file.name))
    if not files:
        raise UnreadableBundle(
            f"{folder} has no safetensors file; pickled weights (.bin, .ckpt, .pt) are never read. Save the model with "
            "`save_pretrained(folder, safe_serialization=True)`."
        )
    return _from_weights(folder, _weights(files[0]), config)


def _weights(file: Path) -> Weights:
    if not file.is_file():
        raise UnreadableBundle(f"{file} does not exist; expected a folder of diffusers' or a safetensors file.")
    try:
        found = load_file(file)
    except (SafetensorError, OSError) as error:
        raise UnreadableBundle(f"{file} is no safetensors file ({str(error)[:80]}). Pickles are never read.") from None
    return {name: tensor.float() for name, tensor in found.items()}


def _from_weights(path: Path, weights: Weights, config: Mapping[str, Any] | None) -> Autoencoder:
    weights = kl_keys(weights)
    kind = None if config is None else config["_class_name"]
    if kind == "AutoencoderKL" or (kind is None and is_kl(weights)):
        return _kl(path, weights, config or config_of(weights))
    halves = tiny_halves(weights)
    if kind == "AutoencoderTiny" or (kind is None and halves[1]):
        return _tiny(path, halves, config or {})
    raise MismatchError(
        f"{path} is no autoencoder that is read: {architecture(weights)} Expected an AutoencoderKL, an "
        "AutoencoderTiny or a plain TAESD decoder."
    )


def _kl(path: Path, weights: Weights, config: Mapping[str, Any]) -> Autoencoder:
    try:
        from diffusers import AutoencoderKL
    except Exception as error:  # also where it is there but broken
        raise MismatchError(
            f"{path} holds an AutoencoderKL, which diffusers builds, and that cannot be imported "
            f"({type(error).__name__}). Install it: {INSTALL}"
        ) from error
    try:
        with torch.device("meta"):  # nothing of the size that is asked for, before the weights are known to be there
            planned = AutoencoderKL.from_config(dict(config))  # type: ignore[no-untyped-call]
        _refuse_misfits(planned, weights, _wanted(planned, weights), path, "AutoencoderKL")
        model = AutoencoderKL.from_config(dict(config))  # type: ignore[no-untyped-call]
    except MismatchError:
        raise
    except Exception as error:  # whatever diffusers makes of a foreign config
        reason = str(error).splitlines()[0][:160]
        raise MismatchError(f"{path}: diffusers cannot build an AutoencoderKL from its config ({reason}).") from error
    model.set_default_attn_processor()
    has_encoder = _has_encoder(weights)
    _fill(model, weights, _wanted(model, weights), path, "AutoencoderKL")
    model = model.eval().requires_grad_(False)
    factor = 2 ** (len(model.config.block_out_channels) - 1)
    spread = 1 / float(model.config.scaling_factor or 1)
    encoder = _KlEncoder(model) if has_encoder else None
    channels = int(model.config.latent_channels)
    return Autoencoder(_KlDecoder(model), encoder, "inner.conv_out", channels, factor, spread=spread)


def _has_encoder(weights: Weights) -> bool:
    return any(name.startswith("encoder.") for name in weights)


def _wanted(model: nn.Module, weights: Weights) -> list[str]:
    half = ("encoder.", "quant_conv.")
    return [name for name in model.state_dict() if _has_encoder(weights) or not name.startswith(half)]


class _KlEncoder(nn.Module):
    """Images in [−1, 1] → the mean of their latents."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.inner, self.quant = model.encoder, model.quant_conv

    def forward(self, images: Tensor) -> Tensor:
        moments: Tensor = self.inner(images)
        moments = moments if self.quant is None else self.quant(moments)
        return moments[:, : moments.shape[1] // 2]


class _KlDecoder(nn.Module):
    """Latents → images in [−1, 1], not clamped."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.inner, self.quant = model.decoder, model.post_quant_conv

    def forward(self, latents: Tensor) -> Tensor:
        images: Tensor = self.inner(latents if self.quant is None else self.quant(latents))
        return images


def _plain(path: Path, weights: Weights) -> Autoencoder:
    """A TAESD decoder, and the encoder beside it."""
    encoder: Weights = {}
    beside = path.with_name(path.name.replace("decoder", "encoder"))
    if beside != path and beside.is_file():
        encoder = _weights(beside)
    return _tiny(path, (encoder, weights), {})


def _tiny(path: Path, halves: tuple[Weights, Weights], config: Mapping[str, Any]) -> Autoencoder:
    """Images lie in [0, 1] here; diffusers stretches them to [−1, 1], which files do not show."""
    expected = {"act_fn": "relu", "upsample_fn": "nearest", "upsampling_scaling_factor": 2, "out_channels": 3}
    for name, value in expected.items():
        if config.get(name, value) != value:
            raise MismatchError(f"{path}: an AutoencoderTiny with {name} {config[name]!r}; only {value!r} is read.")
    encoder, decoder = halves
    first = decoder.get("1.weight", torch.zeros(64, 4, 3, 3))
    width, latents = first.shape[:2]
    down, up = (tuple(config.get(f"num_{half}_blocks", ())) for half in ("encoder", "decoder"))
    decoding = tiny_decoder(latents, width, up or (3, 3, 3, 1))
    _fill(decoding, decoder, list(decoding.state_dict()), path, "TAESD decoder")
    encoding = None
    if encoder:
        encoding = tiny_encoder(latents, width, down or (1, 3, 3, 3))
        _fill(encoding, encoder, list(encoding.state_dict()), path, "TAESD encoder")
        encoding = encoding.eval().requires_grad_(False)
    last, factor = str(len(decoding) - 1), SIDE if not up else 2 ** (len(up) - 1)
    return Autoencoder(decoding.eval().requires_grad_(False), encoding, last, latents, factor, 0.0, 1.0)


def _fill(module: nn.Module, weights: Weights, wanted: list[str], path: Path, what: str) -> None:
    """Load exactly `wanted`. Raises MismatchError that names what is missing, left over or of another shape."""
    _refuse_misfits(module, weights, wanted, path, what)
    whole = len(wanted) == len(module.state_dict())
    module.load_state_dict({name: weights[name] for name in wanted}, strict=whole)


def _refuse_misfits(module: nn.Module, weights: Weights, wanted: list[str], path: Path, what: str) -> None:
    own = module.state_dict()
    missing = [name for name in wanted if name not in weights]
    wrong = [name for name in wanted if name in weights and weights[name].shape != own[name].shape]
    left = [name for name in weights if name not in own]
    if not (missing or wrong or left):
        return
    said = [f"{len(missing)} weights are missing ({_listed(missing)})"] if missing else []
    if wrong:
        shapes = [f"{name} is {tuple(weights[name].shape)}, expected {tuple(own[name].shape)}" for name in wrong]
        said.append(f"{len(wrong)} have another shape ({_listed(shapes)})")
    if left:
        said.append(f"{len(left)} belong to something else ({_listed(left)})")
    raise MismatchError(f"{path} does not fit a {what}: {'; '.join(said)}. {architecture(weights)}")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
