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
