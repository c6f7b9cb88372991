"""ONNX files: read with care, and handed to onnxruntime. Whatever is wrong with one becomes one line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from morelli.errors import MorelliError

INSTALL = 'pip install "morelli[onnx]"'
LARGEST = 2**31 - 1  # bytes of a graph with its weights: what protobuf holds


def read_graph(path: Path) -> Any:
    """The model with its weights in it. Nothing is read from outside the file's folder."""
    onnx = imported("onnx")
    if not path.is_file():
        raise MorelliError(f"{path} is no file; expected a generator exported to ONNX.")
    if path.stat().st_size > LARGEST:
        raise MorelliError(f"{path} is larger than 2 GB, which one ONNX file cannot be.")
    try:
        model = onnx.load(str(path), load_external_data=False)
        assert model.graph.node
    except Exception as error:  # protobuf's errors have no common base
        raise MorelliError(f"{path} is no ONNX graph ({type(error).__name__}).") from error
    folder, size, beside = path.parent.resolve(), path.stat().st_size, set[Path]()
    for tensor in onnx.external_data_helper._get_all_tensors(model):
        values = math.prod(tensor.dims)
        if min(tensor.dims, default=1) < 0 or values > LARGEST:
            raise MorelliError(f"{path}: '{tensor.name}' is {tuple(tensor.dims)}, which is too large.")
        where = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        target = (folder / where).resolve()
        if not where or target.parent != folder or not target.is_file():
            raise MorelliError(
                f"{path}: the weights of '{tensor.name}' are in '{where}', which is no file in the same folder. Bring "
                "it there, or export the model as one file."
            )
        beside.add(target)
        if size + sum(file.stat().st_size for file in beside) > LARGEST:
            raise MorelliError(f"{path}: graph and weights are larger than 2 GB, which is not supported.")
    try:
        onnx.load_external_data_for_model(model, str(folder))
    except Exception as error:
        reason = str(error).splitlines()[0][:160]
        raise MorelliError(f"{path}: its weights cannot be read ({reason}).") from error
    return model


def start(content: bytes, path: str) -> Any:
    runtime = imported("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # whatever the runtime raises becomes one line
        reason = " ".join(str(error).split())[:200]
        raise MorelliError(f"{path} cannot be run by onnxruntime ({reason}).") from error


def imported(name: str) -> Any:
    try:
        return __import__(name, fromlist=["helper", "external_data_helper"])
    except Exception as error:  # a broken installation raises whatever it likes
        raise MorelliError(f"ONNX graphs need onnx and onnxruntime; install them by {INSTALL}.") from error
