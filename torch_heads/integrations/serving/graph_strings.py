"""The predictions of a graph that are strings: names by class ids, or the same in each row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from torch_heads.integrations.serving.answers import Answers, are_ids, below
from torch_heads.integrations.serving.example import Example
from torch_heads.integrations.serving.graph import graph_name, shapes_of
from torch_heads.integrations.serving.ranges import range_node
from torch_heads.integrations.serving.string_stacks import Names, StringStack

FEW = 100  # names that are ids and written all the same
TABLE = "stacked:names"  # of all heads whose predictions stand side by side
NONE: Names = ("",)  # where a column has fewer names than another


def add_strings(model: ModelProto, answers: Answers, example: Example) -> None:
    """Add the predictions that are strings, each for itself."""
    graph = model.graph
    shapes = shapes_of(model)
    for path, target in zip(answers.paths, answers.targets, strict=True):
        tables: dict[Names, str] = {}
        own = [below(path, key) for key in target.predicted]
        batch = min(own, key=lambda name: len(shapes[name]))
        for key in target.string_keys:
            name = below(path, key)
            strings, output = answers.strings[name], graph_name(name, example)
            if strings.names not in tables:
                tables[strings.names] = f"{name}:names"
                _add_table(graph, f"{name}:names", strings.names)
            table = tables[strings.names]
            if strings.ids is not None:
                ids = below(path, strings.ids)
                _add(graph, "Gather", [table, graph_name(ids, example)], output)
                shape = shapes[ids]
            else:
                count = len(strings.names)
                _add_in_each_row(graph, table, count, graph_name(batch, example), 1, output)
                shape = (*shapes[batch][:-1], count)
            graph.output.append(helper.make_tensor_value_info(output, TensorProto.STRING, shape))


def add_string_stacks(model: ModelProto, stacks: Mapping[str, StringStack]) -> None:
    """Add the strings of many heads by the names of their tensors.

    All names are in one table, in which heads with the same names have the same places.
    """
    if not stacks:
        return
    graph, shapes = model.graph, shapes_of(model)
    starts = _add_shared_table(graph, [one.names for one in stacks.values()])
    _add_constant(graph, f"{TABLE}:gap", np.int64(starts[NONE]))
    for output, one in stacks.items():
        shape = shapes[one.like]
        if one.by_ids:
            _add_by_ids(graph, output, one, starts)
        else:
            size = one.columns * one.stride
            shape = (*shape[: -one.behind], size)
            _add_row(graph, f"{output}:row", one, starts)
            _add_in_each_row(graph, f"{output}:row", size, one.like, one.behind, output)
        graph.output.append(helper.make_tensor_value_info(output, TensorProto.STRING, shape))


def _add_by_ids(
    graph: GraphProto, output: str, one: StringStack, starts: Mapping[Names, int]
) -> None:
    """Add names by ids; there is none in the columns of heads without, whatever their ids are."""
    first = np.zeros((one.columns, 1), np.int64)  # of each column: the place of its first name
    known = np.zeros((one.columns, 1), bool)
    for place, names in zip(one.places, one.names, strict=True):
        own = slice(place.column, place.column + place.columns)
        first[own], known[own] = starts[names], True
    shape = (one.columns, 1) if one.inner else (one.columns * one.stride,)
    for name, each in (("first", first), ("known", known)):
        _add_constant(graph, f"{output}:{name}", each.repeat(one.stride).reshape(shape))
    _add(graph, "Add", [one.like, f"{output}:first"], f"{output}:all")
    parts = [f"{output}:known", f"{output}:all", f"{TABLE}:gap"]
    _add(graph, "Where", parts, f"{output}:places")
    _add(graph, "Gather", [TABLE, f"{output}:places"], output)


def _add_row(graph: GraphProto, row: str, one: StringStack, starts: Mapping[Names, int]) -> None:
    """Add all names of each column, ``stride`` places of them, with none after its last."""
    first = np.zeros((one.columns, 1), np.int64)  # of each column: the place of its first name
    count = np.zeros((one.columns, 1), np.int64)
    for place, names in zip(one.places, one.names, strict=True):
        for i in range(place.columns):
            first[place.column + i] = starts[names] + i * one.stride
            count[place.column + i] = len(names) - i * one.stride
    _add_constant(graph, f"{row}:first", first)
    _add_constant(graph, f"{row}:count", count)
    constants, node = range_node(f"{row}:steps", 0, one.stride, 1)
    graph.initializer.extend(constants)
    graph.node.append(node)
    _add(graph, "Add", [f"{row}:first", f"{row}:steps"], f"{row}:all")
    _add(graph, "Less", [f"{row}:steps", f"{row}:count"], f"{row}:known")
    _add(graph, "Where", [f"{row}:known", f"{row}:all", f"{TABLE}:gap"], f"{row}:places")
    _add_constant(graph, f"{row}:flat", np.array([-1]))
    _add(graph, "Reshape", [f"{row}:places", f"{row}:flat"], f"{row}:flat_places")
    _add(graph, "Gather", [TABLE, f"{row}:flat_places"], row)


def _add_shared_table(graph: GraphProto, every: Iterable[Sequence[Names]]) -> dict[Names, int]:
    """Add a table of the names of many heads, and return where those of each begin."""
    distinct = dict.fromkeys(names for own in every for names in own)
    ids = [names for names in distinct if are_ids(names)]
    longest = max(ids, key=len, default=())
    starts = dict.fromkeys(ids, 0)
    others: list[str] = []
    for names in (*distinct, NONE):
        if names not in starts:
            starts[names] = len(longest) + len(others)
            others += names
    _add_table(graph, f"{TABLE}:ids", longest)
    graph.initializer.append(_strings(f"{TABLE}:others", others))
    _add(graph, "Concat", [f"{TABLE}:ids", f"{TABLE}:others"], TABLE, axis=0)
    return starts


def _add_table(graph: GraphProto, name: str, names: Names) -> None:
    """Add all names, in order."""
    if len(names) <= FEW or not are_ids(names):
        graph.initializer.append(_strings(name, names))
        return
    constants, node = range_node(f"{name}:ids", 0, len(names), 1)
    graph.initializer.extend(constants)
    graph.node.append(node)
    _add(graph, "Cast", [f"{name}:ids"], name, to=TensorProto.STRING)


def _add_in_each_row(
    graph: GraphProto, row: str, size: int, like: str, behind: int, output: str
) -> None:
    """Repeat a row for each of the batch of another tensor, but for its last axes."""
    _add(graph, "Shape", [like], f"{output}:rows", end=-behind)
    _add_constant(graph, f"{output}:width", np.array([size]))
    _add(graph, "Concat", [f"{output}:rows", f"{output}:width"], f"{output}:shape", axis=0)
    _add(graph, "Expand", [row, f"{output}:shape"], output)


def _add(graph: GraphProto, kind: str, inputs: Sequence[str], output: str, **options: Any) -> None:
    graph.node.append(helper.make_node(kind, inputs, [output], **options))


def _add_constant(graph: GraphProto, name: str, values: Any) -> None:
    graph.initializer.append(numpy_helper.from_array(values, name))


def _strings(name: str, values: Sequence[str]) -> TensorProto:
    data: Any = [one.encode() for one in values]
    return helper.make_tensor(name, TensorProto.STRING, [len(data)], data)
