"""Schemathesis asks every route what it may be asked and what it may not; answers must be those that are declared."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from web_toys import ATTRIBUTOR, TABLE, InProcess, Running

from morelli.web.application import build
from morelli.web.settings import Limits, Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what it imports
    import schemathesis
    from schemathesis import GenerationMode

TOKEN = "sesame"
SENT = {"Authorization": f"Bearer {TOKEN}"}
ROUTES = [f"POST /v1/{name}" for name in ("attribute", "identify", "report")]
ROUTES += [f"GET /v1/{name}" for name in ("attributors", "gallery", "server")]
ROUTES += ["GET /health", "GET /ready", "GET /metrics"]


@pytest.fixture(scope="module")
def spec(bench: Any) -> Iterator[Any]:
    allowed = Settings((ATTRIBUTOR, TABLE), token=TOKEN, limits=Limits(rate_limit=0))
    with Running(build(allowed, [InProcess(bench)], bench.about())) as url:
        yield schemathesis.openapi.from_url(f"{url}/v1/openapi.json", headers=SENT)


def test_routes_are_complete(spec: Any) -> None:
    assert {each.ok().label for each in spec.get_all_operations()} == set(ROUTES)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "not allowed"])
@pytest.mark.parametrize("route", ROUTES)
def test_every_answer_is_declared(spec: Any, route: str, mode: GenerationMode) -> None:
    method, path = route.split()
    operation = spec[path][method]
    if mode is GenerationMode.NEGATIVE and method == "GET":
        return  # there is nothing to get wrong

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=6, suppress_health_check=list(HealthCheck))
    def ask(case: Any) -> None:
        case.call_and_validate(headers=SENT, timeout=60)

    ask()
