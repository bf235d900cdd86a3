"""Readings of rankings: areas under curves, and what a threshold that is not fixed would give."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from torch_heads.families.family import Counts
from torch_heads.functional.average_precision import average_precision
from torch_heads.functional.reductions import safe_divide
from torch_heads.functional.scores import (
    SOFT,
    counts_above,
    mean_scores,
    precision_recall_auc,
    roc_auc,
)
from torch_heads.metrics.needs import ClassScoreCounts, Need, ScoreCounts
from torch_heads.metrics.readings.reading import Reading, check_choice, check_number, ratio
from torch_heads.metrics.sums import Sums, Total


@dataclass(frozen=True)
class ScoreReading(Reading):
    """A metric of all scores. NaN where the labels are of one class alone."""

    higher_is_better = True
    of_counts = True
    of_fine_scores = True

    def needs(self, counts: Counts) -> Iterable[Need]:
        """Return the counts of scores."""
        return (ScoreCounts(),)


@dataclass(frozen=True)
class AUC(ScoreReading):
    """The area under the ROC curve over tf.estimator's grid of 200 thresholds.

    A logit of NaN counts as the lowest score, here and in all that is read from scores; it shows
    in the loss, which is NaN.
    """

    of_fine_scores = False

    def read(self, sums: Sums) -> Tensor:
        """Return the area; 0 where a class is absent, as in tf.estimator."""
        return roc_auc(*sums.grid_counts())

    def present(self, sums: Sums) -> Tensor:
        """Return whether there were labels of both kinds: else there is no area."""
        return both_kinds(*sums.above)

    def defined(self, sums: Sums) -> Tensor:
        """Return where there are labels of both kinds."""
        return both_kinds(*sums.above)


@dataclass(frozen=True)
class AUCPrecisionRecall(ScoreReading):
    """The interpolated area under the precision-recall curve over the same grid."""

    of_fine_scores = False

    def read(self, sums: Sums) -> Tensor:
        """Return the area; 1 where all labels are positive, 0 where none is."""
        return precision_recall_auc(*sums.grid_counts())

    def present(self, sums: Sums) -> Tensor:
        """Return whether any label was positive: else there is no recall."""
        positives, _ = sums.above
        return positives[..., 0] > 0

    def defined(self, sums: Sums) -> Tensor:
        """Return where there are labels of both kinds."""
        return both_kinds(*sums.above)


@dataclass(frozen=True)
class AreaReading(ScoreReading):
    """An area from the fine cut: of all columns together, or the mean over the columns.

    The mean is over the columns that have it; ``weighted`` by their weight of positives.
    """

    average: Literal["macro", "weighted"] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "average", ("macro", "weighted"))

    def area(self, positives: Tensor, negatives: Tensor) -> Tensor:
        """Return the area from the counts above each edge."""
        raise NotImplementedError

    def read(self, sums: Sums) -> Tensor:
        """Return the area, or the mean over the columns that have one."""
        counts = sums.above if self.average is None else sums.columns_above
        areas = ranked(self.area(*counts), *counts)
        if self.average is None:
            return areas
        weights = counts[0][..., 0] if self.average == "weighted" else torch.ones_like(areas)
        return mean_defined(areas, weights)


@dataclass(frozen=True)
class RocAuc(AreaReading):
    """The area under the ROC curve, from the fine cut: also of rare events."""

    def area(self, positives: Tensor, negatives: Tensor) -> Tensor:
        """Return the area by trapezoids."""
        return roc_auc(positives, negatives)


@dataclass(frozen=True)
class AveragePrecision(AreaReading):
    """The mean precision at each positive, from the fine cut: also of rare events."""

    def area(self, positives: Tensor, negatives: Tensor) -> Tensor:
        """Return the mean."""
        return average_precision(positives, negatives)


@dataclass(frozen=True)
class RocAucOneVersusRest(Reading):
    """The mean, over the classes, of the area under the ROC curve of each against the others."""

    higher_is_better = True
    of_counts = True

    def needs(self, counts: Counts) -> Iterable[Need]:
        """Return the counts of the scores of each class."""
        return (ClassScoreCounts(),)

    def read(self, sums: Sums) -> Tensor:
        """Return the mean over the classes that have an area."""
        counts = counts_above(sums.class_scores)
        areas = ranked(roc_auc(*counts), *counts)
        return mean_defined(areas, torch.ones_like(areas))


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


def ranked(areas: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Return areas, NaN where all labels are of one class: there is nothing to rank."""
    return torch.where(both_kinds(positives, negatives), areas, torch.nan)


def both_kinds(positives: Tensor, negatives: Tensor) -> Tensor:
    """Return where there are labels of both kinds, from the counts above each edge."""
    return (positives[..., 0] > 0) & (negatives[..., 0] > 0)


def mean_defined(values: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean over the last axis of what is not NaN; NaN if all is."""
    defined = ~values.isnan()
    weights = torch.where(defined, weights, 0.0)
    return ratio((values.nan_to_num(0.0) * weights).sum(-1), weights.sum(-1))
