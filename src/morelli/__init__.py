"""Morelli tells which generative model made a sample, and says how sure it is.

The public names are listed here and loaded when first used, so that `import morelli` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from morelli._version import __version__
from morelli.errors import MorelliError

if TYPE_CHECKING:
    from morelli.app.attributing import attribute
    from morelli.app.banks import train_bank
    from morelli.app.bundles import inspect, load, save
    from morelli.app.calibrating import calibrate
    from morelli.app.fingerprints import train_fingerprint
    from morelli.app.galleries import enrol
    from morelli.app.gans import train_gan
    from morelli.app.identifying import identify, lineage, verify
    from morelli.app.training import train
    from morelli.attribution.attributor import Attributor
    from morelli.attribution.report import Outcome, Report, Verdict
    from morelli.features.protocol import SampleSpec
    from morelli.generators.torch_module import TorchGenerator
    from morelli.numerics.activation import Clip, Identity, Rescaled, Sigmoid, Tanh
    from morelli.numerics.head import Head
    from morelli.storage.generators import load_generator
    from morelli.storage.samples import write_image

_WHERE = {
    "attribute": "app.attributing",
    "calibrate": "app.calibrating",
    "enrol": "app.galleries",
    "identify": "app.identifying",
    "inspect": "app.bundles",
    "lineage": "app.identifying",
    "load": "app.bundles",
    "save": "app.bundles",
    "train": "app.training",
    "train_bank": "app.banks",
    "train_fingerprint": "app.fingerprints",
    "train_gan": "app.gans",
    "verify": "app.identifying",
    "Attributor": "attribution.attributor",
    "Outcome": "attribution.report",
    "Report": "attribution.report",
    "Verdict": "attribution.report",
    "SampleSpec": "features.protocol",
    "TorchGenerator": "generators.torch_module",
    "Clip": "numerics.activation",
    "Identity": "numerics.activation",
    "Rescaled": "numerics.activation",
    "Sigmoid": "numerics.activation",
    "Tanh": "numerics.activation",
    "Head": "numerics.head",
    "load_generator": "storage.generators",
    "write_image": "storage.samples",
}

__all__ = [
    "Attributor",
    "Clip",
    "Head",
    "Identity",
    "MorelliError",
    "Outcome",
    "Report",
    "Rescaled",
    "SampleSpec",
    "Sigmoid",
    "Tanh",
    "TorchGenerator",
    "Verdict",
    "__version__",
    "attribute",
    "calibrate",
    "enrol",
    "identify",
    "inspect",
    "lineage",
    "load",
    "load_generator",
    "save",
    "train",
    "train_bank",
    "train_fingerprint",
    "train_gan",
    "verify",
    "write_image",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'morelli' has no attribute '{name}'")
    return getattr(import_module(f"morelli.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
