"""Constants of a graph that are whole numbers in a row: counted when it runs, not kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from torch_heads.integrations.serving.weights import MODEL, SMALL


def count_ranges(model: ModelProto) -> None:
    """Put a node in place of each large constant such as 0, 1, 2, ..., but for the model's own."""
    graph = model.graph
    kept: list[TensorProto] = []
    for one in graph.initializer:
        limits = None if one.name.startswith(MODEL) else _limits(one)
        if limits is None:
            kept.append(one)
            continue
        names = [f"{one.name}:{part}" for part in ("start", "limit", "delta")]
        kept += map(numpy_helper.from_array, limits, names)
        graph.node.insert(0, helper.make_node("Range", names, [one.name]))
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _limits(one: TensorProto) -> list[np.ndarray[Any, Any]] | None:
    """Return start, limit and step of a constant; None where it is no row of whole numbers."""
    if one.data_type != TensorProto.INT64 or len(one.dims) != 1 or 8 * one.dims[0] <= SMALL:
        return None
    values = numpy_helper.to_array(one)
    start, step = int(values[0]), int(values[1] - values[0])
    limit = start + step * len(values)
    if step == 0 or not np.array_equal(values, np.arange(start, limit, step)):
        return None
    return [np.array(number, np.int64) for number in (start, limit, step)]
