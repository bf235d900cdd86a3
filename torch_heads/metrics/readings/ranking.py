"""Readings of scores at thresholds that are not fixed, and of their calibration."""

from dataclasses import dataclass

import torch
from torch import Tensor

from torch_heads.functional.scores import SOFT, mean_scores
from torch_heads.functional.values import safe_divide
from torch_heads.metrics.readings.areas import RocAuc, ScoreReading, ranked
from torch_heads.metrics.readings.reading import check_number, ratio
from torch_heads.metrics.sums import Sums, Total


@dataclass(frozen=True)
class KolmogorovSmirnov(ScoreReading):
    """The largest distance of the distributions of the positives' and the negatives' scores."""

    biased = True

    def read(self, sums: Sums) -> Tensor:
        """Return ``max |TPR - FPR|``."""
        found, fallout = rates(sums)
        return (found - fallout).abs().amax(-1)


@dataclass(frozen=True)
class Gini(ScoreReading):
    """Twice the area under the ROC curve, minus 1: 0 is chance, 1 perfect."""

    def read(self, sums: Sums) -> Tensor:
        """Return ``2 AUC - 1``."""
        return 2 * RocAuc(column=self.column).read(sums) - 1


@dataclass(frozen=True)
class EqualErrorRate(ScoreReading):
    """The error rate at the threshold where positives and negatives have the same."""

    higher_is_better = False

    def read(self, sums: Sums) -> Tensor:
        """Return the mean of both rates where they are closest."""
        found, fallout = rates(sums)
        missed = 1 - found
        place = (missed - fallout).abs().nan_to_num(2.0).argmin(-1, keepdim=True)
        return ((missed + fallout) / 2).gather(-1, place).squeeze(-1)


@dataclass(frozen=True)
class SensitivityAtSpecificity(ScoreReading):
    """The largest recall at a threshold at which the specificity is at least this."""

    specificity: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "specificity", "in [0, 1]", lambda one: 0 <= one <= 1)

    def read(self, sums: Sums) -> Tensor:
        """Return the recall."""
        positives, negatives = sums.above
        # a quotient of counts, since 1 - 0.8 is less than 0.2
        specificity = ratio(negatives[..., :1] - negatives, negatives[..., :1])
        found = torch.where(specificity >= self.specificity, positives, 0.0).amax(-1)
        return ranked(ratio(found, positives[..., 0]), positives, negatives)


@dataclass(frozen=True)
class PrecisionAtRecall(ScoreReading):
    """The largest precision at a threshold at which the recall is at least this."""

    recall: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "recall", "in (0, 1]", lambda one: 0 < one <= 1)

    def read(self, sums: Sums) -> Tensor:
        """Return the precision."""
        positives, negatives = sums.above
        found = ratio(positives, positives[..., :1])
        precision = safe_divide(positives, positives + negatives)
        best = torch.where(found >= self.recall, precision, 0.0).amax(-1)
        return torch.where(found[..., 0].isnan(), torch.nan, best)


@dataclass(frozen=True)
class Lift(ScoreReading):
    """How many times more positives the highest scores have than all: of the top ``share``."""

    share: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "share", "in (0, 1]", lambda one: 0 < one <= 1)

    def read(self, sums: Sums) -> Tensor:
        """Return the recall of the top share over that share; linear inside a bin."""
        positives, negatives = sums.above
        taken = (positives + negatives).flip(-1)  # ascending
        wanted = self.share * taken[..., -1:]
        place = torch.searchsorted(taken.contiguous(), wanted).clamp(1, taken.shape[-1] - 1)
        low, high = taken.gather(-1, place - 1), taken.gather(-1, place)
        some = positives.flip(-1)
        inside = safe_divide(wanted - low, high - low)
        found = torch.lerp(some.gather(-1, place - 1), some.gather(-1, place), inside)
        return ratio(found.squeeze(-1), self.share * positives[..., 0])


@dataclass(frozen=True)
class CalibrationError(ScoreReading):
    """The mean distance of scores and shares of positives, over bins of equal width.

    Naeini, Cooper & Hauskrecht, 2015. Scores are known to a bin, and their mean exactly.
    """

    higher_is_better = False
    biased = True
    of_fine_scores = False
    bins: int = 15

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "bins", "in [1, 199]", lambda bins: 1 <= bins <= 199, whole=True)

    def read(self, sums: Sums) -> Tensor:
        """Return the mean over bins, by weight."""
        counts, centres = sums.scores.sum(-3), sums.bins("centres")
        place = (centres * self.bins).long().clamp(max=self.bins - 1)
        weight = counts.sum(-2)
        means = mean_scores(weight, centres, sums.bins("edges"), sums.total(Total.PREDICTION))
        gaps = counts[..., SOFT:, :].sum(-2) - weight * means
        gap = gaps.new_zeros(*gaps.shape[:-1], self.bins)
        gap = gap.scatter_add(-1, place.expand(gaps.shape), gaps)
        return ratio(gap.abs().sum(-1), weight.sum(-1))


def rates(sums: Sums) -> tuple[Tensor, Tensor]:
    """Return the true and the false positive rate above each edge; NaN where a class is absent."""
    positives, negatives = sums.above
    return ratio(positives, positives[..., :1]), ratio(negatives, negatives[..., :1])
