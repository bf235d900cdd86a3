"""Metrics over two processes are those of one; training does not hang where labels are missing."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

import torch_heads as th
from tests import processes
from tests.mixture import Batch, mixture, random_batch
from tests.processes import results
from torch_heads.metrics.collection import ReadingCollection

ROWS, FEATURES = 37, 3

pytestmark = processes.needs_gloo

UNEVEN = [[range(10), range(10, 13)], [range(13, 30)]]  # the batches of each rank
MORE = [range(30, 31), range(31, ROWS)]
LACKING = ["even", "ink", "shape"]  # heads without labels on rank 1


def everything() -> Batch:
    """Return the same rows in every process."""
    return random_batch(ROWS, torch.Generator().manual_seed(11))


def update(metrics: ReadingCollection, rows: range, without: Sequence[str] = ()) -> None:
    """Add some rows to the metrics, without the labels of some heads."""
    batch = everything().take(rows).without(without)
    mixture().update_metrics(metrics, None, batch.logits, batch.labels, weights=batch.weights)


# ---- what each of two processes does ----


@contextmanager
def counted_collectives() -> Iterator[list[str]]:
    """Yield the names of the collective operations that are called inside."""
    names = ["all_reduce", "all_gather", "all_gather_object", "broadcast", "barrier"]
    before, calls = {name: getattr(distributed, name) for name in names}, []

    def counted(name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return before[name](*args, **kwargs)

        return call

    for name in names:
        setattr(distributed, name, counted(name))
    try:
        yield calls
    finally:
        for name in names:
            setattr(distributed, name, before[name])


def uneven_batches(rank: int) -> dict[str, Any]:
    metrics = mixture().metrics()
    for rows in UNEVEN[rank]:
        update(metrics, rows)
    states = [tally.sums for tally in metrics.tallies.values()]
    local = [state.clone() for state in states]
    with counted_collectives() as calls:
        first = metrics.compute()
    after = [tally.sums for tally in metrics.tallies.values()]
    kept = all(map(torch.equal, local, after))
    with counted_collectives() as single_calls:
        single = metrics["auc/even"].compute()
    update(metrics, MORE[rank])
    return {
        "first": first,
        "calls": calls,
        "single": single,
        "single calls": single_calls,
        "kept": kept,
        "in place": all(old is new for old, new in zip(states, after, strict=True)),
        "second": metrics.compute(),
        "again": metrics.compute(),
    }


def an_idle_rank(rank: int) -> dict[str, Any]:
    metrics = mixture().metrics()
    if rank == 0:
        update(metrics, range(ROWS))
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", r"The ``compute`` method of metric \w+ was called before", UserWarning
        )
        values = metrics.compute()
    return {"values": values, "update_count": metrics["auc/even"].update_count}


def a_head_without_labels(rank: int) -> dict[str, Any]:
    metrics = mixture().metrics()
    for rows in UNEVEN[rank]:
        update(metrics, rows, LACKING if rank else ())
    return {"values": metrics.compute()}


def curves_and_confusions(rank: int) -> dict[str, Any]:
    metrics = mixture().metrics()
    for rows in UNEVEN[rank]:
        update(metrics, rows)
    with counted_collectives() as calls:
        counts = metrics.curves("even").counts
        matrix = metrics.confusion_matrix("digit")
    again = metrics.confusion_matrix("digit")
    return {"counts": counts, "matrix": matrix, "again": again, "calls": calls}


def binary(name: str, **kwargs: Any) -> th.Head:
    return th.BinaryClassHead(name=name, **kwargs)


DIFFERENT: dict[str, list[list[th.Head]]] = {
    "order": [[binary("a"), binary("b")], [binary("b"), binary("a")]],
    "name": [[binary("a")], [binary("b")]],
    "number": [[binary("a")], [binary("a"), binary("b")]],
    "family": [[binary("a")], [th.RegressionHead(name="a")]],
    "classes": [
        [th.MultiClassHead(n, name="a"), th.MultiClassHead(8 - n, name="b")] for n in (3, 5)
    ],
    "thresholds": [[binary("a")], [binary("a", thresholds=[0.3])]],
}


def heads_that_differ(rank: int) -> dict[str, Any]:
    said = {}
    for kind, heads in DIFFERENT.items():
        head = th.MultiHead(heads[rank])
        logits = torch.zeros(3, head.logits_dimension)
        metrics = head.update_metrics(
            None, None, logits, torch.zeros(3, head.labels_dimension, dtype=torch.int64)
        )
        for call in (metrics.compute, next(iter(metrics.values())).compute):
            with counted_collectives() as calls, pytest.raises(ValueError, match="MultiHead") as e:
                call()
            assert "all_reduce" not in calls
        said[kind] = str(e.value)
    return said


class Model(nn.Module):
    """A layer per head, so that the gradient of one head reaches its own layer alone."""

    def __init__(self) -> None:
        super().__init__()
        self.head = mixture()
        torch.manual_seed(0)
        widths = {name: self.head[name].logits_dimension for name in self.head}
        self.layers = nn.ModuleDict({k: nn.Linear(FEATURES, width) for k, width in widths.items()})

    def forward(self, inputs: Tensor, labels: Any, weights: Any) -> Tensor:
        logits = torch.cat([layer(inputs) for layer in self.layers.values()], -1)
        return self.head.loss(labels, logits, weights=weights)


def training_loss(model: nn.Module, rank: int) -> Tensor:
    """Return the loss of the rows of one rank."""
    batch = everything().take(range(13) if rank == 0 else range(13, 30))
    batch = batch.without(LACKING if rank else ())
    return model(batch.logits[:, :FEATURES], batch.labels, batch.weights)


def a_training_step(rank: int) -> dict[str, Any]:
    model = Model()
    parallel = DistributedDataParallel(model)
    training_loss(parallel, rank).backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    return {"gradients": gradients, "parameters": dict(model.state_dict())}


def priors(rank: int) -> dict[str, Any]:
    rows = UNEVEN[rank]
    parts = [everything().take(own) for own in rows]
    head = mixture().fit_prior((part.labels, None, part.weights) for part in parts)
    return fitted(head)


def a_rank_without_labels(rank: int) -> dict[str, Any]:
    batches = [([1.0, 2.0],)] if rank else []
    try:
        th.RegressionHead().fit_prior(iter(batches))
    except ValueError as error:
        return {"error": str(error)}
    return {}


def fitted(head: th.Head) -> dict[str, Any]:
    leaves = [one for one in head.modules() if isinstance(one, th.TensorHead)]
    return {str(one.name): [one.prior_offset, one.prior_scale, one.prior_loss] for one in leaves}


SCENARIOS = [
    priors,
    a_rank_without_labels,
    uneven_batches,
    an_idle_rank,
    a_head_without_labels,
    curves_and_confusions,
    a_training_step,
    heads_that_differ,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with what two processes saved."""
    path = tmp_path_factory.mktemp("distributed")
    processes.run(SCENARIOS, path)
    return path


