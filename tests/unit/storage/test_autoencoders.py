"""Autoencoders from disk: equal to diffusers' own, under old names too, and wrong ones are told what they are."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from toys import write_tiny_autoencoder

from morelli.errors import MismatchError, UnreadableBundle
from morelli.storage.autoencoders import load_autoencoder

DATA = Path("../shared/data/generators")
LEVELS = 4
KL = {
    "block_out_channels": (8, 8, 16, 16),
    "down_block_types": ("DownEncoderBlock2D",) * LEVELS,
    "up_block_types": ("UpDecoderBlock2D",) * LEVELS,
    "norm_num_groups": 4,
}
LATENTS, IMAGES = torch.randn(2, 4, 2, 3), torch.rand(2, 3, 16, 24) * 2 - 1


@pytest.fixture(scope="module")
def kl(tmp_path_factory: pytest.TempPathFactory):
    """diffusers' model, and the folder that it wrote."""
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed: pip install 'morelli[diffusers]'")
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("kl")
    model = diffusers.AutoencoderKL(**KL).eval()
    model.save_pretrained(folder)
    return model, folder


@torch.no_grad()
def test_a_folder_of_diffusers(kl) -> None:
    model, folder = kl
    found = load_autoencoder(folder)
    torch.testing.assert_close(found.decode(LATENTS), model.decode(LATENTS).sample.clamp(-1, 1), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found.encode(IMAGES), model.encode(IMAGES).latent_dist.mean, rtol=1e-3, atol=1e-5)
    assert (found.channels, found.factor, found.low, found.high) == (4, 8, -1.0, 1.0)
    assert found.spread == pytest.approx(1 / 0.18215)


def test_a_pipelines_folder(kl, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    (tmp_path / "vae").symlink_to(kl[1])
    assert torch.equal(load_autoencoder(tmp_path).decode(LATENTS), load_autoencoder(kl[1]).decode(LATENTS))


def own_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As Stable Diffusion's checkpoints call them."""
    found = {}
    for name, tensor in weights.items():
        name = re.sub(
            r"decoder\.up_blocks\.(\d)\.resnets", lambda m: f"decoder.up.{LEVELS - 1 - int(m[1])}.block", name
        )
        name = re.sub(
            r"decoder\.up_blocks\.(\d)\.upsamplers\.0", lambda m: f"decoder.up.{LEVELS - 1 - int(m[1])}.upsample", name
        )
        name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
        name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
        for today, then in (
            *(("mid_block.attentions.0.group_norm", "mid.attn_1.norm"), ("conv_norm_out", "norm_out")),
            *((f"mid_block.attentions.0.to_{x}.", f"mid.attn_1.{x}.") for x in "qkv"),
            *(("mid_block.attentions.0.to_out.0", "mid.attn_1.proj_out"), ("conv_shortcut", "nin_shortcut")),
        ):
            name = name.replace(today, then)
        found[name] = tensor[:, :, None, None] if "attn_1" in name and tensor.ndim == 2 else tensor
    return found


def test_the_names_of_whole_checkpoints_and_of_early_diffusers(kl, tmp_path: Path) -> None:
    weights = load_file(kl[1] / "diffusion_pytorch_model.safetensors")
    config = (kl[1] / "config.json").read_text()
    old = {f"first_stage_model.{name}": tensor.contiguous() for name, tensor in own_names(weights).items()}
    assert set(old) & {f"first_stage_model.{name}" for name in weights} != set(old)
    early = {
        name.replace(".to_q.", ".query.").replace(".to_out.0.", ".proj_attn."): tensor
        for name, tensor in weights.items()
    }
    for kind, renamed in (("own", old | {"model.diffusion_model.out.weight": torch.zeros(1)}), ("early", early)):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "config.json").write_text(config)
        save_file(renamed, tmp_path / kind / "model.safetensors")
        assert torch.equal(load_autoencoder(tmp_path / kind).decode(LATENTS), load_autoencoder(kl[1]).decode(LATENTS))


