"""Readings of outcomes: what was predicted right and wrong at a threshold, or of each class."""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import ClassVar, Literal, get_args

from torch import Tensor

from torch_heads.families.family import Counts
from torch_heads.functional.errors import unexpected
from torch_heads.functional.scores import NEGATIVE, POSITIVE
from torch_heads.functional.values import safe_divide
from torch_heads.metrics.needs import ClassCounts, Need, ScoreCounts
from torch_heads.metrics.readings.reading import (
    Reading,
    check_choice,
    check_level,
    check_number,
    ratio,
)
from torch_heads.metrics.sums import Outcomes, Sums, Total
from torch_heads.metrics.terms import RowFBeta

Average = Literal["micro", "macro", "weighted", "samples"]


@dataclass(frozen=True)
class ThresholdReading(Reading):
    """A metric of what is predicted: at a threshold on the score, or by class ids.

    A threshold of None is the decision, logit 0. A soft label counts as positive.
    """

    higher_is_better = True
    of_counts = True
    threshold: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold is not None:
            check_level(self, "threshold")

    def needs(self, counts: Counts) -> Iterable[Need]:
        """Return the counts of scores, or of class ids."""
        return (ClassCounts(),) if counts is Counts.CLASSES else (ScoreCounts(),)


def threshold_of(reading: Reading) -> float | None:
    """Return the threshold that a reading is read at; None for the decision, and for others."""
    return reading.threshold if isinstance(reading, ThresholdReading) else None


@dataclass(frozen=True)
class AveragedReading(ThresholdReading):
    """A metric of the outcomes of one class, or an average over classes.

    ============ ===========================================================================
    None         of all columns together (of one class, where there is a ``column``)
    ``micro``    the same: of all pairs of a row and a class
    ``macro``    the mean over the classes that came as a label or as a prediction; where such a
                 class has no value, it counts as 0, as in scikit-learn
    ``weighted`` the same, weighted by how often the class came as a label
    ============ ===========================================================================
    """

    averages: ClassVar[tuple[str, ...]] = ("micro", "macro", "weighted")
    average: Average | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "average", self.averages)

    @abstractmethod
    def value(self, outcomes: Outcomes) -> Tensor:
        """Return the metric of each class, NaN where it is undefined."""

    def read(self, sums: Sums) -> Tensor:
        """Return the metric, or its average over classes."""
        if self.average in (None, "micro"):
            return self.value(sums.outcomes())
        outcomes = sums.class_outcomes()
        values = self.value(outcomes).nan_to_num(0.0)
        right, false_positives, false_negatives, _ = outcomes
        labels = right + false_negatives
        weights = labels if self.average == "weighted" else (labels + false_positives > 0).double()
        return ratio((values * weights).sum(-1), weights.sum(-1))


@dataclass(frozen=True)
class Accuracy(ThresholdReading):
    """The share of labels equal to the prediction; a soft label is never, as in tf.estimator."""

    def read(self, sums: Sums) -> Tensor:
        """Return ``(TP + TN) / all``."""
        above, total = sums.kinds()
        true_negatives = total[..., NEGATIVE] - above[..., NEGATIVE]
        return safe_divide(above[..., POSITIVE] + true_negatives, total.sum(-1))


@dataclass(frozen=True)
class HammingLoss(Accuracy):
    """The share of labels that differ from the prediction."""

    higher_is_better = False

    def read(self, sums: Sums) -> Tensor:
        """Return ``(FP + FN) / all``."""
        return ratio(sums.total(Total.WEIGHT) * (1 - super().read(sums)), sums.total(Total.WEIGHT))


@dataclass(frozen=True)
class EstimatorReading(AveragedReading):
    """A metric that tf.estimator has: of all columns together 0 where it is undefined, as there."""

    def read(self, sums: Sums) -> Tensor:
        """Return the metric, or its average over classes."""
        value = super().read(sums)
        return value.nan_to_num(0.0) if self.average is None and self.column is None else value

    def defined(self, sums: Sums) -> Tensor:
        """Return where it is."""
        return ~super().read(sums).isnan()


