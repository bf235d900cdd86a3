"""What a tally is given of a batch, what it sums of it, and how."""

from typing import NamedTuple

import torch
from torch import Tensor

from torch_heads.functional.scores import bin_scores, label_kinds


class Observed(NamedTuple):
    """One batch as a tally sees it: a row per example, a column per label column.

    The first four are ``[N, U]``. The others broadcast to it; None stands for ones. Where a label
    is missing, its ``weights``, ``loss_weights`` and ``labelled`` are 0; where there is no row at
    all, ``rows`` is 0, too.
    """

    logits: Tensor
    labels: Tensor
    predictions: Tensor
    losses: Tensor
    weights: Tensor | None = None
    loss_weights: Tensor | None = None
    labelled: Tensor | None = None
    rows: Tensor | None = None


class Total:
    """The columns of a tally's totals. For class ids, ``PREDICTION`` counts the correct ones.

    All but the last two are weighted; these count the labels, and the rows that could have had
    one.
    """

    LOSS, LOSS_WEIGHT, WEIGHT, PREDICTION, LABEL, LABELLED, ROWS = range(7)
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


def add_scores(
    sums: Tensor, observed: Observed, thresholds: Tensor, offsets: Tensor, size: int
) -> None:
    """Add one batch to the state of a `ScoreTally`, in place."""
    bins = bin_scores(observed.logits, observed.predictions.float(), thresholds)
    place = bins.add_(label_kinds(observed.labels), alpha=size).add(offsets).to(torch.int64)
    weights = observed.weights
    ones = sums.new_ones(()) if weights is None else weights.double()
    sums[:, : Total.ALL].add_(column_totals(observed))
    sums.view(-1).scatter_add_(0, place.flatten(), ones.expand(place.shape).flatten())


def column_totals(observed: Observed) -> Tensor:
    """Return the ``[U, 7]`` totals of one batch, in the order of `Total`."""
    rows, columns = observed.labels.shape
    # float32 is much faster, and counts exactly up to 2**24
    dtype = torch.float64 if rows > 2**20 else None

    def total(values: Tensor | None, by: Tensor | None) -> Tensor:
        product = by if values is None else values if by is None else values * by
        if product is None:
            return observed.losses.new_full((columns,), rows, dtype=torch.float64)
        return product.sum(0, dtype=dtype).expand(columns)

    return torch.stack(
        [
            total(observed.losses, observed.loss_weights),
            total(None, observed.loss_weights),
            total(None, observed.weights),
            total(observed.predictions, observed.weights),
            total(observed.labels, observed.weights),
            total(None, observed.labelled),
            total(None, observed.rows),
        ],
        dim=-1,
    )
