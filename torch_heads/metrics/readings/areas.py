"""Readings of areas under curves of scores."""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from torch_heads.families.family import Counts
from torch_heads.functional.average_precision import average_precision
from torch_heads.functional.scores import counts_above, precision_recall_auc, roc_auc
from torch_heads.metrics.needs import ClassScoreCounts, Need, ScoreCounts
from torch_heads.metrics.readings.reading import Reading, check_choice, ratio
from torch_heads.metrics.sums import Sums


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

    @abstractmethod
    def area(self, positives: Tensor, negatives: Tensor) -> Tensor:
        """Return the area from the counts above each edge."""

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
