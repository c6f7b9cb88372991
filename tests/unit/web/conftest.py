"""A server around the toys: what judges runs in this process, as a worker's process takes seconds to start."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from prints import pictures, save_pictures, write_tiny
from starlette.testclient import TestClient
from toys import imprinting_samples
from web_toys import ATTRIBUTOR, TABLE, InProcess

import morelli
from morelli.web.application import build
from morelli.web.bench import Bench
from morelli.web.settings import Limits, Settings


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def own() -> list[bytes]:
    """Four samples of the attributor's model."""
    samples = ((imprinting_samples(4, 7) + 1) * 127.5).round().byte()
    return [png(sample.permute(1, 2, 0).numpy()) for sample in samples]


@pytest.fixture(scope="session")
def suspects() -> list[bytes]:
    """Three pictures of a model of the gallery, of 64 pixels a side."""
    return [png(picture.permute(1, 2, 0).numpy()) for picture in pictures(0, 3, seed=9)]


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A gallery of two models, and the network that it was made with."""
    place = tmp_path_factory.mktemp("gallery")
    write_tiny(place / "net")
    for model in range(2):
        save_pictures(place / f"m{model}", model, 10)
        morelli.enrol(f"m{model}", place / f"m{model}", place / "my.gallery", network=place / "net")
    return place / "my.gallery", place / "net"


@pytest.fixture(scope="session")
def bench(gallery: tuple[Path, Path]) -> Bench:
    """Both attributors and the gallery, opened once."""
    return Bench(Settings((ATTRIBUTOR, TABLE), *gallery[:1], network=gallery[1], limits=Limits(max_pixels=100_000)))


Serve = Callable[..., TestClient]


@pytest.fixture
def serve(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Call it with limits and a `token`, `hosts`, `judging` or `about` for a client of such a server."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    clients: list[TestClient] = []

    def serve(
        judging: Any = None, about: Any = None, token: str | None = None, hosts: tuple[str, ...] = (), **limits: Any
    ) -> TestClient:
        settings = Settings((ATTRIBUTOR, TABLE), token=token, hosts=hosts, limits=Limits(**limits))
        worker = InProcess(judging or bench)
        about = json.loads(json.dumps(about or bench.about()))
        client = TestClient(build(settings, [worker], about), headers={"host": "localhost"})
        clients.append(client.__enter__())
        return client

    yield serve
    for client in clients:
        client.__exit__(None, None, None)
    assert list(temporary.iterdir()) == []


@pytest.fixture
def client(serve: Serve) -> TestClient:
    return serve()
