"""The fingerprint network on disk, with the world that its scores are measured against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from morelli.errors import UnreadableBundle
from morelli.features.fingerprint import Backbone, FingerprintExtractor, FingerprintNetwork
from morelli.numerics.state import State
from morelli.storage import bundle
from morelli.storage.networks import SHIPPED, check_shapes

KIND = "fingerprint_network"


def write_fingerprint_network(
    extractor: FingerprintExtractor, world: State, path: Path, provenance: Mapping[str, Any], *, overwrite: bool = False
) -> str:
    """Write a fingerprint network with its world in half precision; returns the bundle's digest."""
    network = State(
        {"backbone": asdict(extractor.network.settings), "most": extractor.most},
        {name: x.half() if x.is_floating_point() else x for name, x in extractor.network.state_dict().items()},
    )
    if extractor.centre is not None and extractor.spread is not None:
        scale = State({}, {"centre": extractor.centre, "spread": extractor.spread})
    else:
        scale = State()
    halves = State(world.settings, {name: tensor.half() for name, tensor in world.tensors.items()})
    state = State({"provenance": dict(provenance)}, parts={"network": network, "scale": scale, "world": halves})
    return bundle.write(path, KIND, state, overwrite=overwrite)


def read_fingerprint_network(path: Path | None = None) -> tuple[FingerprintExtractor, State]:
    """The network at `path`, or the one that ships, and the state of its world. Raises UnreadableBundle."""
    path = path or SHIPPED / "fingerprint"
    found = bundle.read(path, KIND)
    try:
        part = found.state.parts["network"]
        backbone: dict[str, Any] = {
            name: tuple(x) if isinstance(x, list) else x for name, x in part.settings["backbone"].items()
        }
        check_shapes(lambda: FingerprintNetwork(Backbone(**backbone)), part.tensors)
        network = FingerprintNetwork(Backbone(**backbone))
        network.load_state_dict({name: x.float() if x.is_floating_point() else x for name, x in part.tensors.items()})
        scale = found.state.parts["scale"].tensors
        extractor = FingerprintExtractor(
            network.eval(), found.digest, part.settings["most"], scale.get("centre"), scale.get("spread")
        )
        return extractor, found.state.parts["world"]
    except Exception as error:  # transformers raises kinds of its own on settings that make no network
        why = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        raise UnreadableBundle(f"{path}: not a fingerprint network ({why}). Train it again.") from None
