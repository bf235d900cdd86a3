"""Scores, counted by bin and kind of label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import inf
from typing import Any

import torch
from torch import Tensor

from torch_heads.functional.bins import coarse_bins, label_kinds
from torch_heads.functional.constants import Constants
from torch_heads.functional.fine_cut import STEPS, fine_steps
from torch_heads.functional.scores import ScoreBins
from torch_heads.metrics.counters.counter import (
    Addition,
    Counter,
    Selection,
    Slot,
    TallyInput,
    counts,
)
from torch_heads.metrics.needs import ClassScoreCounts, ScoreCounts


class Histogram:
    """The places of scores in a flat state, in which each column has `ScoreBins.places` counts.

    First come labels 0 by bin, then labels 1, and then soft labels by coarse bin.

    Args:
        columns: the bins of each column.
    """

    def __init__(self, columns: Sequence[ScoreBins]) -> None:
        *starts, self.size = accumulate((bins.places for bins in columns), initial=0)
        self.starts = starts  # of each column
        most = max(len(bins.thresholds) for bins in columns)
        padded = [[*one.thresholds, *[inf] * (most - len(one.thresholds))] for one in columns]
        thresholds = torch.tensor(padded, dtype=torch.float32).view(len(columns), most)
        constants: dict[str, Any] = {"thresholds": thresholds.T}
        self._any_fine = any(bins.fine for bins in columns)
        self._all_fine = all(bins.fine for bins in columns)
        self._alike = columns[0] if len({bins.places for bins in columns}) == 1 else None
        if self._alike is None:  # numbers are faster than a row of equal ones
            constants |= {
                "starts": torch.tensor(starts),
                "sizes": torch.tensor([bins.size for bins in columns], dtype=torch.float32),
                "fine": torch.tensor([bins.fine for bins in columns], dtype=torch.float32),
            }
        self._constants = Constants(**constants)

    def places(self, scores: Tensor, log_odds: Tensor, labels: Tensor) -> Tensor:
        """Return where each label counts, ``[N, C]``, int64.

        Args:
            scores: ``[N, C]`` in [0, 1].
            log_odds: ``[N, C]``, theirs.
            labels: ``[N, C]`` in [0, 1].
        """
        constants = self._constants.on(scores.device)
        # whole numbers and halves in float32, exact up to 2**23, which no column's counts reach
        place = coarse_bins(scores.float(), log_odds, constants["thresholds"])
        kinds = label_kinds(labels).to(place.dtype)
        hard = torch.ne(kinds, 1.0, out=torch.empty_like(place))
        alike = self._alike
        size: Any = constants["sizes"] if alike is None else float(alike.size)
        # labels 0 start at 0, labels 1 at the size, and soft ones, which have no steps, at twice it
        if self._all_fine:
            steps = fine_steps(log_odds).add_(STEPS - 1.5 * size)
        elif self._any_fine:
            steps = fine_steps(log_odds).add_(STEPS).mul_(constants["fine"]).sub_(1.5 * size)
        else:
            steps = place.new_tensor(-1.5) * size
        place.addcmul_(hard, steps).add_(kinds.mul_(size / 2)).add_(1.5 * size - 1)
        starts = (
            constants["starts"]
            if alike is None
            else torch.arange(0, self.size, alike.places, device=place.device)
        )
        # two casts are twice as fast as one
        return place.to(torch.int32).to(torch.int64).add_(starts)


class ScoreCounter(Counter):
    """Scores, by bin and kind of label; the state is flat.

    Args:
        columns: the label columns of each target of the group.
        bins: those of the targets whose scores are counted, by their place.
    """

    name = "scores"

    def __init__(self, columns: Sequence[slice], bins: Mapping[int, ScoreBins]) -> None:
        runs = {i: range(columns[i].start, columns[i].stop) for i in bins}
        each = [column for run in runs.values() for column in run]
        self._histogram = Histogram([bins[i] for i, run in runs.items() for _ in run])
        self._columns = Selection(each, columns[-1].stop)
        self.shape = (self._histogram.size,)
        firsts = accumulate((len(run) for run in runs.values()), initial=0)
        self.slots = {
            (ScoreCounts(), i): Slot(self._histogram.starts[first], (len(runs[i]), bins[i].places))
            for i, first in zip(bins, firsts, strict=False)
        }

    def additions(self, state: Tensor, seen: TallyInput) -> list[Addition]:
        """Return what one batch adds, with one scatter for all columns."""
        own, log_odds = self._columns.of, seen.log_odds
        scores = own(seen.predictions)
        odds = torch.logit(scores) if log_odds is None else own(log_odds)
        places = self._histogram.places(scores, odds, own(seen.labels))
        return [counts(state, places, self._columns.weights(seen))]


class ClassScoreCounter(Counter):
    """The probability of each class of some targets, against all others; the state is flat.

    Args:
        columns: the label columns of each target of the group.
        classes: the number of classes of the targets whose classes are counted, by their place.
    """

    name = "class_scores"

    def __init__(self, columns: Sequence[slice], classes: Mapping[int, int]) -> None:
        bins = ScoreBins()
        self._column = {i: columns[i].start for i in classes}
        self._histograms = {i: Histogram([bins] * count) for i, count in classes.items()}
        sizes = (one.size for one in self._histograms.values())
        *starts, size = accumulate(sizes, initial=0)
        self.shape = (size,)
        self.slots = {
            (ClassScoreCounts(), i): Slot(start, (classes[i], bins.places))
            for i, start in zip(classes, starts, strict=True)
        }

    def additions(self, state: Tensor, seen: TallyInput) -> list[Addition]:
        """Return what one batch adds."""
        added = []
        for (_, i), slot in self.slots.items():
            column = self._column[i]
            logits = block_column(seen.blocks, column)[:, : slot.shape[0]]
            log_scores = torch.log_softmax(logits, -1)
            odds = log_scores - torch.log1p(-log_scores.exp())
            classes = torch.arange(slot.shape[0], device=logits.device)
            labels = (seen.labels[:, column, None] == classes).to(logits.dtype)
            places = self._histograms[i].places(log_scores.exp(), odds, labels)
            weights = seen.weights
            if weights is not None:
                weights = weights.expand(seen.labels.shape)[:, column, None]
            added.append(counts(state, places.add_(slot.start), weights))
        return added


def block_column(blocks: Sequence[Tensor], column: int) -> Tensor:
    """Return the logits of one label column, ``[N, *logits_shape]``, padded ones behind."""
    for block in blocks:
        if column < block.shape[1]:
            return block[:, column]
        column -= block.shape[1]
    raise IndexError(column)
