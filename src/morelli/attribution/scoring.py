"""How unlike a model a set of samples is, from fingerprints alone. Higher = less like the model, as everywhere.

Differences are measured in units of what varies within a model: see `within`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from sklearn.covariance import ledoit_wolf
from torch import Tensor
from torch.nn.functional import normalize

DIMENSIONS = 64  # that PLDA keeps: those in which models differ most against images of one model
NEIGHBOURS = 3


class Scoring(Protocol):
    """`see` maps fingerprints [..., d] to where they are compared, once for each; `score` compares what was seen:
    enrolled [n, d] and groups of queries [m, k, d] → one score for each group, [m].
    """

    def see(self, fingerprints: Tensor) -> Tensor: ...
    def score(self, enrolled: Tensor, queries: Tensor) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Distance:
    """Squared, of the two models' true means, estimated without bias from n and m samples, and divided by d.

    `axes` [d, d] make what varies within a model the identity.
    """

    axes: Tensor

    def see(self, fingerprints: Tensor) -> Tensor:
        return fingerprints @ self.axes

    def score(self, enrolled: Tensor, queries: Tensor) -> Tensor:
        difference = queries.mean(1) - enrolled.mean(0)
        return difference.square().mean(1) - 1 / len(enrolled) - 1 / queries.shape[1]


@dataclass(frozen=True, eq=False)
class Cosine:
    """One less the cosine of the two means as seen from `centre` [d], the mean of all models."""

    centre: Tensor
    axes: Tensor

    def see(self, fingerprints: Tensor) -> Tensor:
        return (fingerprints - self.centre) @ self.axes

    def score(self, enrolled: Tensor, queries: Tensor) -> Tensor:
        return 1 - normalize(queries.mean(1), dim=1) @ normalize(enrolled.mean(0), dim=0)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Mean distance of a query to its k nearest enrolled fingerprints, for models of several kinds of sample."""

    axes: Tensor
    k: int = NEIGHBOURS

    def see(self, fingerprints: Tensor) -> Tensor:
        return fingerprints @ self.axes

    def score(self, enrolled: Tensor, queries: Tensor) -> Tensor:
        far = torch.cdist(queries.flatten(0, 1), enrolled)
        near = far.topk(min(self.k, len(enrolled)), dim=1, largest=False).values
        return near.mean(1).reshape(queries.shape[:2]).mean(1)


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

    def see(self, fingerprints: Tensor) -> Tensor:
        return (fingerprints - self.centre) @ self.axes

    def score(self, enrolled: Tensor, queries: Tensor) -> Tensor:
        n, m, spread = len(enrolled), queries.shape[1], self.between
        known, asked = enrolled.mean(0), queries.mean(1)
        likely, variance = n * spread / (n * spread + 1) * known, spread / (n * spread + 1) + 1 / m
        anyone = spread + 1 / m
        ratio = (asked - likely).square() / variance - asked.square() / anyone + (variance / anyone).log()
        return 0.5 * ratio.sum(1)


def fit_plda(models: Tensor, covariance: Tensor, dimensions: int = DIMENSIONS) -> Plda:
    """From fingerprints [models, images, d] and the covariance within a model [d, d]."""
    count, images, size = models.shape
    means = models.double().mean(1)
    centre, whiten = means.mean(0), whitening(covariance).double()
    spread = (means - centre) @ whiten
    between = spread.T @ spread / (count - 1) - torch.eye(size, dtype=torch.float64) / images
    strengths, turns = torch.linalg.eigh(between)
    kept = strengths.argsort(descending=True)[: min(dimensions, count - 1)]
    kept = kept[strengths[kept] > 0]
    return Plda(centre.float(), (whiten @ turns[:, kept]).float(), strengths[kept].float())


def within(models: Sequence[Tensor]) -> Tensor:
    """[n, d] of each model → [d, d], the covariance of images of one model, shrunk as Ledoit and Wolf do (2004)."""
    parts = [(x - x.mean(0)) * (len(x) / (len(x) - 1)) ** 0.5 for x in models if len(x) > 1]
    return torch.from_numpy(ledoit_wolf(torch.cat(parts).double().numpy(), assume_centered=True)[0])


def whitening(covariance: Tensor) -> Tensor:
    """[d, d], A with A Aᵀ the covariance's inverse; a covariance that is not positive is made so."""
    floor = 1e-9 * covariance.diagonal().mean().clamp_min(1e-12)
    lower = torch.linalg.cholesky(covariance.double() + floor * torch.eye(len(covariance), dtype=torch.float64))
    return torch.linalg.inv(lower).T.float()


SCORINGS: dict[str, Callable[[Tensor, Tensor], Scoring]] = {
    "distance": lambda models, covariance: Distance(whitening(covariance)),
    "cosine": lambda models, covariance: Cosine(models.mean((0, 1)), whitening(covariance)),
    "neighbours": lambda models, covariance: Neighbours(whitening(covariance)),
    "plda": fit_plda,
}
