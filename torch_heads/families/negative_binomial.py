"""The family of counts that spread more than those of Poisson."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_heads.families.distribution import Distribution, bounded_log, tails
from torch_heads.families.prior import Prior
from torch_heads.functional.special import SHIFT, beta_cdf, in_parts, log_rising

NODES, BEFORE, STEP = 163, 17.0, 0.3  # of the grid of the mean difference, for 1e-7 of it

LEAST_OF_CDF = -18.0  # log dispersion; below, it is Poisson's to rounding, and the beta is not
LEAST_DISPERSION = 1e-2  # of a prior: from there it can still be learned, either way


@dataclass(frozen=True)
class NegativeBinomial(Distribution):
    """A count of variance ``m + a * m ** 2``: of each label the log mean and the log dispersion."""

    lowest: ClassVar[float] = 0.0
    logits_shape: ClassVar[tuple[int, ...]] = (2,)

    def mean(self, logits: Tensor) -> Tensor:
        """Return ``m``, the exponential of the first logit."""
        return logits[..., 0].exp()

    observed = mean

    def dispersion(self, logits: Tensor) -> Tensor:
        """Return ``a``; with it the variance is ``m + a * m ** 2``, and at 0 that of Poisson."""
        return bounded_log(logits[..., 1]).exp()

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the negative log-likelihood, with ``r = 1 / a``.

        It is ``lgamma(r) + lgamma(y + 1) - lgamma(r + y) + r log(1 + m / r) + y log(1 + r / m)``
        (NB2 of Cameron & Trivedi, "Regression Analysis of Count Data", 1998, section 3.3).

        >>> NegativeBinomial().loss(torch.tensor([[[0.0, 0.0]]]), torch.tensor([[1.0]]))
        tensor([[1.3863]])
        """
        log_mean, log_dispersion = logits.unbind(-1)
        log_dispersion = bounded_log(log_dispersion)
        size, log_ratio = torch.exp(-log_dispersion), log_mean + log_dispersion
        # what each unit of a count adds is put together before it is rounded, or a count of a
        # million would leave no digit of the gradient: in one of two forms, for few and for many
        few = (labels <= size).to(size.dtype)
        many = 1 - few
        share = torch.addcmul(few * (labels + SHIFT) - many, many, size)
        share = share / torch.addcmul(many * (labels + 1 + SHIFT), few, size)
        each = F.softplus((few - many) * log_ratio) - torch.log1p(share)
        each = each + few * (torch.log(labels + 1 + SHIFT) - log_mean)
        rest = log_rising(torch.ones_like(labels), labels) - log_rising(size, labels)
        return size * F.softplus(log_ratio) + labels * each + rest

    def prior(self, means: Tensor, counts: Tensor) -> Prior:
        """Return the log of the mean, and of the dispersion by which the variance is larger."""
        mean, square = means.unbind(-1)
        mean = mean.clamp(min=0.5 / counts.clamp(min=1))
        dispersion = ((square - mean.square() - mean) / mean.square()).clamp(min=LEAST_DISPERSION)
        offset = torch.stack([mean, dispersion], dim=-1).log()
        return Prior(offset, torch.ones_like(offset), torch.zeros_like(mean))

    def cdf(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the probability of a count up to each label, in float64; without a gradient."""
        log_mean, log_dispersion = logits.double().unbind(-1)
        log_dispersion = bounded_log(log_dispersion).clamp(min=LEAST_OF_CDF)
        counts = labels.double().floor()
        odds = -log_mean - log_dispersion
        inside = beta_cdf(torch.exp(-log_dispersion), counts.clamp(min=0) + 1, odds)
        return torch.where(counts < 0, 0.0, inside)

    def quantile(self, logits: Tensor, q: float) -> Tensor:
        """Return the least count whose `cdf` is at least ``q``, by bisection; it waits for that."""
        mean, dispersion = self.mean(logits.double()), self.dispersion(logits.double())
        spread = (mean + dispersion * mean.square()) * (q / (1 - q))
        high = (mean + spread.sqrt()).ceil() + 1  # by Cantelli's inequality
        low = torch.full_like(high, -1)
        middle = ((low + high) / 2).floor()
        while bool(((low < middle) & (middle < high)).any()):  # neighbours may be more than 1 apart
            enough = self.cdf(logits, middle) >= q
            low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
            middle = ((low + high) / 2).floor()
        return high.to(logits.dtype)

    def covered(self, logits: Tensor, labels: Tensor, level: float) -> Tensor:
        """Return 1 where a label lies in its `interval`, else 0, without looking for its bounds."""
        low, high = tails(level)
        up_to = self.cdf(logits, labels)
        below = up_to - torch.exp(-self.loss(logits.detach().double(), labels.double()))
        return ((up_to >= low) & (below < high)).to(logits.dtype)

    def crps(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return ``E|X - y| - E|X - X'| / 2``, in float64; without a gradient.

        The first term is that of Wei & Held, "Calibration tests for count data" (2014); the second,
        there a hypergeometric function, is an integral of the characteristic function, on a grid.
        """
        logits, labels = logits.detach().double(), labels.double()
        mean, dispersion = self.mean(logits), self.dispersion(logits)
        up_to, exactly = self.cdf(logits, labels), torch.exp(-self.loss(logits, labels))
        distance = (labels - mean) * (2 * up_to - 1)
        distance = distance + 2 * mean * exactly * (1 + labels * dispersion)
        return distance - in_parts(mean_difference, mean, dispersion) / 2


def mean_difference(mean: Tensor, dispersion: Tensor) -> Tensor:
    """Return ``E|X - X'|`` of two counts, ``[N]``, in float64.

    That of counts is the integral of ``(1 - |f(t)| ** 2) / (1 - cos(t)) / pi`` over ``t`` from 0 to
    pi, with their characteristic function ``f``; here over ``u``, with ``tan(t / 2) = exp(u)``.
    """
    variance = mean * (1 + mean * dispersion)
    first = -torch.log1p(4 * variance * (1 + dispersion)) / 2 - BEFORE
    nodes = torch.arange(NODES, dtype=mean.dtype, device=mean.device)
    u = first.unsqueeze(-1) + STEP * nodes
    chance = 4 * (variance * dispersion).unsqueeze(-1) * torch.sigmoid(2 * u)
    logs = -torch.log1p(chance) / dispersion.unsqueeze(-1)
    return (-torch.expm1(logs) * torch.exp(-u)).sum(-1) * STEP / pi
