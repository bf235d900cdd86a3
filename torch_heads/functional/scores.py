"""Scores in [0, 1], counted by bin: the one pass from which all threshold metrics are read.

The bins are cut at tf.estimator's grid of 200 AUC thresholds, at every threshold that a user
declared, at the decision boundary (logit 0), and finely by the logit, so that counting an example
once tells on which side of each of them it lies. A score on a threshold counts as below it.

The grid is linear in the score, and too coarse for rare events, whose scores all lie in its first
bins; the fine cut is described in `bins`.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.bins import GRID, Limits, fine_limits, fine_logits, size_of
from torch_heads.functional.values import safe_divide

NEGATIVE, SOFT, POSITIVE = range(3)  # labels 0, in between, and 1

Bins = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class ScoreBins:
    """The bins of one column, and where each boundary lies among them.

    ``thresholds`` are the user's, ascending; without ``fine``, scores are not cut by the logit.

    >>> ScoreBins((0.3,), fine=False).size
    201
    """

    thresholds: tuple[float, ...] = ()
    fine: bool = True

    @property
    def coarse_size(self) -> int:
        """The number of bins without the fine cut: the grid's, and one per further boundary."""
        return size_of(self.thresholds, fine=False)

    @property
    def size(self) -> int:
        """The number of bins."""
        return size_of(self.thresholds, self.fine)

    @property
    def places(self) -> int:
        """How many counts a column has: of labels 0 and 1 by bin, of soft ones by coarse bin."""
        return 2 * self.size + self.coarse_size

    @cached_property
    def positions(self) -> dict[float | None, int]:
        """The first bin above each of the user's thresholds, and above the decision (None)."""
        below = np.searchsorted(fixed_limits(self.fine), self._own, side="right")
        found: dict[float | None, int] = {
            threshold: int(fixed) + rank + 1
            for rank, (threshold, fixed) in enumerate(zip(self.thresholds, below, strict=True))
        }
        return found | {None: int(self._place(np.zeros(1))[0])}

    @cached_property
    def grid(self) -> Bins:
        """The first bin above each of the 200 grid thresholds; the last one has none."""
        first = np.zeros(GRID + 1, dtype=np.int64)
        first[1:GRID] = self._place(grid_limits())
        first[GRID] = self.size
        return first

    @cached_property
    def coarse(self) -> Bins:
        """The first bin of each coarse bin."""
        others = [*(self.positions[threshold] for threshold in self.thresholds)]
        return np.sort([*self.grid[:GRID], self.positions[None], *others])

    @cached_property
    def edges(self) -> Limits:
        """The ``size + 1`` scores that bound the bins, ascending from 0 to 1."""
        inner = np.empty(self.size - 1)
        inner[self.grid[1:GRID] - 1] = np.arange(1, GRID) / GRID
        if self.fine:
            inner[self._place(fine_limits()) - 1] = expit(fine_logits())
        inner[self.positions[None] - 1] = 0.5
        inner[[self.positions[one] - 1 for one in self.thresholds]] = self.thresholds
        # boundaries one rounding apart are in the order in which scores are found above them
        return np.maximum.accumulate(np.concatenate([[0.0], inner, [1.0]]))

    @cached_property
    def centres(self) -> Limits:
        """The score in the middle of each bin; by the logit, where scores are cut by that."""
        middle: Limits = (self.edges[:-1] + self.edges[1:]) / 2
        if not self.fine:
            return middle
        with np.errstate(divide="ignore"):
            logits = np.log(self.edges) - np.log1p(-self.edges)
        between = (logits[:-1] + logits[1:]) / 2
        return np.where(np.isfinite(between), expit(between), middle)

    @cached_property
    def _own(self) -> Limits:
        """The largest logit below each of the user's thresholds."""
        return logit_below(np.asarray(self.thresholds, dtype=np.float32))

    def _place(self, limits: Limits) -> Bins:
        """Return the first bin above each of the fixed boundaries, by their largest logit below."""
        fixed = np.searchsorted(fixed_limits(self.fine), limits)
        first: Bins = fixed + np.searchsorted(self._own, limits) + 1
        return first


