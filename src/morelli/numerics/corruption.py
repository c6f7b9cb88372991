"""What happened to a sample since it was made, by its file and its pixels, against own samples it happened to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from morelli.errors import MismatchError
from morelli.numerics.discriminant import Discriminant
from morelli.numerics.jpeg_history import JpegHistory, jpeg_history
from morelli.numerics.noise_level import noise_level
from morelli.numerics.perturbations import Jpeg, Webp, parse, points_of
from morelli.numerics.resampling import Resampling, blur_and_resampling
from morelli.numerics.state import State
from morelli.numerics.traces import traces

CONDITIONS = (
    *("none", "jpeg:95", "jpeg:90", "jpeg:80", "jpeg:70", "webp:80", "noise:0.02", "noise:0.05", "noise:0.1"),
    *("blur:3", "crop:60", "crop:55", "resize:0.75"),
)
CLOSE = 2  # in a file's quality
FLOOR = 0.03  # of traces: differences below this say nothing
SURE = 0.8  # nats per coefficient: former JPEGs have more than 1.1, other images less than 0.6
BATCH = 2**18  # pixels that are worked on at a time


@dataclass(frozen=True, eq=False)
class Corruption:
    """What the estimates say of n images.

    Attributes:
        condition: n names in the words of `perturbations.parse`: the likeliest.
        posterior: [n, k], float64, over all conditions.
        jpeg, noise, resampling: what the pixels say without a reference; `noise` is [n], in grey steps.
    """

    condition: tuple[str, ...]
    posterior: Tensor
    jpeg: JpegHistory
    noise: Tensor
    resampling: Resampling


@dataclass(frozen=True, eq=False)
class Corruptions:
    """Recognises what happened to images of one model, whose own look it knows.

    Smooth and noisy models differ as much as clean and noisy images do, so the reference are own samples under
    every condition. Images of other models are told apart less well: theirs is the condition that looks most alike.

    Attributes:
        conditions: k names. shape: (c, h, w) of the images.
    """

    conditions: tuple[str, ...]
    shape: tuple[int, ...]
    discriminant: Discriminant

    @staticmethod
    def fit(own: Tensor, conditions: Sequence[str] = CONDITIONS, *, seed: int) -> Corruptions:
        """Of own samples, uint8 [n, c, h, w], hundreds better than tens; `seed` is for the noise.

        Raises:
            OutOfRange: a condition is none. MismatchError: other images, or no or repeated conditions.
            TooFewSamples: fewer than ten samples.
        """
        if not conditions or len(set(conditions)) < len(conditions):
            raise MismatchError(f"conditions are {', '.join(conditions) or 'none at all'}; give each once, and some.")
        rng = torch.Generator().manual_seed(seed)
        changed = (parse(condition).apply(own, rng) for condition in conditions)
        seen = [_traces(images, conditions) for images in changed]
        return Corruptions(tuple(conditions), tuple(own.shape[1:]), Discriminant.fit(seen, FLOOR))

    def condition_of(self, images: Tensor, codings: Sequence[str] | None = None) -> tuple[tuple[str, ...], Tensor]:
        """The likeliest condition of each image, and the posterior [n, k], float64.

        Args:
            images: uint8 [n, c, h, w], of the shape fitted.
            codings: how the files coded them, as `storage.codings` says it. A lossy one is a fact: the nearest
                quality of that codec is certain, where there is one among the conditions. Without: all lossless.
        Raises:
            MismatchError: images of another shape, or not one coding for each. OutOfRange: a coding is none.
        """
        self._check(images, codings)
        told = [self._nearest(coding) for coding in codings or ("none",) * len(images)]
        posterior = torch.zeros(len(images), len(self.conditions), dtype=torch.float64, device=images.device)
        seen = torch.tensor([place for place, known in enumerate(told) if known is None], dtype=torch.long)
        some = images[seen.to(images.device)]
        posterior[seen] = self._sharpened(some, self.discriminant.posterior(_traces(some, self.conditions)))
        for place, known in enumerate(told):
            if known is not None:
                posterior[place, known] = 1.0
        return tuple(self.conditions[i] for i in posterior.argmax(1).tolist()), posterior

    def estimate(self, images: Tensor, codings: Sequence[str] | None = None) -> Corruption:
        """As `condition_of`, with the estimates that need no reference."""
        condition, posterior = self.condition_of(images, codings)
        return Corruption(condition, posterior, jpeg_history(images), noise_level(images), blur_and_resampling(images))

    def state(self) -> State:
        settings = {"type": "corruptions", "conditions": list(self.conditions), "shape": list(self.shape)}
        return State(settings, parts={"discriminant": self.discriminant.state()})

    @staticmethod
    def from_state(state: State) -> Corruptions:
        discriminant = Discriminant.from_state(state.parts["discriminant"])
        return Corruptions(tuple(state.settings["conditions"]), tuple(state.settings["shape"]), discriminant)

    def _check(self, images: Tensor, codings: Sequence[str] | None) -> None:
        if tuple(images.shape[1:]) != self.shape:
            shape = ", ".join(map(str, self.shape))
            raise MismatchError(
                f"images are {list(images.shape)}; these corruptions were learned on [n, {shape}]. "
                "Bring them to that shape, or learn them anew."
            )
        if codings is not None and len(codings) != len(images):
            raise MismatchError(f"there are {len(codings)} codings for {len(images)} images; give one for each.")

    def _sharpened(self, images: Tensor, posterior: Tensor) -> Tensor:
        """What JPEGs have together goes to the one that `jpeg_history` is nearest to, where that is sure."""
        jpegs = torch.tensor([condition.startswith("jpeg:") for condition in self.conditions]).to(images.device)
        places = jpegs[posterior.argmax(1)].nonzero()[:, 0]
        history = jpeg_history(images[places])
        for place, quality in zip(
            places[history.confidence > SURE], history.quality[history.confidence > SURE], strict=True
        ):
            share = posterior[place, jpegs].sum()
            posterior[place] *= ~jpegs
            posterior[place, self._nearest(f"jpeg:{int(quality)}")] = share
        return posterior

    def learned(self, coding: str) -> bool:
        """Whether a file that is coded so may be in one of the conditions; a quality off by two will do."""
        file = parse(coding)
        return not isinstance(file, Jpeg | Webp) or min(self._away(file).values(), default=math.inf) <= CLOSE

    def _nearest(self, coding: str) -> int | None:
        """The place of the condition that a lossy file is known to be in."""
        file = parse(coding)
        away = self._away(file) if isinstance(file, Jpeg | Webp) else {}
        return min(away, key=away.__getitem__) if away else None

    def _away(self, file: Jpeg | Webp) -> dict[int, int]:
        """Of each condition with this codec, by its place, how far the file's quality is from it."""
        away = {}
        for place, condition in enumerate(self.conditions):
            qualities = [point.quality for point in points_of(parse(condition)) if isinstance(point, type(file))]
            if qualities:
                away[place] = max(min(qualities) - file.quality, file.quality - max(qualities), 0)
        return away


def _traces(images: Tensor, conditions: Sequence[str]) -> Tensor:
    perturbations = [parse(condition) for condition in conditions]
    size = max(1, BATCH // max(1, math.prod(images.shape[2:])))
    return torch.cat([traces(some, perturbations) for some in images.split(size)])
