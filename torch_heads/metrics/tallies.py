"""The tallies of scores, of class ids and of numbers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

from torch_heads.functional.bins import bin_residuals, bin_scores, label_kinds
from torch_heads.functional.residuals import BINS
from torch_heads.functional.scores import ScoreBins
from torch_heads.functional.values import sum_rows
from torch_heads.metrics.sums import Total
from torch_heads.metrics.tally import Tally

MOST_CONFUSIONS = 2**22  # entries of all confusion matrices of a tally: 32 MiB


class TallyInput(NamedTuple):
    """One batch as a tally sees it: a row per example, a column per label column.

    ``labels``, ``predictions`` and, where they are scores, their ``logits`` are ``[N, U]``;
    ``loss_sums`` ``[U]`` are the weighted sums of the losses. The others broadcast to ``[N, U]``;
    None stands for ones. Where a label is missing, its ``loss_weights``, ``weights`` and
    ``present`` are 0; where there is no row at all, ``valid`` is 0, too.
    """

    labels: Tensor
    predictions: Tensor
    loss_sums: Tensor
    loss_weights: Tensor | None = None
    weights: Tensor | None = None
    present: Tensor | None = None
    valid: Tensor | None = None
    logits: Tensor | None = None

    def columns(self, index: Tensor) -> TallyInput:
        """Return what there is of some columns, without the losses."""
        labels, predictions = (
            one.index_select(1, index) for one in (self.labels, self.predictions)
        )
        weights = self.weights
        if weights is not None:
            weights = weights.expand(self.labels.shape).index_select(1, index)
        return TallyInput(labels, predictions, self.loss_sums, weights=weights)


class NumberTally(Tally):
    """The weighted sums of losses, predictions and labels, and the residuals counted by bin.

    ``residuals`` is ``[columns, bins]``.
    """

    residuals: Tensor

    def __init__(self, columns: int) -> None:
        super().__init__(columns, Total.ALL)
        self.add_state("residuals", torch.zeros(columns, BINS, dtype=torch.float64), "sum")

    def add(self, observed: TallyInput) -> None:
        """Add one batch in place, with one scatter for all columns."""
        add_totals(self.sums, observed)
        add_residuals(self.residuals, observed)

    def residual_counts(self, columns: slice) -> Tensor:
        """Return the counts of residuals of some columns, over all processes."""
        return self.part("residuals", columns)


class ScoreTally(Tally):
    """The weighted sums, and the scores counted by bin and kind of label.

    Columns without bins are of numbers: their ``residuals`` ``[numbers, bins]`` are counted, too.

    Args:
        columns: the bins of each column, or None.
    """

    fixed = ("thresholds", "numbers")
    residuals: Tensor

    def __init__(self, columns: Sequence[ScoreBins | None]) -> None:
        bins = [own or ScoreBins() for own in columns]
        size = max(column.size for column in bins)
        width = Total.ALL + 3 * size
        super().__init__(len(bins), width)
        self.size = size
        most = max(len(column.thresholds) for column in bins)
        padded = [[*column.thresholds, *[inf] * (most - len(column.thresholds))] for column in bins]
        self.thresholds = (
            torch.tensor(padded, dtype=torch.float32).view(len(bins), most).T.contiguous()
        )
        self._numbers = [i for i, own in enumerate(columns) if own is None]
        self.numbers = torch.tensor(self._numbers, dtype=torch.int64)
        if self._numbers:
            zeros = torch.zeros(len(self._numbers), BINS, dtype=torch.float64)
            self.add_state("residuals", zeros, "sum")

    def add(self, observed: TallyInput) -> None:
        """Add one batch in place, with one scatter for all columns."""
        add_scores(self.sums, observed, self.thresholds, self.size)
        if self._numbers:
            add_residuals(self.residuals, observed.columns(self.numbers))

    def residual_counts(self, columns: slice) -> Tensor | None:
        """Return the counts of residuals of some columns, over all processes; None of classes."""
        if columns.start not in self._numbers:
            return None
        first = self._numbers.index(columns.start)
        return self.part("residuals", slice(first, first + columns.stop - columns.start))


class ClassTally(Tally):
    """The sums of class ids, and the confusions of each label with each prediction.

    ``confusion`` holds the ``[K, K]`` matrices of the heads one after the other, the smallest ones
    if all would have more than `MOST_CONFUSIONS` entries.

    Args:
        widths: the number of classes of each column.
    """

    fixed = ("starts", "widths", "kept")
    confusion: Tensor

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__(len(widths), Total.ALL)
        #: The number of classes of each column.
        self.classes = list(widths)
        ascending = sorted(range(len(widths)), key=widths.__getitem__)
        ends = list(accumulate(widths[column] ** 2 for column in ascending))
        kept = sorted(ascending[: bisect_right(ends, MOST_CONFUSIONS)])
        *starts, size = accumulate((widths[column] ** 2 for column in kept), initial=0)
        self._starts = dict(zip(kept, starts, strict=True))
        self.add_state("confusion", torch.zeros(size, dtype=torch.float64), "sum")
        own = starts, [widths[column] for column in kept], kept
        self.starts, self.widths, self.kept = (torch.tensor(one, dtype=torch.int64) for one in own)

    def confusion_of(self, column: int) -> Tensor | None:
        """Return the confusions of one column, ``[labels, predictions]``, over all processes.

        None if there are too many to be kept.
        """
        if column not in self._starts:
            return None
        start, width = self._starts[column], self.classes[column]
        return self.part("confusion", slice(start, start + width**2)).view(width, width)

    def add(self, observed: TallyInput) -> None:
        """Add one batch in place; its predictions are class ids."""
        ids, labels, weights = observed.predictions, observed.labels, observed.weights
        correct = (ids == labels).to(observed.loss_sums.dtype)
        add_totals(self.sums, observed._replace(predictions=correct))
        if not self._starts:
            return
        ones = self.sums.new_ones(()) if weights is None else weights.double()
        ones = ones.expand(ids.shape)
        if len(self._starts) < len(self.classes):
            ids, labels, ones = (one.index_select(1, self.kept) for one in (ids, labels, ones))
        place = torch.addcmul(ids + self.starts, labels, self.widths)
        self.confusion.scatter_add_(0, place.flatten(), ones.flatten())


def add_scores(sums: Tensor, observed: TallyInput, thresholds: Tensor, size: int) -> None:
    """Add one batch to the state of a `ScoreTally`, in place."""
    add_totals(sums, observed)
    scores = observed.predictions.float()
    # a tiny logit is positive, its score a half
    decisions = scores - 0.5 if observed.logits is None else observed.logits
    bins = bin_scores(decisions, scores, thresholds)
    place = bins.add_(label_kinds(observed.labels), alpha=size)
    place = place.to(torch.int32).to(torch.int64)  # two casts are twice as fast as one
    _count(sums[:, Total.ALL - 1 :], place, observed.weights)  # places are counted from 1


def add_residuals(counts: Tensor, observed: TallyInput) -> None:
    """Count the residuals of one batch by bin, in place."""
    place = bin_residuals(observed.predictions, observed.labels).to(torch.int64)
    _count(counts, place, observed.weights)


def _count(counts: Tensor, place: Tensor, weights: Tensor | None) -> None:
    """Add the weight of each label ``[N, U]`` at its place in the counts ``[U, places]``."""
    ones = counts.new_ones(()) if weights is None else weights.double()
    counts.scatter_add_(1, place.T, ones.expand(place.shape).T)


def add_totals(sums: Tensor, observed: TallyInput) -> None:
    """Add the totals of one batch to the state of a tally, in place, in the order of `Total`."""
    rows, columns = observed.labels.shape
    by = observed.weights
    means = [
        total(values if by is None else values * by, by is not None)
        for values in (observed.predictions, observed.labels)
    ]
    weighed = [observed.loss_sums, *means]
    sums[:, : len(weighed)].add_(torch.stack(weighed, dim=-1))
    counts = sums[:, len(weighed) : Total.ALL]
    given = observed.loss_weights, by, observed.present, observed.valid
    if all(one is None for one in given):
        counts.add_(rows)
        return
    for i, by in enumerate(given):
        counts[:, i].add_(rows if by is None else total(by, True).expand(columns))


def total(values: Tensor, weighed: bool) -> Tensor:
    """Return the sum over rows, exact where the values are whole numbers."""
    # float32 is faster, and exact while a sum of ones is
    return sum_rows(values.double() if weighed or values.shape[0] > 2**20 else values)
