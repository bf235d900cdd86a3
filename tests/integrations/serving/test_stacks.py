"""The predictions of many heads in one tensor, strings too, are those of each head."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor

import torch_heads as th
from tests.cases import CASES, Case
from tests.own_heads import LaplaceHead, QuartilesHead
from torch_heads.families import Categorical
from torch_heads.integrations.serving.answers import Answers, below
from torch_heads.integrations.serving.graph_strings import add_string_stacks
from torch_heads.integrations.serving.kinds import stacked_manifest
from torch_heads.integrations.serving.stacks import stacks_of
from torch_heads.integrations.serving.string_stacks import string_stacks

SEVERAL = [case for case in CASES if all(case.head().computation.paths)]
TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


class ChoicesHead(th.TensorHead):
    """Two answers of some classes each, with names that are no multiple of the columns."""

    string_keys = ("all",)

    def __init__(self, n_classes: int, **options: Any) -> None:
        super().__init__(Categorical(n_classes), 2, **options)
        self.n_classes = n_classes

    @property
    def predicted(self) -> Mapping[str, Any]:
        return {"logits": Categorical.logits, "predictions": Categorical.mean}

    def string_predictions(self, predictions: Mapping[str, Tensor]) -> Mapping[str, Any]:
        names = [f"{self.n_classes}.{i}" for i in range(2 * self.n_classes + 1)]
        return {"all": np.broadcast_to(names, (*predictions["logits"].shape[:-1], len(names)))}


def mixture() -> th.MultiHead:
    """Return heads of which several forms share a family, padded and not."""
    return th.MultiHead(
        [
            th.MultiClassHead(5, name="five", label_vocabulary=list("abcde")),
            th.MultiClassHead(8, name="eight"),
            th.MultiClassHead(7, name="seven", label_vocabulary=list("abcdefg")),
            ChoicesHead(6, name="six"),
            ChoicesHead(8, name="twice"),
            th.BinaryClassHead(name="plain"),
            th.MultiLabelHead(3, name="bars"),
            th.BinaryClassHead(name="named", label_vocabulary=["no", "ja ✓"]),
            LaplaceHead(2, name="far"),
            QuartilesHead(2, name="quarters"),
            th.QuantileRegressionHead((0.1, 0.5, 0.9), 2, name="quantiles"),
            th.GaussianRegressionHead(name="metres"),
            th.OrdinalClassHead(4, name="grade"),
            th.MultiClassHead(120, name="many"),
        ]
    )


def assert_stacked(head: th.Head, logits: Any) -> None:
    """Hold the parts of all tensors, those of strings as a graph makes them, to the predictions."""
    answers, stacks = Answers(head, logits), stacks_of(head, logits)
    strings = string_stacks(answers, stacks)
    tensors = {name: one.values.detach().cpu().numpy() for name, one in stacks.items()}
    tensors |= made_by_a_graph(tensors, strings)
    shapes = {name: one.shape for name, one in tensors.items()}
    manifest = stacked_manifest(answers, stacks, strings, shapes)
    outputs = manifest.all_outputs()
    assert outputs.keys() == answers.predictions.keys()
    for name, one in outputs.items():
        found, expected = tensors[one.tensor or name][one.part], answers.predictions[name]
        expected = expected.detach().cpu() if isinstance(expected, Tensor) else expected
        assert found.shape == tuple(expected.shape) == one.shape, name
        np.testing.assert_array_equal(found, np.asarray(expected), err_msg=name)
    for name in (below(path, "classes") for path in answers.paths):
        assert name not in outputs or outputs[name].tensor in strings


def made_by_a_graph(tensors: Mapping[str, Any], strings: Any) -> dict[str, Any]:
    """Return what a graph of the strings alone makes of the other tensors."""
    if not strings:
        return {}
    infos = [
        helper.make_tensor_value_info(name, TYPES[str(one.dtype)], one.shape)
        for name, one in tensors.items()
    ]
    again = [onnx.ValueInfoProto.FromString(one.SerializeToString()) for one in infos]
    for one in infos:
        one.name += "?"
    nodes = [helper.make_node("Identity", [f"{name}?"], [name]) for name in tensors]
    opset = helper.make_opsetid("", 18)
    graph = helper.make_graph(nodes, "g", infos, again)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    add_string_stacks(model, strings)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = session.run([*strings], {f"{name}?": one for name, one in tensors.items()})
    return dict(zip(strings, found, strict=True))


@pytest.mark.parametrize("case", SEVERAL, ids=lambda case: case.about)
def test_each_head_finds_its_own(case: Case) -> None:
    assert_stacked(case.head(), case.batch.logits)


@pytest.mark.parametrize("rows", [0, 1, 3])
@pytest.mark.parametrize("steps", [(), (2,)])
def test_heads_of_several_forms_are_side_by_side(rows: int, steps: tuple[int, ...]) -> None:
    head = mixture()
    generator = torch.Generator().manual_seed(rows)
    assert_stacked(head, torch.randn(rows, *steps, head.logits_dimension, generator=generator))


def test_columns_with_fewer_names_than_others_have_none_there() -> None:
    head = th.MultiHead(
        [
            th.MultiClassHead(3, name="three", label_vocabulary=["x", "y", "z"]),
            th.MultiClassHead(4, name="four"),
        ]
    )
    logits = torch.zeros(1, 7)
    stacks = stacks_of(head, logits)
    strings = string_stacks(Answers(head, logits), stacks)
    tensors = {name: one.values.numpy() for name, one in stacks.items()}
    found = made_by_a_graph(tensors, strings)
    [every] = [value for name, value in found.items() if name.endswith("/all_classes")]
    assert every.tolist() == [["x", "y", "z", "", "0", "1", "2", "3"]]


def test_names_that_heads_share_are_in_the_graph_once() -> None:
    own = [th.BinaryClassHead(name=f"b{i}", label_vocabulary=["no", "yes"]) for i in range(50)]
    head = th.MultiHead([*own, *(th.MultiClassHead(n, name=f"m{n}") for n in range(3, 200))])
    logits = torch.zeros(1, head.logits_dimension)
    strings = string_stacks(Answers(head, logits), stacks_of(head, logits))
    model = helper.make_model(helper.make_graph([], "g", [], []))
    for one in stacks_of(head, logits).items():
        model.graph.output.append(helper.make_tensor_value_info(one[0], 1, one[1].values.shape))
    add_string_stacks(model, strings)
    texts = [one for one in model.graph.initializer if one.data_type == TensorProto.STRING]
    # those that are ids are counted
    assert sorted(text for one in texts for text in one.string_data) == [b"", b"no", b"yes"]
    assert len(model.graph.node) < 100  # for 247 heads
