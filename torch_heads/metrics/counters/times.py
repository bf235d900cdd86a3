"""Times to an event, counted by what was predicted, and predicted survival, summed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from torch_heads.families.event_times import event_times
from torch_heads.metrics.counters.counter import Addition, Counter, Slot, TallyInput
from torch_heads.metrics.counters.usual import Selection, counts
from torch_heads.metrics.needs import Need, SurvivalSums, TimeCounts


class OfTimes(Counter):
    """What the counters of times share: a state ``[C, *shape]``, flat, of some columns.

    Args:
        columns: the label columns of each target of the group.
        targets: the places of those that are counted.
        shape: what is kept of each column.
    """

    def __init__(
        self, columns: Sequence[slice], targets: Iterable[int], shape: tuple[int, ...]
    ) -> None:
        runs = {i: range(columns[i].start, columns[i].stop) for i in targets}
        each = [column for run in runs.values() for column in run]
        self._columns = Selection(each, columns[-1].stop)
        size = Slot(0, shape).size
        self.shape = (len(each) * size,)
        self.slots = {}
        first = 0
        for i, run in runs.items():
            self.slots[self._need(), i] = Slot(first * size, (len(run), *shape))
            first += len(run)

    @abstractmethod
    def _need(self) -> Need:
        """Return what it keeps."""


class TimeCounter(OfTimes):
    """Events and censored labels, by the cell of their time and the bin of the prediction."""

    name = "times"

    def _need(self) -> Need:
        return TimeCounts()

    def additions(self, state: Tensor, seen: TallyInput) -> list[Addition]:
        """Return what one batch adds, with one scatter for all columns."""
        family = event_times(seen.family)
        labels, logits = self._columns.of(seen.labels), self._columns.of(seen.blocks[0])
        cells, bins = family.cells, family.SCORE_BINS
        places = family.censored(labels) * cells + family.cell(labels)
        places = places * bins + family.score_bin(logits)
        rows = state.view(-1, 2 * cells * bins)
        return [counts(rows, places, self._columns.weights(seen))]


class SurvivalCounter(OfTimes):
    """The sums of the predicted curves, ``[K]`` of each column."""

    name = "survival"

    def _need(self) -> Need:
        return SurvivalSums()

    def additions(self, state: Tensor, seen: TallyInput) -> list[Addition]:
        """Return what one batch adds."""
        family = event_times(seen.family)
        curves = family.survival(self._columns.of(seen.blocks[0])).double()
        weights = self._columns.weights(seen)
        if weights is not None:
            some = (weights != 0).unsqueeze(-1)
            curves = torch.where(some, curves * weights.unsqueeze(-1), 0.0)
        return [Addition(state, curves.sum(0).flatten())]
