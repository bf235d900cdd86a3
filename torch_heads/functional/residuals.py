"""Residuals of numbers, counted by bin: from which their histogram and their quantiles follow.

Labels have any unit, so the bins must not depend on the data: there are four to each doubling of
the residual's size, from ``2**-60`` to ``2**60``, one for what is smaller, and one on either side
for what is larger or not finite. Residuals lie around 0 whatever the label, so the bins are
narrow where it matters.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from torch_heads.functional.arguments import check_share

MANTISSA = 23  # bits of a float32
FINE = 2  # bits of it that tell bins apart
SMALLEST, LARGEST = -60, 60  # exponents
SIDE = ((LARGEST - SMALLEST) << FINE) + 1  # bins of one sign; the last holds all that is larger
BINS = 2 * SIDE + 1

LEAST = ((127 + SMALLEST) << FINE) - 1  # the leading bits of what counts as 0


class Residuals(NamedTuple):
    """How the residuals of some columns spread: weights ``[U, BINS]``, from low to high."""

    counts: Tensor

    @property
    def edges(self) -> Tensor:
        """The ``BINS + 1`` residuals that bound the bins, ascending; the outermost are infinite."""
        leading = torch.arange(LEAST + 1, LEAST + 1 + SIDE, dtype=torch.int32)
        upper = (leading << (MANTISSA - FINE)).view(torch.float32).double()
        inf = upper.new_tensor([torch.inf])
        return torch.cat([-inf, -upper.flip(0), upper, inf])

    def quantile(self, q: float) -> Tensor:
        """Return the quantile of each column, linear within a bin; NaN where it has no weight.

        It is infinite where it lies beyond ``2**60``; residuals that are not finite count there.

        Raises:
            TypeError: if ``q`` is no number.
            ValueError: if it is not in [0, 1].
        """
        return self._quantile(self.counts, self.edges, q)

    def absolute_quantile(self, q: float) -> Tensor:
        """Return the quantile of the residuals' size; at 0.5, the median absolute error.

        Raises:
            TypeError: if ``q`` is no number.
            ValueError: if it is not in [0, 1].
        """
        positive = self.counts[:, SIDE + 1 :] + self.counts[:, :SIDE].flip(-1)
        sizes = torch.cat([self.counts[:, SIDE : SIDE + 1], positive], dim=-1)
        edges = torch.cat([torch.zeros(1, dtype=torch.float64), self.edges[SIDE + 1 :]])
        return self._quantile(sizes, edges, q)

    def _quantile(self, counts: Tensor, edges: Tensor, q: float) -> Tensor:
        q = check_share("quantile", "q", q, bounds=True)
        edges = edges.to(counts.device)
        below = torch.nn.functional.pad(counts.cumsum(-1), (1, 0))
        total = below[:, -1:]
        weight = (q * total).clamp(min=torch.finfo(total.dtype).tiny)  # not the empty bins before
        place = (torch.searchsorted(below, weight) - 1).clamp(0, counts.shape[-1] - 1)
        share = (weight - below.gather(-1, place)) / counts.gather(-1, place)
        low, high = edges[place], edges[place + 1]
        inside = low + share * (high - low)
        value = torch.where(low.isinf(), low, torch.where(high.isinf(), high, inside))
        return torch.where(total > 0, value, torch.nan).squeeze(-1)
