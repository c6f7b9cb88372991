"""Solvers for the lasso, one file each, and their names on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from morelli.numerics.solvers.fista import Fista

SOLVERS = {"fista": Fista}


def solver_settings(solver: Fista) -> dict[str, Any]:
    """JSON-able; what `solver_from_settings` rebuilds it from."""
    return {"type": next(name for name, kind in SOLVERS.items() if isinstance(solver, kind))} | asdict(solver)


def solver_from_settings(settings: Mapping[str, Any]) -> Fista:
    values = dict(settings)
    return SOLVERS[values.pop("type")](**values)
