"""Counts carried from one collection to another by the names of heads and classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torch_heads.functional.errors import unexpected
from torch_heads.metrics.collection import BATCHES, ReadingCollection
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
        theirs = source.tallies[given.tally].column_states(given.columns)
        own = target.tallies[place.tally].column_states(place.columns)
        if name in order:
            reordered(theirs, torch.tensor(order[name], device=own["sums"].device))
        for state, values in own.items():
            values.copy_(theirs[state])
    if BATCHES in target.tallies:
        means, others = target.tallies[BATCHES].sums, source.tallies[BATCHES].sums
        for key, bound in target.readings.items():
            if bound.place.tally == BATCHES:
                means[bound.rows.start] = others[source.readings[key].rows.start]


def reordered(states: dict[str, Tensor], order: Tensor) -> None:
    """Put the classes of a head, label columns or class ids, into another order.

    Args:
        states: of the head, as `Tally.column_states` returns them; replaced in the dict.
        order: ``[K]``, where each class stood.
    """
    sums, confusion = states["sums"], states.get("confusion")
    if len(sums) == len(order):
        states |= {name: values[order] for name, values in states.items()}
        return
    states["sums"] = sums = sums.clone()  # in which the labels are a sum of ids
    sums[0, Total.LABEL] = torch.nan
    if confusion is not None:
        none_and_classes = torch.cat([order.new_zeros(1), order + 1])
        states["confusion"] = confusion = confusion[order][:, none_and_classes]
        ids = torch.arange(len(order), device=order.device)
        sums[0, Total.LABEL] = (confusion.sum(1) * ids).sum()
