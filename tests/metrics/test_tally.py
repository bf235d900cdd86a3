"""Tallies add up, exactly, wherever they are moved."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

import torch_heads as th
from torch_heads.metrics.collection import ReadingCollection

LABELS, LOGITS = torch.tensor([1.0, 1.0, 0.0]), torch.tensor([[2.0], [-1.0], [0.5]])


@contextmanager
def float64_results() -> Iterator[None]:
    """Let metrics come out in float64, so that not a single example is rounded away."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def update(
    head: th.Head, metrics: ReadingCollection, device: torch.device, **kwargs: float
) -> None:
    logits, labels = LOGITS.to(device), LABELS.to(device)
    weights = {key: torch.full((3,), value, device=device) for key, value in kwargs.items()}
    head.update_metrics(metrics, None, logits, labels, **weights)


@pytest.mark.parametrize("huge", [2.0**24, 2.0**40])
def test_counts_are_exact_past_what_float32_can_count(huge: float, device: torch.device) -> None:
    head = th.BinaryClassHead(thresholds=[0.6])
    metrics = head.metrics()
    update(head, metrics, device, weights=huge)
    for _ in range(5):
        update(head, metrics, device)
    right = torch.tensor([[2.0]], device=device)
    head.update_metrics(metrics, None, right, torch.ones(1, device=device))
    with float64_results():
        values = metrics.compute()
    each = huge + 5
    assert values["accuracy"].item() == (each + 1) / (3 * each + 1)
    assert values["recall/positive_threshold_0.6"].item() == (each + 1) / (2 * each + 1)
    assert values["precision"].item() == (each + 1) / (2 * each + 1)
    assert values["label/mean"].item() == (2 * each + 1) / (3 * each + 1)


def test_a_single_batch_may_have_more_examples_than_float32_can_count(
    device: torch.device,
) -> None:
    rows = 2**24 + 1
    head = th.RegressionHead()
    logits = torch.zeros(1, 1, device=device).expand(rows, 1)
    metrics = head.update_metrics(None, None, logits, logits + 1)
    with float64_results():
        assert metrics.compute()["label/mean"].item() == 1


# bfloat16 would take 301 for 302, and 0.3 for 0.30078; float16 is coarse, too.
casts = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])


@casts
def test_a_cast_of_the_model_leaves_counts_exact(dtype: torch.dtype, device: torch.device) -> None:
    head = th.BinaryClassHead()
    for rows in [301, 5001]:
        logits = torch.tensor([1.0, -1.0], device=device).expand(rows, 2).reshape(-1, 1)
        metrics = head.update_metrics(head.metrics(), None, logits, torch.ones_like(logits))
        metrics.to(dtype)
        head.update_metrics(metrics, None, logits[:1], torch.ones(1, device=device))
        with float64_results():
            values = metrics.compute()
        assert values["recall"].item() == values["accuracy"].item() == (rows + 1) / (2 * rows + 1)


@casts
def test_a_cast_of_the_model_leaves_thresholds_exact(
    dtype: torch.dtype, device: torch.device
) -> None:
    head = th.BinaryClassHead(thresholds=[0.3])
    logits = torch.tensor([[0.30005], [0.29995]], device=device).logit()
    metrics = head.metrics().to(dtype)
    head.update_metrics(metrics, None, logits, torch.ones(2, device=device))
    assert metrics.compute()["recall/positive_threshold_0.3"] == 0.5


@casts
def test_a_cast_of_the_model_moves_no_score_to_another_bin(
    dtype: torch.dtype, device: torch.device
) -> None:
    head = th.MultiLabelHead(20)
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 20, generator=random).to(device)
    labels = torch.randint(2, (50, 20), generator=random).to(device)
    expected = head.update_metrics(head.metrics(), None, logits, labels)
    actual = head.update_metrics(head.metrics().to(dtype), None, logits, labels)
    for name, tally in expected.tallies.items():
        torch.testing.assert_close(actual.tallies[name].sums, tally.sums, rtol=0, atol=0)


def test_a_cast_asked_of_the_metrics_is_done(device: torch.device) -> None:
    head = th.BinaryClassHead()
    metrics = head.metrics().set_dtype(torch.float32)
    update(head, metrics, device)
    assert all(tally.sums.dtype == torch.float32 for tally in metrics.tallies.values())
    assert metrics.compute()["recall"] == 0.5


def test_a_tally_follows_the_device_of_the_batch(device: torch.device) -> None:
    head = th.BinaryClassHead()
    metrics = head.metrics()
    update(head, metrics, device)
    assert all(value.device.type == device.type for value in metrics.compute().values())
    moved = metrics.to("cpu").compute()
    assert all(value.device.type == "cpu" for value in moved.values())


def test_tallies_add_up(device: torch.device) -> None:
    head = th.BinaryClassHead()
    first, second, both = head.metrics(), head.metrics(), head.metrics()
    update(head, first, device)
    update(head, second, device, weights=2.0)
    update(head, both, device)
    update(head, both, device, weights=2.0)
    for name, tally in both.tallies.items():
        sums = first.tallies[name].sums + second.tallies[name].sums
        torch.testing.assert_close(tally.sums, sums)


def test_a_tally_keeps_no_graph(device: torch.device) -> None:
    head = th.BinaryClassHead()
    logits = LOGITS.to(device).requires_grad_()
    metrics = head.update_metrics(None, None, logits, LABELS.to(device))
    assert not any(value.requires_grad for value in metrics.compute().values())
    assert not any(tally.sums.requires_grad for tally in metrics.tallies.values())


def test_memory_does_not_grow_with_the_batches(device: torch.device) -> None:
    head = th.BinaryClassHead()
    metrics = head.metrics()
    before = {name: tally.sums.shape for name, tally in metrics.tallies.items()}
    for _ in range(3):
        update(head, metrics, device)
    assert {name: tally.sums.shape for name, tally in metrics.tallies.items()} == before
