"""A `loss_fn` as PyTorch has them."""

from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import torch_heads as th


def focal(inputs: Tensor, targets: Tensor, gamma: float = 2.0, reduction: str = "mean") -> Tensor:
    losses = F.binary_cross_entropy_with_logits(inputs, targets, reduction="none")
    losses = (1 - torch.exp(-losses)) ** gamma * losses
    return losses if reduction == "none" else losses.mean()


NUMBERS = [
    (nn.HuberLoss(reduction="none"), F.huber_loss),
    (F.smooth_l1_loss, F.smooth_l1_loss),
    (partial(F.huber_loss, reduction="none", delta=0.5), partial(F.huber_loss, delta=0.5)),
    (nn.L1Loss(reduction="none"), F.l1_loss),
    (partial(nn.MSELoss(reduction="none")), F.mse_loss),
]


@pytest.mark.parametrize(("loss_fn", "expected"), NUMBERS)
def test_losses_of_numbers_are_those_of_pytorch(
    loss_fn: Any, expected: Any, device: torch.device
) -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 2, generator=random).to(device)
    labels = torch.randn(5, 2, generator=random).to(device)
    head = th.RegressionHead(2, loss_fn=loss_fn, missing_label=-100)
    torch.testing.assert_close(head.loss(labels, logits), expected(logits, labels))
    gaps = labels.clone()
    gaps[0, 0] = gaps[3] = -100
    there = gaps != -100
    leaf = logits.clone().requires_grad_()
    loss = head.loss(gaps, leaf)
    torch.testing.assert_close(loss, expected(logits[there], labels[there]))
    assert not torch.autograd.grad(loss, leaf)[0][~there].any()


def test_losses_of_classes_are_those_of_pytorch(device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 3, 4, generator=random).to(device)
    ids = torch.randint(4, (5, 3), generator=random).to(device)
    soft = torch.softmax(torch.randn(5, 3, 4, generator=random), -1).to(device)
    head = th.MultiClassHead(4, loss_fn=nn.CrossEntropyLoss(reduction="none"))
    for labels in (ids, soft):
        flat = labels.flatten(0, 1)
        expected = F.cross_entropy(logits.flatten(0, 1), flat)
        torch.testing.assert_close(head.loss(labels, logits), expected)


def test_a_focal_loss_averages_over_the_classes_of_an_example(device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 3, generator=random).to(device)
    labels = torch.randint(2, (5, 3), generator=random).float().to(device)
    head = th.MultiLabelHead(3, loss_fn=focal, missing_label=-1)
    torch.testing.assert_close(head.loss(labels, logits), focal(logits, labels))
    labels[1, 2] = -1
    leaf = logits.clone().requires_grad_()
    loss = head.loss(labels, leaf)
    there = labels != -1
    each = focal(logits, labels, reduction="none").where(there, 0).sum(-1) / there.sum(-1)
    torch.testing.assert_close(loss, each.mean())
    gradient = torch.autograd.grad(loss, leaf)[0]
    assert gradient.isfinite().all()
    assert gradient[1, 2] == 0


def centred(labels: Tensor, logits: Tensor) -> Tensor:
    """Return a loss that looks at all rows."""
    return (logits - logits.mean() - labels) ** 2


def test_a_loss_fn_that_couples_rows_sees_what_it_saw_in_tf_estimator(device: torch.device) -> None:
    head = th.RegressionHead(loss_fn=centred)
    logits = torch.tensor([[1.0], [3.0]], device=device)
    weights = torch.tensor([1.0, 0.0], device=device)
    zeros = torch.zeros(2, device=device)
    assert head.loss(zeros, logits, weights=weights) == 0.5  # tf.estimator's numbers
    steps = torch.tensor([[[1.0], [3.0]], [[5.0], [9.0]]], device=device)
    mask = {"sequence_length_mask": torch.tensor([[1, 1], [1, 0]], device=device)}
    wrapped = th.SequentialHeadWrapper(head)
    loss = wrapped.loss(zeros.expand(2, 2), steps, mask)
    assert loss.item() == pytest.approx(8 / 3)
    metrics = wrapped.update_metrics(None, mask, steps, zeros.expand(2, 2)).compute()
    assert metrics["average_loss"].item() == pytest.approx(8 / 3)


@pytest.mark.parametrize("gone", [[], [0], [1, 3], [0, 1, 2, 3]])
def test_a_loss_fn_gets_no_rows_that_are_missing(gone: list[int], device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, 2, generator=random).to(device)
    labels = torch.randn(4, 3, 2, generator=random).to(device)
    kept = [row for row in range(4) if row not in gone]
    head = th.RegressionHead(2, loss_fn=centred, missing_label=-100)
    labels[gone] = -100
    leaf = logits.clone().requires_grad_()
    loss = head.loss(labels, leaf)
    rest = logits[kept].clone().requires_grad_()
    expected = head.loss(labels[kept], rest)
    torch.testing.assert_close(loss, expected)
    assert not gone or loss != centred(labels, logits).mean()
    [gradient] = torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(gradient[kept], torch.autograd.grad(expected, rest)[0])
    assert not gradient[gone].any()


