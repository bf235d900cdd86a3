"""Constants of a graph that are whole numbers in a row: counted when it runs, not kept."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

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
        constants, node = range_node(one.name, *limits)
        kept += constants
        graph.node.insert(0, node)
    del graph.initializer[:]
    graph.initializer.extend(kept)


def range_node(name: str, start: int, limit: int, step: int) -> tuple[list[TensorProto], NodeProto]:
    """Return the node that counts, and the constants that it takes."""
    numbers = {"start": start, "limit": limit, "delta": step}
    constants = [
        numpy_helper.from_array(np.array(number, np.int64), f"{name}:{part}")
        for part, number in numbers.items()
    ]
    return constants, helper.make_node("Range", [one.name for one in constants], [name])


def _limits(one: TensorProto) -> tuple[int, int, int] | None:
    """Return start, limit and step of a constant; None where it is no row of whole numbers."""
    if one.data_type != TensorProto.INT64 or len(one.dims) != 1 or 8 * one.dims[0] <= SMALL:
        return None
    values = numpy_helper.to_array(one)
    start, step = int(values[0]), int(values[1] - values[0])
    limit = start + step * len(values)
    if step == 0 or not np.array_equal(values, np.arange(start, limit, step)):
        return None
    return start, limit, step
