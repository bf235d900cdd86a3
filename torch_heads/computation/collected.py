"""The metrics of a head as one collection: a tally per group, and what is read from each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import chain, count

from torch_heads.computation.computation import Computation
from torch_heads.computation.meaning import Meaning
from torch_heads.metrics.agreement import Agreement
from torch_heads.metrics.bound import BoundReading, Place
from torch_heads.metrics.collection import BATCHES, REGULARIZATION, Layout, ReadingCollection
from torch_heads.metrics.counters.counter import Slot
from torch_heads.metrics.counters.usual import BatchMeans
from torch_heads.metrics.fed import FedMetric
from torch_heads.metrics.needs import Need, Totals
from torch_heads.metrics.readings.means import BatchMean
from torch_heads.metrics.tally import Tally

Member = BoundReading | FedMetric


def make_collection(
    computation: Computation,
    warned: set[str],
    regularized: bool = False,
    layout: Layout | None = None,
) -> ReadingCollection:
    """Return a new collection, which takes no memory before its first update.

    Args:
        computation: what measures the batches.
        warned: of what was warned, shared by all collections of a head.
        regularized: whether to keep the mean of the regularization losses, too.
        layout: that of the head's other collections: one object, so that an update sees at once
            that a collection is its own; None for the first one.
    """
    tallies, places = _tallies(computation)
    agreement = Agreement(computation.title, computation.counted)
    members: dict[str, Member] = {}
    calls = computation.batch_mean_keys()
    if calls:
        tallies[BATCHES] = tally = Tally([BatchMeans(len(calls))])
        for i, (key, may_miss) in enumerate(calls):
            members[key] = _batch_mean(BATCHES, tally, i, may_miss)
    names: dict[str, list[str]] = {}
    by_name: dict[str, Place] = {}
    pairs = zip(computation.targets, computation.paths, strict=True)
    for place, (target, path) in zip(places, pairs, strict=True):
        own: dict[str, Member] = {
            suffixed(key, target.name): BoundReading(reading, place)
            for key, reading in target.readings.items()
        }
        for key, one in target.torchmetrics.items():
            fed = FedMetric(one, key, target.name, target.class_names, agreement)
            own[suffixed(key, target.name)] = fed
        members |= own
        by_name[target.name or ""] = place
        for name in dict.fromkeys([*path, target.name or ""]):
            names.setdefault(name, []).extend(own)
    for name, head in computation.heads.items():
        losses = [key for key, _ in head.batch_mean_keys()]
        names[name] = [*losses, *names[name], *head.means_over_heads]
    means = computation.means_over_heads
    meaning = Meaning.of(computation)
    layout = layout or _layout(tallies, members, means, meaning)
    if regularized:
        tallies[REGULARIZATION] = tally = Tally([BatchMeans(1)])
        members = _with_regularization(computation, members, tally)
    for tally in tallies.values():
        tally.agreement = agreement
    return ReadingCollection(tallies, members, means, by_name, names, layout, warned, meaning)


def _tallies(computation: Computation) -> tuple[dict[str, Tally], list[Place]]:
    """Return the tallies by name, and where each target is counted."""
    tallies: dict[str, Tally] = {}
    places: dict[int, Place] = {}
    for group in computation.groups:
        name = _free_name(type(group.family).__name__.lower(), tallies)
        tallies[name] = tally = group.tally()
        slots: list[dict[Need, tuple[str, Slot]]] = [{} for _ in group.targets]
        for (need, i), kept in tally.slots.items():
            slots[i][need] = kept
        for target, own in zip(group.targets, slots, strict=True):
            places[id(target)] = Place(
                name, own, target.family, target.counts, target.bins, target.may_miss
            )
    return tallies, [places[id(target)] for target in computation.targets]


def _free_name(family: str, tallies: Mapping[str, Tally]) -> str:
    """Return the name of a new tally: that of its family or, if it is not free, one with a number.

    Checkpoints have these names.
    """
    names = chain([family], (f"{family}_{i}" for i in count(len(tallies))))
    return next(name for name in names if name not in {*tallies, *_reserved()})


@cache
def _reserved() -> frozenset[str]:
    """Return the names that no tally of a family can have: a collection has them already."""
    blank = ReadingCollection({}, {}, {}, {}, {}, ((), (), ""), set(), Meaning([]))
    return frozenset([BATCHES, REGULARIZATION, *dir(blank)])


def _layout(
    tallies: Mapping[str, Tally],
    members: Mapping[str, Member],
    means: Mapping[str, object],
    meaning: Meaning,
) -> Layout:
    """Return what tells the collections of one head from those of another."""
    shapes = [tuple(counter.shape for counter in tally.counters) for tally in tallies.values()]
    kinds = [type(one.metric).__name__ for one in members.values() if isinstance(one, FedMetric)]
    return (*members, *means), (*shapes, *kinds), str(meaning.targets)


def _with_regularization(
    computation: Computation, members: Mapping[str, Member], tally: Tally
) -> dict[str, Member]:
    """Return the metrics with the regularization loss among them, where tf.estimator has it."""
    name, after = computation.metric_name, computation.regularized_after
    items = [*members.items()]
    at = 0 if after is None else [*members].index(suffixed(after, name)) + 1
    own = suffixed("regularization_loss", name), _batch_mean(REGULARIZATION, tally, 0)
    return dict([*items[:at], own, *items[at:]])


def _batch_mean(name: str, tally: Tally, row: int, may_miss: bool = False) -> BoundReading:
    place = Place(name, {Totals(): tally.slots[Totals(), row]}, may_miss=may_miss)
    return BoundReading(BatchMean(), place)


def suffixed(key: str, name: str | None) -> str:
    """Return a metric key with the name of its head.

    >>> suffixed("auc", "even")
    'auc/even'
    """
    return f"{key}/{name}" if name else key