def test_features_of_a_loss_fn_are_those_of_its_rows(device: torch.device) -> None:
    seen: dict[str, Any] = {}

    def scaled(labels: Tensor, logits: Tensor, features: Any) -> Tensor:
        seen.update(features)
        return (logits - labels).abs() * features["scale"].view(-1, 1)

    head = th.RegressionHead(loss_fn=scaled, missing_label=-1)
    features = {
        "scale": torch.tensor([2.0, 3.0, 5.0], device=device),
        "names": np.array(["a", "b", "c"]),
        "other": torch.zeros(7, device=device),
        "text": "whatever",
    }
    loss = head.loss([0.0, -1.0, 0.0], torch.ones(3, 1, device=device), features)
    assert loss.item() == pytest.approx(3.5)
    assert seen["names"].tolist() == ["a", "c"]
    assert (len(seen["other"]), seen["text"]) == (7, "whatever")
    steps = th.SequentialHeadWrapper(th.RegressionHead(loss_fn=scaled), "mask", ["scale"])
    given = {"mask": [[1, 0], [1, 1]], "scale": torch.tensor([[2.0, 9.0], [3.0, 5.0]])}
    assert steps.loss(torch.zeros(2, 2), torch.ones(2, 2, 1), given).item() == pytest.approx(10 / 3)


def test_features_of_a_loss_fn_need_no_names() -> None:
    seen: list[Any] = []

    def noting(labels: Tensor, logits: Tensor, features: Any) -> Tensor:
        seen.append(features)
        return logits - labels

    head = th.RegressionHead(loss_fn=noting, missing_label=-1)
    for features in (torch.tensor([2.0, 3.0]), [2.0, 3.0], np.array([2.0, 3.0])):
        head.loss([0.0, -1.0], torch.ones(2, 1), features)
        assert seen[-1].tolist() == [2.0]
    head.loss([0.0, -1.0], torch.ones(2, 1), pl.DataFrame({"scale": [2.0, 3.0]}))
    assert {name: own.tolist() for name, own in seen[-1].items()} == {"scale": [2.0]}


def test_a_row_of_weight_zero_may_hold_nan_for_a_loss_fn(device: torch.device) -> None:
    head = th.RegressionHead(loss_fn=nn.MSELoss(reduction="none"), loss_reduction="weighted_mean")
    for value in (torch.nan, torch.inf):
        logits = torch.tensor([[1.0], [value]], device=device, requires_grad=True)
        labels = torch.tensor([0.0, value], device=device)
        loss = head.loss(labels, logits, weights=torch.tensor([2.0, 0.0], device=device))
        assert loss == 1
        assert torch.autograd.grad(loss, logits)[0].tolist() == [[2.0], [0.0]]


REFUSED = [
    (nn.HuberLoss(), 'reduction="none", got \'mean\'. Make it with reduction="none"'),
    (partial(F.mse_loss, reduction="sum"), "got 'sum'"),
    (lambda input, target, temperature: input, "and others with a default"),
]


@pytest.mark.parametrize(("loss_fn", "says"), REFUSED)
def test_a_loss_that_reduces_is_refused_with_the_way_out(loss_fn: Any, says: str) -> None:
    with pytest.raises(ValueError, match="RegressionHead 'ink': expected loss_fn") as raised:
        th.RegressionHead(loss_fn=loss_fn, name="ink")
    assert says in str(raised.value)


def test_a_loss_for_the_whole_batch_is_refused_when_it_shows() -> None:
    head = th.RegressionHead(loss_fn=lambda input, target: (input - target).abs().mean())
    with pytest.raises(ValueError, match="a loss for each example, got one number for the whole"):
        head.loss([0.0, 1.0], torch.zeros(2, 1))


def test_one_loss_for_several_labels_is_refused_where_some_may_miss() -> None:
    by_row = nn.MultiLabelSoftMarginLoss(reduction="none")
    logits, labels = torch.zeros(2, 3), torch.ones(2, 3)
    expected = by_row(logits, labels).mean()
    torch.testing.assert_close(th.MultiLabelHead(3, loss_fn=by_row).loss(labels, logits), expected)
    with pytest.raises(ValueError, match="a loss for each label, some of which may be missing"):
        th.MultiLabelHead(3, loss_fn=by_row, missing_label=-1).loss(labels, logits)
