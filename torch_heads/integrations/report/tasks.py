"""Tasks: the single heads inside of a head, each with all that the tallies know of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite, nan
from typing import Literal, NamedTuple

import torch

from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.families import Categorical
from torch_heads.functional.residuals import Residuals
from torch_heads.functional.scores import NEGATIVE, SOFT
from torch_heads.heads.base import Head
from torch_heads.heads.multi import MultiHead
from torch_heads.heads.sequential import SequentialHeadWrapper
from torch_heads.heads.tensor_head import TensorHead
from torch_heads.integrations.report.canvas import Floats, number
from torch_heads.integrations.report.ownership import check_owner
from torch_heads.metrics.bound import Bound
from torch_heads.metrics.collection import ReadingCollection
from torch_heads.metrics.sums import Sums, Total
from torch_heads.metrics.tally import ClassTally

HEADLINES = {"auc": True, "accuracy": True, "average_loss": False}  # and whether more is better

FEW = 8  # heads of a kind that are shown one by one
FEW_OF_MANY = 2  # the same, where there are more than `MANY` heads in all
MANY = 12


@dataclass(frozen=True, eq=False)
class Task:
    """One head and what was seen of it.

    ``metrics`` are by key, without the head's name. ``confusion`` is ``[K, K]`` with labels as
    rows; None where there are no classes, or too many for confusions to be kept.
    """

    head: TensorHead
    metrics: dict[str, float]
    sums: Sums
    bound: Bound
    confusion: Floats | None
    residuals: Residuals | None

    @property
    def kind(self) -> str:
        """The class of the head."""
        return type(self.head).__name__

    @property
    def name(self) -> str:
        """The head's name, or its class."""
        return self.head.name or self.kind

    @property
    def form(self) -> Literal["scores", "classes", "numbers"]:
        """What is predicted, and so what the tally knows: scores by label, confusions, means."""
        if self.head.bins is not None:
            return "scores"
        return "classes" if isinstance(self.head.family, Categorical) else "numbers"

    @property
    def columns(self) -> list[str]:
        """The names of the label columns."""
        if self.head.labels_dimension == 1:
            return [self.name]
        if self.head.label_vocabulary is not None:
            return list(self.head.label_vocabulary)
        if self.form == "scores":
            return [f"class {i}" for i in range(self.head.labels_dimension)]
        return [f"column {i}" for i in range(self.head.labels_dimension)]

    @cached_property
    def totals(self) -> Floats:
        """The sums of each column, named by `Total`."""
        return self.sums.totals.numpy()

    @property
    def labels(self) -> float:
        """How many labels were seen."""
        return float(self.totals[:, Total.LABELLED].sum())

    @property
    def counted(self) -> bool:
        """Whether any label was seen whose weight is not 0."""
        return bool(self.totals[:, Total.WEIGHT].any())

    @property
    def headline(self) -> str:
        """The key of the metric by which tasks of this kind are ranked."""
        return next(key for key in HEADLINES if key in self.metrics)

    @property
    def rank(self) -> float:
        """The headline metric; NaN where it says nothing, as an AUC of one class alone."""
        value = self.metrics[self.headline]
        kinds = self.sums.counts.sum((0, 2))
        if self.form == "scores" and not (kinds[NEGATIVE] > 0 and kinds[SOFT:].sum() > 0):
            return nan
        return value if self.counted and isfinite(value) else nan

    def written(self, key: str) -> str:
        """Return a metric as text, empty where the head does not have it."""
        return number(self.metrics[key]) if key in self.metrics else ""


class Evaluation(NamedTuple):
    """The single heads inside of a head, and the metrics that belong to none of them, by key."""

    tasks: list[Task]
    others: dict[str, float]


def evaluation(head: Head, metrics: ReadingCollection) -> Evaluation:
    """Return what the metrics know of a head.

    Under several processes, all of them must call this.

    Raises:
        TypeError: if these are not a head and metrics of a head.
        ValueError: if the metrics are not of this head, or have not seen a batch.
    """
    if not isinstance(head, Head):
        raise TypeError(unexpected("Report", "head", "as a head", type(head).__name__))
    if not isinstance(metrics, ReadingCollection):
        given = type(metrics).__name__
        raise TypeError(unexpected(head.title, "metrics", "made by its metrics()", given))
    own = [(leaf, call, leaf.bind("", slice(0, 0))) for leaf, call in leaves(head)]
    absent = [key for _, _, readings in own for key in readings if key not in metrics.readings]
    if absent:
        expected, given = f"with {preview(absent, 4)}", preview(metrics.readings, 4)
        raise ValueError(unexpected(head.title, "metrics", expected, given))
    for leaf, _, readings in own:
        check_owner(leaf, metrics.readings[next(iter(readings))], metrics)
    seen = any(tally.update_called for tally in metrics.tallies.values())
    if not seen and not torch.distributed.is_initialized():
        hint = "Update them by head.update_metrics(metrics, features, logits, labels)."
        raise ValueError(
            unexpected(head.title, "metrics", "that have seen a batch", "empty ones", hint)
        )
    states = {name: tally.compute().double().cpu() for name, tally in metrics.tallies.items()}
    stacked = torch.stack(list(metrics.compute().values())).tolist()
    values = dict(zip(metrics.readings, stacked, strict=True))
    found = []
    for leaf, call, readings in own:
        bound = metrics.readings[next(iter(readings))]
        suffix = f"/{leaf.name}" if leaf.name else ""
        named = {key.removesuffix(suffix): values[key] for key in readings}
        if call in values:
            named = {"loss": values[call], **named}
        sums = Sums.of(states[bound.tally][bound.columns])
        tally = metrics.tallies[bound.tally]
        counts, confusion = tally.counts(bound.columns), None
        residuals = None if counts is None else Residuals(counts.cpu())
        if isinstance(tally, ClassTally) and tally.keeps(bound.columns.start):
            confusion = tally.matrix(bound.columns.start).double().cpu().numpy()
        found.append(Task(leaf, named, sums, bound, confusion, residuals))
    whole = [key for key, _ in head.call_keys()] + [head._suffixed("regularization_loss")]
    taken = {call for _, call, _ in own}
    others = {key: values[key] for key in whole if key in values and key not in taken}
    return Evaluation(found, others)


def is_first_process() -> bool:
    """Return whether this process is the one that writes and prints."""
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def by_kind(tasks: Sequence[Task]) -> tuple[list[Task], dict[str, list[Task]]]:
    """Return the tasks of which there are few of a kind, and by kind those of which many are."""
    kinds: dict[str, list[Task]] = {}
    for task in tasks:
        kinds.setdefault(task.kind, []).append(task)
    most = FEW if len(tasks) <= MANY else FEW_OF_MANY
    few = [task for task in tasks if len(kinds[task.kind]) <= most]
    return few, {kind: alike for kind, alike in kinds.items() if len(alike) > most}


def metric_keys(tasks: Sequence[Task]) -> list[str]:
    """Return the keys of all metrics that any of the tasks has."""
    return list(dict.fromkeys(key for task in tasks for key in task.metrics))


def leaves(head: Head, call: str = "") -> Iterator[tuple[TensorHead, str]]:
    """Yield the single heads inside of a head, each with the key of its loss per call."""
    if isinstance(head, MultiHead):
        for name in head:
            yield from leaves(head[name], f"loss/{name}")
    elif isinstance(head, SequentialHeadWrapper):
        yield from leaves(head.static_head, call)
    elif isinstance(head, TensorHead):
        yield head, call
    else:
        expected = "to be made of the heads of this package"
        raise TypeError(unexpected(head.title, "head", expected, type(head).__name__))
