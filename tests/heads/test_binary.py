"""`BinaryClassHead`, beyond what every head promises."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import torch_heads as th


def test_a_logit_of_zero_is_class_0_and_any_above_it_class_1(device: torch.device) -> None:
    logits = torch.tensor([[0.0], [1e-12], [-1e-12]], device=device)
    predictions = th.BinaryClassHead().predictions(logits)
    assert predictions["class_ids"].tolist() == [[0], [1], [0]]
    # in metrics, too
    head = th.BinaryClassHead(thresholds=[0.5])
    metrics = head.update_metrics(None, None, logits, torch.ones(3, device=device))
    assert metrics.compute()["recall"] == pytest.approx(1 / 3)
    assert metrics.compute()["recall/positive_threshold_0.5"] == 0  # all three scores are 0.5


def test_predictions_have_every_batch_dimension(device: torch.device) -> None:
    head = th.BinaryClassHead(label_vocabulary=["no", "yes"])
    logits = torch.tensor([[[-1.0], [2.0], [3.0]], [[0.5], [0.0], [-4.0]]], device=device)
    predictions = head.predictions(logits)
    for key in ["logits", "logistic", "class_ids", "classes"]:
        assert predictions[key].shape == (2, 3, 1)
    for key in ["probabilities", "all_class_ids", "all_classes"]:
        assert predictions[key].shape == (2, 3, 2)
    assert predictions["classes"].squeeze(-1).tolist() == [
        ["no", "yes", "yes"],
        ["yes", "no", "no"],
    ]
    assert (predictions["all_classes"] == ["no", "yes"]).all()
    assert (predictions["all_class_ids"].cpu() == torch.tensor([0, 1])).all()


def test_probabilities_stay_exact_far_from_zero(device: torch.device) -> None:
    logits = torch.tensor([[40.0], [-40.0]], device=device)
    probabilities = th.BinaryClassHead().predictions(logits)["probabilities"]
    tiny = torch.sigmoid(torch.tensor(-40.0)).item()
    assert tiny > 0
    expected = torch.tensor([[tiny, 1.0], [1.0, tiny]], device=device)
    torch.testing.assert_close(probabilities, expected)


@pytest.mark.parametrize(
    "labels",
    [
        [1, 0, 1],
        [[1], [0], [1]],
        [True, False, True],
        np.array([1.0, 0.0, 1.0]),
        np.array([1, 0, 1], dtype=np.uint8),
        torch.tensor([1, 0, 1], dtype=torch.int8),
    ],
    ids=["list", "column", "bools", "floats", "uint8", "int8"],
)
def test_labels_may_be_of_any_number_type(labels: Any, device: torch.device) -> None:
    if isinstance(labels, Tensor):
        labels = labels.to(device)
    logits = torch.tensor([[2.0], [-1.0], [0.0]], device=device)
    assert th.BinaryClassHead().loss(labels, logits).item() == pytest.approx(0.377779, abs=1e-6)


def test_thresholds_give_metrics_in_their_own_order() -> None:
    keys = list(th.BinaryClassHead(thresholds=(t / 4 for t in [3, 1]), name="x").metrics())
    assert keys[-2:] == ["roc_auc/x", "average_precision/x"]
    assert keys[9:-2] == [
        f"{metric}/positive_threshold_{threshold}/x"
        for threshold in ["0.75", "0.25"]
        for metric in ["accuracy", "precision", "recall"]
    ]


@pytest.mark.parametrize(
    ("label", "logit", "expected"),
    [
        (1, math.inf, math.nan),
        (0, -math.inf, math.nan),
        (0, math.inf, math.inf),
        (1, -math.inf, math.nan),
    ],
)
def test_the_loss_of_infinite_logits_is_what_the_migration_page_says(
    label: int, logit: float, expected: float
) -> None:
    loss = th.BinaryClassHead().loss([label], torch.tensor([[logit]])).item()
    assert loss == pytest.approx(expected, nan_ok=True)


def test_a_weight_of_zero_drops_what_a_loss_fn_makes_of_the_example(device: torch.device) -> None:
    def log_loss(labels: Tensor, logits: Tensor) -> Tensor:
        return -(labels * logits).log()  # infinite where the label is 0

    logits = torch.tensor([[1.0], [2.0]], device=device, requires_grad=True)
    weights = torch.tensor([1.0, 0.0], device=device)
    head = th.BinaryClassHead(loss_fn=log_loss, loss_reduction="weighted_mean")
    assert head.loss([[1.0], [0.0]], logits, weights=weights) == 0
    both = th.MultiHead([th.BinaryClassHead(name="a", loss_fn=log_loss)]).to(device)
    loss = both.loss({"a": [[1.0], [0.0]]}, logits, weights={"a": weights})
    assert loss == 0
    assert not head.update_metrics(None, {}, logits, [[1.0], [0.0]], weights=weights).compute()[
        "average_loss"
    ]


class Distance(nn.Sequential):
    """A loss with nothing in it, so that it counts as false."""

    def forward(self, labels: Tensor, logits: Tensor) -> Tensor:
        return (labels - logits).abs()


@pytest.mark.parametrize(
    "wrap", [lambda loss_fn: loss_fn, partial(torch.compile, backend="eager"), partial]
)
def test_a_loss_fn_may_be_a_module(wrap: Any, device: torch.device) -> None:
    head = th.BinaryClassHead(loss_fn=wrap(Distance()))
    assert head.loss([[1.0]], torch.tensor([[0.25]], device=device)) == 0.75


def test_a_loss_fn_gets_what_it_asks_for(device: torch.device) -> None:
    seen = {}

    def loss_fn(labels: Tensor, logits: Tensor, features: Any, loss_reduction: str) -> Tensor:
        seen.update(labels=labels, logits=logits, features=features, reduction=loss_reduction)
        return (labels - logits).abs()

    head = th.BinaryClassHead(loss_fn=loss_fn, loss_reduction="sum", label_vocabulary=["a", "b"])
    logits = torch.tensor([[0.25], [0.5]], device=device)
    features = {"x": [1, 2]}
    assert head.loss(["b", "a"], logits, features) == 1.25
    assert seen["labels"].tolist() == [[1], [0]]
    assert seen["labels"].dtype == torch.float32
    assert torch.equal(seen["logits"], logits)
    assert seen["features"] is features
    assert seen["reduction"] == "sum"


def test_features_are_not_needed_without_a_weight_column(device: torch.device) -> None:
    head, logits = th.BinaryClassHead(), torch.zeros(1, 1, device=device)
    losses = {head.loss([1], logits, features).item() for features in [None, {}, {"x": object()}]}
    assert len(losses) == 1
    for mode in ["train", "eval", "infer", None]:
        assert head.loss([1], logits, mode=mode).item() in losses
