"""What a tally is given of a batch, what it sums of it, and how."""

from typing import NamedTuple

import torch
from torch import Tensor

from torch_heads.functional.reductions import sum_rows
from torch_heads.functional.residuals import bin_residuals
from torch_heads.functional.scores import bin_scores, label_kinds


class Observed(NamedTuple):
    """One batch as a tally sees it: a row per example, a column per label column.

    The first three are ``[N, U]``; ``loss_sums`` ``[U]`` are the weighted sums of the losses. The
    others broadcast to ``[N, U]``; None stands for ones. Where a label is missing, its
    ``loss_weights``, ``weights`` and ``labelled`` are 0; where there is no row at all, ``rows`` is
    0, too.
    """

    logits: Tensor
    labels: Tensor
    predictions: Tensor
    loss_sums: Tensor
    loss_weights: Tensor | None = None
    weights: Tensor | None = None
    labelled: Tensor | None = None
    rows: Tensor | None = None

    def columns(self, index: Tensor) -> "Observed":
        """Return what there is of some columns, without the losses."""
        logits, labels, predictions = (
            one.index_select(1, index) for one in (self.logits, self.labels, self.predictions)
        )
        weights = self.weights
        if weights is not None:
            weights = weights.expand(self.labels.shape).index_select(1, index)
        return Observed(logits, labels, predictions, self.loss_sums, weights=weights)


class Total:
    """The columns of a tally's totals. For class ids, ``PREDICTION`` counts the correct ones.

    The first three are weighted sums; then come the weights of the losses and of the rest, and,
    unweighted, the number of labels and that of rows that could have had one.
    """

    LOSS, PREDICTION, LABEL, LOSS_WEIGHT, WEIGHT, LABELLED, ROWS = range(7)
    ALL = 7


class Sums(NamedTuple):
    """What a tally knows of some columns, of one head or of many alike.

    ``totals`` is ``[..., U, 7]``, its columns named by `Total`; ``counts`` is ``[..., U, 3,
    bins]``, by the kind of label and the bin of the score.
    """

    totals: Tensor
    counts: Tensor

    @classmethod
    def of(cls, state: Tensor) -> "Sums":
        """Return a tally's state, or some rows of it, as totals and counts."""
        totals, counts = state[..., : Total.ALL], state[..., Total.ALL :]
        return cls(totals, counts.reshape(*state.shape[:-1], 3, counts.shape[-1] // 3))

    def total(self, of: int) -> Tensor:
        """Return one of the totals over all columns."""
        return self.totals[..., of].sum(-1)


def add_scores(sums: Tensor, observed: Observed, thresholds: Tensor, size: int) -> None:
    """Add one batch to the state of a `ScoreTally`, in place."""
    add_totals(sums, observed)
    bins = bin_scores(observed.logits, observed.predictions.float(), thresholds)
    place = bins.add_(label_kinds(observed.labels), alpha=size)
    place = place.to(torch.int32).to(torch.int64)  # two casts are twice as fast as one
    _count(sums[:, Total.ALL - 1 :], place, observed.weights)  # places are counted from 1


def add_residuals(counts: Tensor, observed: Observed) -> None:
    """Count the residuals of one batch by bin, in place."""
    place = bin_residuals(observed.predictions, observed.labels).to(torch.int64)
    _count(counts, place, observed.weights)


def _count(counts: Tensor, place: Tensor, weights: Tensor | None) -> None:
    """Add the weight of each label ``[N, U]`` at its place in the counts ``[U, places]``."""
    ones = counts.new_ones(()) if weights is None else weights.double()
    counts.scatter_add_(1, place.T, ones.expand(place.shape).T)


def add_totals(sums: Tensor, observed: Observed) -> None:
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
    if all(by is None for by in observed[4:]):
        counts.add_(rows)
        return
    for i, by in enumerate(observed[4:]):
        counts[:, i].add_(rows if by is None else total(by, True).expand(columns))


def total(values: Tensor, weighed: bool) -> Tensor:
    """Return the sum over rows, exact where the values are whole numbers."""
    # float32 is faster, and exact while a sum of ones is
    return sum_rows(values.double() if weighed or values.shape[0] > 2**20 else values)