@cache
def fixed_limits(fine: bool) -> Limits:
    """Return the largest logit below each boundary that every column has, ascending."""
    return np.sort([*grid_limits(), 0.0, *(fine_limits() if fine else ())])


@cache
def grid_limits() -> Limits:
    """Return the largest logit below each inner step of the grid, as `Histogram` counts it.

    >>> (expit(grid_limits()[:3]) * GRID).round(3)
    array([1., 2., 3.])
    """
    steps = np.arange(1, GRID, dtype=np.float32)[:, None]
    scores = ((steps / GRID).view(np.int32) + np.arange(-2, 3, dtype=np.int32)).view(np.float32)
    below = np.where(scores * np.float32(GRID) <= steps, scores, np.float32(0)).max(-1)
    return logit_below(below)


def logit_below(scores: Any) -> Limits:
    """Return the largest logit whose score, rounded to a float32, is not above these."""
    above = np.nextafter(scores, np.float32(np.inf)).astype(np.float64)
    middle = (scores.astype(np.float64) + above) / 2
    limits: Limits = np.log(middle) - np.log1p(-middle)
    return limits


def expit(logits: Limits) -> Limits:
    """Return ``1 / (1 + exp(-z))``, exact for large negative logits, too."""
    return np.exp(-np.logaddexp(0.0, -logits))


def counts_above(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return positives, soft ones too, and negatives above each edge of the bins.

    Args:
        counts: ``[..., 3, bins]``, by kind of label.

    Returns:
        Both ``[..., bins + 1]``; the last edge has none above it.
    """
    positives, negatives = counts[..., SOFT:, :].sum(-2), counts[..., NEGATIVE, :]
    return above_edges(positives), above_edges(negatives)


def above_edges(counts: Tensor) -> Tensor:
    """Return the sums of the counts ``[..., bins]`` above each edge, ``[..., bins + 1]``."""
    # descending, since a difference of sums would not be 0 where nothing is above
    return torch.nn.functional.pad(counts.flip(-1).cumsum(-1), (1, 0)).flip(-1)


def mean_scores(weights: Tensor, centres: Tensor, edges: Tensor, total: Tensor) -> Tensor:
    """Return the mean score of each bin, ``[..., bins]``, of which the weighted sum is known.

    In all bins it lies as far from the centre, as a share of the way to an edge.

    Args:
        weights: ``[..., bins]``.
        centres: ``[..., bins]``, the middle of each bin.
        edges: ``[..., bins + 1]``, ascending.
        total: ``[...]``, the weighted sum of the scores; NaN where it is not known.

    >>> half = torch.tensor([0.25, 0.75])
    >>> mean_scores(torch.tensor([2.0, 2.0]), half, torch.tensor([0, 0.5, 1]), torch.tensor(2.5))
    tensor([0.3750, 0.8750])
    """
    gap = (total - (weights * centres).sum(-1)).unsqueeze(-1)
    way = torch.where(gap > 0, edges[..., 1:], edges[..., :-1]) - centres
    share = safe_divide(gap, (weights * way).sum(-1, keepdim=True))
    return centres + share.clamp(0, 1).nan_to_num(0.0) * way


def roc_auc(true_positives: Tensor, false_positives: Tensor) -> Tensor:
    """Return the area under the ROC curve by trapezoids, 0 where a class is absent.

    Args:
        true_positives: ``[..., T]``, weighted counts above each threshold, descending.
        false_positives: the same of the negatives.

    >>> tp, fp = torch.tensor([2.0, 2.0, 1.0, 0.0]), torch.tensor([2.0, 0.0, 0.0, 0.0])
    >>> roc_auc(tp, fp)
    tensor(1.)
    """
    width = false_positives[..., :-1] - false_positives[..., 1:]
    area = (width * (true_positives[..., :-1] + true_positives[..., 1:])).sum(-1) / 2
    return safe_divide(area, true_positives[..., 0] * false_positives[..., 0])


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
