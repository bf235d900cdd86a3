"""Scores in [0, 1], counted by bin: the one pass from which all threshold metrics are read.

The bins are cut at the originals' grid of 200 AUC thresholds, at every threshold that a user
declared, and at the decision boundary (logit 0), so that counting an example once tells on which
side of each of them it lies. A score on a threshold counts as below it.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from torch_heads.functional.reductions import safe_divide

GRID = 199  # steps between the originals' 200 thresholds; 0.5 is not one of them

NEGATIVE, SOFT, POSITIVE = range(3)  # labels 0, in between, and 1


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
        return {
            boundary: self._ordered.index((value, 1, boundary)) + 1
            for value, boundary in self._extra
        }

    @cached_property
    def grid(self) -> list[int]:
        """The first bin above each of the 200 grid thresholds; the last one has none."""
        inner = [rank + 1 for rank, (_, kind, _) in enumerate(self._ordered) if kind == 0]
        return [0, *inner, self.size]

    @cached_property
    def edges(self) -> list[float]:
        """The ``size + 1`` scores that bound the bins, ascending from 0 to 1."""
        return [0.0, *(value for value, _, _ in self._ordered), 1.0]

    @property
    def _extra(self) -> list[tuple[float, float | None]]:
        return [(0.5, None), *((threshold, threshold) for threshold in self.thresholds)]

    @cached_property
    def _ordered(self) -> list[tuple[float, int, float | None]]:
        grid = [(step / GRID, 0, None) for step in range(1, GRID)]
        extra = [(value, 1, boundary) for value, boundary in self._extra]
        # the decision comes before a threshold of 0.5: a tiny logit is positive, its score 0.5
        return sorted(grid + extra, key=lambda edge: (edge[0], edge[1], edge[2] or 0.0))


def bin_scores(logits: Tensor, scores: Tensor, thresholds: Tensor) -> Tensor:
    """Return the bin of each score, counting the boundaries that it lies above.

    Args:
        logits: ``[N, U]``; above 0 is a positive decision.
        scores: ``[N, U]`` float32 in [0, 1]. NaN counts as lowest.
        thresholds: ``[T, U]`` float32, padded with a value that no score exceeds.

    Returns:
        The bins ``[N, U]``, counted from 1, whole numbers in float32.
    """
    above = torch.empty_like(scores)
    # the least number lifts a score of 0, and it alone, into the first bin
    least = scores.new_full((), torch.finfo(scores.dtype).tiny)
    bins = torch.add(least, scores, alpha=GRID).ceil_().nan_to_num_(1.0)
    bins += torch.gt(logits, 0.0, out=above)
    for threshold in thresholds:
        bins += torch.gt(scores, threshold, out=above)
    return bins


def label_kinds(labels: Tensor) -> Tensor:
    """Return 0 for label 0, 2 for label 1, and 1 for a soft label in between.

    >>> label_kinds(torch.tensor([0.0, 0.3, 1.0]))
    tensor([0., 1., 2.])
    """
    # a product with the next number after 1 is above 1 for the label 1 alone
    return (labels * (1 + torch.finfo(labels.dtype).eps)).ceil_()


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
    """Return the area under the precision-recall curve, interpolated as the originals do.

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
