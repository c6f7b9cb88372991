"""Solvers for the lasso, one file each, and their names on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from morelli.numerics.lasso import Solver
from morelli.numerics.solvers.fista import Fista
from morelli.numerics.solvers.interior_point import InteriorPoint
from morelli.numerics.solvers.least_squares import LeastSquares
from morelli.numerics.solvers.pdhg import Pdhg
from morelli.numerics.state import from_named, named

SOLVERS = {"fista": Fista, "interior_point": InteriorPoint, "least_squares": LeastSquares, "pdhg": Pdhg}


def solver_settings(solver: Solver) -> dict[str, Any]:
    """JSON-able; what `solver_from_settings` rebuilds it from."""
    return named(solver, SOLVERS)


def solver_from_settings(settings: Mapping[str, Any]) -> Solver:
    solver: Solver = from_named(settings, SOLVERS)
    return solver
