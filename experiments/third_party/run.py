"""A generator that other people trained: the MNIST WGAN-GP, or one of two CelebA VAEs that differ only in their loss.

Run: python experiments/third_party/run.py
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

import morelli

WEIGHTS = Path("../shared/data/generators")
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


CASES = {  # model in question: (its builder, latent, builder of the negatives, {unseen source: builder})
    "celeba64_vae": (
        lambda: vae_decoder("celeba64_vae.safetensors"),
        (10,),
        lambda: sibling(vae_decoder("celeba64_vae.safetensors"), seed=1, strength=0.5),
        {
            "celeba64_betavae": lambda: vae_decoder("celeba64_betavae.safetensors"),
            "last layer shifted by 10 %": lambda: sibling(vae_decoder("celeba64_vae.safetensors"), seed=2),
        },
    ),
    "mnist28_wgangp": (
        mnist_wgan,
        (64, 1, 1),
        lambda: sibling(mnist_wgan(), seed=1, strength=0.5),
        {"last layer shifted by 10 %": lambda: sibling(mnist_wgan(), seed=2)},
    ),
}


def judge(case: str, seed: int, folder: Path) -> dict[str, float]:
    """The public path: head, files, train, attribute."""
    own_module, latent, negative, foreign = CASES[case]
    own = morelli.TorchGenerator(own_module(), latent)
    head = own.head(n=10_000, seed=seed)
    spec = morelli.SampleSpec(head.map.out_shape, head.activation.low, head.activation.high)
    sources = {
        "own": (own, 1300, 0),
        "other": (morelli.TorchGenerator(negative(), latent), 1000, 1),
        "test": (own, 200, 2),
    }
    sources |= {name: (morelli.TorchGenerator(build(), latent), 200, 2) for name, build in foreign.items()}
    for name, (generator, count, draw) in sources.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i, sample in enumerate(generator.samples(count, 10 * seed + draw)):
            morelli.write_image(sample, folder / name / f"{i:04d}.png", spec)
    attributor = morelli.train(head, folder / "own", folder / "other", detector="lda", held_out=300, seed=seed)
    shares = {}
    for name in ("test", *foreign):
        report = morelli.attribute(folder / name, attributor)
        shares[name] = report.counts()["attributed"] / len(report.judged)
    return {name: 0.5 * (shares["test"] + 1 - share) for name, share in shares.items() if name != "test"}


def main() -> None:
    import tempfile

    results: dict[str, dict[str, list[float]]] = {}
    for case in CASES:
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as folder:
                for source, value in judge(case, seed, Path(folder)).items():
                    results.setdefault(case, {}).setdefault(source, []).append(round(value, 4))
                print(case, seed, results[case], flush=True)
    run = {"balanced_accuracy": results, "seeds": SEEDS, "method": "flipad, lda", "morelli": morelli.__version__}
    (HERE / "run.json").write_text(json.dumps(run, indent=1) + "\n")


if __name__ == "__main__":
    main()
