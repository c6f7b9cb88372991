"""The models and their spectra: real ones, which no bank was trained for, and those of the bank.

What was computed is kept in runs/spectra under the digest of everything it depends on.
"""

import runpy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import protocol as p
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from morelli.features.denoiser import Denoiser
from morelli.features.traces import FLOOR
from morelli.generators.bank_training import Trained
from morelli.generators.synthetic import MODULATED, PAPER, PATCH, Blueprint
from morelli.generators.tiny_autoencoder import tiny_decoder, tiny_encoder
from morelli.numerics.spectrum import azimuthal, power
from morelli.storage.bank import SUFFIX, read_shard
from morelli.storage.generators import shipped_generators
from morelli.storage.images import to_eight_bits
from morelli.storage.networks import SHIPPED, default_denoiser

COUNT, SEED, BATCH = 100, 0, 50
BANK, KEPT = p.ROOT / "runs/bank", p.ROOT / "runs/spectra"
WEIGHTS = p.DATA / "generators"
UNIT = p.morelli.SampleSpec((3, 64, 64), 0.0, 1.0)
VAES = ("celeba64_vae", "celeba64_betavae")
STEP = 6  # every sixth held-out photograph; the tiny autoencoders begin at the third


@dataclass(frozen=True)
class Model:
    """A model and how to get `COUNT` images of it, uint8 [n, 3, 64, 64].

    Attributes:
        group: of real models, the architecture and what it was trained on; of synthetic ones, their family.
        digest: of all that decides its images.
    """

    name: str
    group: str
    digest: str
    images: Callable[[], Tensor]
    trained: Trained | None = None


@dataclass(frozen=True, eq=False)
class Spectra:
    """Mean log spectra: curves [m, 33] over all directions, planes [m, 64, 33] with frequencies as `power` has them."""

    models: list[Model]
    curves: Tensor
    planes: Tensor

    def where(self, chosen: Callable[[Model], bool]) -> Tensor:
        """Curves of some models."""
        return self.curves[[chosen(model) for model in self.models]]


@cache
def denoiser() -> Denoiser:
    return default_denoiser()


@cache
def photographs() -> Tensor:
    """Those that neither bank nor denoiser was trained on."""
    return runpy.run_path(str(p.ROOT / "experiments/bank/run.py"))["training_photographs"](held_out=True)


@torch.no_grad()
def spectra(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """uint8 [n, 3, 64, 64] → log spectra of the residuals, mean over channels: curves [n, 33], planes [n, 64, 33]."""
    found = []
    for some in pixels.split(BATCH):
        found.append(power(denoiser()(some.float() / 255) * 255))
    powers = torch.cat(found)
    return ((azimuthal(powers) + FLOOR).log().mean(1), (powers + FLOOR).log().mean(1))


def of(models: list[Model]) -> Spectra:
    """Mean spectra of every model; what is known already is read."""
    KEPT.mkdir(parents=True, exist_ok=True)
    common = sha256((SHIPPED / "denoiser/manifest.json").read_bytes() + photographs().numpy().tobytes()).hexdigest()
    found = []
    for i, model in enumerate(models):
        path = (
            KEPT / f"{sha256(f'{common} {COUNT} {SEED} {FLOOR} {model.digest}'.encode()).hexdigest()[:32]}.safetensors"
        )
        if not path.exists():
            curves, planes = spectra(model.images())
            save_file({"curve": curves.mean(0), "plane": planes.mean(0)}, path)
            if i % 50 == 49:
                print(f"{i + 1} of {len(models)} models", flush=True)
        found.append(load_file(path))
    return Spectra(models, *(torch.stack([one[name] for one in found]).double() for name in ("curve", "plane")))


# The bank


def synthetic() -> list[Model]:
    return [model for shard in sorted(BANK.glob(f"*{SUFFIX}")) for model in _seeds(shard)]


def _seeds(shard: Path) -> Iterator[Model]:
    digest = sha256((shard / "manifest.json").read_bytes()).hexdigest()
    for one in read_shard(shard):
        group, name = family(one.blueprint), f"{one.blueprint.name}#{one.seed}"
        yield Model(name, group, f"{digest} {one.seed}", lambda one=one: through(one.module(), 0), one)


def family(blueprint: Blueprint) -> str:
    """ "paper", or what a blueprint has that the paper's have not."""
    if blueprint in PAPER:
        return "paper"
    if blueprint.normalisation == MODULATED or blueprint.upsampling == PATCH:
        return "modulated" if blueprint.normalisation == MODULATED else "patch"
    return "residual" if blueprint.residual else "latent" if blueprint.latent else blueprint.upsampling


@torch.no_grad()
def through(module: nn.Module, first: int) -> Tensor:
    """Held-out photographs through an autoencoder, as files hold them."""
    chosen = photographs()[first::STEP][:COUNT].float() / 255
    return to_eight_bits(torch.cat([module(some) for some in chosen.split(BATCH)]).clamp(0, 1), UNIT)


# Real models


def real() -> list[Model]:
    """Small GANs trained here, the faces' where they are there, and what other people trained."""
    gans = {name: p.loaded(name) for name in shipped_generators()} | p.generators("seeds")
    gans |= {f"faces-{path.stem}": p.loaded(path) for path in sorted((p.ROOT / "runs/celeba64").glob("*.generator"))}
    found = [
        Model(name, _group(name), gan.digest(), lambda gan=gan: to_eight_bits(gan.samples(COUNT, SEED), p.SPEC))
        for name, gan in gans.items()
    ]
    for name in VAES:
        gan = vae(name)
        draw = lambda gan=gan: to_eight_bits(gan.samples(COUNT, SEED), UNIT)  # noqa: E731
        found.append(Model(name, "VAEs of faces", gan.digest(), draw))
    for name in ("taesd", "taesdxl"):
        digest = sha256((WEIGHTS / f"{name}_decoder.safetensors").read_bytes()).hexdigest()
        draw = lambda name=name: through(tiny_autoencoder(name), STEP // 2)  # noqa: E731
        found.append(Model(name, "latent decoders", digest, draw))
    return found


def _group(name: str) -> str:
    """ "clothing-dcgan-b" and "dcgan-0" were trained on the same photographs."""
    if name.startswith("faces"):
        return "GANs of faces"
    return f"{next(family for family in p.FAMILIES if family in name)} of clothes"


def vae(name: str) -> p.morelli.TorchGenerator:
    decoder = runpy.run_path(str(p.ROOT / "experiments/third_party/run.py"))["vae_decoder"]
    return p.morelli.TorchGenerator(decoder(f"{name}.safetensors"), (10,), announce=lambda line: None)


def tiny_autoencoder(name: str) -> nn.Module:
    """TAESD or TAESDXL: [n, 3, h, w] in [0, 1] → encoded and decoded again."""
    halves = {"encoder": tiny_encoder(), "decoder": tiny_decoder()}
    for half, module in halves.items():
        weights = load_file(WEIGHTS / f"{name}_{half}.safetensors")
        module.load_state_dict({key: tensor.float() for key, tensor in weights.items()})
    return nn.Sequential(*halves.values()).eval()
