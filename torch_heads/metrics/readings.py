"""Readings: the named metrics, each a formula over what a tally summed.

A reading is a declaration without state. A head lists its own; the collection binds each to the
columns of a tally. Empty sums read as 0, as in tf.estimator.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from torch_heads.families.family import Counts
from torch_heads.functional.reductions import safe_divide
from torch_heads.functional.scores import (
    NEGATIVE,
    POSITIVE,
    SOFT,
    precision_recall_auc,
    roc_auc,
)
from torch_heads.metrics.sums import Sums, Total


@dataclass(frozen=True)
class Reading(ABC):
    """A metric read from the sums of a head's columns, or of one of them (``column``)."""

    column: int | None = None
    higher_is_better: ClassVar[bool | None] = None

    @abstractmethod
    def read(self, sums: Sums) -> Tensor:
        """Return the metric of these columns together, ``[...]`` in float64."""

    def present(self, sums: Sums) -> Tensor:
        """Return whether any label was there to read from."""
        return sums.total(Total.PRESENT) > 0


@dataclass(frozen=True)
class Mean(Reading):
    """A weighted mean over all columns: of the predictions, or of the labels."""

    of: int = Total.PREDICTION
    by: int = Total.WEIGHT

    def read(self, sums: Sums) -> Tensor:
        """Return the weighted sum over the weights."""
        return safe_divide(sums.total(self.of), sums.total(self.by))


@dataclass(frozen=True)
class AverageLoss(Mean):
    """The loss over the sum of the weights: unlike the training loss, and never regularized."""

    higher_is_better = False
    of: int = Total.LOSS
    by: int = Total.LOSS_WEIGHT


@dataclass(frozen=True)
class ClassAccuracy(Mean):
    """The share of class ids predicted right."""

    higher_is_better = True


@dataclass(frozen=True)
class Coverage(Mean):
    """The share of labels that were there, unweighted."""

    of: int = Total.PRESENT
    by: int = Total.VALID

    def present(self, sums: Sums) -> Tensor:
        """Return whether there was any row."""
        return sums.total(self.by) > 0


@dataclass(frozen=True)
class AccuracyBaseline(Reading):
    """The accuracy of always answering the more frequent class."""

    higher_is_better = True

    def read(self, sums: Sums) -> Tensor:
        """Return ``max(m, 1 - m)`` of the label mean ``m``."""
        label, weight = sums.total(Total.LABEL), sums.total(Total.WEIGHT)
        return safe_divide(torch.maximum(label, weight - label), weight)


@dataclass(frozen=True)
class ThresholdReading(Reading):
    """A metric at one threshold on the score; None is the decision, logit 0.

    A soft label counts as positive, and as wrong for the accuracy, as in tf.estimator.
    """

    higher_is_better = True
    threshold: float | None = None


@dataclass(frozen=True)
class Accuracy(ThresholdReading):
    """The share of labels equal to the prediction."""

    def read(self, sums: Sums) -> Tensor:
        """Return ``(TP + TN) / all``."""
        above, total = sums.outcomes()
        true_negatives = total[..., NEGATIVE] - above[..., NEGATIVE]
        return safe_divide(above[..., POSITIVE] + true_negatives, total.sum(-1))


@dataclass(frozen=True)
class Precision(ThresholdReading):
    """The share of predicted positives that are positive."""

    def read(self, sums: Sums) -> Tensor:
        """Return ``TP / (TP + FP)``."""
        above, _ = sums.outcomes()
        return safe_divide(above[..., SOFT:].sum(-1), above.sum(-1))


@dataclass(frozen=True)
class Recall(ThresholdReading):
    """The share of positives that are predicted positive."""

    def read(self, sums: Sums) -> Tensor:
        """Return ``TP / (TP + FN)``."""
        above, total = sums.outcomes()
        return safe_divide(above[..., SOFT:].sum(-1), total[..., SOFT:].sum(-1))


@dataclass(frozen=True)
class AUC(Reading):
    """The area under the ROC curve over tf.estimator's grid of 200 thresholds.

    A logit of NaN counts as the lowest score, here and in all that is read from scores; it shows
    in the loss, which is NaN.
    """

    higher_is_better = True

    def read(self, sums: Sums) -> Tensor:
        """Return the area; 0 where a class is absent, as in tf.estimator."""
        return roc_auc(*sums.grid_counts())

    def present(self, sums: Sums) -> Tensor:
        """Return whether there were labels of both classes: else there is no area."""
        positives, negatives = sums.grid_counts()
        return (positives[..., 0] != 0) & (negatives[..., 0] != 0)


@dataclass(frozen=True)
class AUCPrecisionRecall(Reading):
    """The interpolated area under the precision-recall curve over the same grid."""

    higher_is_better = True

    def read(self, sums: Sums) -> Tensor:
        """Return the area; 1 where all labels are positive, 0 where none is."""
        return precision_recall_auc(*sums.grid_counts())

    def present(self, sums: Sums) -> Tensor:
        """Return whether any label was positive: else there is no recall."""
        positives, _ = sums.grid_counts()
        return positives[..., 0] != 0


@dataclass(frozen=True)
class BatchMean(Mean):
    """The plain mean over update calls, in which a small last batch counts as a full one."""

    of: int = 0
    by: int = 1

    def present(self, sums: Sums) -> Tensor:
        """Return whether any call counted."""
        return sums.total(self.by) > 0


def usual_readings(
    counts: Counts, thresholds: Iterable[float] = ()
) -> Iterator[tuple[str, Reading]]:
    """Yield the metrics, by key, of a head of which nothing is known but what is counted."""
    yield "average_loss", AverageLoss()
    if counts is Counts.NUMBERS:
        yield "prediction/mean", Mean(of=Total.PREDICTION)
        yield "label/mean", Mean(of=Total.LABEL)
    elif counts is Counts.CLASSES:
        yield "accuracy", ClassAccuracy()
    else:
        yield "auc", AUC()
        yield "auc_precision_recall", AUCPrecisionRecall()
        yield from threshold_readings(thresholds)


def threshold_readings(thresholds: Iterable[float]) -> Iterator[tuple[str, Reading]]:
    """Yield accuracy, precision and recall at each of the user's thresholds, by key."""
    for threshold in thresholds:
        for name, reading in (("accuracy", Accuracy), ("precision", Precision), ("recall", Recall)):
            yield f"{name}/positive_threshold_{threshold:g}", reading(threshold=threshold)
