"""Tallies: the sums from which every metric is read.

All that an evaluation needs of a batch is additive, so a tally is one `torchmetrics.Metric` whose
one state adds up: over batches, over processes, over columns. It keeps no examples, and one
update of it serves every reading.
"""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from torch_heads.functional.scores import ScoreBins, bin_scores, label_kinds


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
    """What a tally knows of some columns.

    ``totals`` is ``[U, 7]``, its columns named by `Total`; ``counts`` is ``[U, 3, bins]``, by the
    kind of label and the bin of the score.
    """

    totals: Tensor
    counts: Tensor

    @classmethod
    def of(cls, state: Tensor) -> "Sums":
        """Return a tally's state, or some rows of it, as totals and counts."""
        totals, counts = state[:, : Total.ALL], state[:, Total.ALL :]
        return cls(totals, counts.reshape(len(state), 3, counts.shape[1] // 3))


class Tally(Metric):
    """A metric with one state of sums: ``[columns, width]`` in float64, a row per column."""

    full_state_update = False
    sums: Tensor

    def __init__(self, columns: int, width: int) -> None:
        super().__init__()
        # float64 counts stay exact up to 2**53; float32 would stop counting at 2**24
        self.add_state("sums", torch.zeros(columns, width, dtype=torch.float64), "sum")

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Any:
        # `module.to(torch.bfloat16)` reaches metric states too, and would stop counts at 256
        def keep_dtype(state: Tensor) -> Tensor:
            moved = fn(state)
            return moved if self._dtype_convert else moved.to(state.dtype)

        return super()._apply(keep_dtype, exclude_state)

    def prepare(self, device: torch.device) -> None:
        """Move to the device of a batch, and out of an inference mode that has ended."""
        if self.sums.device != device:
            self.to(device)
        if self.sums.is_inference() and not torch.is_inference_mode_enabled():
            self.sums = self.sums.clone()

    def compute(self) -> Tensor:
        """Return the state, added over all processes."""
        return self.sums


class ColumnTally(Tally):
    """The weighted sums of losses, predictions and labels, per label column."""

    def __init__(self, columns: int) -> None:
        super().__init__(columns, Total.ALL)

    def update(self, observed: Observed) -> None:
        """Add one batch."""
        self.prepare(observed.logits.device)
        self.sums += column_totals(observed)


class ScoreTally(Tally):
    """A `ColumnTally` that also counts the scores by bin and kind of label.

    Args:
        bins: the bins of each column.
    """

    thresholds: Tensor
    offsets: Tensor

    def __init__(self, bins: Sequence[ScoreBins]) -> None:
        size = max(column.size for column in bins)
        width = Total.ALL + 3 * size
        super().__init__(len(bins), width)
        self.size = size
        most = max(len(column.thresholds) for column in bins)
        padded = [[*column.thresholds, *[inf] * (most - len(column.thresholds))] for column in bins]
        thresholds = torch.tensor(padded, dtype=torch.float32).view(len(bins), most)
        self.register_buffer("thresholds", thresholds.T.contiguous(), persistent=False)
        starts = torch.arange(len(bins)) * width + Total.ALL
        self.register_buffer("offsets", starts, persistent=False)

    def update(self, observed: Observed) -> None:
        """Add one batch, with one scatter for all columns."""
        self.prepare(observed.logits.device)
        add_scores(self.sums, observed, self.thresholds, self.offsets, self.size)


class CallTally(Tally):
    """The sum of one number per update call, for several names, and how many calls gave it."""

    def __init__(self, columns: int) -> None:
        super().__init__(columns, 2)

    def update(self, values: Tensor, counted: Tensor | None = None) -> None:
        """Add the values ``[columns]`` of one call; ``counted`` is 0 where there was none."""
        self.prepare(values.device)
        ones = torch.ones_like(values) if counted is None else counted.to(values.dtype)
        self.sums += torch.stack([values * ones, ones], dim=-1)


def add_scores(
    sums: Tensor, observed: Observed, thresholds: Tensor, offsets: Tensor, size: int
) -> None:
    """Add one batch to the state of a `ScoreTally`, in place."""
    place = bin_scores(observed.logits, observed.predictions.float(), thresholds)
    place += label_kinds(observed.labels) * size
    place += offsets
    weights = observed.weights
    ones = place.new_ones((), dtype=torch.float64) if weights is None else weights.double()
    sums[:, : Total.ALL] += column_totals(observed)
    sums.view(-1).scatter_add_(0, place.flatten(), ones.expand(place.shape).flatten())


def column_totals(observed: Observed) -> Tensor:
    """Return the ``[U, 7]`` totals of one batch, in the order of `Total`."""
    rows, columns = observed.labels.shape

    def total(values: Tensor | None, by: Tensor | None) -> Tensor:
        product = by if values is None else values if by is None else values * by
        if product is None:
            return observed.losses.new_full((columns,), rows, dtype=torch.float64)
        return product.sum(0).expand(columns)

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
