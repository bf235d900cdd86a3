"""Lists of positions, as ``default_collate`` makes them, are refused at every argument."""

from typing import Any

import pytest
import torch
from torch.utils.data import default_collate

import torch_heads as th

COLLATED = r"by example, got .* each as long as the batch\. default_collate lists positions: "
KEY = "sequence_length_mask"


def examples(kind: str) -> list[Any]:
    """Return two examples of two steps."""
    match kind:
        case "pairs":
            return [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]
        case "ids":
            return [[[0, 1], [1, 2]], [[2, 0], [0, 1]]]
        case _:
            return [[["a", "b"], ["b", "c"]], [["c", "a"], ["a", "b"]]]


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("kind", ["pairs", "stacked", "ids", "names"])
def test_steps_of_lists_are_refused(kind: str, wrapped: bool) -> None:
    heads: dict[str, th.Head] = {
        "pairs": th.RegressionHead(2, name="x"),
        "stacked": th.MultiHead([th.RegressionHead(name="x"), th.RegressionHead(name="y")]),
        "ids": th.MultiLabelHead(3, label_lists="ids", name="x"),
        "names": th.MultiLabelHead(3, label_vocabulary=["a", "b", "c"], name="x"),
    }
    inner = heads[kind]
    head = th.SequentialHeadWrapper(inner) if wrapped else inner
    logits = torch.randn(2, 2, inner.logits_dimension)
    features = {KEY: [2, 1]} if wrapped else None
    plain = examples("pairs" if kind == "stacked" else kind)
    assert head.loss(plain, logits, features).isfinite()
    collated = default_collate(plain)
    with pytest.raises(ValueError, match=rf"Head.*: expected labels {COLLATED}") as refusal:
        head.loss(collated, logits, features)
    code = str(refusal.value).split("positions: ")[1].split(" lists examples")[0]
    made = eval(code, {"torch": torch, "labels": collated})  # the way out that it tells
    assert (made.tolist() if isinstance(made, torch.Tensor) else made) == plain


@pytest.mark.parametrize("rows", [2, 3])
def test_weights_and_masks_are_looked_into(rows: int) -> None:
    plain = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]][:rows]
    weights, labels = default_collate(plain), torch.zeros(rows, 2)
    logits = torch.ones(rows, 2, 1)
    lengths = {KEY: [2] * rows}
    steps = th.SequentialHeadWrapper(th.RegressionHead())
    with pytest.raises(ValueError, match=rf"expected weights {COLLATED}"):
        steps.loss(labels, logits, lengths, weights=weights)
    column = th.SequentialHeadWrapper(th.RegressionHead(weight_column="w"), feature_columns="w")
    with pytest.raises(ValueError, match=rf"expected features\['w'\] {COLLATED}"):
        column.loss(labels, logits, {**lengths, "w": weights})
    with pytest.raises(ValueError, match=rf"expected features\['w'\] {COLLATED}"):
        th.RegressionHead(2, "w").loss(labels, logits[..., 0], {"w": weights})
    called = th.RegressionHead(2, lambda features: features["w"])
    with pytest.raises(ValueError, match=rf"expected weight_column\(features\) {COLLATED}"):
        called.loss(labels, logits[..., 0], {"w": weights})
    both = th.MultiHead([th.RegressionHead(name="a"), th.RegressionHead(name="b")])
    for given in (weights, {"a": weights}):
        with pytest.raises(ValueError, match=rf"expected weights {COLLATED}"):
            both.loss(torch.zeros(rows, 2, 2), torch.zeros(rows, 2, 2), weights=given)
    with pytest.raises(ValueError, match=rf"expected weights {COLLATED}"):
        th.RegressionHead(2).loss(labels, logits[..., 0], weights=weights)
    with pytest.raises(ValueError, match=rf"the mask features\['{KEY}'\] {COLLATED}"):
        steps.loss(labels, logits, {KEY: default_collate([[1, 1], [0, 0], [1, 0]][:rows])})
    expected = th.RegressionHead(2).loss(labels, logits[..., 0], weights=torch.tensor(plain))
    assert th.RegressionHead(2).loss(labels, logits[..., 0], weights=plain) == expected


def test_a_batch_of_one_example_is_looked_into() -> None:
    head = th.MultiLabelHead(3, label_vocabulary=["a", "b", "c"])
    with pytest.raises(ValueError, match=rf"expected labels {COLLATED}"):
        head.loss(default_collate([["a", "c"]]), torch.zeros(1, 3))
    assert head.loss(default_collate([["a"]]), torch.zeros(1, 3)).isfinite()
    words = th.MultiClassHead(3, label_vocabulary=["a", "b", "c"])
    assert words.loss(("a", "b"), torch.zeros(2, 3)).isfinite()
