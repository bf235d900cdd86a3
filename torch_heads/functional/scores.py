"""Scores in [0, 1], counted by bin: the one pass from which all threshold metrics are read.

The bins are cut at the tf.estimator's grid of 200 AUC thresholds, at every threshold that a user
declared, and at the decision boundary (logit 0), so that counting an example once tells on which
side of each of them it lies. A score on a threshold counts as below it.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.reductions import safe_divide

GRID = 199  # steps between the tf.estimator's 200 thresholds; 0.5 is not one of them

NEGATIVE, SOFT, POSITIVE = range(3)  # labels 0, in between, and 1

Bins = np.ndarray[Any, np.dtype[np.int64]]
Limits = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class ScoreBins:
    """The bins of one column, and where each boundary lies among them.

    ``thresholds`` are the user's, ascending; ``None`` among the boundaries is the decision.

    >>> ScoreBins((0.3,)).size
    201
    """

    thresholds: tuple[float, ...] = ()

    @property
    def size(self) -> int:
        """The number of bins: the grid's, and one more per further boundary."""
        return GRID + 1 + len(self.thresholds)

    @cached_property
    def positions(self) -> dict[float | None, int]:
        """The first bin above each of the user's thresholds, and above the decision."""
        # as many boundaries lie below as there are steps of the grid and others before it
        below = np.searchsorted(grid_limits(), [limit for limit, _ in self._others], side="right")
        return {
            of: int(steps) + rank + 1
            for rank, ((_, of), steps) in enumerate(zip(self._others, below, strict=True))
        }

    @cached_property
    def grid(self) -> Bins:
        """The first bin above each of the 200 grid thresholds; the last one has none."""
        others = np.searchsorted([limit for limit, _ in self._others], grid_limits(), side="left")
        first = np.arange(GRID + 1)
        first[1:GRID] += others
        first[GRID] = self.size
        return first

    @cached_property
    def edges(self) -> list[float]:
        """The ``size + 1`` scores that bound the bins, ascending from 0 to 1."""
        inner = [step / GRID for step in range(1, GRID)]
        return [0.0, *sorted([*inner, 0.5, *self.thresholds]), 1.0]

    @cached_property
    def _others(self) -> list[tuple[float, float | None]]:
        """The largest float32 score below each boundary that is not of the grid, ascending."""
        given: list[tuple[float, float | None]] = [
            (float(np.float32(value)), value) for value in self.thresholds
        ]
        # the decision comes before a threshold of 0.5: a tiny logit is positive, its score 0.5
        return sorted([(0.5, None), *given], key=lambda one: (one[0], one[1] or 0.0))


@cache
def grid_limits() -> Limits:
    """Return the largest float32 score below each inner step of the grid, as `bin_scores` counts.

    Ordered by their nominal values, boundaries one rounding apart would misplace the scores
    between them.

    >>> (grid_limits()[:3] * GRID).round()
    array([1., 2., 3.])
    """
    steps = np.arange(1, GRID, dtype=np.float32)[:, None]
    scores = ((steps / GRID).view(np.int32) + np.arange(-2, 3, dtype=np.int32)).view(np.float32)
    limits: Limits = np.where(scores * np.float32(GRID) <= steps, scores, 0).max(-1)
    return limits.astype(np.float64)


def counts_above(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return positives, soft ones too, and negatives above each edge of the bins.

    Args:
        counts: ``[..., 3, bins]``, by kind of label.

    Returns:
        Both ``[..., bins + 1]``; the last edge has none above it.
    """
    above = torch.nn.functional.pad(counts.flip(-1).cumsum(-1).flip(-1), (0, 1))
    return above[..., SOFT:, :].sum(-2), above[..., NEGATIVE, :]


def roc_auc(true_positives: Tensor, false_positives: Tensor) -> Tensor:
    """Return the area under the ROC curve by trapezoids, 0 where a class is absent.

    Args:
        true_positives: ``[..., T]``, weighted counts above each threshold, descending.
        false_positives: the same of the negatives.

    >>> tp, fp = torch.tensor([2.0, 2.0, 1.0, 0.0]), torch.tensor([2.0, 0.0, 0.0, 0.0])
    >>> roc_auc(tp, fp)
    tensor(1.)
    """
    recall = safe_divide(true_positives, true_positives[..., :1])
    fallout = safe_divide(false_positives, false_positives[..., :1])
    width = fallout[..., :-1] - fallout[..., 1:]
    return (width * (recall[..., :-1] + recall[..., 1:]) / 2).sum(-1)


def precision_recall_auc(true_positives: Tensor, false_positives: Tensor) -> Tensor:
    """Return the area under the precision-recall curve, interpolated as tf.estimator does.

    Between two thresholds the true positives grow linearly with the predicted positives, and the
    precision is integrated exactly (Davis & Goadrich, 2006). Arguments as in `roc_auc`.
    """
    predicted = true_positives + false_positives
    above, below = predicted[..., 1:], predicted[..., :-1]
    gained = true_positives[..., :-1] - true_positives[..., 1:]
    slope = safe_divide(gained, (below - above).clamp(min=0))
    intercept = true_positives[..., 1:] - slope * above
    both = (above > 0) & (below > 0)
    one = torch.ones_like(above)
    ratio = torch.where(both, below, one) / torch.where(both, above, one)
    area = slope * (gained + intercept * ratio.log())
    return safe_divide(area, true_positives[..., :1].clamp(min=0)).sum(-1)
