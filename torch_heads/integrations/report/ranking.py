"""Heads of one kind from the worst to the best, by a metric that all of them have."""

from collections.abc import Sequence
from math import isnan
from typing import NamedTuple

from torch_heads.integrations.report.tasks import Task

HEADLINES = {
    "roc_auc": True,
    "auc": True,
    "accuracy": True,
    "concordance": True,
    "average_loss": False,
}  # and whether more is better


class Ranking(NamedTuple):
    """Heads of one kind, by a metric.

    Attributes:
        by: its key, the first of `HEADLINES` that all of them have; empty if there is none.
        ranked: from the worst to the best.
        unranked: those of which the metric says nothing.
    """

    by: str
    ranked: list[Task]
    unranked: list[Task]


def ranking_of(tasks: Sequence[Task]) -> Ranking:
    """Return the ranking of heads of one kind."""
    by = next((key for key in HEADLINES if all(key in task.metrics for task in tasks)), "")
    sign = 1 if HEADLINES.get(by) else -1
    ranked = [task for task in tasks if not isnan(task.value(by))]
    unranked = [task for task in tasks if isnan(task.value(by))]
    return Ranking(by, sorted(ranked, key=lambda task: sign * task.value(by)), unranked)
