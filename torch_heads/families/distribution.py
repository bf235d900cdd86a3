"""What families share that tell the whole distribution of a number."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_heads.families.family import Family

#: The largest size of a log scale: its square, and the inverse of that, are numbers of float32.
LARGEST_LOG = 30.0


@dataclass(frozen=True)
class Distribution(Family):
    """A number of which more is predicted than its mean: any quantile."""

    quantile_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)

    def moments(self, labels: Tensor) -> Tensor:
        """Return each number and its square, whose means tell mean and spread."""
        return torch.stack([labels, labels.square()], dim=-1)

    @abstractmethod
    def quantile(self, logits: Tensor, q: float) -> Tensor:
        """Return the value ``[..., U]`` that a share ``q`` of labels does not exceed.

        Raises:
            ValueError: if the family does not tell that quantile.
        """

    def interval(self, logits: Tensor, level: float) -> tuple[Tensor, Tensor]:
        """Return the bounds ``[..., U]`` that a share of labels lies within, as many on each side.

        Raises:
            ValueError: if the family does not tell these quantiles.
        """
        low, high = tails(level)
        return self.quantile(logits, low), self.quantile(logits, high)

    def crps(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the continuous ranked probability score of each label, ``[..., U]``.

        It is the mean distance of the label from the distribution, ``E|X - y| - E|X - X'| / 2``
        (Gneiting & Raftery, 2007); of a single number, the absolute error.

        Raises:
            TypeError: if there is no formula of it.
        """
        raise TypeError(f"{type(self).__name__}: there is no formula of its crps.")

    def covered(self, logits: Tensor, labels: Tensor, level: float) -> Tensor:
        """Return 1 where a label lies in its `interval`, else 0, ``[..., U]``."""
        low, high = self.interval(logits, level)
        return ((low <= labels) & (labels <= high)).to(logits.dtype)


def distribution(family: Family) -> Distribution:
    """Return a family that tells quantiles.

    Raises:
        TypeError: if it is another one.
    """
    if not isinstance(family, Distribution):
        raise TypeError(f"{type(family).__name__}: it has no quantiles.")
    return family


def tails(level: float) -> tuple[float, float]:
    """Return the shares of labels below each bound of a central interval.

    >>> tails(0.8)
    (0.1, 0.9)
    """
    # rounded, so that 0.8 asks for 0.1 and not for 0.09999999999999998
    return round((1 - level) / 2, 12), round((1 + level) / 2, 12)


def bounded_log(log: Tensor) -> Tensor:
    """Return the logarithm of a scale, kept so that it is a positive number of float32."""
    # as clamp, whose gradient takes five kernels and not one
    return F.hardtanh(log, -LARGEST_LOG, LARGEST_LOG)
