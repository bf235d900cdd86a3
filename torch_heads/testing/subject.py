"""A head under test, and how it is measured."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from torch_heads.heads.base import Head
from torch_heads.testing.sample import Sample, random_sample

REDUCTIONS = ("sum", "weighted_mean", "sum_over_batch_size")

MakeHead = Callable[..., Head]


class Subject:
    """A head under test: what makes it, and a sample that it takes."""

    def __init__(self, make: MakeHead, sample: Sample | None = None) -> None:
        self.make = make
        self._sample = sample

    @cached_property
    def sample(self) -> Sample:
        """The sample given, or a random one of numbers."""
        return self._sample or random_sample(self.make())

    def head(self, **options: Any) -> Head:
        """Return a new head on the sample's device."""
        return self.make(**options).to(self.sample.logits.device)


def loss_and_gradient(head: Head, sample: Sample) -> tuple[Tensor, Tensor]:
    """Return the loss of a sample, and its gradient by the logits."""
    logits = sample.logits.detach().requires_grad_()
    loss = head.loss(sample.labels, logits, sample.features)
    require(loss.requires_grad, "the loss does not depend on the logits: it has no gradient")
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


def evaluate(head: Head, *samples: Sample) -> dict[str, Tensor]:
    """Return the metrics over some samples, but for means over batches and counts of rows."""
    metrics = head.metrics()
    for sample in samples:
        head.update_metrics(metrics, sample.features, sample.logits, sample.labels)
    return {
        key: value
        for key, value in metrics.compute().items()
        if not key.startswith(("loss/", "label/coverage"))
    }


def require(condition: bool | Tensor, words: str) -> None:
    """Raise an `AssertionError` unless a condition holds, under ``python -O``, too."""
    if not condition:
        raise AssertionError(words)


def assert_same(actual: object, expected: object) -> None:
    """Compare losses, gradients and metrics to within the rounding of float32."""
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6, equal_nan=True)
