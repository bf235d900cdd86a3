"""What the metrics of a head know of each task inside of it."""

from collections.abc import Mapping
from functools import cache, partial
from math import isnan
from typing import Any, NamedTuple

import torch

from torch_heads.computation.collected import suffixed
from torch_heads.computation.target import Target
from torch_heads.families.family import Counts
from torch_heads.functional.arguments import check_share
from torch_heads.functional.errors import class_of, preview, unexpected
from torch_heads.functional.residuals import Residuals
from torch_heads.heads.base import Head
from torch_heads.integrations.report.ownership import check_owner
from torch_heads.integrations.report.tasks import Task
from torch_heads.metrics.bound import AlikeColumns, BoundReading, States
from torch_heads.metrics.collection import ReadingCollection
from torch_heads.metrics.interval import Interval, intervals_of, is_of_counts
from torch_heads.metrics.needs import Confusions, ResidualCounts, ScoreCounts


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
        TypeError: if these are not a head and metrics of a head, or the level is no number.
        ValueError: if the metrics are not of this head, or have not seen a batch, or the level is
            not in (0, 1).
    """
    if interval is not None:
        interval = check_share("Report", "interval", interval)
    _check(head, metrics)
    computation = head.computation
    states = {
        name: {key: state.double().cpu().flatten() for key, state in tally.compute().items()}
        for name, tally in metrics.tallies.items()
    }
    computed, fed = metrics.read(strict=True), metrics.read_fed()
    for of_one in fed.values():
        computed |= of_one
    values = dict(zip(computed, torch.stack([*computed.values()]).tolist(), strict=True))
    found, taken = [], set()
    for target, path in zip(computation.targets, computation.paths, strict=True):
        numbers = [number for key in full_keys(target) for number in fed.get(key, [key])]
        named = {bare(number, target): values[number] for number in numbers}
        asked = [
            bare(number, target)
            for key, own in full_keys(target).items()
            if own in target.asked
            for number in fed.get(key, [key])
        ]
        call = f"loss/{path[-1]}" if path else ""
        if call in values:
            named = {"loss": values[call], **named}
            taken.add(call)
        found.append(_task(target, named, asked, metrics, states, interval))
    whole = [*computation.means_over_heads, *(key for key, _ in computation.batch_mean_keys())]
    whole.append(suffixed("regularization_loss", computation.metric_name))
    others = {key: values[key] for key in whole if key in values and key not in taken}
    return TaskEvaluation(found, others)


def full_keys(target: Target) -> dict[str, str]:
    """Return the metric keys of a target, by what they are called in a collection."""
    return {suffixed(key, target.name): key for key in target.metric_keys}


def bare(key: str, target: Target) -> str:
    """Return a metric key of a target without its name."""
    return key.removesuffix(suffixed("", target.name))


def _check(head: Any, metrics: Any) -> None:
    """Refuse what are no metrics of this head that have seen a batch."""
    if not isinstance(head, Head):
        raise TypeError(unexpected("Report", "head", "as a head", class_of(head)))
    if not isinstance(metrics, ReadingCollection):
        given = class_of(metrics)
        raise TypeError(unexpected(head.title, "metrics", "made by its metrics()", given))
    targets = head.computation.targets
    absent = [key for target in targets for key in full_keys(target) if key not in metrics]
    if absent:
        expected = f"with {preview(absent, 4)}"
        given = preview(metrics.keys(keep_base=True), 4)
        raise ValueError(unexpected(head.title, "metrics", expected, given))
    for target in targets:
        check_owner(target, metrics)
    seen = any(tally.update_called for tally in metrics.tallies.values())
    if not seen and not torch.distributed.is_initialized():
        hint = "Update them by head.update_metrics(metrics, features, logits, labels)."
        raise ValueError(
            unexpected(head.title, "metrics", "that have seen a batch", "empty ones", hint)
        )


def _task(
    target: Target,
    named: dict[str, float],
    asked: list[str],
    metrics: ReadingCollection,
    states: Mapping[str, States],
    interval: float | None,
) -> Task:
    """Return what was seen of one target: its metrics, and the keys of those asked for."""
    place = metrics.places[target.name or ""]
    own, kept = states[place.tally], place.slots
    sums = AlikeColumns([(place, None)]).sums(own)
    readings = {
        key: metrics.readings[name]
        for name, key in full_keys(target).items()
        if name in metrics.readings
    }
    return Task(
        target=target,
        metrics=named,
        asked=asked,
        totals=sums.totals[0].numpy(),
        scores=sums.scores[0] if ScoreCounts() in kept else None,
        place=place,
        confusion=sums.confusions[0].double().numpy() if Confusions() in kept else None,
        residuals=Residuals(sums.residuals[0]) if ResidualCounts() in kept else None,
        survival=metrics.survival(target.name) if target.counts is Counts.TIMES else None,
        intervals=cache(partial(intervals_by_key, readings, own, interval)),
    )


def intervals_by_key(
    readings: Mapping[str, BoundReading], states: States, level: float | None
) -> dict[str, Interval]:
    """Return where the metrics of a task lie, those of which that is asked for and known."""
    known = {key: one for key, one in readings.items() if is_of_counts(one)}
    if level is None or not known:
        return {}
    found = intervals_of([*known.values()], states, level)
    return {key: one for key, one in zip(known, found, strict=True) if not isnan(one.low)}