def one_process(*batches: range, lacking: Sequence[range] = ()) -> ReadingCollection:
    """Return the metrics of all batches in one process."""
    metrics = mixture().metrics()
    for rows in batches:
        update(metrics, rows, LACKING if rows in lacking else ())
    return metrics


def assert_same(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6, equal_nan=True)


def test_uneven_batches_of_two_processes_count_as_in_one(folder: Path) -> None:
    first = one_process(*UNEVEN[0], *UNEVEN[1]).compute()
    for result in results(folder, uneven_batches):
        assert_same(result["first"], first)
        assert_same(result["single"], first["auc/even"])


def test_priors_are_those_of_the_labels_of_all_processes(folder: Path) -> None:
    rows = [row for batches in UNEVEN for own in batches for row in own]
    whole = everything().take(rows)
    head = mixture().fit_prior(whole.labels, weights=whole.weights)
    expected = fitted(head)
    for result in results(folder, priors):
        assert_same(result, expected)


def test_where_one_process_has_no_labels_none_waits_for_it(folder: Path) -> None:
    words = "RegressionHead: expected labels with at least one batch, got none"
    errors = [result["error"] for result in results(folder, a_rank_without_labels)]
    assert errors == [f"{words}.", f"{words} in another process."]


def test_each_tally_is_reduced_once(folder: Path) -> None:
    tallies = len(mixture().metrics().tallies)
    assert tallies == 5  # Bernoulli, Normal, Categorical, Poisson, and the means over calls
    for result in results(folder, uneven_batches):
        assert result["calls"] == ["all_gather", *["all_reduce"] * tallies]
        assert result["single calls"] == ["all_reduce"]


def test_after_compute_each_process_counts_on_for_itself(folder: Path) -> None:
    second = one_process(*UNEVEN[0], *UNEVEN[1], *MORE).compute()
    for result in results(folder, uneven_batches):
        assert result["kept"]
        assert_same(result["second"], second)
        assert_same(result["again"], second)


def test_compute_leaves_the_states_where_a_captured_update_adds_to_them(folder: Path) -> None:
    assert all(result["in place"] for result in results(folder, uneven_batches))


def test_a_process_may_have_no_batch_at_all(folder: Path) -> None:
    values = one_process(range(ROWS)).compute()
    for rank, result in enumerate(results(folder, an_idle_rank)):
        assert_same(result["values"], values)
        assert result["update_count"] == 1 - rank


def test_a_head_may_have_no_labels_in_one_process(folder: Path) -> None:
    values = one_process(*UNEVEN[0], *UNEVEN[1], lacking=UNEVEN[1]).compute()
    for result in results(folder, a_head_without_labels):
        assert_same(result["values"], values)


def test_curves_and_confusions_are_those_of_all_processes(folder: Path) -> None:
    metrics = one_process(*UNEVEN[0], *UNEVEN[1])
    for result in results(folder, curves_and_confusions):
        assert_same(result["counts"], metrics.curves("even").counts)
        assert_same(result["matrix"], metrics.confusion_matrix("digit"))
        assert_same(result["again"], result["matrix"])
        assert result["calls"] == ["all_gather", *["all_reduce"] * 2]


def test_processes_whose_heads_differ_are_told_so_before_the_first_sum(folder: Path) -> None:
    said = results(folder, heads_that_differ)
    given = {
        "order": r"got a \(Bernoulli.*\) in process 0 and b \(.*\) in process 1",
        "name": r"got a .* in process 0 and b .* in process 1",
        "number": r"got nothing in process 0 and b .* in process 1",
        "family": r"a \(Bernoulli, .* in process 0 and a \(Normal, .* in process 1",
        "classes": r"a \(Categorical, 1 x 3 .* and a \(Categorical, 1 x 5 ",
        "thresholds": r"in process 0 .*positive_threshold_0.3.*\) in process 1",
    }
    for kind in DIFFERENT:
        assert said[0][kind].partition(": ")[2] == said[1][kind].partition(": ")[2]
        assert re.search(f"metrics of the same heads in .*{given[kind]}", said[0][kind])


def test_a_head_without_labels_in_one_process_does_not_hang_the_training(folder: Path) -> None:
    model = Model()
    ((training_loss(model, 0) + training_loss(model, 1)) / 2).backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    assert all(gradient.any() for gradient in expected.values())
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    for result in results(folder, a_training_step):
        assert_same(result["gradients"], expected)
        assert_same(result["parameters"], dict(model.state_dict()))