@dataclass(frozen=True)
class Precision(EstimatorReading):
    """The share of predicted positives that are positive."""

    def value(self, outcomes: Outcomes) -> Tensor:
        """Return ``TP / (TP + FP)``."""
        right, false_positives, *_ = outcomes
        return ratio(right, right + false_positives)


@dataclass(frozen=True)
class Recall(EstimatorReading):
    """The share of positives that are predicted positive."""

    def value(self, outcomes: Outcomes) -> Tensor:
        """Return ``TP / (TP + FN)``."""
        return ratio(outcomes.true_positives, outcomes.true_positives + outcomes.false_negatives)


@dataclass(frozen=True)
class FBeta(AveragedReading):
    """The harmonic mean of precision and recall, which weighs recall ``beta`` times as much.

    ``samples`` averages over rows, in place of classes, of what is decided at logit 0.
    """

    averages = get_args(Average)
    beta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "beta", ">= 0 and finite", lambda beta: 0 <= beta < inf)
        if self.average == "samples" and self.threshold is not None:
            who, given = type(self).__name__, repr(self.threshold)
            raise ValueError(unexpected(who, "threshold", "as None over samples", given))

    def needs(self, counts: Counts) -> Iterable[Need]:
        """Return what is counted, or the term of each row."""
        return (RowFBeta(self.beta),) if self.average == "samples" else super().needs(counts)

    def value(self, outcomes: Outcomes) -> Tensor:
        """Return ``(1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP)``."""
        right, false_positives, false_negatives, _ = outcomes
        factor = self.beta**2
        found = (1 + factor) * right
        return ratio(found, found + factor * false_negatives + false_positives)

    def read(self, sums: Sums) -> Tensor:
        """Return the metric, or its average over classes or rows."""
        return (
            sums.row_mean(RowFBeta(self.beta)) if self.average == "samples" else super().read(sums)
        )


@dataclass(frozen=True)
class F1(FBeta):
    """The harmonic mean of precision and recall."""

    beta: float = field(default=1.0, init=False)


@dataclass(frozen=True)
class Jaccard(AveragedReading):
    """The share of what is positive both as a label and as a prediction in what is either."""

    def value(self, outcomes: Outcomes) -> Tensor:
        """Return ``TP / (TP + FP + FN)``."""
        right, false_positives, false_negatives, _ = outcomes
        return ratio(right, right + false_positives + false_negatives)


@dataclass(frozen=True)
class Specificity(ThresholdReading):
    """The share of negatives that are predicted negative."""

    def read(self, sums: Sums) -> Tensor:
        """Return ``TN / (TN + FP)``."""
        _, false_positives, _, true_negatives = sums.outcomes()
        return ratio(true_negatives, true_negatives + false_positives)


@dataclass(frozen=True)
class NegativePredictiveValue(ThresholdReading):
    """The share of predicted negatives that are negative."""

    def read(self, sums: Sums) -> Tensor:
        """Return ``TN / (TN + FN)``."""
        _, _, false_negatives, true_negatives = sums.outcomes()
        return ratio(true_negatives, true_negatives + false_negatives)


@dataclass(frozen=True)
class BalancedAccuracy(ThresholdReading):
    """The mean of the recalls of all classes that have labels; of two classes, both must have."""

    def read(self, sums: Sums) -> Tensor:
        """Return ``(TP / (TP + FN) + TN / (TN + FP)) / 2``, or the mean over class ids."""
        outcomes = sums.class_outcomes() if sums.of_ids else sums.outcomes()
        right, false_positives, false_negatives, true_negatives = outcomes
        recall = ratio(right, right + false_negatives)
        if sums.of_ids:
            return recall.nanmean(-1)
        return (recall + ratio(true_negatives, true_negatives + false_positives)) / 2
