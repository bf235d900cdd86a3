"""What every head promises: each promise a function that raises where a head breaks it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from torch_heads.heads.base import Head
from torch_heads.heads.multi import MultiHead
from torch_heads.testing.sample import FEATURES, ROWS, Sample, random_sample

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


def assert_same(actual: object, expected: object) -> None:
    """Compare losses, gradients and metrics to within the rounding of float32."""
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6, equal_nan=True)


# The promises.


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
        assert not gradient[gone].any(), "the gradient of a row of weight 0 is not 0"
        assert_same(evaluate(head, dropped), evaluate(head, dropped.take(kept)))
    missing = sample.missing(gone)
    if missing is None:
        return
    for reduction in REDUCTIONS:
        head = subject.head(loss_reduction=reduction, missing_label=sample.missing_label)
        rest, rest_gradient = loss_and_gradient(head, sample.take(kept))
        loss, gradient = loss_and_gradient(head, missing)
        assert_same((loss, gradient[kept]), (rest, rest_gradient))
        assert not gradient[gone].any(), "the gradient where a label is missing is not 0"
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
    whole = evaluate(head, sample)
    for cut in range(ROWS + 1):
        parts = sample.take(range(cut)), sample.take(range(cut, ROWS))
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


def fused_is_alone(subject: Subject) -> None:
    """Compare heads under a `MultiHead` with the same heads one by one, gradients too."""
    sample = subject.sample
    alone = subject.head(weight_column="w")
    heads = [alone]
    if alone.name is None:
        heads = [subject.head(weight_column="w", name=name) for name in ("first", "second")]
    both = MultiHead(heads).to(sample.logits.device)
    shifted = [sample.logits + i for i, _ in enumerate(heads)]
    logits = torch.cat(shifted, -1).requires_grad_()
    loss = both.loss({head.name: sample.labels for head in heads}, logits, sample.features)
    parts = [loss_and_gradient(alone, sample._replace(logits=own)) for own in shifted]
    assert_same(loss.detach(), torch.stack([own for own, _ in parts]).sum())
    gradient = torch.autograd.grad(loss, logits)[0]
    assert_same(gradient, torch.cat([own for _, own in parts], -1))
    predicted = both(logits)
    for head, own in zip(heads, shifted, strict=True):
        for key, value in head(own).items():
            assert_same(predicted[f"{head.name}/{key}"], value)


def the_gradient_is_that_of_the_loss(subject: Subject) -> None:
    """Compare with differences, in float64."""
    sample = subject.sample
    for reduction in REDUCTIONS:
        head = subject.head(loss_reduction=reduction, weight_column="w")

        def loss(logits: Tensor, head: Head = head) -> Tensor:
            return head.loss(sample.labels, logits, sample.features)

        logits = sample.logits.double().requires_grad_()
        assert loss(logits).dtype == torch.float64, "float64 logits have another loss"
        torch.autograd.gradcheck(loss, logits, fast_mode=True, nondet_tol=1e-9)


def half_precision_is_computed_in_float32(subject: Subject) -> None:
    """Compare half precision with the same logits in float32."""
    head = subject.head(weight_column="w")
    for dtype in (torch.float16, torch.bfloat16):
        half = subject.sample._replace(logits=subject.sample.logits.to(dtype))
        full = half._replace(logits=half.logits.float())
        loss, gradient = loss_and_gradient(head, half)
        assert loss.dtype == torch.float32, f"{dtype} logits have a loss of {loss.dtype}"
        assert gradient.isfinite().all(), f"{dtype} logits have a gradient that is not finite"
        expected = loss_and_gradient(head, full)
        assert_same((loss, gradient), (expected[0], expected[1].to(dtype)))
        assert_same(evaluate(head, half), evaluate(head, full))


def an_empty_batch_counts_nowhere(subject: Subject) -> None:
    """Compute a batch of no rows."""
    empty = subject.sample.take([])
    for reduction in REDUCTIONS:
        head = subject.head(loss_reduction=reduction, weight_column="w")
        loss, gradient = loss_and_gradient(head, empty)
        assert loss == 0, f"the loss of no rows is {loss}"
        assert gradient.shape == empty.logits.shape, "the gradient has another shape"
        assert_same(evaluate(head, subject.sample, empty), evaluate(head, subject.sample))


def it_compiles_without_a_break(subject: Subject) -> None:
    """Compile the loss and the predictions."""
    sample = subject.sample
    if not _is_dense(sample.labels):
        return
    torch.compiler.reset()  # heads share the code, and so its few compiled variants
    head = subject.head(weight_column="w")
    logits = sample.logits.detach().requires_grad_()
    compiled = torch.compile(head.loss, fullgraph=True, backend="aot_eager")
    loss = compiled(sample.labels, logits, sample.features)
    gradient = torch.autograd.grad(loss, logits)[0]
    assert_same((loss.detach(), gradient), loss_and_gradient(head, sample))
    forward = torch.compile(head, fullgraph=True, backend="aot_eager")
    assert_same(forward(sample.logits), head(sample.logits))


def it_is_exported_with_a_free_batch_size(subject: Subject) -> None:
    """Export a small model that ends in the head."""
    sample, head = subject.sample, subject.head()
    device = sample.logits.device
    model = nn.Sequential(nn.Linear(FEATURES, head.logits_dimension), head).to(device)
    shape = sample.logits.shape[1:-1]
    inputs = torch.randn(ROWS, *shape, FEATURES, device=device)
    free = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(model, (inputs,), dynamic_shapes=free).module()
    for rows in (2, ROWS, 11):
        inputs = torch.randn(rows, *shape, FEATURES, device=device)
        assert_same(program(inputs), model(inputs))


def a_copy_is_a_head_of_its_own(subject: Subject) -> None:
    """Copy, pickle and load the state of a head that has seen a batch."""
    sample, head = subject.sample, subject.head(weight_column="w")
    head.update_metrics(None, sample.features, sample.logits, sample.labels)
    before = head.metric_collection.compute()
    copies = [copy.deepcopy(head)]
    # what is defined inside a function cannot be pickled, and is no fault of the head
    with suppress(AttributeError, pickle.PicklingError):
        copies.append(pickle.loads(pickle.dumps(head)))
    for again in copies:
        assert_same(again.metric_collection.compute(), before)
        assert_same(loss_and_gradient(again, sample), loss_and_gradient(head, sample))
        again.update_metrics(None, sample.features, sample.logits, sample.labels)
        assert_same(head.metric_collection.compute(), before)
    head.metric_collection.persistent()
    other = subject.head(weight_column="w")
    other.load_state_dict(head.state_dict())
    assert_same(other.metric_collection.compute(), before)


def built_on_the_meta_device_it_is_the_same(subject: Subject) -> None:
    """Build a head where tensors have no values, and load the states of another one into it."""
    sample, head = subject.sample, subject.head(weight_column="w")
    with torch.device("meta"):
        built = subject.make(weight_column="w")
        list(built.named_modules())  # so that its metrics are made there, too
    built.load_state_dict(head.state_dict(), assign=True)
    assert_same(loss_and_gradient(built, sample), loss_and_gradient(head, sample))
    assert_same(evaluate(built, sample), evaluate(head, sample))
    expected = head.update_metrics(None, sample.features, sample.logits, sample.labels)
    built.update_metrics(None, sample.features, sample.logits, sample.labels)
    assert_same(built.metric_collection.compute(), expected.compute())


def _is_dense(labels: Any) -> bool:
    """Return whether labels are dense tensors, as compiled code needs them."""
    if isinstance(labels, Mapping):
        return all(map(_is_dense, labels.values()))
    return isinstance(labels, Tensor) and labels.layout == torch.strided


#: What every head promises, by a sentence.
PROMISES: dict[str, Callable[[Subject], None]] = {
    "a weight of 0 is a row removed, and a label missing": (
        weight_zero_is_a_row_removed_and_a_label_missing
    ),
    "a row of weight 0 may hold NaN": what_does_not_count_may_hold_nan,
    "a weight of 2 is a row twice": weight_two_is_a_row_twice,
    "a weight of 1 is no weight": weight_one_is_no_weight,
    "batches may be cut anywhere": batches_may_be_cut_anywhere,
    "the order of rows changes nothing": the_order_of_rows_changes_nothing,
    "heads computed as one are the heads alone": fused_is_alone,
    "the gradient is that of the loss": the_gradient_is_that_of_the_loss,
    "half precision is computed in float32": half_precision_is_computed_in_float32,
    "an empty batch counts nowhere": an_empty_batch_counts_nowhere,
    "it compiles without a break": it_compiles_without_a_break,
    "it is exported with a free batch size": it_is_exported_with_a_free_batch_size,
    "a copy is a head of its own": a_copy_is_a_head_of_its_own,
    "built on the meta device it is the same": built_on_the_meta_device_it_is_the_same,
}
