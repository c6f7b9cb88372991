"""What is compared: each method turns images into features and scores a group of them against an enrolled model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor
from torch.nn.functional import normalize

from morelli.attribution.scoring import Cosine
from morelli.attribution.world import World
from morelli.features.protocol import SampleSpec
from morelli.features.residual import NoiseResidual
from morelli.numerics.spectrum import azimuthal, dct2, power
from morelli.storage.fingerprint_network import read_fingerprint_network

Score = Callable[[Tensor, Tensor], Tensor]  # enrolled [n, d], groups [m, k, d] → [m], higher = less alike
SPEC = SampleSpec((3, 64, 64), 0.0, 255.0)


@dataclass(frozen=True)
class Method:
    """Features of uint8 [n, 3, 64, 64], and what makes a score from models whose answers are known, [models, n, d]."""

    features: Callable[[Tensor], Tensor]
    score: Callable[[Tensor], Score]


def discriminant(models: Tensor) -> Score:
    """Distance of means along the axes of a shrunk linear discriminant."""
    count, images, _ = models.shape
    lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto")
    lda.fit(models.flatten(0, 1).numpy(), torch.arange(count).repeat_interleave(images).numpy())
    axes, centre = torch.from_numpy(lda.scalings_[:, : count - 1]), models.flatten(0, 1).mean(0)

    def score(enrolled: Tensor, groups: Tensor) -> Tensor:
        one, other = ((x.double() - centre) @ axes for x in (enrolled, groups))
        return (other.mean(1) - one.mean(0)).norm(dim=1)

    return score


def cosine(models: Tensor) -> Score:
    return Cosine().score


def pattern(images: Tensor) -> Tensor:
    """SM-F's noise residual, which keeps the place of every pixel."""
    return normalize(NoiseResidual(SPEC).extract(images.float()).values.flatten(1), dim=1)


def curve(images: Tensor) -> Tensor:
    """Log power at every radius of the grey image. Source: Durall et al., CVPR 2020."""
    return (azimuthal(power(images.float().mean(1))) + 1e-3).log().double()


def cosines(images: Tensor) -> Tensor:
    """Log absolute DCT coefficients of the grey image, in 8×8 cells. Source: Frank et al., ICML 2020, made coarser."""
    found = (dct2(images.float().mean(1)).abs() + 1e-2).log().double()
    return found.unfold(1, 4, 4).unfold(2, 4, 4).mean((3, 4)).flatten(1)


def fingerprints(path: Path, scoring: str, *, normalised: bool = True) -> Method:
    """A fingerprint network; the scores are made comparable by its world, or left as they are."""
    extractor, state = read_fingerprint_network(path)
    world = World(World.from_state(state).models, scoring)
    score = world.score if normalised else world._raw.score
    return Method(lambda images: extractor.extract(list(images)), lambda models: score)


def baselines() -> dict[str, Method]:
    return {
        "SM-F": Method(pattern, cosine),
        "1-D spectrum, LDA": Method(curve, discriminant),
        "DCT, LDA": Method(cosines, discriminant),
    }
