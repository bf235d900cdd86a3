"""Counts carried from one collection to another by the names of heads and classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torch_heads.functional.errors import unexpected
from torch_heads.metrics.collection import BATCHES, ReadingCollection
from torch_heads.metrics.needs import (
    ClassCounts,
    ClassScoreCounts,
    Confusions,
    Need,
    RowTerm,
    Totals,
)
from torch_heads.metrics.sums import Total


def check_states(
    who: str, collection: ReadingCollection, states: Mapping[str, Any], prefix: str
) -> None:
    """Refuse states of tallies that are of another shape than a collection's.

    Args:
        who: the head's title.
        collection: that of the head.
        states: tensors by ``<prefix><tally>.<state>``.
        prefix: what stands before the names.

    Raises:
        ValueError: if there is any.
    """
    for name, tally in collection.tallies.items():
        for state in tally.metric_state:
            own: Tensor = getattr(tally, state)
            given = states.get(f"{prefix}{name}.{state}")
            shape = None if given is None else [*getattr(given, "shape", ())]
            if given is not None and shape != [*own.shape]:
                expected = f"with {prefix}{name}.{state} of shape {[*own.shape]}"
                hint = "They were counted by other heads, or of other thresholds."
                raise ValueError(unexpected(who, "a checkpoint", expected, shape, hint))


def carry(
    target: ReadingCollection, source: ReadingCollection, order: Mapping[str, Sequence[int]]
) -> None:
    """Fill a collection with the counts of another one of the same heads.

    Args:
        target: empty, of heads in any order.
        source: of heads of the same names.
        order: of heads whose classes stand in another order, where each class stood.
    """
    for name, place in target.places.items():
        given = source.places[name]
        theirs = dict(given.views(source.tallies[given.tally]))
        own = place.views(target.tallies[place.tally])
        if name in order:
            reordered(theirs, torch.tensor(order[name], device=theirs[Totals()].device))
        for need, values in own.items():
            values.copy_(theirs[need])
    if BATCHES in target.tallies:
        means, others = target.tallies[BATCHES], source.tallies[BATCHES]
        for key, bound in target.readings.items():
            if bound.place.tally == BATCHES:
                row = source.readings[key].place.views(others)[Totals()]
                bound.place.views(means)[Totals()].copy_(row)


def reordered(states: dict[Need, Tensor], order: Tensor) -> None:
    """Put the classes of a head, label columns or class ids, into another order.

    Args:
        states: of the head, as `Place.views` returns them; replaced in the dict.
        order: ``[K]``, where each class stood.
    """
    if len(states[Totals()]) == len(order):
        for need, values in states.items():
            states[need] = values if isinstance(need, RowTerm) else values[order]
        return
    states[Totals()] = sums = states[Totals()].clone()  # in which the labels are a sum of ids
    sums[0, Total.LABEL] = torch.nan
    ids = torch.arange(len(order), device=order.device)
    for need, values in states.items():
        if isinstance(need, Confusions):
            none_and_classes = torch.cat([order.new_zeros(1), order + 1])
            states[need] = confusion = values[order][:, none_and_classes]
            sums[0, Total.LABEL] = (confusion.sum(1) * ids).sum()
        elif isinstance(need, ClassCounts):
            states[need] = counts = values[:, order]
            sums[0, Total.LABEL] = (counts[-1] * ids).sum()
        elif isinstance(need, ClassScoreCounts):
            states[need] = values[order]
