"""The sums that every tally keeps, and the means over batches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torch_heads.functional.values import sum_rows
from torch_heads.metrics.counters.counter import Addition, Counter, Slot, TallyInput
from torch_heads.metrics.needs import Totals
from torch_heads.metrics.sums import Total


class TotalsCounter(Counter):
    """The sums of losses, predictions, labels and weights, ``[U, 8]`` in the order of `Total`.

    Args:
        columns: the label columns of each target.
        classes: whether predictions are class ids; then the right ones are counted.
    """

    name = "sums"

    def __init__(self, columns: Sequence[slice], classes: bool = False) -> None:
        self.shape = (columns[-1].stop, Total.ALL)
        self.slots = {
            (Totals(), i): Slot(run.start * Total.ALL, (run.stop - run.start, Total.ALL))
            for i, run in enumerate(columns)
        }
        self._classes = classes

    def additions(self, state: Tensor, seen: TallyInput) -> list[Addition]:
        """Return what one batch adds."""
        rows, columns = seen.labels.shape
        by, predictions = seen.weights, seen.predictions
        if self._classes:
            predictions = (predictions == seen.labels).to(seen.loss_sums.dtype)
        means = [
            total(values if by is None else values * by, by is not None)
            for values in (predictions, seen.labels)
        ]
        weighed = [seen.loss_sums, *means]
        added = [Addition(state[:, : len(weighed)], torch.stack(weighed, dim=-1))]
        rest = state[:, len(weighed) :]
        squares = None if by is None else by.double().square()
        given = seen.loss_weights, by, squares, seen.present, seen.valid
        if all(one is None for one in given):
            return [*added, Addition(rest, rows)]
        each = [rows if one is None else total(one, True).expand(columns) for one in given]
        return [*added, *(Addition(rest[:, i], one) for i, one in enumerate(each))]


class BatchMeans(Counter):
    """The sum of one number per update call, for several names, and how many calls gave it."""

    name = "sums"

    def __init__(self, names: int) -> None:
        self.shape = (names, 2)
        self.slots = {(Totals(), i): Slot(2 * i, (1, 2)) for i in range(names)}

    def additions(  # type: ignore[override]
        self, state: Tensor, seen: tuple[Tensor, Tensor | None]
    ) -> list[Addition]:
        """Return the values ``[names]`` of one call, and 0 or 1 for whether they count."""
        values, counted = seen
        calls = torch.ones_like(values) if counted is None else counted.to(values.dtype)
        return [Addition(state, torch.stack([values * calls, calls], dim=-1))]


def total(values: Tensor, weighed: bool) -> Tensor:
    """Return the sum over rows, exact where the values are whole numbers."""
    # float32 is faster, and exact while a sum of ones is
    return sum_rows(values.double() if weighed or values.shape[0] > 2**20 else values)
