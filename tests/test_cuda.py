"""Nothing waits for the device, and updates may be captured in a CUDA graph."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import torch_heads as th
from tests.mixture import MAY_MISS, Batch, mixture, random_batch
from torch_heads.metrics.collection import ReadingCollection

ROWS, CUDA, META = 32, torch.device("cuda"), torch.device("meta")

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

every_form = pytest.mark.parametrize(
    "given",
    [lambda batch: batch, Batch.stacked, lambda batch: batch.without(MAY_MISS[:3])],
    ids=["dict", "stacked", "few labels"],
)

Given = Callable[[Batch], Batch]


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(2)


def assert_same(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(
        actual, expected, rtol=1e-5, atol=1e-6, equal_nan=True, check_device=False
    )


def train_and_evaluate(
    head: th.Head, metrics: ReadingCollection, batch: Batch, extra: list[Any]
) -> None:
    """Call all that a step of training and of validation calls."""
    logits = batch.logits.detach().requires_grad_()
    head.loss(batch.labels, logits, regularization_losses=extra, weights=batch.weights).backward()
    head(logits)
    head.update_metrics(metrics, None, logits, batch.labels, extra, weights=batch.weights)


# ---- without a GPU: a device that holds no values, so that nothing can be read from it ----


class Copies(TorchDispatchMode):
    """Notes the operations that bring values from the CPU to another device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given, got = (
            {leaf.device.type for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)}
            for tree in ((args, kwargs), result)
        )
        if "cpu" in given and got - {"cpu"}:
            self.found.append(str(func))
        return result


@every_form
def test_no_value_travels_between_the_devices(given: Given, random: torch.Generator) -> None:
    head, extra = mixture().to(META), [torch.ones((), device=META)]
    metrics = head.metrics(extra).to(META)
    batch = given(random_batch(ROWS, random)).to(META)
    train_and_evaluate(head, metrics, batch, extra)  # keeps what this form of batches needs
    with Copies() as copies:
        train_and_evaluate(head, metrics, batch, extra)
    assert not copies.found


def test_labels_of_all_heads_in_one_array_are_looked_at_before_they_travel() -> None:
    head = th.MultiHead([th.BinaryClassHead(name="a"), th.RegressionHead(name="b")])
    logits = torch.zeros(2, 2, device=META)
    assert head.loss(np.array([[1.0, 2.0], [0.0, 3.0]]), logits).is_meta
    with pytest.raises(ValueError, match="BinaryClassHead 'a': expected labels without gaps"):
        head.loss(np.array([[1.0, 2.0], [np.nan, 3.0]]), logits)


def test_a_reset_clears_the_states_in_place_where_a_captured_update_adds_to_them(
    random: torch.Generator,
) -> None:
    head, batch = mixture(), random_batch(ROWS, random)
    metrics = head.update_metrics(head.metrics(), None, batch.logits, batch.labels)
    states = {
        f"{name}.{key}": getattr(tally, key)
        for name, tally in metrics.tallies.items()
        for key in tally.metric_state
    }
    assert all(state.any() for state in states.values())
    metrics.reset()
    assert [key for key, state in states.items() if state.any()] == []


# ---- with a GPU ----


@contextmanager
def forbidden_to_wait() -> Iterator[None]:
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@needs_cuda
@every_form
def test_nothing_waits_for_the_gpu(given: Given, random: torch.Generator) -> None:
    head, extra = mixture().to(CUDA), [torch.ones((), device=CUDA), 0.5]
    metrics = head.metrics(extra)
    for step in range(3):
        batch = given(random_batch(ROWS, random)).to(CUDA)
        if step == 0:  # moves the metrics and loads the kernels
            train_and_evaluate(head, metrics, batch, extra)
            continue
        with forbidden_to_wait():
            train_and_evaluate(head, metrics, batch, extra)


@needs_cuda
@every_form
def test_numbers_are_those_of_the_cpu(given: Given, random: torch.Generator) -> None:
    outcomes = []
    batch = given(random_batch(ROWS, random))
    for device in [torch.device("cpu"), CUDA]:
        head, own = mixture().to(device), batch.to(device)
        logits = own.logits.detach().requires_grad_()
        loss = head.loss(own.labels, logits, weights=own.weights)
        gradient = torch.autograd.grad(loss, logits)[0]
        metrics = head.update_metrics(head.metrics(), None, logits, own.labels, weights=own.weights)
        outcomes.append((loss.detach(), gradient, metrics.compute(), head(own.logits)))
    assert_same(*outcomes)


@needs_cuda
@every_form
def test_a_captured_update_counts_like_an_eager_one(given: Given, random: torch.Generator) -> None:
    head = mixture().to(CUDA)
    expected, actual = head.metrics().to(CUDA), head.metrics().to(CUDA)
    static = given(random_batch(ROWS, random)).to(CUDA)

    def update(metrics: ReadingCollection, batch: Batch) -> None:
        head.update_metrics(metrics, None, batch.logits, batch.labels, weights=batch.weights)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            update(actual, static)
    torch.cuda.current_stream().wait_stream(stream)
    actual.reset()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        update(actual, static)
    for _ in range(2):  # epochs
        for _ in range(5):
            batch = given(random_batch(ROWS, random)).to(CUDA)
            for held, new in zip(tree_leaves(static), tree_leaves(batch), strict=True):
                held.copy_(new)
            graph.replay()
            update(expected, batch)
        assert_same(actual.compute(), expected.compute())
        actual.reset()
        expected.reset()


@needs_cuda
def test_metrics_move_to_the_device_of_the_logits() -> None:
    head, logits = th.BinaryClassHead(), torch.tensor([[2.0], [-1.0]], device=CUDA)
    metrics = head.metrics()
    assert metrics["auc"].device.type == "cpu"
    values = head.update_metrics(metrics, None, logits, [1, 1]).compute()
    assert metrics["auc"].device.type == "cuda"
    assert {value.device.type for value in values.values()} == {"cuda"}
    assert values["accuracy"] == 0.5
