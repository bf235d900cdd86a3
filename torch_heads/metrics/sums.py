"""What a tally knows of the columns of a head: sums, and counts by bin."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torch_heads.functional.scores import counts_above


class Total:
    """The columns of a tally's totals. For class ids, ``PREDICTION`` counts the correct ones.

    The first three are weighted sums; then come the weights of the losses and of the rest, and,
    unweighted, the number of labels that are present and that of rows that could have one.
    """

    LOSS, PREDICTION, LABEL, LOSS_WEIGHT, WEIGHT, PRESENT, VALID = range(7)
    ALL = 7


class Sums(NamedTuple):
    """What a tally knows of some columns, of one head or of many alike (``...``).

    Attributes:
        totals: ``[..., U, 7]``, the last axis named by `Total`.
        counts: ``[..., U, 3, bins]``, weights of scores by kind of label (0, in between, 1) and
            bin; without bins where no scores are counted.
        cut: ``[...]``, the first bin above the reading's threshold; None without a threshold.
        grid: ``[..., 200]`` or ``[200]``, the first bin above each threshold of tf.estimator's.
    """

    totals: Tensor
    counts: Tensor
    cut: Tensor | None = None
    grid: Tensor | None = None

    @classmethod
    def of(cls, state: Tensor, cut: Tensor | None = None, grid: Tensor | None = None) -> Sums:
        """Return a tally's state, or some rows of it, as totals and counts."""
        totals, counts = state[..., : Total.ALL], state[..., Total.ALL :]
        counts = counts.reshape(*state.shape[:-1], 3, counts.shape[-1] // 3)
        return cls(totals, counts, cut, grid)

    def total(self, of: int) -> Tensor:
        """Return one of the totals over all columns."""
        return self.totals[..., of].sum(-1)

    def outcomes(self) -> tuple[Tensor, Tensor]:
        """Return the counts ``[..., 3]`` by kind of label, above the threshold and in all."""
        counts = self.counts.sum(-3)
        if self.cut is None:
            raise TypeError("Outcomes are at a threshold, and this reading has none.")
        bins = torch.arange(counts.shape[-1], device=counts.device)
        above = bins >= self.cut[..., None, None]
        return (counts * above).sum(-1), counts.sum(-1)

    def grid_counts(self) -> tuple[Tensor, Tensor]:
        """Return the true and the false positives above each of tf.estimator's 200 thresholds."""
        positives, negatives = counts_above(self.counts.sum(-3))
        if self.grid is None:
            raise TypeError("No scores are counted here.")
        grid = self.grid.expand(*positives.shape[:-1], self.grid.shape[-1])
        return positives.gather(-1, grid), negatives.gather(-1, grid)
