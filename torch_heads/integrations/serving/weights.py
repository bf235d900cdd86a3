"""``model.safetensors``: every weight once, into which the graph points."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper
from safetensors.numpy import save_file
from torch import Tensor

from torch_heads.integrations.serving.example import HALF
from torch_heads.integrations.serving.files import WEIGHTS

SMALL = 1024  # bytes up to which a constant that is no weight stays in the graph
MODEL = "model."  # before the names of the model's own tensors in the graph


def move_weights(
    model: ModelProto, state: Mapping[str, Tensor], prefix: str, folder: Path
) -> dict[str, str]:
    """Write the weights of a graph, and the state of its head; return the names of that.

    Args:
        model: the graph, which will point into the file.
        state: of the head, by its own names.
        prefix: before these among the names of the model.
        folder: where the file is written.
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    same: dict[Any, str] = {}  # the name of what is there, by its content
    moved: list[tuple[TensorProto, str]] = []
    for one in model.graph.initializer:
        own = one.name.startswith(MODEL)
        if one.data_type == TensorProto.STRING:
            continue
        array = numpy_helper.to_array(one)
        if own or array.nbytes > SMALL:
            name = one.name.removeprefix(MODEL) if own else f"constant.{one.name}"
            moved.append((one, _kept(arrays, same, name, array)))
    states = {
        key: _kept(arrays, same, f"{prefix}{key}", _array(value)) for key, value in state.items()
    }
    path = folder / WEIGHTS
    path.touch()
    mode = path.stat().st_mode  # whoever may read the other files may read this one
    save_file(arrays, path)  # which makes it the owner's alone
    path.chmod(mode)
    places = _places(path)
    for one, name in moved:
        start, length = places[name]
        for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data"):
            one.ClearField(field)
        one.data_location = TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS), ("offset", start), ("length", length)):
            one.external_data.add(key=key, value=str(value))
    return states


def _array(value: Tensor) -> np.ndarray[Any, Any]:
    known = value.float() if value.dtype in HALF else value
    found: np.ndarray[Any, Any] = known.detach().cpu().numpy()
    return found


def _kept(arrays: dict[str, Any], same: dict[Any, str], name: str, array: Any) -> str:
    """Keep an array under its name, or return that of one which is equal."""
    array = np.asarray(array, order="C")
    content = array.dtype.str, array.shape, sha256(array.tobytes()).digest()
    if content not in same:
        while name in arrays:
            name = f"{name}_"
        same[content] = name
        arrays[name] = array
    return same[content]


def _places(path: Path) -> dict[str, tuple[int, int]]:
    """Return where the data of each tensor stands in a file: its first byte, and how many."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    return {
        name: (8 + size + one["data_offsets"][0], one["data_offsets"][1] - one["data_offsets"][0])
        for name, one in header.items()
    }
