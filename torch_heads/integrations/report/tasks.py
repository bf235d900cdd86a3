"""Tasks: the single heads inside of a head, each with all that the tallies know of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite, nan
from typing import NamedTuple

import torch
from torch import Tensor

from torch_heads.computation.target import Target
from torch_heads.families.family import Counts
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.residuals import Residuals
from torch_heads.functional.survival import SurvivalCurves
from torch_heads.heads.base import Head
from torch_heads.heads.metric_owner import suffixed
from torch_heads.integrations.report.canvas import Floats, number
from torch_heads.integrations.report.ownership import check_owner
from torch_heads.metrics.bound import AlikeColumns, BoundReading, Place, States
from torch_heads.metrics.collection import ReadingCollection
from torch_heads.metrics.interval import Interval, interval_of, is_of_counts
from torch_heads.metrics.needs import Confusions, ResidualCounts, ScoreCounts
from torch_heads.metrics.sums import Total

HEADLINES = {
    "roc_auc": True,
    "auc": True,
    "accuracy": True,
    "concordance": True,
    "average_loss": False,
}  # and whether more is better

FEW = 8  # heads of a kind that are shown one by one
FEW_OF_MANY = 2  # the same, where there are more than `MANY` heads in all
MANY = 12


@dataclass(frozen=True, eq=False)
class Task:
    """One head and what was seen of it.

    ``metrics`` are by key, without the head's name, NaN where undefined. ``totals`` ``[U, 8]`` are
    named by `Total`; ``scores`` are ``[U, 3, bins]``, by kind of label and bin. ``confusion`` is
    ``[K, K]`` with labels as rows; None where there are no classes, or too many for confusions to
    be kept. ``intervals`` returns where a metric lies, None where that is not asked for or known.
    """

    target: Target
    metrics: dict[str, float]
    totals: Floats
    scores: Tensor | None
    place: Place
    confusion: Floats | None
    residuals: Residuals | None
    survival: SurvivalCurves | None
    intervals: Callable[[str], Interval | None]

    @property
    def kind(self) -> str:
        """The class of the head."""
        return self.target.kind

    @property
    def name(self) -> str:
        """The head's name, or its class."""
        return self.target.name or self.kind

    @property
    def form(self) -> Counts:
        """What is predicted, and so what the tally knows: scores by label, confusions, means."""
        return self.target.counts

    @property
    def columns(self) -> list[str]:
        """The names of the label columns."""
        if self.target.columns == 1:
            return [self.name]
        if self.target.label_vocabulary is not None:
            return list(self.target.label_vocabulary)
        if self.form is Counts.SCORES:
            return [f"class {i}" for i in range(self.target.columns)]
        return [f"column {i}" for i in range(self.target.columns)]

    @property
    def labels(self) -> float:
        """How many labels were seen."""
        return float(self.totals[:, Total.PRESENT].sum())

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
        return value if self.counted and isfinite(value) else nan

    def written(self, key: str) -> str:
        """Return a metric as text, with its interval; empty where the head does not have it."""
        if key not in self.metrics:
            return ""
        interval = self.intervals(key)
        text = number(self.metrics[key])
        return text if interval is None else f"{text} ({' to '.join(map(number, interval))})"


class TaskEvaluation(NamedTuple):
    """The single heads inside of a head, and the metrics that belong to none of them, by key."""

    tasks: list[Task]
    others: dict[str, float]


def evaluation(
    head: Head, metrics: ReadingCollection, interval: float | None = None
) -> TaskEvaluation:
    """Return what the metrics know of a head.

    Under several processes, all of them must call this.

    Args:
        head: the head, or one of the heads inside of a `MultiHead`.
        metrics: what `update_metrics` of the head, or of the `MultiHead`, has filled.
        interval: the level of the intervals of metrics; None for none.

    Raises:
        TypeError: if these are not a head and metrics of a head.
        ValueError: if the metrics are not of this head, or have not seen a batch, or the level is
            not in (0, 1).
    """
    if interval is not None and not 0 < interval < 1:
        raise ValueError(unexpected("Report", "interval", "in (0, 1)", interval))
    if not isinstance(head, Head):
        raise TypeError(unexpected("Report", "head", "as a head", type(head).__name__))
    if not isinstance(metrics, ReadingCollection):
        given = type(metrics).__name__
        raise TypeError(unexpected(head.title, "metrics", "made by its metrics()", given))
    computation = head.computation
    keys = [
        {suffixed(key, target.name): key for key in target.metric_keys}
        for target in computation.targets
    ]
    known = [*metrics.keys(keep_base=True)]
    absent = [key for own in keys for key in own if key not in metrics]
    if absent:
        expected, given = f"with {preview(absent, 4)}", preview(known, 4)
        raise ValueError(unexpected(head.title, "metrics", expected, given))
    for target in computation.targets:
        check_owner(target, metrics)
    seen = any(tally.update_called for tally in metrics.tallies.values())
    if not seen and not torch.distributed.is_initialized():
        hint = "Update them by head.update_metrics(metrics, features, logits, labels)."
        raise ValueError(
            unexpected(head.title, "metrics", "that have seen a batch", "empty ones", hint)
        )
    states = {
        name: {key: state.double().cpu().flatten() for key, state in tally.compute().items()}
        for name, tally in metrics.tallies.items()
    }
    computed, fed = metrics.read(strict=True), metrics.read_fed()
    for of_one in fed.values():
        computed |= of_one
    values = dict(zip(computed, torch.stack([*computed.values()]).tolist(), strict=True))
    found, taken = [], set()
    for target, path, own in zip(computation.targets, computation.paths, keys, strict=True):
        place = metrics.places[target.name or ""]
        ending = suffixed("", target.name)
        numbers = [number for key in own for number in fed.get(key, [key])]
        named = {number.removesuffix(ending): values[number] for number in numbers}
        call = f"loss/{path[-1]}" if path else ""
        if call in values:
            named = {"loss": values[call], **named}
            taken.add(call)
        tally = metrics.tallies[place.tally]
        counts, matrix = (place.kept(tally, need) for need in (ResidualCounts(), Confusions()))
        sums = AlikeColumns([(place, None)]).sums(states[place.tally])
        found.append(
            Task(
                target,
                named,
                sums.totals[0].numpy(),
                sums.scores[0] if ScoreCounts() in place.slots else None,
                place,
                None if matrix is None else matrix[:, 1:].double().cpu().numpy(),
                None if counts is None else Residuals(counts.cpu()),
                metrics.survival(target.name) if target.counts is Counts.TIMES else None,
                partial(
                    interval_by_key,
                    {
                        key: metrics.readings[name]
                        for name, key in own.items()
                        if name in metrics.readings
                    },
                    states[place.tally],
                    interval,
                ),
            )
        )
    whole = [key for key, _ in computation.batch_mean_keys()]
    whole.append(suffixed("regularization_loss", computation.metric_name))
    others = {key: values[key] for key in whole if key in values and key not in taken}
    return TaskEvaluation(found, others)


def interval_by_key(
    readings: Mapping[str, BoundReading], states: States, level: float | None, key: str
) -> Interval | None:
    """Return where a metric lies; None where that is not asked for, or it is not of counts."""
    if level is None or key not in readings or not is_of_counts(readings[key]):
        return None
    return interval_of(readings[key], states, level)


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
