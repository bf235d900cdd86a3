"""All metrics of a head: those that it has in any case, and those that were asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch_heads.families.family import Counts
from torch_heads.functional.errors import unexpected
from torch_heads.functional.number_lists import check_thresholds
from torch_heads.functional.scores import ScoreBins
from torch_heads.metrics.asked import Asked, asked_readings
from torch_heads.metrics.fits import check_column
from torch_heads.metrics.needs import ScoreCounts
from torch_heads.metrics.readable import Readable
from torch_heads.metrics.readings.outcomes import ThresholdReading
from torch_heads.metrics.readings.reading import Reading
from torch_heads.metrics.torchmetric import Torchmetric


class KeptMetrics(NamedTuple):
    """The metrics of a head.

    Attributes:
        readings: those that are read of its tally, by key.
        torchmetrics: those of torchmetrics' own, by key.
        asked: the keys of those that were asked for.
        bins: where the readings cut scores; None where none need them.
    """

    readings: dict[str, Reading]
    torchmetrics: Mapping[str, Torchmetric]
    asked: frozenset[str]
    bins: ScoreBins | None


def kept_metrics(head: Readable, given: Asked) -> KeptMetrics:
    """Return the metrics of a head: its usual ones, and those that were asked for.

    Raises:
        ValueError: if one is not known, does not fit the head, or has the key of another.
        TypeError: if something is no metric.
    """
    for one in head.usual.values():
        check_column(one, head)
    asked = asked_readings(given, head)
    for key, own in asked.items():
        if head.usual.get(key, own) != own:
            expected, other = "with keys of their own", f"another {key!r}"
            raise ValueError(unexpected(head.title, "metrics", expected, other))
    every: dict[str, Reading | Torchmetric] = {**head.usual, **asked}
    readings = {key: one for key, one in every.items() if isinstance(one, Reading)}
    others = {key: one for key, one in every.items() if isinstance(one, Torchmetric)}
    return KeptMetrics(readings, others, frozenset(asked), _bins(head, readings))


def _bins(head: Readable, readings: Mapping[str, Reading]) -> ScoreBins | None:
    needs = [need for one in readings.values() for need in one.needs(head.counts)]
    if head.counts is not Counts.SCORES and ScoreCounts() not in needs:
        return None
    cut = [one for one in readings.values() if isinstance(one, ThresholdReading)]
    own = {one.threshold for one in cut if one.threshold is not None}
    given = check_thresholds(head.title, sorted(own.union(head.thresholds)))
    return ScoreBins(tuple(sorted(given)), head.fine)
