"""What `lir` says of some scores, written beside this file: what tests hold our likelihood ratios against.

`lir` brings a database toolkit and an optimiser along, so it stays out of our extras. To write the values anew, in an
environment of its own: pip install lir==1.3.1 && python tests/reference/lir_values.py
"""

import json
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from lir.algorithms.bayeserror import elub
from lir.algorithms.isotonic_regression import IsotonicCalibrator
from lir.algorithms.kde import KDECalibrator
from lir.algorithms.logistic_regression import LogitCalibrator
from lir.data.models import LLRData
from lir.metrics import cllr, cllr_min
from lir.metrics.devpav import devpav
from lir.plotting.expected_calibration_error import calculate_ece

OUT = Path(__file__).with_name("lir.json")
CASES = {  # seed, own, foreign, distance of the means: overlapping, unbalanced, tied, apart, useless
    "overlapping": (0, 60, 80, 1.5),
    "unbalanced": (1, 30, 200, 2.5),
    "tied": (2, 50, 50, 1.0),
    "apart": (3, 40, 40, 9.0),
    "useless": (4, 40, 60, 0.0),
}


def said(llrs: np.ndarray, y: np.ndarray) -> dict:
    data = LLRData(features=llrs.reshape(-1, 1), labels=y)
    low, high = elub(llrs.copy(), y)
    priors = np.array([0.01, 0.1, 0.5, 0.9])
    return {
        "cllr": cllr(data),
        "cllr_min": cllr_min(data),
        "devpav": None if np.isnan(off := devpav(llrs, y)) else float(off),
        "elub": [float(low), float(high)],
        "priors": priors.tolist(),
        "ece": calculate_ece(10**llrs, y, priors).tolist(),
    }


def main() -> None:
    warnings.simplefilter("ignore")
    found = {}
    for name, (seed, n, m, apart) in CASES.items():
        rng = np.random.default_rng(seed)
        own, foreign = rng.normal(0, 1, n), rng.normal(apart, 1.5, m)
        if name == "tied":
            own, foreign = own.round(1), foreign.round(1)
        scores, y = np.concatenate([own, foreign]), np.concatenate([np.ones(n, int), np.zeros(m, int)])
        at = np.linspace(-3, apart + 3, 13)
        like = -scores  # lir's scores rise towards the first proposition, ours fall
        logit = LogitCalibrator(tol=1e-12, max_iter=10_000).fit(like, y)
        kde = KDECalibrator("silverman").fit(like, y)
        isotonic = IsotonicCalibrator().fit(like, y)
        calibrated = logit.transform(like.copy())
        pav = isotonic.transform(-at)
        found[name] = {
            "own": own.tolist(),
            "foreign": foreign.tolist(),
            "at": at.tolist(),
            "logistic": logit.transform(-at).tolist(),
            "kde": kde.transform(-at).tolist(),
            "pav": [x if np.isfinite(x) else str(x) for x in pav],
            "of the scores as they are": said(like, y),
            "of calibrated ones": said(calibrated, y),
        }
    versions = {name: version(name) for name in ("lir", "scikit-learn", "numpy")}
    OUT.write_text(json.dumps({"versions": versions, "cases": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
