"""The part of a graph that some of its outputs need."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import onnx
from onnx import AttributeProto, GraphProto, NodeProto


def pruned(path: Path, outputs: Collection[str]) -> bytes:
    """Return a graph that has these outputs alone, whose weights stay in its folder."""
    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    needed, nodes = set(outputs), []
    for node in reversed(graph.node):
        if not needed.isdisjoint(node.output):
            nodes.append(node)
            needed.update(_names(node))
    weights = [one for one in graph.initializer if one.name in needed]
    results = [one for one in graph.output if one.name in outputs]
    for field, kept in (("node", nodes[::-1]), ("initializer", weights), ("output", results)):
        graph.ClearField(field)
        getattr(graph, field).extend(kept)
    return bytes(model.SerializeToString())


def _names(node: NodeProto) -> Iterator[str]:
    """Yield what a node reads, its inner graphs from the outer one included."""
    yield from node.input
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield from _inner_names(attribute.g)
        elif attribute.type == AttributeProto.GRAPHS:
            for graph in attribute.graphs:
                yield from _inner_names(graph)


def _inner_names(graph: GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from _names(node)
    yield from (one.name for one in graph.output)
