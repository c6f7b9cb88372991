"""White-box attacks: the gradient of an attributor's own score, followed within a ball of fixed PSNR.

The score is differentiated as the package computes it. SM-F's residual is not, as it leaves torch: forward it is the
real one, backward the identity (Athalye et al., ICML 2018: BPDA).
"""

from collections.abc import Callable
from typing import Any

import torch
from blind import FORGE
from judging import kept_open
from material import attributor, ranged
from torch import Tensor

from morelli.attribution.attributor import Attributor
from morelli.attribution.turning import scores_by_orientation
from morelli.features.residual import GREY, NoiseResidual
from morelli.features.traces import seen, statistics
from morelli.numerics.calibration import threshold

ALL = "all four"
FOUR = ("imprint", "flipad", "rawpad", "sm-f")
STEPS = {ALL: 20, "imprint": 20, "imprint, clean only": 20, "flipad": 10, "rawpad": 3, "sm-f": 10, "gallery": 12}
FAR = 3.0  # in units of own scores beyond the threshold: enough, so that the other conditions count
Loss = Callable[[Tensor], Tensor]  # grey steps [n, 3, h, w] -> [n], to be made large


def informed(method: str) -> Callable[[Tensor, str, str, int, float], Tensor]:
    """An attack that also takes the PSNR at which it is to succeed."""

    def attack(images: Tensor, sense: str, target: str, seed: int, decibels: float) -> Tensor:
        if method == "gallery":
            loss = _gallery_loss(sense, target, seed)
        elif method == ALL:
            loss = _joint_loss([score_loss(attributor(each, target, seed), sense) for each in FOUR])
        else:
            loss = score_loss(attributor(method, target, seed), sense)
        return ascended(images, loss, decibels, STEPS[method])

    return attack


def ascended(images: Tensor, loss: Loss, decibels: float, steps: int) -> Tensor:
    """Projected gradient ascent, each image in its own ball; steps shrink. The best point counts."""
    radius = 255 / 10 ** (decibels / 20) * images[0].numel() ** 0.5
    change, best, at_best = torch.zeros_like(images), torch.full((len(images),), -torch.inf), torch.zeros_like(images)
    for step in range(steps + 1):
        point = (images + change).clamp(0, 255).requires_grad_()
        with torch.enable_grad():
            found = loss(point)
            (slope,) = torch.autograd.grad(found.sum(), point)
        better = found.detach() > best
        best[better], at_best[better] = found.detach()[better], change[better]
        slope = slope.nan_to_num()
        way = slope / _length(slope).clamp_min(1e-12)
        change = (point.detach() - images) + radius * (1 if step == 0 else 2 / (step + 2)) * way
        change = change * (radius / _length(change).clamp_min(1e-12)).clamp(max=1)
    return images + at_best


def _length(values: Tensor) -> Tensor:
    return values.flatten(1).norm(dim=1)[:, None, None, None]


def score_loss(of: Attributor, sense: str) -> Loss:
    """To forge, the least score of those that judge a lossless file as it was made; to hide, all conditions' scores."""
    experts = [of.usual]
    if of.experts is not None and sense != FORGE:
        experts = [*of.experts.of.values()]
    limits = [(threshold(expert.held_out, of.rate), float(expert.held_out.std())) for expert in experts]

    def loss(images: Tensor) -> Tensor:
        values = _features(of, ranged(images))
        over = []
        for expert, (limit, unit) in zip(experts, limits, strict=True):
            every = scores_by_orientation(of.extractor, expert.detector, values, of.any_orientation)
            scores, _ = expert.turning.least(every)
            over.append((scores - limit) / unit)
        return -over[0] if sense == FORGE else torch.stack([x.clamp(max=FAR) + 1e-3 * x for x in over]).mean(0)

    return loss


def _joint_loss(losses: list[Loss]) -> Loss:
    """Of attacks that must all succeed; what is half a unit beyond its threshold asks for no more."""
    return lambda images: -torch.stack([(0.5 - loss(images)).clamp_min(0).log1p() for loss in losses]).sum(0)


def _features(of: Attributor, samples: Tensor) -> Tensor:
    if isinstance(of.extractor, NoiseResidual):
        values: Tensor = _Residual.apply(samples, of.extractor)
        return values
    return of.extractor.extract(samples).values


class _Residual(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, samples: Tensor, extractor: NoiseResidual) -> Tensor:
        return extractor.extract(samples.detach()).values

    @staticmethod
    def backward(context: Any, slope: Tensor) -> tuple[Tensor, None]:
        return slope[:, None] * slope.new_tensor(GREY[3])[:, None, None], None


def _gallery_loss(sense: str, target: str, seed: int) -> Loss:
    """How much nearer the target is than the nearest other entry, or the reverse."""
    opened, extractor = kept_open(seed)
    network = extractor.network.eval()

    def loss(images: Tensor) -> Tensor:
        pictures = seen(network.denoiser(images / 255).float() * 255)
        values = extractor.rescaled(torch.cat([network.code(pictures), statistics(pictures)], 1))[:, None]
        scores = {entry.name: opened.adapted.score(entry.fingerprints, values) for entry in opened.known}
        nearest = torch.stack([score for name, score in scores.items() if name != target]).amin(0)
        return nearest - scores[target] if sense == FORGE else scores[target] - nearest

    return loss
