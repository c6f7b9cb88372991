"""How unlike a model a set of samples is, from fingerprints alone. Higher = less like the model, as everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import normalize

from morelli.errors import TooFewSamples

DIMENSIONS = 64  # that PLDA keeps: those in which models differ most against images of one model
SHRINK = 0.1  # of the within-model covariance, towards its mean variance


class Scoring(Protocol):
    """Fingerprints enrolled [n, d] and groups of queries [m, k, d] → one score for each group, [m]."""

    def score(self, enrolled: Tensor, queries: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Cosine:
    """One less the cosine of the two means, as in arXiv 2307.15977."""

    def score(self, enrolled: Tensor, queries: Tensor) -> Tensor:
        return 1 - mean(queries) @ mean(enrolled)


@dataclass(frozen=True)
class Neighbours:
    """Mean distance of a query to its k nearest enrolled fingerprints, for models of several kinds of sample."""

    k: int = 3

    def score(self, enrolled: Tensor, queries: Tensor) -> Tensor:
        near = (queries @ enrolled.T).topk(min(self.k, len(enrolled)), dim=-1).values
        return 1 - near.mean((1, 2))


@dataclass(frozen=True, eq=False)
class Plda:
    """Log-likelihood ratio of "another model" against "this model": two Gaussians, between models and within one.

    Attributes:
        centre: [d], the mean of all models. axes: [d, k], which make the within-model covariance the identity.
        between: [k], variances of the models' means along the axes.
    Source: Prince & Elder, ICCV 2007, in the two-covariance form; it weighs the numbers of samples on both sides.
    """

    centre: Tensor
    axes: Tensor
    between: Tensor

    def score(self, enrolled: Tensor, queries: Tensor) -> Tensor:
        n, m, spread = len(enrolled), queries.shape[1], self.between
        known = ((enrolled - self.centre) @ self.axes).mean(0)
        asked = ((queries - self.centre) @ self.axes).mean(1)
        likely, variance = n * spread / (n * spread + 1) * known, spread / (n * spread + 1) + 1 / m
        anyone = spread + 1 / m
        ratio = (asked - likely).square() / variance - asked.square() / anyone + (variance / anyone).log()
        return 0.5 * ratio.sum(1)


def fit_plda(models: Tensor, dimensions: int = DIMENSIONS) -> Plda:
    """From fingerprints [models, images, d]. Raises TooFewSamples below three models of two images."""
    count, images, size = models.shape
    if count < 3 or images < 2:
        raise TooFewSamples(f"{count} models of {images} images were given; PLDA needs three of two or more.")
    models = models.double()
    means = models.mean(1)
    centre = means.mean(0)
    inside = (models - means[:, None]).flatten(0, 1)
    within = inside.T @ inside / (count * (images - 1))
    within = (1 - SHRINK) * within + SHRINK * within.diagonal().mean() * torch.eye(size, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(within)
    whiten = vectors / values.clamp_min(1e-12).sqrt()
    spread = (means - centre) @ whiten
    between = spread.T @ spread / (count - 1) - torch.eye(size, dtype=torch.float64) / images
    strengths, turns = torch.linalg.eigh(between)
    kept = strengths.argsort(descending=True)[: min(dimensions, count - 1)]
    kept = kept[strengths[kept] > 0]
    return Plda(centre.float(), (whiten @ turns[:, kept]).float(), strengths[kept].float())


def mean(fingerprints: Tensor) -> Tensor:
    """[..., n, d] → [..., d], of length 1."""
    return normalize(fingerprints.mean(-2), dim=-1)


SCORINGS: dict[str, Callable[[Tensor], Scoring]] = {
    "cosine": lambda models: Cosine(),
    "neighbours": lambda models: Neighbours(),
    "plda": fit_plda,
}
