"""A thousand heads cost what their columns cost, not what their number costs."""

from collections import Counter
from collections.abc import Callable, Sequence
from math import nan
from operator import getitem
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import torch_heads as th

ROWS = 4

MakeHead = Callable[[int], th.Head]  # of the i-th head


class Operations(TorchDispatchMode):
    """Counts the operations that reach the kernels, and the entries of their largest result."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.counts[str(func)] += 1
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.largest = max(self.largest, *sizes, 0)
        return result


def joined(make: MakeHead, count: int) -> th.MultiHead:
    return th.MultiHead([make(i) for i in range(count)])


def operations(
    head: th.MultiHead, labels: Any, device: torch.device, weights: Any = None
) -> Counter[str]:
    """Return how often each operation runs, in a loss with its gradient and in an update."""
    head, metrics = head.to(device), head.metrics().to(device)
    logits = torch.zeros(ROWS, head.logits_dimension, device=device, requires_grad=True)
    features = {"w": torch.ones(ROWS, device=device)}
    with Operations() as found:
        head.loss(labels, logits, features, weights=weights).backward()
        head.update_metrics(metrics, features, logits, labels, weights=weights)
    return found.counts


def assert_not_grown(make: MakeHead, labels: Callable[[th.MultiHead], Any], device: Any) -> None:
    """Compare the operations of 10 heads with those of 200."""
    few, many = (
        operations(head, labels(head), device) for head in (joined(make, 10), joined(make, 200))
    )
    assert {name: (few[name], many[name]) for name in many if many[name] > few[name]} == {}


KINDS: dict[str, MakeHead] = {
    "binary": lambda i: th.BinaryClassHead(name=f"h{i}"),
    "binary, thresholds": lambda i: th.BinaryClassHead(name=f"h{i}", thresholds=[0.1 + i % 5 / 10]),
    "binary, weights": lambda i: th.BinaryClassHead("w", name=f"h{i}"),
    "binary, may miss": lambda i: th.BinaryClassHead(name=f"h{i}", missing_label=(-1, nan)[i % 2]),
    "binary, reductions": lambda i: th.BinaryClassHead(
        name=f"h{i}", loss_reduction=("sum", "weighted_mean")[i % 2]
    ),
    "binary, smooth": lambda i: th.BinaryClassHead(name=f"h{i}", label_smoothing=i % 2 / 10),
    "binary, balanced": lambda i: th.BinaryClassHead(name=f"h{i}", pos_weight=(None, 2.0)[i % 2]),
    "multi-label": lambda i: th.MultiLabelHead(2 + i % 2, name=f"h{i}", missing_label=nan),
    "multi-class, one width": lambda i: th.MultiClassHead(3, name=f"h{i}"),
    "multi-class, widths": lambda i: th.MultiClassHead(3 + i % 5, name=f"h{i}", missing_label=-1),
    "multi-class, balanced": lambda i: th.MultiClassHead(
        3 + i % 5, name=f"h{i}", class_weight=(None, [1.0] * (3 + i % 5))[i % 2]
    ),
    "regression": lambda i: th.RegressionHead(1 + i % 2, name=f"h{i}", missing_label=nan),
    "Poisson": lambda i: th.PoissonRegressionHead(name=f"h{i}"),
    "logistic and binary": lambda i: (th.LogisticRegressionHead, th.BinaryClassHead)[i % 2](
        name=f"h{i}"
    ),
    "two families by turns": lambda i: (th.RegressionHead, th.BinaryClassHead)[i % 2](name=f"h{i}"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_operations_do_not_grow_with_the_number_of_heads(kind: str, device: torch.device) -> None:
    def stacked(head: th.MultiHead) -> Tensor:
        return torch.zeros(ROWS, head.labels_dimension, device=device)

    assert_not_grown(KINDS[kind], stacked, device)


@pytest.mark.parametrize("kind", ["binary", "binary, may miss", "multi-class, widths"])
def test_labels_by_name_are_joined_at_once(kind: str, device: torch.device) -> None:
    def by_name(head: th.MultiHead) -> dict[str, Tensor]:
        return {name: torch.zeros(ROWS, dtype=torch.int64, device=device) for name in head}

    assert_not_grown(KINDS[kind], by_name, device)


def test_columns_of_both_shapes_are_joined_at_once(device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (ROWS, 200), generator=random).float().to(device)
    weights = torch.rand(ROWS, 200, generator=random).to(device)
    counts = []
    for heads in [10, 200]:
        head = joined(KINDS["binary"], heads)
        shape = [(ROWS, 1) if i % 3 else (ROWS,) for i in range(heads)]
        given = [
            {name: values[:, i].view(shape[i]) for i, name in enumerate(head)}
            for values in (labels, weights)
        ]
        counts.append(operations(head, given[0], device, given[1]).total())
    assert counts[0] == counts[1]
    logits = torch.randn(ROWS, 200, generator=random).to(device)
    stacked = dict(zip(head, weights.unbind(-1), strict=True))
    expected = head.loss(labels, logits, weights=stacked)
    torch.testing.assert_close(head.loss(given[0], logits, weights=given[1]), expected)


@pytest.mark.parametrize("kind", ["binary", "multi-label", "multi-class, widths"])
def test_weights_by_name_are_joined_at_once(kind: str, device: torch.device) -> None:
    def count(heads: int, every: int) -> int:
        head = joined(KINDS[kind], heads)
        labels = torch.zeros(ROWS, head.labels_dimension, device=device)
        weights = {name: torch.ones(ROWS, device=device) for name in list(head)[::every]}
        return operations(head, labels, device, weights).total()

    assert count(10, 1) == count(200, 1)
    assert count(10, 3) == count(200, 3) <= count(10, 1) + 4


@pytest.mark.parametrize("kind", ["binary, may miss", "multi-class, widths"])
def test_a_head_without_labels_does_not_slow_the_others(kind: str, device: torch.device) -> None:
    def all_but_one(head: th.MultiHead) -> dict[str, Tensor]:
        names = set(head) - {"h3"}
        return {name: torch.zeros(ROWS, dtype=torch.int64, device=device) for name in names}

    assert_not_grown(KINDS[kind], all_but_one, device)


def test_widths_of_classes_fall_into_few_buckets(device: torch.device) -> None:
    def count(widths: Sequence[int]) -> int:
        head = joined(lambda i: th.MultiClassHead(widths[i], name=f"h{i}"), len(widths))
        labels = torch.zeros(ROWS, len(widths), dtype=torch.int64, device=device)
        return operations(head, labels, device).total()

    # up to 4 and 8; and so on up to 128
    two = count([3, 4, 5, 6])
    six = count([3, 4, 5, 6, 9, 10, 17, 18, 33, 34, 65, 66])
    assert count([3, 4] * 40 + [5, 6, 7, 8] * 20) == two
    assert count(range(3, 129)) <= six
    assert six < 4 * two


@pytest.mark.parametrize("widths", [[3, 1000], [33] * 20 + [3], range(3, 100)], ids=str)
def test_padded_classes_take_at_most_twice_the_logits(
    widths: Sequence[int], device: torch.device
) -> None:
    head = joined(lambda i: th.MultiClassHead(widths[i], name=f"h{i}"), len(widths)).to(device)
    logits = torch.zeros(ROWS, sum(widths), device=device)
    labels = torch.zeros(ROWS, len(widths), dtype=torch.int64, device=device)
    with Operations() as found:
        head.loss(labels, logits)
    assert 0 < found.largest <= 2 * logits.numel()


@pytest.fixture(scope="module")
def thousand() -> th.MultiHead:
    return joined(KINDS["binary, may miss"], 1000)


def test_a_thousand_heads_are_measured_at_once(
    thousand: th.MultiHead, device: torch.device
) -> None:
    random = torch.Generator().manual_seed(0)
    head = thousand.to(device)
    logits = torch.randn(ROWS, 1000, generator=random).to(device)
    labels = torch.randint(2, (ROWS, 1000), generator=random).float().to(device)
    labels[:, 7] = nan
    metrics = head.update_metrics(head.metrics(), None, logits, labels)
    assert len(metrics.tallies) == 2  # the heads', and the means over calls
    values = metrics.compute()
    assert len(values) == 1000 * len([key for key in values if key.endswith("/h3")])
    for i in [0, 3, 998]:
        own = head[f"h{i}"]
        alone = own.update_metrics(own.metrics(), None, logits[:, i : i + 1], labels[:, i])
        for key, value in alone.compute().items():
            torch.testing.assert_close(values[key], value)
    assert values["auc/h7"].isnan()


def test_an_exported_program_has_but_views_of_each_head(device: torch.device) -> None:
    def export(count: int) -> torch.export.ExportedProgram:
        kinds: list[MakeHead] = [
            lambda i: th.BinaryClassHead(name=f"h{i}", thresholds=[i / 2000 + 0.1]),
            lambda i: th.LogisticRegressionHead(name=f"h{i}", missing_label=nan),
            lambda i: th.RegressionHead(name=f"h{i}", weight_column="w", loss_reduction="sum"),
            lambda i: th.MultiClassHead(4, name=f"h{i}", label_smoothing=0.1, missing_label=-1),
        ]
        head = th.MultiHead([kinds[i * len(kinds) // count](i) for i in range(count)])
        head.update_metrics(
            features={"w": torch.ones(ROWS)},
            logits=torch.zeros(ROWS, head.logits_dimension),
            labels=torch.zeros(ROWS, head.labels_dimension),
        )
        model = torch.nn.Sequential(torch.nn.Linear(2, head.logits_dimension), head).to(device)
        return torch.export.export(model, (torch.zeros(ROWS, 2, device=device),))

    few, many = export(8), export(200)
    for program in [few, many]:
        assert list(program.state_dict) == ["0.weight", "0.bias", "1._meaning"]
        assert not program.constants
    found = [Counter(str(node.target) for node in one.graph.nodes) for one in (few, many)]
    grown = {name for name in found[1] if found[1][name] > found[0][name]}
    assert grown == {str(getitem), "aten.squeeze.dim"}  # all of them views


def test_states_do_not_grow_with_the_number_of_examples(
    thousand: th.MultiHead, device: torch.device
) -> None:
    head, metrics = thousand.to(device), thousand.metrics()

    def size() -> int:
        return sum(
            getattr(tally, key).numel()
            for tally in metrics.tallies.values()
            for key in tally.metric_state
        )

    before = size()
    for rows in [1, 64]:
        logits = torch.zeros(rows, 1000, device=device)
        head.update_metrics(metrics, None, logits, torch.zeros(rows, 1000, device=device))
        assert size() == before
    assert before * 8 <= 1000 * 20 * 1024
