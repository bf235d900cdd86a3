"""Tallies: the sums from which every metric is read.

All that an evaluation needs of a batch is additive, so a tally is one `torchmetrics.Metric` whose
states add up: over batches, over processes, over columns. It keeps no examples, and one update of
it serves every reading.
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

    ``weights`` and ``loss_weights`` are ``[N, U]``, ``[N, 1]``, or None where all are 1.
    """

    logits: Tensor
    labels: Tensor
    predictions: Tensor
    losses: Tensor
    weights: Tensor | None
    loss_weights: Tensor | None


class Total:
    """The columns of a tally's totals. For class ids, ``PREDICTION`` counts the correct ones."""

    LOSS, LOSS_WEIGHT, WEIGHT, PREDICTION, LABEL = range(5)
    ALL = 5


class Sums(NamedTuple):
    """What a tally knows of some columns.

    ``totals`` is ``[U, 5]``, its columns named by `Total`; ``counts`` is ``[U, 3, bins]``, by the
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
    """A `ColumnTally` that also counts the scores by bin and kind of label."""

    def __init__(self, bins: Sequence[ScoreBins]) -> None:
        size = max(column.size for column in bins)
        super().__init__(len(bins), Total.ALL + 3 * size)
        most = max(len(column.thresholds) for column in bins)
        padded = [[*column.thresholds, *[inf] * (most - len(column.thresholds))] for column in bins]
        thresholds = torch.tensor(padded, dtype=torch.float32).view(len(bins), most)
        self.register_buffer("thresholds", thresholds.T.contiguous(), persistent=False)

    def update(self, observed: Observed) -> None:
        """Add one batch, with one scatter for all columns."""
        self.prepare(observed.logits.device)
        columns, width = self.sums.shape
        place = bin_scores(observed.logits, observed.predictions.float(), self.thresholds)
        place += label_kinds(observed.labels) * ((width - Total.ALL) // 3)
        place += torch.arange(Total.ALL, columns * width, width, device=place.device)
        weights = observed.weights
        ones = place.new_ones((), dtype=torch.float64) if weights is None else weights.double()
        self.sums[:, : Total.ALL] += column_totals(observed)
        self.sums.view(-1).scatter_add_(0, place.flatten(), ones.expand(place.shape).flatten())


class CallTally(Tally):
    """The sum of one number per update call, for several names, and how many calls gave it."""

    def __init__(self, columns: int) -> None:
        super().__init__(columns, 2)

    def update(self, values: Tensor) -> None:
        """Add the values ``[columns]`` of one call."""
        self.prepare(values.device)
        self.sums += torch.stack([values, torch.ones_like(values)], dim=-1)


def column_totals(observed: Observed) -> Tensor:
    """Return the ``[U, 5]`` totals of one batch, in the order of `Total`."""
    rows, columns = observed.labels.shape
    weights, loss_weights = observed.weights, observed.loss_weights

    def summed(values: Tensor, by: Tensor | None) -> Tensor:
        return (values if by is None else values * by).sum(0).expand(columns)

    def count(by: Tensor | None) -> Tensor:
        if by is None:
            return observed.losses.new_full((columns,), rows)
        return by.sum(0).expand(columns)

    return torch.stack(
        [
            summed(observed.losses, loss_weights),
            count(loss_weights),
            count(weights),
            summed(observed.predictions, weights),
            summed(observed.labels, weights),
        ],
        dim=-1,
    )
