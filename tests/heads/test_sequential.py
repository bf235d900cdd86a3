"""`SequentialHeadWrapper`: a step of padding is as if it were not there."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.classification import BinaryGroupStatRates

import torch_heads as th
from tests.cases import ROWS, STEPS

NAMES = ["zero", "one", "two"]
MASKS = st.lists(st.booleans(), min_size=ROWS * STEPS, max_size=ROWS * STEPS)


def wrapped(head: th.Head) -> th.SequentialHeadWrapper:
    return th.SequentialHeadWrapper(head, feature_columns=["w"])


HEADS = {
    "binary": (lambda **kwargs: th.BinaryClassHead(thresholds=[0.4], **kwargs), 1, 2),
    "multi-class": (lambda **kwargs: th.MultiClassHead(3, **kwargs), 3, 3),
    "multi-label": (lambda **kwargs: th.MultiLabelHead(2, **kwargs), 2, 2),
    "regression": (lambda **kwargs: th.RegressionHead(2, **kwargs), 2, 2),
    "regression, 1/z": (
        lambda **kwargs: th.RegressionHead(inverse_link_fn=torch.reciprocal, **kwargs),
        1,
        2,
    ),
    "Poisson": (lambda **kwargs: th.PoissonRegressionHead(**kwargs), 1, 5),
}
every_head = pytest.mark.parametrize("kind", HEADS)
every_reduction = pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "sum", "weighted_mean"]
)


def loss_and_gradient(head: th.Head, labels: Tensor, logits: Tensor, features: dict) -> tuple:
    leaf = logits.detach().requires_grad_()
    loss = head.loss(labels, leaf, features)
    return loss.detach(), torch.autograd.grad(loss, leaf)[0]


def evaluate(head: th.Head, labels: Tensor, logits: Tensor, features: dict) -> dict[str, Tensor]:
    return head.update_metrics(head.metrics(), features, logits, labels).compute()


@every_reduction
@every_head
@given(kept=MASKS)
@settings(max_examples=10)
def test_garbage_in_the_padding_never_spreads(
    kind: str, reduction: str, kept: list[bool], device: torch.device
) -> None:
    make, width, values = HEADS[kind]
    head = make(loss_reduction=reduction, weight_column="w")
    columns = 1 if kind == "multi-class" else width
    mask = torch.tensor(kept, device=device).view(ROWS, STEPS)
    random = torch.Generator().manual_seed(sum(kept))
    logits = torch.randn(ROWS, STEPS, width, generator=random).to(device)
    labels = torch.randint(values, (ROWS, STEPS, columns), generator=random).to(device)
    weights = torch.rand(ROWS, STEPS, generator=random).to(device)
    bad_label = -7 if kind == "multi-class" else torch.nan
    if kind != "multi-class":
        labels = labels.float()
    padded = (
        labels.masked_fill(~mask[..., None], bad_label),
        logits.masked_fill(~mask[..., None], torch.nan),
        {"w": weights.masked_fill(~mask, torch.inf), "sequence_length_mask": mask},
    )
    steps = labels[mask], logits[mask], {"w": weights[mask]}
    whole = wrapped(head)
    loss, gradient = loss_and_gradient(whole, *padded)
    expected, step_gradient = loss_and_gradient(head, *steps)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient[mask], step_gradient)
    assert not gradient[~mask].any()
    if any(kept):
        actual, expected = evaluate(whole, *padded), evaluate(head, *steps)
        torch.testing.assert_close(actual, expected, equal_nan=True)


MASK = torch.tensor([[1, 1], [1, 0]])
LABELS, LOGITS = torch.tensor([[1, 0], [0, 1]]), torch.tensor([[[2.0], [-1]], [[0.5], [9]]])


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32, torch.uint8])
def test_the_numbers_are_those_of_the_original(dtype: torch.dtype, device: torch.device) -> None:
    head = wrapped(th.BinaryClassHead(weight_column="w"))
    labels, logits = LABELS.to(device), LOGITS.to(device)
    features = {
        "sequence_length_mask": MASK.to(device, dtype),
        "w": torch.ones(2, 2, device=device),
    }
    assert head.loss(labels, logits, features).item() == pytest.approx(0.471422, abs=1e-6)
    features["w"] = torch.tensor([[1.0, 2], [3, 100]], device=device)
    assert head.loss(labels, logits, features).item() == pytest.approx(1.225227, abs=1e-6)
    values = head.update_metrics(None, features, logits, labels).compute()
    expected = {
        "average_loss": 0.612614,
        "accuracy": 0.5,
        "precision": 0.25,
        "recall": 1,
        "label/mean": 0.166667,
        "accuracy_baseline": 0.833333,
        "prediction/mean": 0.547676,
        "auc": 1,
        "auc_precision_recall": 1,
        "roc_auc": 1,
        "average_precision": 1,
    }
    assert {k: v.item() for k, v in values.items()} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("length", [None, 0, 1])
def test_a_sequence_may_be_all_padding(length: int | None, device: torch.device) -> None:
    head = wrapped(th.BinaryClassHead())
    mask = torch.zeros(2, 2, device=device)
    logits = torch.full((2, 2, 1), torch.nan, device=device)
    features = {"sequence_length_mask": mask[:length], "w": mask[:length]}
    loss, gradient = loss_and_gradient(head, mask[:length], logits[:length], features)
    assert loss == 0
    assert not gradient.any()
    values = evaluate(head, mask[:length], logits[:length], features)
    assert not any(value.nan_to_num(0.0) for value in values.values())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.uint32, torch.uint64], ids=str)
def test_lengths_may_be_unsigned(dtype: torch.dtype, device: torch.device) -> None:
    head = th.SequentialHeadWrapper(th.RegressionHead())
    labels = torch.tensor([[1.0, 100.0], [2.0, 3.0]], device=device)
    lengths = torch.tensor([1, 2], device=device).to(dtype)
    zeros = torch.zeros(2, 2, 1, device=device)
    loss = head.loss(labels, zeros, {"sequence_length_mask": lengths})
    assert loss.item() == pytest.approx((1 + 4 + 9) / 3)
    if device.type == "cpu":
        long = torch.tensor([1, 3]).to(dtype)
        with pytest.raises(ValueError, match=r"lengths .* in \[0, 2\], got 3"):
            head.loss(labels, zeros, {"sequence_length_mask": long})


def test_names_in_the_padding_are_not_looked_up(device: torch.device) -> None:
    mask = {"sequence_length_mask": torch.tensor([[1, 0]], device=device)}
    logits = torch.tensor([[[1.0, 0.0, -1.0], [5.0, 6.0, 7.0]]], device=device)
    for head, labels in [
        (th.MultiClassHead(3, label_vocabulary=NAMES), [["one", "<pad>"]]),
        (th.MultiLabelHead(3, label_vocabulary=NAMES), [[["one"], ["<pad>"]]]),
        (th.MultiLabelHead(3), [[[1], [-1]]]),
    ]:
        shorter = [labels[0][:1]]
        expected = head.loss(shorter, logits[:, :1])
        torch.testing.assert_close(
            th.SequentialHeadWrapper(head).loss(labels, logits, mask), expected
        )


def test_padding_may_stand_among_stacked_labels(device: torch.device) -> None:
    head = th.MultiHead(
        [
            th.SequentialHeadWrapper(th.MultiClassHead(3, name="a")),
            th.SequentialHeadWrapper(th.RegressionHead(name="b")),
        ]
    ).to(device)
    features = {"sequence_length_mask": torch.tensor([[1, 0]], device=device)}
    logits = torch.tensor([[[1.0, 0.0, -1.0, 2.0], [5.0, 6.0, 7.0, 8.0]]], device=device)
    labels = torch.tensor([[[2.0, 0.5], [torch.nan, torch.nan]]], device=device)
    first = {"sequence_length_mask": torch.ones(1, 1, device=device)}
    expected = head.loss(labels[:, :1], logits[:, :1], first)
    torch.testing.assert_close(head.loss(labels, logits, features), expected)


@pytest.mark.parametrize("make", [list, np.array, torch.tensor, pd.Series])
def test_a_feature_of_whole_sequences_holds_for_all_their_steps(
    make: Callable[[list[int]], Any], device: torch.device
) -> None:
    labels, logits, mask = LABELS.to(device), LOGITS.to(device), MASK.to(device)
    groups = th.metrics.Torchmetric(BinaryGroupStatRates(2), groups="sex")
    static = th.BinaryClassHead(name="x", metrics={"rates": groups, "f1": "f1"})
    weighted = th.BinaryClassHead(weight_column="w", name="x")
    for inner, key in ((static, "sex"), (weighted, "w")):
        head = th.SequentialHeadWrapper(inner, feature_columns=[key]).to(device)
        each = torch.tensor([[1, 1], [0, 0]], device=device)
        found, expected = (
            head.update_metrics(
                head.metrics(), {"sequence_length_mask": mask, key: own}, logits, labels
            ).compute()
            for own in (make([1, 0]), each)
        )
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
        assert len(found) > 3


def test_logits_may_lack_a_last_dimension_of_one(device: torch.device) -> None:
    head = th.SequentialHeadWrapper(th.BinaryClassHead())
    features = {"sequence_length_mask": MASK.to(device)}
    labels, logits = LABELS.to(device), LOGITS.to(device)
    expected = head.loss(labels, logits, features)
    assert head.loss(labels[..., None], logits.squeeze(-1), features) == expected
    assert head.predictions(logits.squeeze(-1))["logistic"].shape == (2, 2, 1)


def test_names_and_keys_are_those_of_the_static_head() -> None:
    head = th.SequentialHeadWrapper(th.BinaryClassHead(name="tag"), "mask", (c for c in "ab"))
    assert head.name == "tag_sequential"
    assert th.SequentialHeadWrapper(th.BinaryClassHead()).name is None
    assert "auc/tag" in head.metrics()
    keys = list(head.metrics())
    keys.insert(keys.index("auc_precision_recall/tag") + 1, "regularization_loss/tag")
    assert list(head.metrics(regularization_losses=[])) == keys
    assert head.input_sequence_mask_key == "mask"
    assert head.feature_columns == ["a", "b"]
    assert th.SequentialHeadWrapper(th.BinaryClassHead(), feature_columns="w").feature_columns == [
        "w"
    ]


def test_the_mask_is_among_the_predictions_of_a_server(device: torch.device) -> None:
    head = th.SequentialHeadWrapper(th.BinaryClassHead())
    features = {"sequence_length_mask": MASK.to(device)}
    spec = head.create_estimator_spec(features, "infer", LOGITS.to(device))
    assert spec.predictions["sequence_length_mask"] is features["sequence_length_mask"]
    assert spec.predictions["logistic"].shape == (2, 2, 1)  # padding included
    assert "sequence_length_mask" not in spec.export_outputs["predict"].outputs
    with pytest.raises(KeyError, match="sequence_length_mask"):
        head.create_estimator_spec({}, "infer", LOGITS.to(device))


def test_evaluation_leaves_the_padding_out(device: torch.device) -> None:
    head = th.SequentialHeadWrapper(th.BinaryClassHead())
    features = {"sequence_length_mask": MASK.to(device)}
    spec = head.create_estimator_spec(features, "eval", LOGITS.to(device), LABELS.to(device))
    assert spec.loss.item() == pytest.approx(0.471422, abs=1e-6)
    values = spec.eval_metric_ops.compute()
    assert values["average_loss"].item() == pytest.approx(0.471422, abs=1e-6)


def test_heads_of_several_targets_count_the_steps_of_a_mask(device: torch.device) -> None:
    inner = th.MultiHead(
        [
            th.BinaryClassHead("w", name="a"),
            th.MultiClassHead(3, name="b", missing_label=-1),
            th.BinaryClassHead(name="c", label_vocabulary=["no", "yes"]),
            th.MultiClassHead(5, name="d"),
        ],
        head_weights=[1.0, 2.0, 0.5, 1.0],
    )
    head = th.SequentialHeadWrapper(inner, "mask", feature_columns=["w"]).to(device)
    random = torch.Generator().manual_seed(0)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]], device=device).bool()
    logits = torch.randn(2, 3, 10, generator=random).to(device)
    labels = {
        "a": torch.randint(2, (2, 3), generator=random).to(device),
        "b": torch.randint(-1, 3, (2, 3), generator=random).to(device),
        "c": np.array([["yes", "no", "?"], ["no", "?", "?"]]),
        "d": torch.randint(5, (2, 3), generator=random).to(device),
    }
    weights = torch.rand(2, 3, generator=random).to(device)
    own = {
        name: values[mask.cpu().numpy() if name == "c" else mask] for name, values in labels.items()
    }
    flat = logits[mask], {"w": weights[mask]}
    features = {"mask": mask, "w": weights}
    expected = inner.loss(own, *flat)
    for form in (logits, inner.as_logits(logits)):
        torch.testing.assert_close(head.loss(labels, form, features), expected)
    values = head.update_metrics(None, features, logits, labels).compute()
    alone = th.MultiHead([copy.deepcopy(one) for one in inner.heads])
    metrics = alone.update_metrics(None, flat[1], flat[0], own).compute()
    torch.testing.assert_close(values, metrics, equal_nan=True)
    gradient = torch.autograd.grad(
        head.loss(labels, leaf := logits.clone().requires_grad_(), features), leaf
    )[0]
    assert not gradient[~mask].any()


def test_wrappers_and_heads_of_several_nest(device: torch.device) -> None:
    inner = th.SequentialHeadWrapper(th.BinaryClassHead(name="a"), "inner")
    both = th.MultiHead([inner, th.RegressionHead(name="b")])
    head = th.SequentialHeadWrapper(both, "outer", feature_columns=["inner"]).to(device)
    features = {
        "inner": torch.tensor([[1, 0, 1]], device=device),
        "outer": torch.tensor([[1, 1, 0]], device=device),
    }
    logits = torch.tensor([[[0.0, 1.0], [9.0, 2.0], [9.0, 9.0]]], device=device)
    labels = torch.ones(1, 3, 2, device=device)
    losses = both.losses(labels, logits, {"inner": features["inner"]})
    assert losses["a_sequential"] < losses["b"]
    expected = math.log(2) + (0 + 1) / 2  # a counts its first step, b the first two
    assert head.loss(labels, logits, features).item() == pytest.approx(expected)
    values = head.update_metrics(None, features, logits, labels).compute()
    assert values["average_loss/a"].item() == pytest.approx(math.log(2))
    assert values["average_loss/b"] == 0.5


@pytest.mark.parametrize("kind", [th.BinaryClassHead, th.RegressionHead])
def test_the_mask_holds_for_the_logits_of_every_head(
    kind: type[th.Head], device: torch.device
) -> None:
    head = th.SequentialHeadWrapper(th.MultiHead([kind(name="a"), th.RegressionHead(name="b")]))
    logits = {"a": torch.zeros(1, 2, 1, device=device), "b": torch.zeros(3, 2, 1, device=device)}
    labels = {"a": torch.ones(1, 2, device=device), "b": torch.ones(3, 2, device=device)}
    features = {"sequence_length_mask": torch.tensor([[1, 0]], device=device)}
    expected = r"'b': expected logits of the shape of the mask, \[1, 2, 1\], got \[3, 2, 1\]"
    with pytest.raises(ValueError, match=expected):
        head.loss(labels, logits, features)


def test_logits_of_a_head_by_name_have_all_dimensions(device: torch.device) -> None:
    head = th.SequentialHeadWrapper(th.MultiHead([th.BinaryClassHead(name="a")]))
    labels, features = {"a": torch.ones(2, 3, device=device)}, {"sequence_length_mask": [3, 1]}
    with pytest.raises(ValueError, match=r"logits of shape \[B, T, \.\.\.\], got \[2, 3\]"):
        head.loss(labels, {"a": torch.zeros(2, 3, device=device)}, features)
