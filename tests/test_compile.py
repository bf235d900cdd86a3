"""Compiled without a break, losses and metrics are the same, and stay compiled."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from math import nan
from typing import Any

import pytest
import torch
from torch import Tensor

import torch_heads as th
from tests.mixture import Batch, mixture, random_batch
from torch_heads.metrics.collection import ReadingCollection

ROWS, STEPS = 16, 100

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ["g++", "clang++"])), reason="needs a C++ compiler"
)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Forget what was compiled before: all heads share the code, and so its few variants."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def assert_same(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6, equal_nan=True)


def assert_updates_stay_compiled(
    head: th.Head, batches: Callable[[], Batch], steps: int, **options: Any
) -> None:
    """Compare compiled updates with eager ones, over two epochs; to recompile is an error."""

    def update(metrics: ReadingCollection, logits: Tensor, labels: Any, weights: Any) -> None:
        head.update_metrics(metrics, logits=logits, labels=labels, weights=weights)

    compiled = torch.compile(update, fullgraph=True, **options)
    expected, actual = head.metrics(), head.metrics()
    for step in range(steps):
        batch = batches()
        update(expected, *batch)
        with torch._dynamo.config.patch(error_on_recompile=step > 0):
            compiled(actual, *batch)
        if step in (steps // 2, steps - 1):
            assert_same(actual.compute(), expected.compute())
            actual.reset()
            expected.reset()


@needs_compiler
def test_updates_of_a_mixture_stay_compiled(random: torch.Generator, device: torch.device) -> None:
    def batches() -> Batch:
        return random_batch(ROWS, random).to(device)

    assert_updates_stay_compiled(mixture().to(device), batches, STEPS)


def batches_of(
    make_labels: Callable[..., Tensor], width: int, random: torch.Generator, device: torch.device
) -> Callable[[], Batch]:
    """Return what makes random batches for a single head."""
    return lambda: Batch(
        torch.randn(ROWS, width, generator=random).to(device),
        make_labels((ROWS,), generator=random).to(device),
        torch.rand(ROWS, generator=random).to(device),
    )


def test_the_loss_of_a_mixture_stays_compiled(
    random: torch.Generator, device: torch.device
) -> None:
    head = mixture().to(device)
    compiled = torch.compile(head.loss, fullgraph=True, backend="aot_eager")
    for step in range(STEPS):
        batch, results = random_batch(ROWS, random).to(device), []
        with torch._dynamo.config.patch(error_on_recompile=step > 0):
            for loss in [compiled, head.loss]:
                logits = batch.logits.detach().requires_grad_()
                value = loss(batch.labels, logits, weights=batch.weights)
                results.append((value.detach(), *torch.autograd.grad(value, logits)))
        assert_same(*results)


HEADS: dict[str, tuple[th.Head, Callable[..., Tensor]]] = {
    "binary": (th.BinaryClassHead(missing_label=-1, pos_weight=2.0), partial(torch.randint, -1, 2)),
    "multi-class": (
        th.MultiClassHead(3, missing_label=-1, class_weight=[1.0, 0.0, 2.0], label_smoothing=0.1),
        partial(torch.randint, -1, 3),
    ),
    "multi-label": (
        th.MultiLabelHead(2, missing_label=-1, class_weight=[1.0, 2.0], label_smoothing=0.1),
        lambda shape, generator: torch.randint(-1, 2, (*shape, 2), generator=generator),
    ),
    "regression": (th.RegressionHead(missing_label=nan), torch.randn),
    "Poisson": (th.PoissonRegressionHead(missing_label=-1), partial(torch.randint, -1, 5)),
    "logistic": (th.LogisticRegressionHead(missing_label=nan), torch.rand),
}


@pytest.mark.parametrize("kind", HEADS)
def test_updates_of_every_head_stay_compiled(
    kind: str, random: torch.Generator, device: torch.device
) -> None:
    head, make_labels = HEADS[kind]
    batches = batches_of(make_labels, head.logits_dimension, random, device)
    assert_updates_stay_compiled(head.to(device), batches, 6, backend="eager")


@pytest.mark.parametrize(
    "given", [Batch.stacked, lambda batch: batch.without(["even", "shape"])], ids=["stacked", "few"]
)
def test_updates_stay_compiled_however_labels_are_given(
    given: Callable[[Batch], Batch], random: torch.Generator, device: torch.device
) -> None:
    def batches() -> Batch:
        return given(random_batch(ROWS, random).to(device))

    assert_updates_stay_compiled(mixture().to(device), batches, 6, backend="eager")


@pytest.mark.parametrize("dynamic", [None, True])
@pytest.mark.parametrize(
    "make",
    [
        th.BinaryClassHead,
        partial(th.MultiClassHead, 3),
        partial(th.MultiLabelHead, 2),
        th.RegressionHead,
        th.PoissonRegressionHead,
        th.LogisticRegressionHead,
    ],
    ids=lambda make: getattr(make, "func", make).__name__,
)
def test_losses_compile_for_any_batch_size_and_missing_label(
    make: Callable[..., th.Head], dynamic: bool | None, device: torch.device
) -> None:
    """The code is that of all heads: what it learned of one must not stand in another's way."""
    heads = [make(missing_label=missing) for missing in (None, -1, -100)]
    pairs = [[make(name=name, missing_label=missing) for name in "ab"] for missing in (-1, -100)]
    for head in [*heads, *map(th.MultiHead, pairs)]:
        compiled = torch.compile(
            head.to(device).loss, fullgraph=True, backend="eager", dynamic=dynamic
        )
        for rows in (2, 3, 5):
            logits = torch.ones(rows, head.logits_dimension, device=device)
            labels = torch.ones(rows, head.labels_dimension, device=device, dtype=torch.int64)
            assert_same(compiled(labels, logits), head.loss(labels, logits))


