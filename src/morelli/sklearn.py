"""Attribution as a scikit-learn estimator, on arrays in place of files. docs/python.md has examples."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.utils import ClassifierTags, Tags
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from morelli.app.bundles import load_head
from morelli.app.training import train
from morelli.attribution.attributor import Attributor, fit_attributor
from morelli.attribution.kinds import RECIPES
from morelli.attribution.report import Outcome, Verdict
from morelli.detectors.distance import DistanceRecipe
from morelli.detectors.folds import FoldsRecipe
from morelli.errors import MismatchError, MorelliError
from morelli.features.baselines import RawValues
from morelli.features.protocol import Features, SampleSpec
from morelli.numerics.calibration import threshold
from morelli.numerics.head import Head

Array = NDArray[Any]
OF_A_HEAD = (
    *("method", "inversion", "weight", "gap", "turned", "upright", "whole"),
    *("perturb", "restarts", "steps", "start", "epochs", "hop", "bf16"),
)  # settings that mean nothing without one


class AttributorClassifier(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Does a sample come from the model? An `Attributor` behind the methods of scikit-learn and PyOD.

    Labels: 1 is own (made by the model), 0 is other. Of any other two labels the larger is own, so that −1 and 1 mean
    the same, if `inconclusive` is something else. `predict` gives them back, and `inconclusive` for a sample about
    which nothing can be said.

    Signs: `decision_function` is PyOD's: higher = less like the model, above `threshold_` (0) not attributed.
    `score_samples` is scikit-learn's: higher = more like the model. There is no `predict_proba`: a p-value is
    no probability of being own, and how often others come along is not known here.

    This is no subclass of scikit-learn's `ClassifierMixin` or `OutlierMixin`, whose `decision_function` has the other
    sign. The scorer "roc_auc" reads that sign and would be upside down: give `scoring=auroc` of this module in
    its place. And give `cv=StratifiedKFold()`, which is the default for subclasses only.

    Args:
        head: a Head, or the path of its bundle. None: X is of vectors, and a detector reads them as they are.
        detector: in place of the method's own. Without a head "lda" where there are other samples, else "mahalanobis".
        rate: false-rejection rate: own samples are rejected at most this often.
        held_out, folds, seed: see `morelli.train`. method to bf16: the same, for a head only.
        inconclusive: what `predict` calls samples that are neither. With labels 0 and 1 it may be 0, as others.
        device: where to compute. Arrays come back in any case.
    Attributes:
        attributor_: what was fitted; `morelli.save(clf.attributor_, path)` writes it.
        classes_: the two labels, other and own; n_features_in_: of X's second axis, as scikit-learn counts.
        decision_scores_: [n], `decision_function` of the training samples, which the detector has seen.
        threshold_: 0.0. labels_: [n], of the training samples, as in PyOD: 1 is an outlier (not attributed), 0 is none.
    """

    def __init__(
        self,
        head: Head | str | Path | None = None,
        *,
        method: str | None = None,
        detector: str | None = None,
        rate: float = 0.005,
        held_out: int | None = None,
        folds: int | None = None,
        inversion: str | None = None,
        weight: float | None = None,
        gap: float | None = None,
        turned: bool | None = None,
        upright: bool = False,
        whole: bool | None = None,
        perturb: tuple[str, ...] = (),
        restarts: int | None = None,
        steps: int | None = None,
        start: str | None = None,
        epochs: int | None = None,
        hop: int | None = None,
        bf16: bool = False,
        seed: int = 0,
        inconclusive: Any = -1,
        device: str = "cpu",
    ) -> None:
        self.head = head
        self.method = method
        self.detector = detector
        self.rate = rate
        self.held_out = held_out
        self.folds = folds
        self.inversion = inversion
        self.weight = weight
        self.gap = gap
        self.turned = turned
        self.upright = upright
        self.whole = whole
        self.perturb = perturb
        self.restarts = restarts
        self.steps = steps
        self.start = start
        self.epochs = epochs
        self.hop = hop
        self.bf16 = bf16
        self.seed = seed
        self.inconclusive = inconclusive
        self.device = device

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:  # noqa: N803  # as scikit-learn names it
        """Fit the detector on one part of the own samples, and calibrate on the rest, which is only scored.

        Args:
            X: [n, channels, height, width], [n, features] or what else the head makes, in its output range; flattened
                samples are put in shape. Without a head [n, features].
            y: [n] labels; None where all are own.
        Raises:
            ValueError: as scikit-learn does, for what is no array of finite numbers, or not two labels; or where
                `inconclusive` is that of own samples, or −1 and a label.
            MorelliError: see `morelli.train`.
        """
        found, own = self._checked_for_fit(X, y)
        head = load_head(self.head) if isinstance(self.head, str | Path) else self.head
        values = _shaped(found, None if head is None else head.map.out_shape)
        settings = {name: getattr(self, name) for name in ("detector", "rate", "held_out", "folds", "seed", "device")}
        other = None if own.all() else values[~own]
        if head is None:
            self.attributor_ = self._fit_vectors(values[own], other)
        else:
            settings |= {name: getattr(self, name) for name in OF_A_HEAD}
            self.attributor_ = train(head, values[own], other, **settings)
        self.threshold_ = 0.0
        verdicts = self._judge(values)
        self.decision_scores_ = self._margins(verdicts)
        self.labels_ = np.array([int(each.outcome is Outcome.NOT_ATTRIBUTED) for each in verdicts])
        return self

    def predict(self, X: ArrayLike) -> Array:  # noqa: N803
        """[n, …] → [n] labels: own where attributed, other where not, `inconclusive` where it cannot be said."""
        other, own = self._fitted().classes_
        said = {Outcome.ATTRIBUTED: own, Outcome.NOT_ATTRIBUTED: other, Outcome.INCONCLUSIVE: self.inconclusive}
        outcomes = [verdict.outcome for verdict in self._verdicts(X)]
        unsure = Outcome.INCONCLUSIVE in outcomes
        return np.array([said[each] for each in outcomes], dtype=None if unsure else self.classes_.dtype)

    def fit_predict(self, X: ArrayLike, y: ArrayLike | None = None) -> Array:  # noqa: N803
        """`fit` and then `predict` of the same samples, which are judged too kindly: the detector has seen them."""
        return self.fit(X, y).predict(X)

    def decision_function(self, X: ArrayLike) -> Array:  # noqa: N803
        """[n, …] → [n]: how far above what is still attributed. Higher = less like the model, as in PyOD.

        In units of the distance from the median to the 95th percentile of the held-out own scores, of the
        condition that the sample is judged in; NaN where there is no score.
        """
        return self._margins(self._verdicts(X))

    def score_samples(self, X: ArrayLike) -> Array:  # noqa: N803
        """[n, …] → [n]: higher = more like the model, as in scikit-learn; `decision_function` with the other sign."""
        return -self.decision_function(X)

    def p_values(self, X: ArrayLike) -> Array:  # noqa: N803
        """[n, …] → [n]: the share of held-out own samples at least as unlike the model; NaN without a score."""
        found = self._verdicts(X)
        return np.array([math.nan if verdict.p_value is None else verdict.p_value for verdict in found])

    def score(self, X: ArrayLike, y: ArrayLike) -> float:  # noqa: N803
        """Share of samples whose label `predict` finds; inconclusive ones count as missed."""
        asked = np.asarray(y)
        return float(accuracy_score(np.ones(len(asked), bool), self.predict(X) == asked))

    def _checked_for_fit(self, X: ArrayLike, y: ArrayLike | None) -> tuple[Array, NDArray[np.bool_]]:  # noqa: N803
        idle = [name for name in OF_A_HEAD if getattr(self, name) not in (None, False, ())]
        if self.head is None and idle:
            raise MorelliError(
                f"{', '.join(idle)} given without a head, where only a detector is fitted. Leave it out."
            )
        checks: dict[str, Any] = {"allow_nd": self.head is not None, "ensure_min_samples": 2, "dtype": "numeric"}
        if y is None:
            values, labels = validate_data(self, X, **checks), None
        else:
            values, labels = validate_data(self, X, y, **checks)
        found = np.array([0, 1]) if labels is None else np.unique(labels)
        if labels is not None and len(found) == 1 and found[0] in (0, 1, -1):
            if found[0] != 1:
                raise ValueError("y has one class, and that is 'other'; give own samples too, labelled 1.")
            found = np.array([0, 1])
        if len(found) != 2:
            raise ValueError(f"y has {len(found)} class(es); expected 2: 1 for own samples, 0 for others.")
        if self.inconclusive in found[1:].tolist() or (self.inconclusive == -1 and -1 in found.tolist()):
            raise ValueError(f"inconclusive is {self.inconclusive!r}, which is a label in y; expected another value.")
        self.classes_ = found
        own = np.ones(len(values), bool) if labels is None else labels == found[1]
        return values, own

    def _fit_vectors(self, own: Tensor, other: Tensor | None) -> Attributor:
        name = self.detector or ("mahalanobis" if other is None else "lda")
        if name not in RECIPES or RECIPES[name] is DistanceRecipe:
            known = ", ".join(each for each in RECIPES if RECIPES[each] is not DistanceRecipe)
            raise MorelliError(f"there is no detector '{name}' of vectors; there are {known}.")
        recipe = RECIPES[name]()
        extractor = RawValues(SampleSpec((own.shape[1],)))
        order = torch.randperm(len(own), generator=torch.Generator().manual_seed(self.seed))
        kept = 0
        if self.folds is None:
            needed = math.ceil(1 / self.rate) - 1 if 0 < self.rate < 1 else 1
            kept = max(needed, len(own) // 4) if self.held_out is None else self.held_out
        else:
            recipe = FoldsRecipe(recipe, self.folds)
        train_on, calibrate_on = own[order[kept:]], own[order[:kept]]
        against, held_out = (None if x is None else Features(x.to(self.device)) for x in (other, calibrate_on))
        if self.folds is not None:
            held_out = None
        settings: dict[str, Any] = {"rate": self.rate, "seed": self.seed}
        return fit_attributor(extractor, recipe, Features(train_on.to(self.device)), against, held_out, **settings)

    def _fitted(self) -> Self:
        check_is_fitted(self, "attributor_")
        return self

    def _verdicts(self, X: ArrayLike) -> list[Verdict]:  # noqa: N803
        self._fitted()
        found = validate_data(self, X, reset=False, allow_nd=self.head is not None, dtype="numeric")
        return self._judge(_shaped(found, None if self.head is None else self.attributor_.extractor.spec.shape))

    def _judge(self, values: Tensor) -> list[Verdict]:
        found: list[Verdict] = []
        for some in values.split(256):
            found += self.attributor_.judge(some.to(self.device))
        return found

    def _margins(self, verdicts: list[Verdict]) -> Array:
        fitted = self.attributor_
        bounds = {name: threshold(scores, fitted.rate) for name, scores in fitted.own_scores().items()}

        def margin(verdict: Verdict) -> float:
            if verdict.score is None:
                return math.nan
            condition = verdict.notes.get("condition", "")
            bound = bounds.get(condition, fitted.threshold)
            return fitted.relative(verdict.score, condition) - fitted.relative(bound, condition)

        return np.array([margin(verdict) for verdict in verdicts], dtype=np.float64)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags = ClassifierTags(multi_class=False)
        return tags


def _shaped(values: Array, shape: tuple[int, ...] | None) -> Tensor:
    """Vectors in float64, so that no batch changes a score; samples of a head in its shape and in float32."""
    if shape is None:
        return torch.from_numpy(np.array(values, dtype=np.float64))
    if tuple(values.shape[1:]) != shape and values[0].size != math.prod(shape):
        raise MismatchError(f"X holds samples of {tuple(values.shape[1:])}; this head makes {shape}, flat or in shape.")
    return torch.from_numpy(np.array(values, dtype=np.float32)).reshape(len(values), *shape)


def auroc(estimator: AttributorClassifier, X: ArrayLike, y: ArrayLike) -> float:  # noqa: N803
    """A scorer for cross-validation: how often an own sample looks more like the model than another one."""
    likeness = np.nan_to_num(estimator.score_samples(X), nan=-np.inf)
    ranks = np.searchsorted(np.sort(likeness), likeness)  # infinities have no place in scikit-learn's
    return float(roc_auc_score(y, ranks))
