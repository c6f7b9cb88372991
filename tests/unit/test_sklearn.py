"""The estimator: scikit-learn's own checks, both signs, and the same verdicts as the attributor inside."""

import pickle
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from toys import imprinting_generator, imprinting_samples, toy_heads

import morelli
from morelli.errors import MismatchError, MorelliError, TooFewSamples
from morelli.sklearn import OF_A_HEAD, AttributorClassifier, auroc

GAUSSIAN = AttributorClassifier(detector="mahalanobis", rate=0.5)


def expected_failures(estimator: AttributorClassifier) -> dict[str, str]:
    if estimator.detector == "mahalanobis":
        return {"check_fit2d_1feature": "3 of its 10 samples are own ones, of which one is held out: too few"}
    return {}


@parametrize_with_checks([AttributorClassifier(rate=0.5), GAUSSIAN], expected_failed_checks=expected_failures)
def test_scikit_learn_checks_it(estimator: AttributorClassifier, check) -> None:
    check(estimator)


def clouds(n: int = 60, apart: float = 4.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Own samples around 0, others around `apart`, in five dimensions; own ones first."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(2 * n, 5))
    rows[n:] += apart
    return rows, np.repeat([1, 0], n)


def test_own_is_1_and_higher_scores_are_less_like_the_model() -> None:
    rows, labels = clouds()
    fitted = AttributorClassifier(rate=0.1).fit(rows, labels)
    new, truth = clouds(seed=1)
    found, margins = fitted.predict(new), fitted.decision_function(new)
    assert set(found) == {0, 1}
    assert fitted.score(new, truth) == (found == truth).mean() > 0.9
    assert ((margins > fitted.threshold_) == (found == 0)).all()
    assert ((fitted.p_values(new) > 0.1) == (found == 1)).all()
    assert margins[truth == 0].min() > margins[truth == 1].max()
    assert (fitted.score_samples(new) == -margins).all()
    assert auroc(fitted, new, truth) == roc_auc_score(truth, -margins) == 1
    assert (fitted.labels_ == (fitted.decision_scores_ > fitted.threshold_)).all()
    np.testing.assert_array_equal(fitted.decision_scores_, fitted.decision_function(rows))
    np.testing.assert_array_equal(fitted.fit_predict(rows, labels) == 0, fitted.labels_)


def test_own_samples_are_enough() -> None:
    rows, labels = clouds(100)
    for y in (None, np.ones(100)):
        fitted = AttributorClassifier(rate=0.05).fit(rows[labels == 1], y)
        assert fitted.score(rows[labels == 0], np.zeros(100)) > 0.9
    with pytest.raises(ValueError, match="give own samples too"):
        AttributorClassifier().fit(rows, np.zeros(200))
    with pytest.raises(ValueError, match="3 class"):
        AttributorClassifier().fit(rows, np.arange(200) % 3)
    with pytest.raises(TooFewSamples, match="at least 199"):
        AttributorClassifier(held_out=50).fit(rows, labels)


@pytest.mark.parametrize("names", [(-1, 1), ("fake", "own"), (False, True)])
def test_other_labels(names: tuple[object, object]) -> None:
    rows, labels = clouds()
    given = np.array([names[label] for label in labels])
    found = AttributorClassifier(rate=0.1, inconclusive=9).fit(rows, given).predict(rows)
    assert found.dtype == given.dtype
    assert (found == given).mean() > 0.9


def test_among_others_in_a_pipeline_validated_and_searched() -> None:
    rows, labels = clouds(80, apart=1.0)
    pipeline = make_pipeline(StandardScaler(), PCA(4), AttributorClassifier(rate=0.1))
    folds = StratifiedKFold(3)
    for scoring in (None, "balanced_accuracy", auroc):
        assert cross_val_score(pipeline, rows, labels, cv=folds, scoring=scoring).mean() > 0.7
    choices = {"attributorclassifier__detector": ["lda", "mahalanobis"]}
    search = GridSearchCV(pipeline, choices, cv=folds, scoring=auroc, n_jobs=1).fit(rows, labels)
    assert search.best_params_ == {"attributorclassifier__detector": "lda"}
    assert not is_classifier(AttributorClassifier())
    with suppress(ValueError):  # older versions of scikit-learn refuse it; newer ones turn it upside down
        named = cross_val_score(pipeline, rows, labels, cv=folds, scoring="roc_auc", error_score="raise")
        assert named.mean() < 0.5  # which is why there is `auroc`


def test_folds_calibrate_on_every_own_sample() -> None:
    rows, labels = clouds(30)
    fitted = AttributorClassifier(rate=0.1, folds=5).fit(rows, labels)
    assert len(fitted.attributor_.held_out) == 30
    assert ((fitted.decision_scores_ > 0) == (fitted.labels_ == 1)).all()


def test_mistakes_are_named() -> None:
    rows, labels = clouds()
    with pytest.raises(ValueError, match="inconclusive is -1, which is a label in y"):
        AttributorClassifier(rate=0.1).fit(rows, 2 * labels - 1)
    with pytest.raises(ValueError, match="inconclusive is 'own'"):
        AttributorClassifier(rate=0.1, inconclusive="own").fit(rows, np.where(labels, "own", "fake"))
    with pytest.raises(MorelliError, match="epochs, bf16 given without a head"):
        AttributorClassifier(epochs=3, bf16=True).fit(rows, labels)
    with pytest.raises(MorelliError, match="no detector 'distance' of vectors"):
        AttributorClassifier(detector="distance", rate=0.1).fit(rows, labels)
    with pytest.raises(NotFittedError):
        AttributorClassifier().predict(rows)
    assert set(OF_A_HEAD) < set(AttributorClassifier().get_params())


@pytest.fixture(scope="module")
def head() -> morelli.Head:
    return imprinting_generator(side=16).head(64)


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    own, other = imprinting_samples(80, 1, side=16), imprinting_samples(40, 1, generator_seed=1, side=16)
    return np.concatenate([own.numpy(), other.numpy()]), np.repeat([1, 0], [80, 40])


def test_images_of_a_head(head: morelli.Head, images: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    morelli.save(head, tmp_path / "a.head")
    pictures, labels = images
    fitted = AttributorClassifier(tmp_path / "a.head", rate=0.05).fit(pictures, labels)
    new = imprinting_samples(20, 9, side=16)
    verdicts = fitted.attributor_.judge(new)
    assert [verdict.p_value for verdict in verdicts] == fitted.p_values(new.numpy()).tolist()
    assert (fitted.predict(new.numpy()) == 1).mean() > 0.8
    assert fitted.score(pictures[80:], labels[80:]) > 0.8
    flat = AttributorClassifier(head, rate=0.05).fit(pictures.reshape(120, -1), labels)
    np.testing.assert_array_equal(flat.predict(new.numpy().reshape(20, -1)), fitted.predict(new.numpy()))
    with pytest.raises(MismatchError, match="this head makes"):
        AttributorClassifier(head, rate=0.05).fit(pictures[:, :, :8], labels)
    morelli.save(fitted.attributor_, tmp_path / "a.attributor")
    revived, plain = morelli.load(tmp_path / "a.attributor"), pickle.loads(pickle.dumps(fitted))
    assert revived.judge(new) == verdicts
    np.testing.assert_array_equal(plain.decision_function(new.numpy()), fitted.decision_function(new.numpy()))
    assert clone(fitted).get_params() == fitted.get_params()


def test_what_cannot_be_judged_is_inconclusive(head: morelli.Head, images: tuple[np.ndarray, np.ndarray]) -> None:
    pictures, labels = images
    flat = np.full((1, 3, 16, 16), 7.0)  # which no file of this model can hold
    fitted = AttributorClassifier(head, rate=0.05).fit(pictures, labels)
    assert fitted.predict(flat).tolist() == [-1]
    named = AttributorClassifier(head, rate=0.05, inconclusive="unclear").fit(pictures, np.where(labels, "own", "fake"))
    assert named.predict(np.concatenate([flat, pictures[:1]])).tolist() == ["unclear", "own"]
    assert named.score(flat, ["own"]) == 0


def test_every_condition_has_its_own_threshold() -> None:
    big = imprinting_generator().head(64)
    own = imprinting_samples(60, 1).numpy()
    fitted = AttributorClassifier(big, rate=0.05, perturb=("none", "jpeg:80")).fit(own)
    found = fitted.predict(own)
    assert len(fitted.attributor_.own_scores()) == 2
    assert ((fitted.decision_function(own) > fitted.threshold_) == (found == 0)).all()


def test_tables_of_a_head_and_their_detector() -> None:
    head = toy_heads()["table"]
    rows = np.random.default_rng(0).normal(size=(90, 6))
    fitted = AttributorClassifier(head, detector="mahalanobis", rate=0.05).fit(rows)
    assert fitted.attributor_.card["method"] == "flipad"
    assert fitted.predict(rows).shape == (90,)
