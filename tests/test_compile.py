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


def mixture() -> th.MultiHead:
    return th.MultiHead(
        [
            th.BinaryClassHead(name="even", thresholds=[0.3, 0.5], missing_label=nan),
            th.RegressionHead(2, name="ink", missing_label=nan),
            th.MultiLabelHead(3, name="bars", pos_weight=2.0, missing_label=nan),
            th.MultiClassHead(3, name="digit", missing_label=-1),
            th.LogisticRegressionHead(name="share"),
            th.MultiClassHead(5, name="size", class_weight=[1.0, 2.0, 0.5, 1.0, 1.0]),
            th.PoissonRegressionHead(name="dark"),
            th.MultiClassHead(4, name="shape", label_smoothing=0.1, missing_label=-1),
        ],
        head_weights=[1.0, 0.5, 2.0, 1.0, 1.0, 3.0, 0.1, 1.0],
    )


def batch(random: torch.Generator, device: torch.device) -> dict[str, Any]:
    """Return random logits, labels and weights for the mixture; some labels are missing."""
    head = mixture()
    labels: dict[str, Tensor] = {
        "even": torch.randint(2, (ROWS,), generator=random).float(),
        "ink": torch.randn(ROWS, 2, generator=random),
        "bars": torch.randint(2, (ROWS, 3), generator=random).float(),
        "digit": torch.randint(-1, 3, (ROWS,), generator=random),
        "share": torch.rand(ROWS, generator=random),
        "size": torch.randint(5, (ROWS,), generator=random),
        "dark": torch.randint(6, (ROWS,), generator=random).float(),
        "shape": torch.randint(-1, 4, (ROWS,), generator=random),
    }
    for name in ["even", "ink", "bars"]:
        gone = torch.rand(labels[name].shape, generator=random) < 0.3
        labels[name] = labels[name].masked_fill(gone, nan)
    weights = {name: torch.rand(ROWS, generator=random).to(device) for name in ["ink", "digit"]}
    return {
        "logits": torch.randn(ROWS, head.logits_dimension, generator=random).to(device),
        "labels": {name: values.to(device) for name, values in labels.items()},
        "weights": weights,
    }


def assert_same(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


def assert_updates_stay_compiled(
    head: th.Head, batches: Callable[[], dict[str, Any]], steps: int, **options: Any
) -> None:
    """Compare compiled updates with eager ones; to compile once more is an error."""

    def update(metrics: ReadingCollection, **given: Any) -> None:
        head.update_metrics(metrics, **given)

    compiled = torch.compile(update, fullgraph=True, dynamic=False, **options)
    eager, metrics = head.metrics(), head.metrics()
    for step in range(steps):
        one = batches()
        head.update_metrics(eager, **one)
        with torch._dynamo.config.patch(error_on_recompile=step > 0):
            compiled(metrics, **one)
    assert_same(metrics.compute(), eager.compute())


@needs_compiler
def test_updates_of_a_mixture_stay_compiled(device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    head = mixture().to(device)
    assert_updates_stay_compiled(head, partial(batch, random, device), STEPS)


@needs_compiler
def test_updates_of_a_head_stay_compiled(device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)

    def batches() -> dict[str, Any]:
        labels = torch.randint(2, (ROWS,), generator=random).to(device)
        return {"logits": torch.randn(ROWS, 1, generator=random).to(device), "labels": labels}

    assert_updates_stay_compiled(th.BinaryClassHead(thresholds=[0.3]), batches, STEPS)


@needs_compiler
def test_the_loss_of_a_mixture_stays_compiled(device: torch.device) -> None:
    random, head = torch.Generator().manual_seed(0), mixture().to(device)
    compiled = torch.compile(head.loss, fullgraph=True, dynamic=False)
    for step in range(STEPS):
        one = batch(random, device)
        results = []
        with torch._dynamo.config.patch(error_on_recompile=step > 0):
            for loss in [compiled, head.loss]:
                logits = one["logits"].detach().requires_grad_()
                value = loss(one["labels"], logits, weights=one["weights"])
                results.append((value.detach(), *torch.autograd.grad(value, logits)))
        assert_same(*results)


KINDS: dict[str, tuple[th.Head, Callable[..., Tensor]]] = {
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


@pytest.mark.parametrize("kind", KINDS)
def test_updates_of_every_head_stay_compiled(kind: str, device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    head, make_labels = KINDS[kind]

    def batches() -> dict[str, Any]:
        return {
            "logits": torch.randn(ROWS, head.logits_dimension, generator=random).to(device),
            "labels": make_labels((ROWS,), generator=random).to(device),
            "weights": torch.rand(ROWS, generator=random).to(device),
        }

    assert_updates_stay_compiled(head.to(device), batches, 5, backend="eager")


@pytest.mark.parametrize("given", ["stacked", "without some heads"])
def test_updates_stay_compiled_however_labels_are_given(given: str, device: torch.device) -> None:
    random, head = torch.Generator().manual_seed(0), mixture().to(device)

    def batches() -> dict[str, Any]:
        one = batch(random, device)
        labels = one["labels"]
        if given == "stacked":
            columns = [labels[name].reshape(ROWS, -1).float() for name in head.names]
            return {**one, "labels": torch.cat(columns, -1)}
        return {**one, "labels": {k: v for k, v in labels.items() if k not in ("even", "shape")}}

    assert_updates_stay_compiled(head, batches, 5, backend="eager")
