"""What a tally knows of the columns of a head: sums, and counts by bin, class or rank."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_heads.functional.scores import above_edges
from torch_heads.metrics.needs import (
    ClassCounts,
    ClassScoreCounts,
    Confusions,
    Need,
    RankCounts,
    ResidualCounts,
    RowTerm,
    ScoreCounts,
    Term,
    TimeCounts,
    Totals,
)


class Total:
    """The columns of a tally's totals. For class ids, ``PREDICTION`` counts the correct ones.

    The first three are weighted sums; then come the weights of the losses, the rest's, and the
    squares of these; and, unweighted, the number of labels that are present and that of rows that
    could have one.
    """

    LOSS, PREDICTION, LABEL, LOSS_WEIGHT, WEIGHT, SQUARED_WEIGHT, PRESENT, VALID = range(8)
    ALL = 8


class Outcomes(NamedTuple):
    """Weights of labels by what was predicted, for one class or for many (``...``)."""

    true_positives: Tensor
    false_positives: Tensor
    false_negatives: Tensor
    true_negatives: Tensor


class Sums:
    """What a tally knows of some columns, of one head or of many alike (``...``).

    Args:
        load: returns what a tally keeps for a need, ``[..., *shape]``.
        bins: returns a table of the bins of scores, `ScoreBins.grid`, say, by its name.
        cut: ``[...]``, the first bin above the reading's threshold; None without a threshold.
        found: what was read before of the same columns.
    """

    def __init__(
        self,
        load: Callable[[Need], Tensor],
        bins: Callable[[str], Tensor],
        cut: Tensor | None = None,
        found: dict[Hashable, Any] | None = None,
    ) -> None:
        self._load, self.bins, self._cut = load, bins, cut
        self._found: dict[Hashable, Any] = {} if found is None else found

    @property
    def of_ids(self) -> bool:
        """Whether class ids are predicted, and not scores at a threshold."""
        return self._cut is None

    def at(self, cut: Tensor | None) -> Sums:
        """Return the same at another threshold."""
        return Sums(self._load, self.bins, cut, self._found)

    def _once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self._found:
            self._found[key] = make()
        return self._found[key]

    def _kept(self, need: Need) -> Tensor:
        return self._once(need, lambda: self._load(need))  # type: ignore[no-any-return]

    @property
    def totals(self) -> Tensor:
        """``[..., U, 8]``, the last axis named by `Total`."""
        return self._kept(Totals())

    def total(self, of: int) -> Tensor:
        """Return one of the totals over all columns."""
        return self.totals[..., of].sum(-1)

    def term(self, term: Term) -> Tensor:
        """Return the weighted sums ``[..., U]`` of a term."""
        return self._kept(term)

    def row_mean(self, term: RowTerm) -> Tensor:
        """Return the weighted mean over rows of a term; NaN without rows."""
        values, weights = self._kept(term).unbind(-1)
        return values / weights

    @property
    def residuals(self) -> Tensor:
        """``[..., U, BINS]``, weights of residuals by bin."""
        return self._kept(ResidualCounts())

    # Times.

    @property
    def times(self) -> Tensor:
        """``[..., U, 2, T, S]``, events and censored labels, by cell of time and by prediction."""
        return self._kept(TimeCounts())

    # Scores.

    @property
    def scores(self) -> Tensor:
        """``[..., U, 3, bins]``, weights of scores by kind of label (0, in between, 1) and bin."""
        return self._by_kind(ScoreCounts())

    @property
    def class_scores(self) -> Tensor:
        """``[..., K, 3, bins]``, the same of the probability of each class."""
        return self._by_kind(ClassScoreCounts())

    def _by_kind(self, need: Need) -> Tensor:
        negative, positive, soft = self._split(need)
        # the score of a soft label is known to a coarse bin
        place = self.bins("coarse").expand(soft.shape)
        between = torch.zeros_like(negative).scatter_(-1, place, soft)
        return torch.stack([negative, between, positive], dim=-2)

    def _split(self, need: Need) -> Sequence[Tensor]:
        """Return the weights of labels 0 and 1 by bin, and of soft ones by coarse bin."""
        kept, coarse = self._kept(need), self.bins("coarse").shape[-1]
        size = (kept.shape[-1] - coarse) // 2
        return torch.split(kept, [size, size, coarse], dim=-1)

    @property
    def columns_above(self) -> tuple[Tensor, Tensor]:
        """Positives, soft ones too, and negatives ``[..., U, bins + 1]`` above each edge."""

        def summed() -> tuple[Tensor, Tensor]:
            negative, positive, soft = self._split(ScoreCounts())
            place = self.bins("coarse").expand(soft.shape)
            counts = torch.stack([positive.scatter_add(-1, place, soft), negative])
            positives, negatives = above_edges(counts).unbind()
            return positives, negatives

        return self._once("columns", summed)  # type: ignore[no-any-return]

    @property
    def above(self) -> tuple[Tensor, Tensor]:
        """The same of all columns together, ``[..., bins + 1]``."""

        def pooled() -> tuple[Tensor, Tensor]:
            positives, negatives = self.columns_above
            return positives.sum(-2), negatives.sum(-2)

        return self._once("above", pooled)  # type: ignore[no-any-return]

    def grid_counts(self) -> tuple[Tensor, Tensor]:
        """Return the true and the false positives above each of tf.estimator's 200 thresholds."""

        def gathered() -> tuple[Tensor, Tensor]:
            positives, negatives = self.above
            grid = self.bins("grid")
            grid = grid.expand(*positives.shape[:-1], grid.shape[-1])
            return positives.gather(-1, grid), negatives.gather(-1, grid)

        return self._once("grid", gathered)  # type: ignore[no-any-return]

    def kinds(self) -> tuple[Tensor, Tensor]:
        """Return the counts ``[..., 3]`` by kind of label, above the threshold and in all."""
        if self._cut is None:
            raise TypeError("These counts are at a threshold, and this reading has none.")
        soft = self._split(ScoreCounts())[-1].sum(-2)
        coarse = self.bins("coarse")
        coarse = coarse.squeeze(-2) if coarse.dim() > 1 else coarse
        some = (soft * (coarse >= self._cut[..., None])).sum(-1), soft.sum(-1)
        positives, negatives = self.above
        place = self._cut[..., None].expand(*positives.shape[:-1], 1)
        above = [one.gather(-1, place).squeeze(-1) for one in (positives, negatives)]
        both = [(above[0], above[1], some[0]), (positives[..., 0], negatives[..., 0], some[1])]
        first, every = (torch.stack([n, s, p - s], dim=-1) for p, n, s in both)
        return first, every

    # Outcomes.

    def outcomes(self) -> Outcomes:
        """Return what was predicted of all columns together, ``[...]``; soft labels are positive.

        The score at the threshold counts as below it.
        """
        return Outcomes(*(one.sum(-1) for one in self.class_outcomes()))

    def class_outcomes(self) -> Outcomes:
        """Return what was predicted of each class, ``[..., K]``: a column of scores, or an id."""
        if self._cut is None:
            return self._outcomes_of_ids()
        positives, negatives = self.columns_above
        place = self._cut[..., None, None].expand(*positives.shape[:-1], 1)
        above = positives.gather(-1, place).squeeze(-1), negatives.gather(-1, place).squeeze(-1)
        return Outcomes(*above, positives[..., 0] - above[0], negatives[..., 0] - above[1])

    def _outcomes_of_ids(self) -> Outcomes:
        right, predicted, labels = self.class_counts.unbind(-2)
        others = self.total(Total.WEIGHT).unsqueeze(-1) - labels
        false_positives = predicted - right
        return Outcomes(right, false_positives, labels - right, others - false_positives)

    # Class ids.

    @property
    def class_counts(self) -> Tensor:
        """``[..., 3, K]``: of each class, what was predicted right, predicted, and labelled."""
        return self._kept(ClassCounts())

    @property
    def confusions(self) -> Tensor:
        """``[..., K, K]``: labels by predictions."""
        return self._kept(Confusions())[..., 1:]

    @property
    def unpredicted(self) -> Tensor:
        """``[..., K]``: labels beside a logit of NaN, for which no class is predicted."""
        return self._kept(Confusions())[..., 0]

    @property
    def ranks(self) -> Tensor:
        """``[..., K]``: labels by how many classes had a larger logit."""
        return self._kept(RankCounts())
