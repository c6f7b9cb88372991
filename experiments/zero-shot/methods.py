"""What is compared: each method turns images into features and scores a group of them against an enrolled model."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import handful
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor
from torch.nn.functional import normalize

from morelli.attribution.world import World
from morelli.features.fingerprint import FingerprintExtractor
from morelli.features.protocol import SampleSpec
from morelli.features.residual import NoiseResidual
from morelli.numerics.spectrum import azimuthal, dct2, power
from morelli.storage.fingerprint_network import read_fingerprint_network

Score = Callable[[Tensor, Tensor], Tensor]  # enrolled [n, d], groups [m, k, d] → [m], higher = less alike
SPEC = SampleSpec((3, 64, 64), 0.0, 255.0)


@dataclass(frozen=True)
class Method:
    """Features of uint8 [n, 3, 64, 64], and what makes scores of them.

    Attributes:
        recentred: from features and the coding that their files tell, features without what it adds on average.
        among: from the fingerprints of a gallery, [models, n, d], for its identifications.
        between: from those of a handful of other models, for pairs of images.
    """

    features: Callable[[Tensor], Tensor]
    among: Callable[[Tensor], Score]
    between: Callable[[Tensor], Score]
    recentred: Callable[[Tensor, str], Tensor] = lambda features, coding: features


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


def correlation(models: Tensor) -> Score:
    """One less the cosine of the means."""
    return lambda enrolled, groups: 1 - normalize(groups.mean(1), dim=1) @ normalize(enrolled.mean(0), dim=0)


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


def fingerprints(path: Path) -> dict[str, Method]:
    """What ships, and the same without this or that."""
    extractor, state = read_fingerprint_network(path)
    code, world = extractor.network.settings.dimensions, World.from_state(state)
    whole, network, numbers = slice(None), slice(0, code), slice(code, None)

    read: dict[bytes, Tensor] = {}  # by the images' digest: all rows read the same ones

    def whole_of(images: Tensor) -> Tensor:
        key = sha256(images.contiguous().numpy().tobytes()).digest()
        if key not in read:
            read[key] = extractor.extract(list(images))
        return read[key]

    def row(
        part: slice,
        scoring: str = "distance",
        pairs: str = "cosine",
        *,
        adapted: bool = True,
        recentred: bool = True,
    ) -> Method:
        shifts = {name: shift[part] for name, shift in world.shifts.items()} if recentred else {}
        mine = World(world.models[..., part], world.strangers[..., part], shifts, scoring)
        return Method(
            lambda images: whole_of(images)[:, part],
            lambda models: (replace(mine, known=tuple(models)) if adapted else mine).score,
            lambda models: replace(mine, scoring=pairs).score,
            mine.recentred,
        )

    def plain(images: Tensor) -> Tensor:
        values, centre, spread = whole_of(images), extractor.centre, extractor.spread
        raw = values if centre is None or spread is None else values * spread + centre
        return raw[:, network]

    found = {
        "fingerprints": row(whole),
        "– not recentred": row(whole, recentred=False),
        "– world's covariance alone": row(whole, adapted=False),
        "– cosine": row(whole, "cosine"),
        "– PLDA": row(whole, "plda", "plda"),
        "– distance, for pairs too": row(whole, "distance", "distance"),
        "– network alone": row(network),
        "– statistics alone": row(numbers),
        "– network alone, plain cosine (the paper's)": Method(plain, correlation, correlation),
    }
    if handful.OUT.exists():
        few = FingerprintExtractor(handful.network())
        code = few.network.settings.dimensions
        found["– the same, trained on five real models"] = Method(
            lambda images: few.extract(list(images))[:, :code], correlation, correlation
        )
    return found


def baselines() -> dict[str, Method]:
    return {
        "SM-F": Method(pattern, correlation, correlation),
        "1-D spectrum, LDA": Method(curve, discriminant, discriminant),
        "DCT, LDA": Method(cosines, discriminant, discriminant),
    }
