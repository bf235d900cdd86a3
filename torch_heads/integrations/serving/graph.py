"""The ONNX graph of a model: its tensors by their names, and nothing else told."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
)

from torch_heads.integrations.serving.example import Example
from torch_heads.integrations.serving.ranges import count_ranges
from torch_heads.integrations.serving.signature import Dims

NOWHERE = 2**62  # the place of a string that is not known
IDS = ":ids"  # after the name of an input, of the numbers that its strings stand for


def make_graph(program: torch.export.ExportedProgram, example: Example) -> ModelProto:
    """Return the graph of a program, whose tensors are called as the program's.

    An output that has the name of an input has a colon after it.
    """
    inputs = [f"{name}{IDS}" if name in example.tables else name for name in example.inputs]
    names = list(program.module()(*example.blank()))
    with _quiet():
        made = torch.onnx.export(
            program,
            example.blank(),
            dynamo=True,
            verbose=False,
            input_names=inputs,
            output_names=[graph_name(name, example) for name in names],
            dynamic_shapes=example.dynamic_shapes(),
        )
    assert made is not None
    model: ModelProto = made.model_proto
    _forget(model)
    count_ranges(model)
    for name, table in example.tables.items():
        _look_up(model, name, example.inputs[name].shape, table)
    return model


def graph_name(name: str, example: Example) -> str:
    """Return what the graph calls an output."""
    return f"{name}:" if name in example.inputs else name


def shapes_of(model: ModelProto) -> dict[str, Dims]:
    """Return the shapes of the outputs by name."""
    return {
        one.name.removesuffix(":"): tuple(
            dim.dim_param or dim.dim_value for dim in one.type.tensor_type.shape.dim
        )
        for one in model.graph.output
    }


def _look_up(model: ModelProto, name: str, shape: Dims, table: Mapping[str | None, int]) -> None:
    """Let an input be strings, which stand for numbers."""
    graph, numbers = model.graph, f"{name}{IDS}"
    places = {one.name: i for i, one in enumerate(graph.input)}
    graph.input[places[numbers]].CopyFrom(
        helper.make_tensor_value_info(name, TensorProto.STRING, shape)
    )
    known = [one for one in table if one is not None]
    values = [table[one] for one in known]
    closed = None not in table
    # without a number for all others, they are a place that no tensor has: to take what is there
    # is refused, whatever the model would make of a number
    node = helper.make_node(
        "LabelEncoder",
        [name],
        [f"{name}:places" if closed else numbers],
        domain="ai.onnx.ml",
        keys_strings=known,
        values_int64s=[*range(len(known))] if closed else values,
        default_int64=NOWHERE if closed else table[None],
    )
    graph.node.insert(0, node)
    if closed:
        graph.initializer.append(numpy_helper.from_array(_int64(values), f"{name}:numbers"))
        taken = [f"{name}:numbers", f"{name}:places"]
        graph.node.insert(1, helper.make_node("Gather", taken, [numbers]))
    if "ai.onnx.ml" not in [one.domain for one in model.opset_import]:
        model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))


def _int64(values: Sequence[int]) -> Any:
    return torch.tensor(values, dtype=torch.int64).numpy()


def _forget(model: ModelProto) -> None:
    """Drop what was noted while tracing: source files, their lines, names of classes."""
    model.doc_string = ""
    del model.metadata_props[:]
    for function in model.functions:
        function.doc_string = ""
        del function.metadata_props[:]
        _forget_nodes(function.node)
    _forget_graph(model.graph)


def _forget_graph(graph: GraphProto) -> None:
    graph.doc_string = ""
    graph.name = "model"
    del graph.metadata_props[:]
    del graph.value_info[:]
    for one in [*graph.input, *graph.output, *graph.initializer]:
        one.doc_string = ""
        del one.metadata_props[:]
    _forget_nodes(graph.node)


def _forget_nodes(nodes: Sequence[NodeProto]) -> None:
    for node in nodes:
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            attribute.doc_string = ""
            if attribute.type == AttributeProto.GRAPH:
                _forget_graph(attribute.g)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what the exporter says of libraries that are not there, and of its own."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
