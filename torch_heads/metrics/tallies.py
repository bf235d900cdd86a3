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
from torch_heads.metrics.tally import Addition, Tally

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
        self.add_zeros("residuals", columns, BINS)

    def additions(self, observed: TallyInput) -> list[Addition]:
        """Return what one batch adds, with one scatter for all columns."""
        return [*totals(self.sums, observed), residuals(self.residuals, observed)]

    def column_states(self, columns: slice) -> dict[str, Tensor]:
        """Return views of what the states hold of some columns, by name."""
        return {**super().column_states(columns), "residuals": self.residuals[columns]}

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
            torch.tensor(padded, dtype=torch.float32, device="cpu")
            .view(len(bins), most)
            .T.contiguous()
        )
        self._numbers = [i for i, own in enumerate(columns) if own is None]
        self.numbers = torch.tensor(self._numbers, dtype=torch.int64, device="cpu")
        if self._numbers:
            self.add_zeros("residuals", len(self._numbers), BINS)

    def additions(self, observed: TallyInput) -> list[Addition]:
        """Return what one batch adds, with one scatter for all columns."""
        added = [
            *totals(self.sums, observed),
            scores(self.sums, observed, self.thresholds, self.size),
        ]
        if self._numbers:
            added.append(residuals(self.residuals, observed.columns(self.numbers)))
        return added

    def column_states(self, columns: slice) -> dict[str, Tensor]:
        """Return views of what the states hold of some columns, by name."""
        own, rows = super().column_states(columns), self._residual_rows(columns)
        return own if rows is None else {**own, "residuals": self.residuals[rows]}

    def residual_counts(self, columns: slice) -> Tensor | None:
        """Return the counts of residuals of some columns, over all processes; None of classes."""
        rows = self._residual_rows(columns)
        return None if rows is None else self.part("residuals", rows)

    def _residual_rows(self, columns: slice) -> slice | None:
        if columns.start not in self._numbers:
            return None
        first = self._numbers.index(columns.start)
        return slice(first, first + columns.stop - columns.start)


class ClassTally(Tally):
    """The sums of class ids, and the confusions of each label with each prediction.

    ``confusion`` holds the ``[K, 1 + K]`` matrices of the heads one after the other, the smallest
    ones if all would have more than `MOST_CONFUSIONS` entries. The first column of each counts the
    labels for which no class was predicted: -1, where a logit is NaN.

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
        steps = [1 + widths[column] for column in kept]
        *starts, size = accumulate((step * (step - 1) for step in steps), initial=0)
        self._starts = dict(zip(kept, starts, strict=True))
        self.add_zeros("confusion", size)
        own = [start + 1 for start in starts], steps, kept
        self.starts, self.widths, self.kept = (
            torch.tensor(one, dtype=torch.int64, device="cpu") for one in own
        )

    def confusion_of(self, column: int) -> Tensor | None:
        """Return the confusions of one column, ``[labels, predictions]``, over all processes.

        None if there are too many to be kept.
        """
        if column not in self._starts:
            return None
        width = self.classes[column]
        return self.part("confusion", self._entries(column)).view(width, 1 + width)[:, 1:]

    def column_states(self, columns: slice) -> dict[str, Tensor]:
        """Return views of what the states hold of one column; its confusions ``[K, 1 + K]``."""
        own, column = super().column_states(columns), columns.start
        if column not in self._starts:
            return own
        width = self.classes[column]
        entries = self.confusion[self._entries(column)].view(width, 1 + width)
        return {**own, "confusion": entries}

    def _entries(self, column: int) -> slice:
        start, width = self._starts[column], self.classes[column]
        return slice(start, start + width * (1 + width))

    def additions(self, observed: TallyInput) -> list[Addition]:
        """Return what one batch adds; its predictions are class ids, or -1 for none."""
        ids, labels, weights = observed.predictions, observed.labels, observed.weights
        correct = (ids == labels).to(observed.loss_sums.dtype)
        added = totals(self.sums, observed._replace(predictions=correct))
        if not self._starts:
            return added
        ones = self.confusion.new_ones(()) if weights is None else weights.to(self.confusion.dtype)
        ones = ones.expand(ids.shape)
        if len(self._starts) < len(self.classes):
            ids, labels, ones = (one.index_select(1, self.kept) for one in (ids, labels, ones))
        place = torch.addcmul(ids + self.starts, labels, self.widths)
        return [*added, Addition(self.confusion, ones.flatten(), place.flatten())]


def scores(sums: Tensor, observed: TallyInput, thresholds: Tensor, size: int) -> Addition:
    """Return what the scores of one batch add to the state of a `ScoreTally`."""
    scores = observed.predictions.float()
    # a tiny logit is positive, its score a half
    decisions = scores - 0.5 if observed.logits is None else observed.logits
    bins = bin_scores(decisions, scores, thresholds)
    place = bins.add_(label_kinds(observed.labels), alpha=size)
    place = place.to(torch.int32).to(torch.int64)  # two casts are twice as fast as one
    return _counts(sums[:, Total.ALL - 1 :], place, observed.weights)  # places are counted from 1


def residuals(counts: Tensor, observed: TallyInput) -> Addition:
    """Return what the residuals of one batch add to their counts by bin."""
    place = bin_residuals(observed.predictions, observed.labels).to(torch.int64)
    return _counts(counts, place, observed.weights)


def _counts(counts: Tensor, place: Tensor, weights: Tensor | None) -> Addition:
    """Return the weight of each label ``[N, U]``, at its place in the counts ``[U, places]``."""
    ones = counts.new_ones(()) if weights is None else weights.to(counts.dtype)
    return Addition(counts, ones.expand(place.shape).T, place.T)


def totals(sums: Tensor, observed: TallyInput) -> list[Addition]:
    """Return what one batch adds to the totals of a tally, in the order of `Total`."""
    rows, columns = observed.labels.shape
    by = observed.weights
    means = [
        total(values if by is None else values * by, by is not None)
        for values in (observed.predictions, observed.labels)
    ]
    weighed = [observed.loss_sums, *means]
    added = [Addition(sums[:, : len(weighed)], torch.stack(weighed, dim=-1))]
    counts = sums[:, len(weighed) : Total.ALL]
    given = observed.loss_weights, by, observed.present, observed.valid
    if all(one is None for one in given):
        return [*added, Addition(counts, rows)]
    each = [rows if one is None else total(one, True).expand(columns) for one in given]
    return [*added, *(Addition(counts[:, i], one) for i, one in enumerate(each))]


def total(values: Tensor, weighed: bool) -> Tensor:
    """Return the sum over rows, exact where the values are whole numbers."""
    # float32 is faster, and exact while a sum of ones is
    return sum_rows(values.double() if weighed or values.shape[0] > 2**20 else values)
