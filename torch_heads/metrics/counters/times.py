"""Times to an event, counted by what was predicted, and predicted survival, summed."""

from __future__ import annotations

import torch
from torch import Tensor

from torch_heads.families.event_times import event_times
from torch_heads.metrics.counters.counter import Addition, TallyInput
from torch_heads.metrics.counters.usual import ColumnCounter, counts
from torch_heads.metrics.needs import SurvivalSums, TimeCounts


class TimeCounter(ColumnCounter):
    """Events and censored labels, by the cell of their time and the bin of the prediction."""

    name = "times"
    need = TimeCounts()

    def additions(self, state: Tensor, seen: TallyInput) -> list[Addition]:
        """Return what one batch adds, with one scatter for all columns."""
        family = event_times(seen.family)
        labels, logits = self._columns.of(seen.labels), self._columns.of(seen.blocks[0])
        cells, bins = family.cells, family.SCORE_BINS
        places = family.censored(labels) * cells + family.cell(labels)
        places = places * bins + family.score_bin(logits)
        rows = state.view(-1, 2 * cells * bins)
        return [counts(rows, places, self._columns.weights(seen))]


class SurvivalCounter(ColumnCounter):
    """The sums of the predicted curves, ``[K]`` of each column."""

    name = "survival"
    need = SurvivalSums()

    def additions(self, state: Tensor, seen: TallyInput) -> list[Addition]:
        """Return what one batch adds."""
        family = event_times(seen.family)
        curves = family.survival(self._columns.of(seen.blocks[0])).double()
        weights = self._columns.weights(seen)
        if weights is not None:
            some = (weights != 0).unsqueeze(-1)
            curves = torch.where(some, curves * weights.unsqueeze(-1), 0.0)
        return [Addition(state, curves.sum(0).flatten())]
