"""What is known of labels before any input is seen."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Prior(NamedTuple):
    """What is known of labels before any input is seen.

    Attributes:
        offset: logits ``[U, *logits_shape]`` of labels that are all distributed alike.
        scale: how far logits are expected to move, of the same shape.
        origin: ``[U]``, what the loss owes to the unit of the labels alone: the loss of a density
            is larger by the log of a factor of the labels. 0 where a unit does not matter, or is a
            factor of the loss.
    """

    offset: Tensor
    scale: Tensor
    origin: Tensor


def seen_share(share: Tensor, counts: Tensor) -> Tensor:
    """Return a share of labels, at least that of half a label and at most that of all but half."""
    half = 0.5 / counts.clamp(min=1)
    return share.clamp(min=half, max=1 - half)


def mean_and_spread(means: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation ``[U]`` from the means ``[U, 2]`` of numbers and squares.

    The deviation is 1 where all labels are the same.

    >>> mean_and_spread(torch.tensor([[2.0, 13.0], [3.0, 9.0]]))
    (tensor([2., 3.]), tensor([3., 1.]))
    """
    mean, square = means.unbind(-1)
    variance = square - mean.square()
    # what rounding leaves of equal numbers is no spread
    spread = variance > 8 * torch.finfo(means.dtype).eps * square
    return mean, torch.where(spread, variance, 1.0).sqrt()
