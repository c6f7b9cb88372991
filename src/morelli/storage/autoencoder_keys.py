"""Names of weights: which architecture do they belong to, and what are they called in diffusers' models?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

WHOLE = "first_stage_model."  # of the autoencoder within Stable Diffusion's own checkpoints

# Stable Diffusion's own names, and those of early diffusers → today's
RENAMED = (
    (r"\.mid\.block_(\d)\.", lambda m: f".mid_block.resnets.{int(m[1]) - 1}."),
    (r"\.mid\.attn_1\.", r".mid_block.attentions.0."),
    (r"\.norm_out\.", r".conv_norm_out."),
    (r"\.down\.(\d+)\.block\.", r".down_blocks.\1.resnets."),
    (r"\.down\.(\d+)\.downsample\.", r".down_blocks.\1.downsamplers.0."),
    (r"\.nin_shortcut\.", r".conv_shortcut."),
    (r"(attentions\.0)\.norm\.", r"\1.group_norm."),
    (r"(attentions\.0)\.(?:q|query)\.", r"\1.to_q."),
    (r"(attentions\.0)\.(?:k|key)\.", r"\1.to_k."),
    (r"(attentions\.0)\.(?:v|value)\.", r"\1.to_v."),
    (r"(attentions\.0)\.(?:proj_out|proj_attn)\.", r"\1.to_out.0."),
)

LOOKS_LIKE = (  # what a key begins with or holds → what the file probably is
    (r"^(decoder|encoder)\.(up_blocks|down_blocks|mid_block)\.", "an AutoencoderKL"),
    (r"^(decoder|encoder)\.layers\.", "an AutoencoderTiny"),
    (r"^(19\.weight|3\.conv\.0\.weight)$", "a plain TAESD decoder or encoder: give `…_decoder.safetensors`"),
    (r"^(quantize|vq)", "a VQ model, which is not read"),
    (r"^(time_embed|down_blocks\.|model\.diffusion_model)", "a denoiser; the pipeline's `vae` is wanted"),
    (r"text_model|^encoder\.block\.", "a text encoder; the pipeline's `vae` is wanted"),
    (r"transformer_blocks", "a diffusion transformer; the pipeline's `vae` is wanted"),
    (r"lora", "a LoRA, which changes the denoiser; the pipeline's `vae` is wanted"),
)


def architecture(names: Iterable[str]) -> str:
    """A sentence: what a file with such weights probably is."""
    known = list(names)
    for pattern, what in LOOKS_LIKE:
        if any(re.search(pattern, name) for name in known):
            return f"By its names it is {what}."
    return f"Its {len(known)} names, such as {', '.join(known[:3]) or 'none'}, are of no architecture that we know."


def is_plain(weights: Mapping[str, Tensor]) -> bool:
    """Whether these are a TAESD decoder's own keys: places in a sequence."""
    return "1.weight" in weights and all(re.match(r"\d+\.", name) for name in weights)


def is_kl(weights: Mapping[str, Tensor]) -> bool:
    return any(name.startswith("decoder.up_blocks.") for name in weights)


def kl_keys(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under today's names; those of an attention that was written as 1×1 convolutions as matrices."""
    if any(name.startswith(WHOLE) for name in weights):
        weights = {name.removeprefix(WHOLE): x for name, x in weights.items() if name.startswith(WHOLE)}
    levels = {int(m[1]) for name in weights if (m := re.match(r"decoder\.up\.(\d+)\.", name))}
    found = {}
    for name, tensor in weights.items():
        for pattern, fresh in RENAMED:
            name = re.sub(pattern, fresh, name)
        if m := re.match(r"decoder\.up\.(\d+)\.(block|upsample)\.(.*)", name):
            part = "upsamplers.0" if m[2] == "upsample" else "resnets"
            name = f"decoder.up_blocks.{max(levels) - int(m[1])}.{part}.{m[3]}"
        flat = re.search(r"attentions\.0\.to_\w+(\.0)?\.weight$", name) and tensor.ndim == 4
        found[name] = tensor[:, :, 0, 0] if flat else tensor
    return {name: tensor for name, tensor in found.items() if not name.startswith(("loss.", "model_ema."))}


def config_of(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The config of an AutoencoderKL, from the shapes of its weights; 32 groups in every norm."""
    blocks = sorted({int(m[1]) for name in weights if (m := re.match(r"decoder\.up_blocks\.(\d+)\.", name))})
    widths = [len(weights.get(f"decoder.up_blocks.{i}.resnets.0.conv2.weight", ())) or 64 for i in reversed(blocks)]
    resnets = {m[1] for name in weights if (m := re.match(r"decoder\.up_blocks\.0\.resnets\.(\d+)\.", name))}
    first = weights.get("decoder.conv_in.weight")
    return {
        "_class_name": "AutoencoderKL",
        "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "layers_per_block": max(1, len(resnets) - 1),
        "latent_channels": 4 if first is None else first.shape[1],
        "norm_num_groups": 32,
        "use_quant_conv": "quant_conv.weight" in weights,
        "use_post_quant_conv": "post_quant_conv.weight" in weights,
        "mid_block_add_attention": "decoder.mid_block.attentions.0.to_q.weight" in weights,
    }


def tiny_halves(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Encoder and decoder of an AutoencoderTiny under TAESD's own keys; empty where there is none."""
    halves: dict[str, dict[str, Tensor]] = {"encoder": {}, "decoder": {}}
    for name, tensor in weights.items():
        if m := re.match(r"(encoder|decoder)\.layers\.(\d+)\.(.*)", name):
            halves[m[1]][f"{int(m[2]) + (m[1] == 'decoder')}.{m[3]}"] = tensor
    return halves["encoder"], halves["decoder"]
