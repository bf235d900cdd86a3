"""The bin of each score, and of each residual: what a tally counts by."""

import torch
from torch import Tensor

from torch_heads.functional.residuals import FINE, LEAST, MANTISSA, SIDE
from torch_heads.functional.scores import GRID


def coarse_bins(scores: Tensor, logits: Tensor, thresholds: Tensor) -> Tensor:
    """Return the bin of each score without the fine cut: how many boundaries it lies above.

    Args:
        scores: ``[N, U]`` float32 in [0, 1]. NaN counts as lowest.
        logits: ``[N, U]``, their log odds; above 0 is a positive decision.
        thresholds: ``[T, U]`` float32, padded with a value that no score exceeds.

    Returns:
        ``[N, U]``, whole numbers in float32, counted from 1.
    """
    above = torch.empty_like(scores)
    # the least number lifts a score of 0, and it alone, into the first bin
    least = scores.new_full((), torch.finfo(scores.dtype).tiny)
    bins = torch.add(least, scores, alpha=GRID).ceil_().nan_to_num_(1.0)
    bins += torch.gt(logits, 0.0, out=above)
    for threshold in thresholds.unbind():
        bins += torch.gt(scores, threshold, out=above)
    return bins


def label_kinds(labels: Tensor) -> Tensor:
    """Return 0 for label 0, 2 for label 1, and 1 for a soft label in between.

    >>> label_kinds(torch.tensor([0.0, 0.3, 1.0]))
    tensor([0., 1., 2.])
    """
    # a product with the next number after 1 is above 1 for the label 1 alone
    return (labels * (1 + torch.finfo(labels.dtype).eps)).ceil_()


def bin_residuals(predictions: Tensor, labels: Tensor) -> Tensor:
    """Return the bin of each residual, prediction minus label, in int32.

    >>> bin_residuals(torch.tensor([-3e19, 0.0, 1.0]), torch.zeros(3)) - SIDE
    tensor([-481,    0,  241], dtype=torch.int32)
    """
    bits = (predictions - labels).float().view(torch.int32)
    sign = bits >> 31  # -1 or 0
    # the leading bits of a float count its exponent, and so grow as its logarithm
    size = bits.bitwise_and_(0x7FFFFFFF).bitwise_right_shift_(MANTISSA - FINE)
    size.clamp_(LEAST, LEAST + SIDE).sub_(LEAST)
    return size.bitwise_xor_(sign).sub_(sign).add_(SIDE)  # with its sign, in two's complement
