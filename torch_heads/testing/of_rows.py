"""Promises about the rows of a batch: which count, how often, and that no row sees another."""

from __future__ import annotations

import torch

from torch_heads.testing.sample import ROWS, take_rows
from torch_heads.testing.subject import (
    REDUCTIONS,
    Subject,
    assert_same,
    evaluate,
    loss_and_gradient,
    require,
)


def weight_zero_is_a_row_removed_and_a_label_missing(subject: Subject) -> None:
    """Compare three ways to leave out rows."""
    sample, gone = subject.sample, [1, 3]
    kept = [row for row in range(ROWS) if row not in gone]
    weights = [0.0 if row in gone else 0.5 + row for row in range(ROWS)]
    for reduction in REDUCTIONS[:2]:
        head = subject.head(loss_reduction=reduction, weight_column="w")
        dropped = sample.weighted(weights)
        rest, rest_gradient = loss_and_gradient(head, dropped.take(kept))
        loss, gradient = loss_and_gradient(head, dropped)
        assert_same((loss, gradient[kept]), (rest, rest_gradient))
        require(not gradient[gone].any(), "the gradient of a row of weight 0 is not 0")
        assert_same(evaluate(head, dropped), evaluate(head, dropped.take(kept)))
    missing = sample.missing(gone)
    if missing is None:
        return
    for reduction in REDUCTIONS:
        head = subject.head(loss_reduction=reduction, missing_label=sample.missing_label)
        rest, rest_gradient = loss_and_gradient(head, sample.take(kept))
        loss, gradient = loss_and_gradient(head, missing)
        assert_same((loss, gradient[kept]), (rest, rest_gradient))
        require(not gradient[gone].any(), "the gradient where a label is missing is not 0")
        assert_same(evaluate(head, missing), evaluate(head, sample.take(kept)))


def what_does_not_count_may_hold_nan(subject: Subject) -> None:
    """Put NaN where the weight is 0."""
    sample = subject.sample.weighted([0.0, *[1.0] * (ROWS - 1)])
    broken = sample.logits.clone()
    broken[0] = torch.nan
    head = subject.head(loss_reduction="weighted_mean", weight_column="w")
    nan = sample._replace(logits=broken)
    assert_same(loss_and_gradient(head, nan), loss_and_gradient(head, sample))
    assert_same(evaluate(head, nan), evaluate(head, sample))


def weight_two_is_a_row_twice(subject: Subject) -> None:
    """Repeat rows as often as their weights say."""
    weights = [2, 1, 1, 3, 1, 2, 1]
    repeated = subject.sample.take([row for row, times in enumerate(weights) for _ in range(times)])
    weighted = subject.sample.weighted(weights)
    for reduction in REDUCTIONS[:2]:
        head = subject.head(loss_reduction=reduction, weight_column="w")
        plain = subject.head(loss_reduction=reduction)
        assert_same(loss_and_gradient(head, weighted)[0], loss_and_gradient(plain, repeated)[0])
    assert_same(evaluate(head, weighted), evaluate(plain, repeated))


def weight_one_is_no_weight(subject: Subject) -> None:
    """Give every row a weight of 1."""
    sample = subject.sample.weighted([1.0] * ROWS)
    for reduction in REDUCTIONS:
        head = subject.head(loss_reduction=reduction, weight_column="w")
        plain = subject.head(loss_reduction=reduction)
        assert_same(loss_and_gradient(head, sample), loss_and_gradient(plain, sample))
        assert_same(evaluate(head, sample), evaluate(plain, sample))


def batches_may_be_cut_anywhere(subject: Subject) -> None:
    """Cut the sample in two, at every row."""
    head, sample = subject.head(weight_column="w"), subject.sample
    whole, predicted = evaluate(head, sample), head(sample.logits)
    for cut in range(ROWS + 1):
        runs = range(cut), range(cut, ROWS)
        parts = [sample.take(rows) for rows in runs]
        for rows, part in zip(runs, parts, strict=True):
            assert_same(head(part.logits), take_rows(predicted, rows))
        assert_same(evaluate(head, *parts), whole)
        whole_loss = head.loss(*sample)
        divisors = torch.stack([head.divisors(*part) for part in parts]).sum(0)
        losses = [head.loss(*part, divisors=divisors) for part in parts]
        assert_same(torch.stack(losses).sum(), whole_loss)


def the_order_of_rows_changes_nothing(subject: Subject) -> None:
    """Permute the rows."""
    head, order = subject.head(weight_column="w"), [4, 0, 6, 2, 1, 5, 3]
    permuted = subject.sample.take(order)
    loss, gradient = loss_and_gradient(head, subject.sample)
    assert_same(loss_and_gradient(head, permuted), (loss, gradient[order]))
    assert_same(evaluate(head, permuted), evaluate(head, subject.sample))


def an_empty_batch_counts_nowhere(subject: Subject) -> None:
    """Compute a batch of no rows."""
    empty = subject.sample.take([])
    for reduction in REDUCTIONS:
        head = subject.head(loss_reduction=reduction, weight_column="w")
        loss, gradient = loss_and_gradient(head, empty)
        require(loss == 0, f"the loss of no rows is {loss}")
        require(gradient.shape == empty.logits.shape, "the gradient has another shape")
        assert_same(evaluate(head, subject.sample, empty), evaluate(head, subject.sample))
