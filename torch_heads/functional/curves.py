"""Curves, calibration and best thresholds, read from counts of binned scores.

Scores are known to a bin, at most 1/199 wide, and finer by the logit: thresholds are the edges of
bins. A column that never had a label has NaN counts, and so NaN in every curve.
"""

from math import inf
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from torch_heads.functional.arguments import check_count
from torch_heads.functional.bins import GRID
from torch_heads.functional.errors import unexpected
from torch_heads.functional.forms import is_real
from torch_heads.functional.scores import SOFT, ScoreBins, counts_above, mean_scores
from torch_heads.functional.values import safe_divide


class RocCurve(NamedTuple):
    """Rates ``[K, T]`` above each of the thresholds ``[T]``, which ascend from 0 to 1."""

    false_positive_rate: Tensor
    true_positive_rate: Tensor
    thresholds: Tensor


class PrecisionRecallCurve(NamedTuple):
    """Precision and recall ``[K, T]`` above each of the thresholds ``[T]``, ascending.

    Where nothing is above the threshold, the precision is 1.
    """

    precision: Tensor
    recall: Tensor
    thresholds: Tensor


class CalibrationCurve(NamedTuple):
    """Mean score, share of positives and weight of each bin of scores, ``[K, bins]``."""

    mean_score: Tensor
    positive_share: Tensor
    weight: Tensor


class BestThreshold(NamedTuple):
    """The threshold ``[K]`` that maximises the F score, and that score."""

    threshold: Tensor
    f_score: Tensor


class ScoreCurves(NamedTuple):
    """The curves of some columns: a head's classes, in order.

    Attributes:
        counts: ``[K, 3, bins]``, by kind of label; a soft label counts as positive.
        bins: where the bins lie.
        score_sums: ``[K]``, the weighted sums of all scores, from which the mean score of a bin is
            known better than to be inside of it; None where they are not known.
    """

    counts: Tensor
    bins: ScoreBins
    score_sums: Tensor | None = None

    def roc(self) -> RocCurve:
        """Return the receiver operating characteristic."""
        positives, negatives = self._above()
        return RocCurve(
            safe_divide(negatives, negatives[:, :1]),
            safe_divide(positives, positives[:, :1]),
            self._edges(),
        )

    def precision_recall(self) -> PrecisionRecallCurve:
        """Return precision against recall."""
        positives, negatives = self._above()
        predicted = positives + negatives
        precision = torch.where(predicted == 0, 1.0, safe_divide(positives, predicted))
        precision = precision + 0 * positives[:, :1]  # NaN in a column without any label
        recall = safe_divide(positives, positives[:, :1])
        return PrecisionRecallCurve(precision, recall, self._edges())

    def calibration(
        self, bins: int = 10, strategy: Literal["uniform", "quantile"] = "uniform"
    ) -> CalibrationCurve:
        """Return the calibration curve over some bins, empty ones as 0.

        The mean of all scores is exact, where their sums are known; that of some is to a bin.

        Args:
            bins: how many, in [1, 199].
            strategy: ``uniform`` for bins of equal width, ``quantile`` for bins of about equal
                weight, as scikit-learn names them.

        Raises:
            TypeError: if ``bins`` is no int.
            ValueError: if an argument is not allowed.
        """
        bins = check_count("calibration", "bins", bins, 1, GRID)
        if strategy not in ("uniform", "quantile"):
            allowed = "among ['uniform', 'quantile']"
            raise ValueError(unexpected("calibration", "strategy", allowed, repr(strategy)))
        centres = torch.from_numpy(self.bins.centres).to(self.counts.device)
        total = self.counts.sum(1)
        means = centres
        if self.score_sums is not None:
            means = mean_scores(total, centres, self._edges(), self.score_sums)
        share = centres.expand_as(total)
        if strategy == "quantile":  # a bin of scores goes where its middle lies
            share = safe_divide(total.cumsum(-1) - total / 2, total.sum(-1, keepdim=True))
        place = (share * bins).nan_to_num(0.0).floor().clamp(max=bins - 1).to(torch.int64)

        def binned(values: Tensor) -> Tensor:
            return values.new_zeros(len(values), bins).scatter_add(1, place, values)

        weight = binned(total)
        return CalibrationCurve(
            safe_divide(binned(total * means), weight),
            safe_divide(binned(self.counts[:, SOFT:].sum(1)), weight),
            weight,
        )

    def expected_calibration_error(
        self, bins: int = 10, strategy: Literal["uniform", "quantile"] = "uniform"
    ) -> Tensor:
        """Return the mean distance of score and share of positives, by weight (Naeini, 2015).

        Arguments are as for `calibration`. Of rare events, bins of equal width hold nearly all
        scores in the first one; those of equal weight tell them apart.
        """
        curve = self.calibration(bins, strategy)
        gap = (curve.mean_score - curve.positive_share).abs()
        return safe_divide((gap * curve.weight).sum(-1), curve.weight.sum(-1))

    def best_threshold(self, beta: float = 1.0) -> BestThreshold:
        """Return the threshold with the highest F-beta score, the lowest of equals.

        Raises:
            ValueError: if ``beta`` is no number, negative or not finite.
        """
        if not (is_real(beta) and 0 <= beta < inf):
            raise ValueError(unexpected("best_threshold", "beta", ">= 0 and finite", repr(beta)))
        positives, negatives = self._above()
        factor = beta**2
        actual = positives[:, :1]
        score = safe_divide((1 + factor) * positives, positives + negatives + factor * actual)
        best, place = score.max(-1)
        return BestThreshold(torch.where(best.isnan(), best, self._edges()[place]), best)

    def _edges(self) -> Tensor:
        return torch.from_numpy(self.bins.edges).to(self.counts.device)

    def _above(self) -> tuple[Tensor, Tensor]:
        """Return positives and negatives above each edge, ``[K, T]``."""
        return counts_above(self.counts)
