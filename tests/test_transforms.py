"""Losses under `torch.func`: one by one, per example, by any argument."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vmap

import torch_heads as th
from tests.own_heads import LaplaceHead

ROWS = 4

HEADS = [
    th.BinaryClassHead(missing_label=-1, pos_weight=2.0),
    th.MultiClassHead(3, missing_label=-1, label_smoothing=0.1),
    th.MultiLabelHead(2, missing_label=-1),
    th.RegressionHead(missing_label=-1),
    th.PoissonRegressionHead(missing_label=-1),
    LaplaceHead(2, missing_label=-1),
    th.MultiHead(
        [
            th.BinaryClassHead(name="a", missing_label=-1),
            th.MultiClassHead(3, name="b", missing_label=-1),
            th.RegressionHead(2, name="c", missing_label=-1),
            th.MultiClassHead(5, name="d", missing_label=-1),
        ]
    ),
]
every_head = pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)


def batch(head: th.Head, device: torch.device) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (ROWS, head.labels_dimension), generator=random)
    labels[1] = -1
    logits = torch.randn(ROWS, head.logits_dimension, generator=random)
    return labels.to(device), logits.to(device)


@every_head
def test_per_example_losses_and_gradients_are_those_of_a_loop(
    head: th.Head, device: torch.device
) -> None:
    labels, logits = batch(head.to(device), device)

    def loss(own_logits: Tensor, own_labels: Tensor) -> Tensor:
        return head.loss(own_labels.unsqueeze(0), own_logits.unsqueeze(0))

    for transform in (lambda f: f, grad):
        actual = vmap(transform(loss))(logits, labels)
        each = [transform(loss)(*row) for row in zip(logits, labels, strict=True)]
        torch.testing.assert_close(actual, torch.stack(each))


@every_head
def test_jacobians_are_gradients(head: th.Head, device: torch.device) -> None:
    labels, logits = batch(head.to(device), device)

    def loss(own: Tensor) -> Tensor:
        return head.loss(labels, own)

    leaf = logits.clone().requires_grad_()
    [expected] = torch.autograd.grad(loss(leaf), leaf)
    torch.testing.assert_close(grad(loss)(logits), expected)
    torch.testing.assert_close(jacrev(loss)(logits), expected)
    assert not expected[1].any()


def undefined_at_0(labels: Tensor, logits: Tensor) -> Tensor:
    """Return a loss that is NaN, with its gradient, for what stands in for a missing row."""
    return (labels - logits).abs() / (labels.abs() + logits.abs())


@pytest.mark.parametrize(
    "head",
    [
        th.RegressionHead(missing_label=-1, loss_fn=nn.HuberLoss(reduction="none")),
        th.RegressionHead(missing_label=-1, loss_fn=undefined_at_0),
        th.MultiClassHead(3, missing_label=-1, loss_fn=nn.functional.cross_entropy),
        th.RegressionHead(
            2, missing_label=-1, loss_fn=lambda labels, logits: (labels - logits).square()
        ),
    ],
    ids=["module", "undefined at 0", "function", "two columns"],
)
def test_rows_that_are_missing_count_nowhere_in_a_loss_of_ones_own(
    head: th.Head, device: torch.device
) -> None:
    test_per_example_losses_and_gradients_are_those_of_a_loop(head, device)


def test_a_loss_of_ones_own_needs_one_row_in_each_slice(device: torch.device) -> None:
    head = th.RegressionHead(name="ink", missing_label=-1, loss_fn=undefined_at_0)
    match = r"'ink': expected logits of one row under torch\.func\.vmap, .* got 4 rows"
    with pytest.raises(ValueError, match=match):
        vmap(head.loss)(torch.ones(2, 4, 1, device=device), torch.ones(2, 4, 1, device=device))


@pytest.mark.parametrize("missing", [None, -1])
def test_class_probabilities_have_gradients_per_example(
    missing: int | None, device: torch.device
) -> None:
    random = torch.Generator().manual_seed(0)
    soft = torch.randn(ROWS, 3, generator=random).softmax(-1).to(device)
    if missing is not None:
        soft[1] = torch.nan
    logits = torch.randn(ROWS, 5, generator=random).to(device)
    ids = torch.tensor([1, 0, 0, 1], device=device)
    alone = th.MultiClassHead(3, missing_label=missing)
    both = th.MultiHead(
        [th.MultiClassHead(3, name="a", missing_label=missing), th.MultiClassHead(2, name="b")]
    )

    def loss_alone(own: Tensor, soft: Tensor, _: Tensor) -> Tensor:
        return alone.loss(soft[None], own[None, :3])

    def loss_of_both(own: Tensor, soft: Tensor, one: Tensor) -> Tensor:
        return both.loss({"a": soft[None], "b": one[None]}, own[None])

    for loss in (loss_alone, loss_of_both):
        each = [grad(loss)(*row) for row in zip(logits, soft, ids, strict=True)]
        torch.testing.assert_close(vmap(grad(loss))(logits, soft, ids), torch.stack(each))


def test_a_functional_call_takes_other_parameters(device: torch.device) -> None:
    model = nn.Sequential(nn.Linear(3, 1), th.RegressionHead()).to(device)
    doubled = {name: 2 * value for name, value in model.named_parameters()}
    inputs = torch.ones(2, 3, device=device)
    predictions: Any = functional_call(model, doubled, (inputs,))
    torch.testing.assert_close(predictions["predictions"], 2 * model(inputs)["predictions"])


def test_labels_that_are_refused_are_refused_under_a_transform() -> None:
    head = th.BinaryClassHead(name="even")
    with pytest.raises(ValueError, match=r"'even': expected labels in \[0, 1\], got 3"):
        vmap(lambda z, y: head.loss(y[None], z[None]))(torch.zeros(2, 1), torch.tensor([1.0, 3.0]))
