"""A generator that other people trained: the MNIST WGAN-GP, or one of two CelebA VAEs that differ only in their loss.

Run: python experiments/third_party/run.py
"""

import json
import os
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

import morelli
from morelli.numerics.metrics import auroc
from morelli.storage.samples import read_all

DATA = Path(os.environ.get("MORELLI_DATA", "../shared/data"))
WEIGHTS = DATA / "generators"
PHOTOGRAPHS = DATA / "celeba64"
HERE = Path(__file__).parent
SEEDS = (0, 1, 2)


def vae_decoder(file: str) -> nn.Module:
    """z ∈ R¹⁰ → 64×64 RGB: three dense layers, four transposed convolutions, sigmoid."""
    names = ["lin1", "lin2", "lin3", "convT_64", "convT1", "convT2", "convT3"]
    dense = [nn.Linear(10, 256), nn.Linear(256, 256), nn.Linear(256, 512)]
    convolutions = [nn.ConvTranspose2d(32, 32, 4, 2, 1) for _ in range(3)] + [nn.ConvTranspose2d(32, 3, 4, 2, 1)]
    weights = load_file(WEIGHTS / file)
    layers: list[nn.Module] = []
    for name, layer in zip(names, dense + convolutions, strict=True):
        layer.load_state_dict({key: weights[f"decoder.{name}.{key}"] for key in ("weight", "bias")})
        layers += [layer, nn.ReLU()] + ([nn.Unflatten(1, (32, 4, 4))] if name == "lin3" else [])
    return nn.Sequential(*layers[:-1], nn.Sigmoid())


def mnist_wgan() -> nn.Module:
    """z ∈ R⁶⁴ → 28×28 grey: four transposed convolutions, tanh."""
    weights = load_file(WEIGHTS / "mnist28_wgangp.safetensors")
    sizes = [(64, 256, 3, 2), (256, 128, 4, 1), (128, 64, 3, 2)]
    layers: list[nn.Module] = []
    for i, (before, after, kernel, stride) in enumerate(sizes):
        block = nn.Sequential(nn.ConvTranspose2d(before, after, kernel, stride), nn.BatchNorm2d(after), nn.ReLU())
        prefix = f"model.{i}.block."
        block.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
        layers.append(block)
    last = nn.ConvTranspose2d(64, 1, 4, 2)
    last.load_state_dict({"weight": weights["model.3.weight"], "bias": weights["model.3.bias"]})
    return nn.Sequential(*layers, last, nn.Tanh())


def sibling(module: nn.Module, seed: int, strength: float = 0.1) -> nn.Module:
    """The same generator, the weights of its last layer shifted by `strength` of their spread: a hard source."""
    layer = [inner for inner in module.modules() if isinstance(inner, nn.ConvTranspose2d)][-1]
    noise = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        layer.weight += strength * layer.weight.std() * noise
    return module


SHIFTS = {"last layer shifted by 10 %": 0.1, "last layer shifted by 20 %": 0.2}
OWN, HELD_OUT, OTHER, TEST = 1000, 300, 1000, 200


def sources(case: str) -> tuple[tuple[int, ...], dict[str, nn.Module]]:
    """Shape of the latent; the model in question, the source of negatives, and the unseen sources, in this order."""
    if case == "mnist28_wgangp":
        shifted = {name: sibling(mnist_wgan(), seed=2, strength=strength) for name, strength in SHIFTS.items()}
        return (64, 1, 1), {"own": mnist_wgan(), "last layer shifted by 30 %": sibling(mnist_wgan(), 1, 0.3)} | shifted
    own = "celeba64_vae.safetensors"
    shifted = {name: sibling(vae_decoder(own), seed=2, strength=strength) for name, strength in SHIFTS.items()}
    return (10,), {"own": vae_decoder(own), "celeba64_betavae": vae_decoder("celeba64_betavae.safetensors")} | shifted


def others(folder: Path, spec: morelli.SampleSpec, seed: int) -> None:
    """For the 64×64 case: two shipped GANs, and face photographs (JPEG decoded, saved as PNG like everything else)."""
    for name in ("clothing-dcgan", "clothing-lsgan"):
        gan = morelli.TorchGenerator(morelli.load_generator(name), (100, 1, 1), announce=lambda line: None)
        write((gan.samples(TEST, 10 * seed + 2) + 1) / 2, folder / name, spec)
    files = sorted(PHOTOGRAPHS.glob("*.jpg"))[seed * TEST : (seed + 1) * TEST]
    write(read_all(files, spec).samples, folder / "face photographs", spec)


def write(samples: torch.Tensor, folder: Path, spec: morelli.SampleSpec) -> None:
    folder.mkdir(parents=True)
    for i, sample in enumerate(samples):
        morelli.write_image(sample, folder / f"{i:04d}.png", spec)


def judge(case: str, seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """The public path: head, files, train, attribute."""
    latent, modules = sources(case)
    generators = {
        name: morelli.TorchGenerator(module, latent, announce=lambda line: None) for name, module in modules.items()
    }
    own, negative, *_ = generators
    head = generators[own].head(n=10_000, seed=seed)
    spec = morelli.SampleSpec(head.map.out_shape, head.activation.low, head.activation.high)
    write(generators[own].samples(OWN + HELD_OUT, 10 * seed), folder / "train own", spec)
    write(generators[negative].samples(OTHER, 10 * seed + 1), folder / "train other", spec)
    for name, generator in generators.items():
        write(generator.samples(TEST, 10 * seed + 2), folder / name, spec)
    if case == "celeba64_vae":
        others(folder, spec, seed)
    attributor = morelli.train(
        head, folder / "train own", folder / "train other", detector="lda", held_out=HELD_OUT, seed=seed
    )
    tests = [path.name for path in sorted(folder.iterdir()) if not path.name.startswith("train")]
    reports = {name: morelli.attribute(folder / name, attributor) for name in tests}
    scores = {name: torch.tensor([j.verdict.score for j in report.judged]) for name, report in reports.items()}
    mine = reports[own].counts()["attributed"] / TEST
    return {
        name: {
            "balanced_accuracy": round(0.5 * (mine + 1 - reports[name].counts()["attributed"] / TEST), 4),
            "auroc": round(auroc(scores[own], scores[name]), 4),
            "seen": name == negative,
        }
        for name in tests
        if name != own
    }


def main() -> None:
    results: dict[str, list] = {}
    for case in ("celeba64_vae", "mnist28_wgangp"):
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as folder:
                results.setdefault(case, []).append(judge(case, seed, Path(folder)))
            print(case, seed, results[case][-1], flush=True)
    settings = {"own": OWN, "held_out": HELD_OUT, "other": OTHER, "test": TEST, "seeds": SEEDS, "method": "flipad, lda"}
    run = {"settings": settings, "results": results, "morelli": morelli.__version__, "torch": torch.__version__}
    (HERE / "run.json").write_text(json.dumps(run, indent=1) + "\n")


if __name__ == "__main__":
    main()
