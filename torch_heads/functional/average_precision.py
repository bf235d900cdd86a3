"""Average precision from counts by bin: the mean of the precision at each positive.

Where positives and negatives share a bin, their order is not known, nor how many examples a weight
stands for. The bins around tell both: scores that are equal leave these empty.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torch_heads.functional.values import safe_divide

REACH = 16  # bins on either side that tell of the scores in one


def average_precision(true_positives: Tensor, false_positives: Tensor) -> Tensor:
    """Return the mean of the precision at each positive, as scikit-learn defines it.

    Of a bin that holds positives and negatives, the precision is that expected if its ``a``
    positives and ``b`` negatives stand there in any order,
    ``sum((T + j) / (S + j * (1 + b / (a + 1))) for j in 1 ... a)`` with ``T`` of ``S`` above being
    positive; the sum of these fractions is a difference of digamma functions. Of scores that are
    equal it is that below all of them.

    Args:
        true_positives: ``[..., T]``, weighted counts above each threshold, descending.
        false_positives: the same of the negatives.

    >>> tp, fp = torch.tensor([2.0, 1.0, 1.0, 0.0]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    >>> average_precision(tp, fp)
    tensor(0.8333)
    """
    positives = true_positives[..., :-1] - true_positives[..., 1:]
    negatives = false_positives[..., :-1] - false_positives[..., 1:]
    above, below = true_positives[..., 1:], true_positives[..., :-1]
    precision = safe_divide(below, below + false_positives[..., :-1])
    # without negatives the order does not matter
    gained = precision * positives
    mixed = (positives > 0) & (negatives > 0)
    mixed = mixed.masked_scatter(mixed, ~are_equal(positives + negatives, mixed))
    size = example_weights(positives, mixed)
    own, others, before, ranked = (
        one[mixed] for one in (positives, negatives, above, above + false_positives[..., 1:])
    )
    step = 1 + others / (own + size)
    start = ranked / (size * step)
    fractions = torch.digamma(start + own / size + 1) - torch.digamma(start + 1)
    gained[mixed] = (own + (before - ranked / step) * fractions) / step
    return safe_divide(gained.sum(-1), true_positives[..., 0])


def are_equal(counts: Tensor, where: Tensor) -> Tensor:
    """Return which of some bins hold equal scores, ``[M]``: those with empty ones far around.

    Args:
        counts: ``[..., bins]``, weights.
        where: ``[..., bins]``, the bins, none of them empty.

    >>> counts = torch.zeros(50).index_fill(0, torch.tensor([10, 30, 32]), 5.0)
    >>> are_equal(counts, counts > 0)
    tensor([ True, False, False])
    """
    held, _ = _held_around(counts, where)
    return torch.eq(held, 1)


def example_weights(counts: Tensor, where: Tensor) -> Tensor:
    """Return about what an example weighs in each of some bins, ``[M]``.

    That is the least weight of a bin, if all are multiples of it: without weights they are, and a
    row of weight 2 is a row twice. Else, if a share ``p`` of the bins around hold any, then one of
    these holds ``-log(1 - p) / p`` examples on average, wherever they fall.

    Args:
        counts: ``[..., bins]``, weights.
        where: ``[..., bins]``, the bins, none of them empty.

    >>> counts = torch.tensor([0.0, 2.0, 0.0, 6.0])
    >>> example_weights(counts, counts > 0)
    tensor([2., 2.])
    """
    least = torch.where(counts > 0, counts, torch.inf).amin(-1, keepdim=True)
    times = counts / least
    alike = ((times - times.round()).abs() <= 1e-9 * times).all(-1, keepdim=True)
    held, bins = _held_around(counts, where)
    share = held.minimum(bins - 0.5) / bins  # not all: then there could be any number
    several = counts[where] * share / -torch.log1p(-share)
    least, alike = (one.expand(counts.shape)[where] for one in (least, alike))
    return torch.where(alike, least, several)


def _held_around(counts: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many bins around each of some hold any, and of how many, both ``[M]``."""
    held = torch.nn.functional.pad((counts > 0).to(counts.dtype).cumsum(-1), (1, 0))
    *rows, place = where.nonzero(as_tuple=True)
    first, last = (place - REACH).clamp(min=0), (place + REACH + 1).clamp(max=counts.shape[-1])
    return held[(*rows, last)] - held[(*rows, first)], (last - first).to(counts.dtype)
