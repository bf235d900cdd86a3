"""Tasks: the single heads inside of a head, each with all that the tallies know of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan, nan

import torch
from torch import Tensor

from torch_heads.computation.target import Target
from torch_heads.families.family import Counts
from torch_heads.functional.residuals import Residuals
from torch_heads.functional.survival import SurvivalCurves
from torch_heads.integrations.report.canvas import Floats, number
from torch_heads.metrics.bound import Place
from torch_heads.metrics.interval import Interval
from torch_heads.metrics.sums import Total

COVERAGE = "label/coverage"
FEW = 8  # heads of a kind that are shown one by one
FEW_OF_MANY = 2  # the same, where there are more than `MANY` heads in all
MANY = 12


@dataclass(frozen=True, eq=False)
class Task:
    """One head and what was seen of it.

    ``metrics`` are by key, without the head's name, NaN where undefined; ``asked`` are the keys of
    those that the user asked for. ``totals`` ``[U, 8]`` are named by `Total`; ``scores`` are
    ``[U, 3, bins]``, by kind of label and bin. ``confusion`` is ``[K, K]`` with labels as rows;
    None where there are no classes, or too many for confusions to be kept. ``intervals`` returns
    where metrics lie by key, those of which that is asked for and known.
    """

    target: Target
    metrics: dict[str, float]
    asked: Sequence[str]
    totals: Floats
    scores: Tensor | None
    place: Place
    confusion: Floats | None
    residuals: Residuals | None
    survival: SurvivalCurves | None
    intervals: Callable[[], Mapping[str, Interval]]

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

    def value(self, key: str) -> float:
        """Return a metric; NaN where it says nothing, as an AUC of one class, or is not there."""
        value = self.metrics.get(key, nan)
        # without a label that counts, tf.estimator's means are 0
        says = isfinite(value) and (self.counted or key == COVERAGE)
        return value if says else nan

    def written(self, key: str) -> str:
        """Return a metric as text, with its interval; empty where the head does not have it."""
        if key not in self.metrics:
            return ""
        interval = self.intervals().get(key)
        text = number(self.metrics[key])
        return text if interval is None else f"{text} ({' to '.join(map(number, interval))})"


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


def spread_of(tasks: Sequence[Task], key: str) -> list[float]:
    """Return a metric of all the tasks of which it says something."""
    return [value for task in tasks if not isnan(value := task.value(key))]


def metric_keys(tasks: Sequence[Task]) -> list[str]:
    """Return the keys of all metrics that any of the tasks has."""
    return list(dict.fromkeys(key for task in tasks for key in task.metrics))