def test_a_file_alone_tells_its_config(tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed: pip install 'morelli[diffusers]'")
    model = diffusers.AutoencoderKL(
        **KL
        | {"block_out_channels": (32, 32), "norm_num_groups": 32}
        | {name: KL[name][:2] for name in ("down_block_types", "up_block_types")}
    )
    save_file(model.state_dict(), tmp_path / "vae.safetensors")
    found = load_autoencoder(tmp_path / "vae.safetensors")
    assert found.factor == 2
    with torch.no_grad():
        expected = model.eval().decode(LATENTS).sample.clamp(-1, 1)
    torch.testing.assert_close(found.decode(LATENTS), expected, rtol=1e-3, atol=1e-5)


@torch.no_grad()
def test_the_tiny_autoencoder_of_diffusers_is_read_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed: pip install 'morelli[diffusers]'")
    model = diffusers.AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4).eval()
    model.save_pretrained(tmp_path)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    found = load_autoencoder(tmp_path)
    decoded = model.decode(LATENTS).sample.clamp(-1, 1) / 2 + 0.5  # diffusers stretches images
    torch.testing.assert_close(found.decode(LATENTS), decoded, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found.encode(IMAGES / 2 + 0.5), model.encode(IMAGES).latents, rtol=1e-3, atol=1e-5)
    alone = load_autoencoder(tmp_path / "diffusion_pytorch_model.safetensors")
    assert torch.equal(alone.decode(LATENTS), found.decode(LATENTS))


def test_plain_files_need_no_diffusers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    decoder = write_tiny_autoencoder(tmp_path)
    assert load_autoencoder(decoder).encoder is not None
    (tmp_path / "toy_encoder.safetensors").unlink()
    assert load_autoencoder(decoder).encoder is None


@pytest.mark.parametrize("name", ["taesd", "taesdxl"])
def test_other_peoples_tiny_autoencoders(name: str) -> None:
    file = DATA / f"{name}_decoder.safetensors"
    if not file.exists():
        pytest.skip(f"there is no {file}")
    found = load_autoencoder(file)
    image = torch.linspace(0, 1, 32).expand(1, 3, 32, 32)
    assert (found.decode(found.encode(image)) - image).abs().mean() < 0.05


def test_diffusers_missing(kl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MismatchError, match=re.escape("pip install 'morelli[diffusers]'")):
        load_autoencoder(kl[1])


def test_wrong_weights_are_named(kl, tmp_path: Path) -> None:
    weights = load_file(kl[1] / "diffusion_pytorch_model.safetensors")
    (tmp_path / "config.json").write_text((kl[1] / "config.json").read_text())
    del weights["decoder.conv_in.bias"]
    weights["decoder.conv_out.weight"] = torch.zeros(1, 8, 3, 3)
    weights["lora"] = torch.zeros(1)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(MismatchError) as caught:
        load_autoencoder(tmp_path)
    for words in (
        "1 weights are missing (decoder.conv_in.bias)",
        "decoder.conv_out.weight is (1, 8, 3, 3), expected (3, 8, 3, 3)",
        "belong to something else (lora)",
        "it is an AutoencoderKL",
    ):
        assert words in str(caught.value)


def test_other_models_are_told_what_they_are(tmp_path: Path) -> None:
    names = {
        "a denoiser": "down_blocks.0.resnets.0.conv1.weight",
        "a text encoder": "text_model.embeddings.weight",
        "of no architecture": "generator.4.weight",
        "a plain TAESD decoder or encoder": "3.conv.0.weight",
    }
    for i, (what, name) in enumerate(names.items()):
        save_file({name: torch.zeros(1)}, tmp_path / f"{i}.safetensors")
        with pytest.raises(MismatchError, match=what):
            load_autoencoder(tmp_path / f"{i}.safetensors")


def test_what_is_not_there_or_not_read(tmp_path: Path) -> None:
    with pytest.raises(UnreadableBundle, match="does not exist"):
        load_autoencoder(tmp_path / "none.safetensors")
    with pytest.raises(UnreadableBundle, match=r"no config.json"):
        load_autoencoder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "VQModel"}))
    with pytest.raises(MismatchError, match="holds a VQModel"):
        load_autoencoder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "AutoencoderTiny", "act_fn": "gelu"}))
    (tmp_path / "model.bin").write_bytes(b"pickle")
    with pytest.raises(UnreadableBundle, match="pickled weights"):
        load_autoencoder(tmp_path)
    save_file({"decoder.layers.0.weight": torch.zeros(8, 4, 3, 3)}, tmp_path / "model.safetensors")
    with pytest.raises(MismatchError, match="act_fn 'gelu'"):
        load_autoencoder(tmp_path)
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(UnreadableBundle, match="no safetensors file"):
        load_autoencoder(tmp_path / "x.safetensors")
