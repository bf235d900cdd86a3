"""Promises about losses and their gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from torch_heads.computation.inputs import Inputs
from torch_heads.testing.subject import (
    REDUCTIONS,
    Subject,
    assert_same,
    evaluate,
    loss_and_gradient,
    require,
)

STEP = 1e-6  # far above the rounding of float64, far below that of float32


def every_label_has_a_loss_of_its_own(subject: Subject) -> None:
    """Ask each family for the losses of the sample, and for what metrics compare with labels."""
    sample, head = subject.sample, subject.head()
    logits = sample.logits.detach().requires_grad_()
    batches = head.computation.encode(Inputs(sample.labels, logits, sample.features))
    for group, batch in zip(head.computation.groups, batches, strict=True):
        for block, bucket in zip(batch.logits, group.layout.buckets, strict=True):
            labels, family = batch.labels[..., bucket.columns], group.family
            _check_shape("mean, or class id, predicted of", family.observed(block), labels)
            if group.targets[0].loss_fn is None:
                _check_shape("loss of", family.loss(block, labels), labels)
    loss_and_gradient(head, sample)


def _check_shape(what: str, values: Tensor, labels: Tensor) -> None:
    shapes = [*values.shape], [*labels.shape]
    require(shapes[0] == shapes[1], f"the {what} labels {shapes[1]} has the shape {shapes[0]}")


def the_same_batch_always_has_the_same_loss(subject: Subject) -> None:
    """Compute the sample twice."""
    sample, head = subject.sample, subject.head(weight_column="w")
    assert_same(loss_and_gradient(head, sample), loss_and_gradient(head, sample))
    assert_same(evaluate(head, sample), evaluate(head, sample))
    assert_same(head(sample.logits), head(sample.logits))


def the_gradient_is_that_of_the_loss(subject: Subject) -> None:
    """Compare with differences in float64, along random directions."""
    sample = subject.sample
    logits, random = sample.logits.double(), torch.Generator().manual_seed(0)
    for reduction in REDUCTIONS:
        head = subject.head(loss_reduction=reduction, weight_column="w")
        loss, gradient = loss_and_gradient(head, sample._replace(logits=logits))
        require(loss.dtype == torch.float64, f"float64 logits have a loss of {loss.dtype}")
        direction = torch.randn(logits.shape, generator=random, dtype=logits.dtype).to(logits)
        there, back = (
            head.loss(sample.labels, logits + step * direction, sample.features)
            for step in (STEP, -STEP)
        )
        slopes = (gradient * direction).sum(), (there - back) / (2 * STEP)
        require(
            torch.isclose(*slopes, rtol=1e-5, atol=1e-6),
            f"in a direction of the logits, the gradient is {slopes[0]:.6g}, and the loss grows by "
            f"{slopes[1]:.6g}; of float64 logits, all must be computed in float64",
        )


def half_precision_is_computed_in_float32(subject: Subject) -> None:
    """Compare half precision with the same logits in float32."""
    head = subject.head(weight_column="w")
    for dtype in (torch.float16, torch.bfloat16):
        half = subject.sample._replace(logits=subject.sample.logits.to(dtype))
        full = half._replace(logits=half.logits.float())
        loss, gradient = loss_and_gradient(head, half)
        require(loss.dtype == torch.float32, f"{dtype} logits have a loss of {loss.dtype}")
        require(gradient.isfinite().all(), f"{dtype} logits have a gradient that is not finite")
        expected = loss_and_gradient(head, full)
        assert_same((loss, gradient), (expected[0], expected[1].to(dtype)))
        assert_same(evaluate(head, half), evaluate(head, full))
