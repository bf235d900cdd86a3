"""Compiled without a break, losses and metrics are the same, and stay compiled."""

import copy
import pickle
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from math import nan
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torch_heads as th
from tests.cases import CASES
from tests.mixture import Batch, mixture, random_batch
from tests.own_heads import Laplace, LaplaceHead
from torch_heads.metrics.collection import ReadingCollection
from torch_heads.testing import assert_same

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


def test_updates_of_a_mixture_stay_compiled(random: torch.Generator, device: torch.device) -> None:
    def batches() -> Batch:
        return random_batch(ROWS, random).to(device)

    assert_updates_stay_compiled(mixture().to(device), batches, STEPS, backend="aot_eager")


@needs_compiler  # which takes 15 seconds for the mixture
def test_updates_in_machine_code_are_the_same(
    random: torch.Generator, device: torch.device
) -> None:
    heads = [
        th.BinaryClassHead(name="a", missing_label=-1, thresholds=[0.3]),
        th.MultiClassHead(3, name="b", missing_label=-1),
        th.RegressionHead(name="c"),
    ]

    def batches() -> Batch:
        labels = {
            "a": torch.randint(-1, 2, (ROWS,), generator=random),
            "b": torch.randint(-1, 3, (ROWS,), generator=random),
            "c": torch.randn(ROWS, generator=random),
        }
        weights = {"a": torch.rand(ROWS, generator=random)}
        return Batch(torch.randn(ROWS, 5, generator=random), labels, weights).to(device)

    assert_updates_stay_compiled(th.MultiHead(heads).to(device), batches, 6)


@needs_compiler
def test_a_loss_compiled_to_machine_code_is_the_same(device: torch.device) -> None:
    case = DENSE["multi-label"]
    batch, head = case.batch.to(device), case.head(device)
    compiled = torch.compile(head.loss, fullgraph=True)
    assert_same(compiled(batch.labels, batch.logits), head.loss(batch.labels, batch.logits))


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


def compiled_is_the_same(head: th.Head, device: torch.device) -> None:
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


def test_more_heads_than_the_limit_are_compiled_apart(device: torch.device) -> None:
    with torch._dynamo.config.patch(recompile_limit=4):  # variants of one piece of code
        for i in range(6):
            compiled_is_the_same(th.MultiClassHead(2 + i).to(device), device)


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


# ---- models that end in a head which nobody has called yet ----


class Step(nn.Module):
    """A training step of a model: its loss, with the batch added to the metrics."""

    def __init__(self, head: th.Head, metrics: ReadingCollection) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.head, self.kept = head, [metrics]

    def forward(self, logits: Tensor, labels: Any, features: Any) -> Tensor:
        logits = self.scale * logits
        self.head.update_metrics(*self.kept, features, logits, labels)
        return self.head.loss(labels, logits, features)


# one of each kind, alone and inside of others
DENSE = {case.about: case for case in CASES if case.dense}
SOME = ["binary", "multi, nested, stacked", "own among others", "sequential multi", "survival"]
MORE = ["multi over sequences", "Gaussian", "ordinal", "negative binomial"]


@pytest.mark.parametrize("about", SOME)
def test_a_fresh_model_compiles(about: str, device: torch.device) -> None:
    case = DENSE[about]
    logits = case.batch.logits.to(device)
    model = nn.Sequential(nn.Identity(), case.head(device))

    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")

    assert_same(compiled(logits), case.head(device)(logits))


@pytest.mark.parametrize("about", SOME[:3])
def test_a_fresh_model_is_exported_strictly(about: str, device: torch.device) -> None:
    case = DENSE[about]
    logits = case.batch.logits.to(device)
    model = nn.Sequential(nn.Identity(), case.head(device))

    program = torch.export.export(model, (logits,), strict=True).module()

    assert_same(program(logits), case.head(device)(logits))


@pytest.mark.parametrize("about", SOME + MORE)
def test_the_step_of_a_fresh_model_compiles(about: str, device: torch.device) -> None:
    case = DENSE[about]
    labels, logits, features = case.batch.to(device)
    head, other = case.head(device), case.head(device)
    metrics = head.metrics()
    step = torch.compile(Step(head, metrics).to(device), fullgraph=True, backend="aot_eager")

    loss = step(logits, labels, features)

    assert_same(loss, other.loss(labels, logits, features))
    expected = other.update_metrics(None, features, logits, labels).compute()
    assert_same(metrics.compute(), expected)


def pickled(model: nn.Module) -> nn.Module:
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_a_copy_of_a_model_compiles(
    copied: Callable[[nn.Module], nn.Module], device: torch.device
) -> None:
    head = th.MultiHead([th.BinaryClassHead(name="a"), th.MultiClassHead(3, name="b")]).to(device)
    logits = torch.ones(2, 4, device=device)
    labels = torch.ones(2, 2, dtype=torch.int64, device=device)
    expected = head.loss(labels, logits)  # a head that was called, whose copy was not

    step = copied(Step(head, head.metrics()).to(device))

    assert step.head.loss.__self__ is step.head
    assert step.head.loss.__code__ is not head.loss.__code__
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    assert_same(compiled(logits, labels, None), expected)


def test_a_replica_of_a_head_runs_its_own_methods() -> None:
    head = th.BinaryClassHead()
    assert head._replicate_for_data_parallel().forward.__self__ is not head


class DoubledHead(th.TensorHead):
    """A head with a loss of its own, which asks that of its base."""

    def __init__(self, **options: Any) -> None:
        super().__init__(Laplace(), **options)

    def loss(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return twice the usual loss."""
        return 2 * super().loss(*args, **kwargs)


def test_a_method_that_a_head_overrides_stays_its_own() -> None:
    labels, logits = torch.tensor([1.0, 2.0]), torch.zeros(2, 2)
    head = DoubledHead()
    expected = 2 * LaplaceHead().loss(labels, logits)
    for _ in range(2):  # the first call of the base's method put that in the place of its own
        assert_same(head.loss(labels, logits), expected)
    compiled = torch.compile(DoubledHead().loss, fullgraph=True, backend="aot_eager")
    assert_same(compiled(labels, logits), expected)