def test_more_heads_than_the_limit_are_compiled_apart(device: torch.device) -> None:
    heads = [th.MultiClassHead(2 + i).to(device) for i in range(12)]

    for head in heads:
        loss = torch.compile(head.loss, fullgraph=True, backend="eager")
        update = torch.compile(head.update_metrics, fullgraph=True, backend="eager")
        expected, actual = head.metrics(), head.metrics()
        for rows in (2, 3):
            logits = torch.ones(rows, head.logits_dimension, device=device)
            labels = torch.ones(rows, dtype=torch.int64, device=device)
            assert_same(loss(labels, logits), head.loss(labels, logits))
            update(actual, logits=logits, labels=labels)
            head.update_metrics(expected, logits=logits, labels=labels)
        assert_same(actual.compute(), expected.compute())


@pytest.mark.parametrize(
    "head",
    [
        partial(th.RegressionHead, loss_fn=torch.nn.HuberLoss(reduction="none")),
        partial(th.RegressionHead, loss_fn=lambda labels, logits: (labels - logits).square()),
        partial(th.MultiClassHead, 3, loss_fn=torch.nn.functional.cross_entropy),
    ],
    ids=["module", "labels and logits", "class ids"],
)
def test_a_loss_of_ones_own_compiles_with_missing_labels(
    head: Callable[..., th.Head], random: torch.Generator, device: torch.device
) -> None:
    made = head(missing_label=-1).to(device)
    compiled = torch.compile(made.loss, fullgraph=True, backend="aot_eager")
    for labels in ([1, -1, 2, 0], [-1, -1, -1, -1], [0, 1, 2, 1]):
        given = torch.tensor(labels, device=device)
        logits = torch.randn(4, made.logits_dimension, generator=random).to(device).requires_grad_()
        expected = made.loss(given, logits)
        loss = compiled(given, logits)
        assert_same(loss, expected)
        assert_same(*(torch.autograd.grad(one, logits) for one in (loss, expected)))
