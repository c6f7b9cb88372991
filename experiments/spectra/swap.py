"""Figure 3: whose are images whose last blocks come from another model, in the eyes of a classifier of spectra?"""

from itertools import chain

import models as m
import protocol as p
import torch
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from torch import Tensor, nn

from morelli.storage.images import to_eight_bits

FAMILIES = ("dcgan", "ebgan", "wgan-gp", "lsgan")
SEEDS, STRANGER = ((0, 1), (2, 3)), 4
SIZES = {"train": 250, "test": 150}
COMPONENTS = 50  # of the PCA
MOST, CONTROLLED = 4, 2  # last blocks exchanged at most, and taken from a stranger at most
ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.Sigmoid)


def triples() -> dict[str, tuple[str, ...]]:
    """Two models of one architecture, which differ in the seed (the VAEs in their loss), and a stranger where there is
    one: a third of the same architecture, which the classifier does not know."""
    young = {f"{f} {a}/{b}": (f"{f}-{a}", f"{f}-{b}", f"{f}-{STRANGER}") for f in FAMILIES for a, b in SEEDS}
    shipped = ("clothing-dcgan", "clothing-dcgan-b", f"dcgan-{STRANGER}")
    return young | {"shipped dcgan, -b": shipped, "VAE / β-VAE": m.VAES}


def generator(name: str) -> p.morelli.TorchGenerator:
    if name in m.VAES:
        return m.vae(name)
    return p.loaded(name) if name.startswith("clothing-") else p.loaded(p.ROOT / f"runs/seeds/{name}.generator")


def blocks(module: nn.Sequential) -> list[list[nn.Module]]:
    """Layers as far as the next activation; what has no weights before the first one belongs to it."""
    found: list[list[nn.Module]] = [[]]
    for layer in module:
        found[-1].append(layer)
        if isinstance(layer, ACTIVATIONS):
            found.append([])
    return [block for block in found if block]


def drawn(layers: list[list[nn.Module]], of: p.morelli.TorchGenerator, n: int, seed: int) -> Tensor:
    """Log spectra [n, 64 · 33] of images as files hold them."""
    module = nn.Sequential(*chain.from_iterable(layers)).eval()
    latents = torch.randn(n, *of.latent, generator=torch.Generator().manual_seed(seed))
    spec = p.morelli.SampleSpec((3, 64, 64), of.activation.low, of.activation.high)
    with torch.no_grad():
        images = torch.cat([module(some) for some in latents.split(m.BATCH)])
    return m.spectra(to_eight_bits(images, spec))[1].flatten(1)


def swapped(names: tuple[str, ...]) -> dict:
    """Share of decisions that flip, for A and for B, by how many last blocks come from the other or from a stranger."""
    both = [generator(name) for name in names[:2]]
    parts = [blocks(generator(name).module) for name in names]
    train, test = (
        [drawn(layers, one, n, 10 * i + j) for j, (layers, one) in enumerate(zip(parts, both, strict=False))]
        for i, n in enumerate(SIZES.values())
    )
    classifier = make_pipeline(
        PCA(COMPONENTS, whiten=True, random_state=0), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    )
    classifier.fit(torch.cat(train).numpy(), [0] * SIZES["train"] + [1] * SIZES["train"])
    clean = [classifier.predict(x.numpy()) for x in test]
    right = sum(int((decided == i).sum()) for i, decided in enumerate(clean)) / (2 * SIZES["test"])
    found: dict = {"blocks": len(parts[0]), "clean accuracy": round(right, 4), "from the other": {}, "a stranger's": {}}
    for count in range(1, min(MOST, len(parts[0]) - 1) + 1):
        for kind, givers in {"from the other": (1, 0), "a stranger's": (2, 2)}.items():
            if max(givers) < len(parts) and (kind == "from the other" or count <= CONTROLLED):
                shares = []
                for i, giver in enumerate(givers):
                    layers = parts[i][:-count] + parts[giver][-count:]
                    decided = classifier.predict(drawn(layers, both[i], SIZES["test"], 10 + i).numpy())
                    shares.append(round(float((decided != clean[i]).mean()), 4))
                found[kind][str(count)] = shares
    return found
