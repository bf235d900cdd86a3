"""Residuals of numbers, counted by bin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from torch_heads.functional.bins import bin_residuals
from torch_heads.functional.residuals import BINS
from torch_heads.metrics.counters.counter import (
    Addition,
    Counter,
    Selection,
    Slot,
    TallyInput,
    counts,
)
from torch_heads.metrics.needs import ResidualCounts


class ResidualCounter(Counter):
    """Residuals of numbers, by bin; the state is flat.

    Args:
        columns: the label columns of each target of the group.
        targets: the places of those whose residuals are counted.
    """

    name = "residuals"

    def __init__(self, columns: Sequence[slice], targets: Iterable[int]) -> None:
        runs = {i: range(columns[i].start, columns[i].stop) for i in targets}
        each = [column for run in runs.values() for column in run]
        self._columns = Selection(each, columns[-1].stop)
        self.shape = (len(each) * BINS,)
        firsts = accumulate((len(run) for run in runs.values()), initial=0)
        self.slots = {
            (ResidualCounts(), i): Slot(first * BINS, (len(run), BINS))
            for (i, run), first in zip(runs.items(), firsts, strict=False)
        }

    def additions(self, state: Tensor, seen: TallyInput) -> list[Addition]:
        """Return what one batch adds, with one scatter for all columns."""
        own = self._columns.of
        places = bin_residuals(own(seen.predictions), own(seen.labels)).to(torch.int64)
        places += torch.arange(0, self.shape[0], BINS, device=places.device)
        return [counts(state, places, self._columns.weights(seen))]
