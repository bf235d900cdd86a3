"""How sure a metric is: bootstrap intervals from counts, without the examples.

To draw examples again from what was seen is to draw the cells of its counts: the multinomial
distribution of the cells is the bootstrap of the examples (Efron & Tibshirani, 1993). With weights
``w``, the number drawn is the effective one, ``(sum w)^2 / sum w^2`` (Kish, 1965). Examples are
taken to be independent: rows of one user, or the classes of one row, are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any, NamedTuple

import numpy as np
import torch

from torch_heads.families.family import Counts
from torch_heads.metrics.bound import AlikeColumns, AlikeReadings, BoundReading, Place, States
from torch_heads.metrics.counters.counter import Slot
from torch_heads.metrics.needs import (
    ClassCounts,
    ClassScoreCounts,
    Confusions,
    Need,
    RankCounts,
    ResidualCounts,
    ScoreCounts,
    TimeCounts,
    Totals,
)
from torch_heads.metrics.sums import Total

MOST_DRAWN = 2**22  # cells that are drawn at a time: 32 MiB

#: Cells of which each column of labels has a distribution, and those of all class ids in one.
OF_COLUMNS = (ScoreCounts, ResidualCounts, ClassScoreCounts, TimeCounts)
CELLS = (*OF_COLUMNS, Confusions, RankCounts)

Array = np.ndarray[Any, np.dtype[np.float64]]


class Interval(NamedTuple):
    """Where a metric lies, at a level of confidence."""

    low: float
    high: float


def is_of_counts(bound: BoundReading) -> bool:
    """Return whether a metric can be drawn again: it is read from counts that are cells."""
    return not why_not(bound)


def why_not(bound: BoundReading) -> str:
    """Return why a metric cannot be drawn again; empty where it can be."""
    reading, place = bound
    if reading.biased:
        return "Chance adds to it, and again where examples are drawn again, which lie too high."
    needs = [] if place.counts is None else [*reading.needs(place.counts)]
    if not reading.of_counts or not (needs or place.counts is Counts.CLASSES):
        return "It is read from sums, which do not tell how examples differ."
    confused = Confusions() in place.slots
    if ClassCounts() in needs and not confused:
        return "Of that many classes no confusions are kept: no pairs of label and prediction."
    if any(not isinstance(need, (*CELLS, ClassCounts)) for need in needs):
        return "Not all that it is read from are counts."
    return ""


def interval_of(
    bound: BoundReading, states: States, level: float, samples: int = 1000, seed: int = 0
) -> Interval:
    """Return where a metric lies, from the states of its tally, each with one axis.

    NaN where the metric says nothing, or nothing was counted.
    """
    return intervals_of([bound], states, level, samples, seed)[0]


def intervals_of(
    bounds: Sequence[BoundReading],
    states: States,
    level: float,
    samples: int = 1000,
    seed: int = 0,
) -> list[Interval]:
    """Return the `interval_of` each metric of one target; examples are drawn once for all."""
    edges, found = ((1 - level) / 2, (1 + level) / 2), []
    for drawn in bootstrap(bounds, states, samples, seed):
        low, high = (nan, nan) if np.isnan(drawn).all() else np.nanquantile(drawn, edges)
        found.append(Interval(float(low), float(high)))
    return found


def bootstrap(
    bounds: Sequence[BoundReading], states: States, samples: int, seed: int
) -> list[Array]:
    """Return each metric of examples that were drawn again, ``[samples]``; NaN where undefined.

    Args:
        bounds: readings of counts, and their place, which is that of one target.
        states: of its tally, each with one axis.
        samples: how many times to draw.
        seed: of the draws.
    """
    place = bounds[0].place
    own = {need: kept(place, states, need) for need in place.slots}
    if not own[Totals()][:, Total.WEIGHT].any():
        return [np.full(samples, nan)] * len(bounds)
    # the target alone, each of its slots a state of its own
    slots = {need: (str(i), Slot(0, cells.shape)) for i, (need, cells) in enumerate(own.items())}
    alone = Place("", slots, place.family, place.counts, place.bins, place.may_miss)
    columns = {one.column: AlikeColumns([(alone, one.column)]) for one, _ in bounds}
    alike = [(AlikeReadings([one], columns[one.column]), one.column) for one, _ in bounds]
    random = np.random.default_rng(seed)
    step = max(1, MOST_DRAWN // sum(cells.size for cells in own.values()))
    values = []
    for start in range(0, samples, step):
        drawn = draw(own, min(step, samples - start), random, place)
        named = {slots[need][0]: torch.from_numpy(cells) for need, cells in drawn.items()}
        sums = {column: one.sums(named) for column, one in columns.items()}
        read = [one.read(sums[column], strict=True)[..., 0] for one, column in alike]
        values.append(torch.stack(read).double().numpy())
    return list(np.concatenate(values, axis=1))


def kept(place: Place, states: States, need: Need) -> Array:
    """Return what the states hold of a target."""
    found: Array = place.of(states, need).double().cpu().numpy()
    return found


def draw(
    own: Mapping[Need, Array], count: int, random: np.random.Generator, place: Place
) -> dict[Need, Array]:
    """Return what is kept of a target with its cells drawn again, ``[count, size]``.

    Args:
        own: what is kept.
        count: how many times to draw.
        random: what draws.
        place: of the target.
    """
    found = {need: np.repeat(cells.reshape(1, -1), count, 0) for need, cells in own.items()}
    totals = own[Totals()]
    weight, squares = totals[:, Total.WEIGHT], totals[:, Total.SQUARED_WEIGHT]
    effective = np.divide(weight**2, squares, out=np.zeros_like(weight), where=squares > 0)
    for need, cells in own.items():
        if isinstance(need, OF_COLUMNS):
            rows = cells.reshape(len(cells), -1)  # a distribution for each column
        elif isinstance(need, CELLS):
            rows = cells.reshape(1, -1)
        else:
            continue
        sizes = effective if len(effective) == len(rows) else np.repeat(effective, len(rows))
        each = [multinomial(*one, count, random) for one in zip(rows, sizes, strict=True)]
        found[need] = np.stack(each, axis=1).reshape(count, -1)
    if place.counts is Counts.CLASSES:
        found[Totals()][:, Total.PREDICTION] = _right(own, found, count, effective[0], random)
    if place.counts is Counts.SCORES and place.bins is not None:
        centres = place.bins.centres
        middles = np.concatenate([centres, centres, centres[place.bins.coarse]])
        moved = found[ScoreCounts()].reshape(count, -1, len(middles)) - own[ScoreCounts()]
        found[Totals()][:, Total.PREDICTION :: Total.ALL] += moved @ middles
    return found


def _right(
    own: Mapping[Need, Array],
    found: Mapping[Need, Array],
    count: int,
    size: float,
    random: np.random.Generator,
) -> Array:
    """Return the weight of the class ids predicted right: of the confusions, if these are kept."""
    if Confusions() in own:
        matrices = found[Confusions()].reshape(count, *own[Confusions()].shape)[..., 1:]
        right: Array = np.trace(matrices, axis1=-2, axis2=-1)
        return right
    found_right, every = own[Totals()][0, [Total.PREDICTION, Total.WEIGHT]]
    return multinomial(np.array([found_right, every - found_right]), size, count, random)[:, 0]


def multinomial(cells: Array, size: float, count: int, random: np.random.Generator) -> Array:
    """Return cells ``[count, K]`` that ``size`` examples fall into, in the units of the cells."""
    total, examples = cells.sum(), max(round(size), 1)
    drawn = np.zeros((count, len(cells)))
    some = np.flatnonzero(cells > 0)
    if len(some):
        shares = cells[some] / total
        drawn[:, some] = random.multinomial(examples, shares / shares.sum(), count)
    scaled: Array = drawn * (total / examples)
    return scaled
