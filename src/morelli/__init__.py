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
    from morelli.app.autoencoders import reconstruct
    from morelli.app.banks import train_bank
    from morelli.app.bundles import inspect, load, save
    from morelli.app.calibrating import calibrate
    from morelli.app.comparing import compare
    from morelli.app.fingerprints import train_fingerprint
    from morelli.app.galleries import enrol
    from morelli.app.gans import train_gan
    from morelli.app.identifying import identify, lineage, verify
    from morelli.app.jobs import attribute_to
    from morelli.app.pages import report_html, report_schema, write_report
    from morelli.app.pretrained import from_pretrained, save_pretrained
    from morelli.app.provenance import provenance
    from morelli.app.signing import sign
    from morelli.app.table_gans import train_table_gan
    from morelli.app.training import train
    from morelli.app.verifying import verify_report
    from morelli.attribution.attributor import Attributor
    from morelli.attribution.report import Outcome, Report, Verdict
    from morelli.features.protocol import SampleSpec
    from morelli.generators.checkpoint import load_weights
    from morelli.generators.latent_decoder import LatentDecoder
    from morelli.generators.onnx_graph import OnnxModule, onnx_generator
    from morelli.generators.table_generator import TableGenerator
    from morelli.generators.torch_module import TorchGenerator
    from morelli.numerics.activation import Clip, Identity, Rescaled, Sigmoid, Tanh
    from morelli.numerics.columns import Category, Modes, Number, Quantile, Table
    from morelli.numerics.head import Head
    from morelli.storage.autoencoders import load_autoencoder
    from morelli.storage.generators import load_generator
    from morelli.storage.rows import write_rows
    from morelli.storage.samples import write_image
    from morelli.storage.table_generators import load_table_generator

_WHERE = {
    "attribute": "app.attributing",
    "attribute_to": "app.jobs",
    "calibrate": "app.calibrating",
    "compare": "app.comparing",
    "enrol": "app.galleries",
    "from_pretrained": "app.pretrained",
    "identify": "app.identifying",
    "inspect": "app.bundles",
    "lineage": "app.identifying",
    "load": "app.bundles",
    "load_weights": "generators.checkpoint",
    "provenance": "app.provenance",
    "reconstruct": "app.autoencoders",
    "report_html": "app.pages",
    "report_schema": "app.pages",
    "save": "app.bundles",
    "save_pretrained": "app.pretrained",
    "sign": "app.signing",
    "train": "app.training",
    "train_bank": "app.banks",
    "train_fingerprint": "app.fingerprints",
    "train_gan": "app.gans",
    "train_table_gan": "app.table_gans",
    "verify": "app.identifying",
    "verify_report": "app.verifying",
    "write_report": "app.pages",
    "Attributor": "attribution.attributor",
    "Outcome": "attribution.report",
    "Report": "attribution.report",
    "Verdict": "attribution.report",
    "LatentDecoder": "generators.latent_decoder",
    "OnnxModule": "generators.onnx_graph",
    "SampleSpec": "features.protocol",
    "TableGenerator": "generators.table_generator",
    "TorchGenerator": "generators.torch_module",
    "Clip": "numerics.activation",
    "Identity": "numerics.activation",
    "Rescaled": "numerics.activation",
    "Sigmoid": "numerics.activation",
    "Tanh": "numerics.activation",
    "Category": "numerics.columns",
    "Modes": "numerics.columns",
    "Number": "numerics.columns",
    "Quantile": "numerics.columns",
    "Table": "numerics.columns",
    "Head": "numerics.head",
    "load_autoencoder": "storage.autoencoders",
    "load_generator": "storage.generators",
    "load_table_generator": "storage.table_generators",
    "onnx_generator": "generators.onnx_graph",
    "write_image": "storage.samples",
    "write_rows": "storage.rows",
}

__all__ = [
    "Attributor",
    "Category",
    "Clip",
    "Head",
    "Identity",
    "LatentDecoder",
    "Modes",
    "MorelliError",
    "Number",
    "OnnxModule",
    "Outcome",
    "Quantile",
    "Report",
    "Rescaled",
    "SampleSpec",
    "Sigmoid",
    "Table",
    "TableGenerator",
    "Tanh",
    "TorchGenerator",
    "Verdict",
    "__version__",
    "attribute",
    "attribute_to",
    "calibrate",
    "compare",
    "enrol",
    "from_pretrained",
    "identify",
    "inspect",
    "lineage",
    "load",
    "load_autoencoder",
    "load_generator",
    "load_table_generator",
    "load_weights",
    "onnx_generator",
    "provenance",
    "reconstruct",
    "report_html",
    "report_schema",
    "save",
    "save_pretrained",
    "sign",
    "train",
    "train_bank",
    "train_fingerprint",
    "train_gan",
    "train_table_gan",
    "verify",
    "verify_report",
    "write_image",
    "write_report",
    "write_rows",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'morelli' has no attribute '{name}'")
    return getattr(import_module(f"morelli.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
