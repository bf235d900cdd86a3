"""Special functions that PyTorch lacks, of tensors and with gradients where a loss needs them."""

from collections.abc import Callable
from math import log, pi, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_SQRT_2_PI = log(2 * pi) / 2

SHIFT = 4  # by which arguments of the gamma function grow, so that few terms of Stirling's suffice

PART = 2**14  # values that are computed at a time, each by a sum over many nodes

NODES, FIRST, STEP = 56, -3.5, 0.16  # of the quadrature of `beta_cdf`


def log_rising(start: Tensor, count: Tensor) -> Tensor:
    """Return ``lgamma(r + y) - lgamma(r) - y log(r + y + 4) + y``, which is ``y`` or less.

    The logarithms of gamma functions are much larger than that, and their difference has no correct
    digit in float32 from a million on; Stirling's series of the difference (Abramowitz & Stegun
    6.1.41) has all.

    Args:
        start: ``r``, above 0.
        count: ``y``, at least 0.

    >>> log_rising(torch.tensor([0.5, 1.0]), torch.tensor([3.0, 1e9]))
    tensor([-2.4161,  6.2806])
    """
    total, moved = start + count, start + SHIFT
    first, last = start * (start + 3), total * (total + 3)  # of r, r + 1, r + 2 and r + 3
    growth = (moved - 0.5) * torch.log1p(count / moved)
    series = _stirling(total + SHIFT) - _stirling(moved)
    return growth + series - (last / first).log() - ((last + 2) / (first + 2)).log()


def _stirling(x: Tensor) -> Tensor:
    """Return the series of ``lgamma(x) - (x - 1/2) log(x) + x - log(2 pi) / 2`` for ``x >= 4``."""
    share = x.reciprocal()
    small = share.square()
    return share * (1 / 12 - small * (1 / 360 - small * (1 / 1260 - small / 1680)))


def inverse_softplus(value: Tensor) -> Tensor:
    """Return ``log(exp(v) - 1)``, of which the softplus is ``v`` above 0."""
    return value + torch.log(-torch.expm1(-value))


def normal_cdf(z: Tensor) -> Tensor:
    """Return the share of a standard normal distribution up to ``z``."""
    share: Tensor = torch.special.ndtr(z)
    return share


def normal_density(z: Tensor) -> Tensor:
    """Return the density of the standard normal distribution."""
    return torch.exp(-z.square() / 2) / sqrt(2 * pi)


def in_parts(formula: Callable[..., Tensor], *values: Tensor) -> Tensor:
    """Return a formula of values of one shape, for some at a time: each may take much memory."""
    each = [torch.split(one.flatten(), PART) for one in values]
    parts = [formula(*own) for own in zip(*each, strict=True)]
    return torch.cat(parts).view(values[0].shape)


def beta_cdf(a: Tensor, b: Tensor, log_odds: Tensor) -> Tensor:
    """Return the regularized incomplete beta function ``I_x(a, b)`` to about 2e-7, in float64.

    It is the integral of ``x ** a * (1 - x) ** b`` over the log odds of ``x``, over whichever tail
    does not hold the peak, by the exponential substitution of Takahasi & Mori (1974), whose nodes
    are fixed: nothing waits for convergence. There is no gradient.

    Args:
        a: above 0.
        b: above 0.
        log_odds: ``log(x / (1 - x))``.

    >>> beta_cdf(torch.tensor(2.0), torch.tensor(2.0), torch.tensor(0.0))
    tensor(0.5000, dtype=torch.float64)
    """
    with torch.no_grad():
        return in_parts(_beta_cdf, a.double(), b.double(), log_odds.double())


def _beta_cdf(a: Tensor, b: Tensor, log_odds: Tensor) -> Tensor:
    # one more of a, and the difference, so that no tail has a long plateau
    first = _beta_power(a, b, log_odds) / a
    a = a + 1
    right = log_odds > a.log() - b.log()
    a, b = torch.where(right, b, a), torch.where(right, a, b)
    end = torch.where(right, -log_odds, log_odds)
    x = torch.sigmoid(end)
    slope, curvature = a - (a + b) * x, (a + b) * x * (1 - x)
    length = (1 / (slope + curvature.sqrt())).unsqueeze(-1)
    u = FIRST + STEP * torch.arange(NODES, dtype=torch.float64, device=a.device)
    steps = torch.exp(u - torch.exp(-u))
    weights = STEP * steps * (1 + torch.exp(-u)) * length
    v = end.unsqueeze(-1) - length * steps
    tail = (_beta_power(a.unsqueeze(-1), b.unsqueeze(-1), v) * weights).sum(-1)
    return (first + torch.where(right, 1 - tail, tail)).clamp(0, 1)


def _beta_power(a: Tensor, b: Tensor, log_odds: Tensor) -> Tensor:
    """Return ``x ** a * (1 - x) ** b`` over the beta function of both."""
    log, log_rest = F.logsigmoid(log_odds), F.logsigmoid(-log_odds)  # of x, and of 1 - x
    less, more = torch.minimum(a, b), torch.maximum(a, b)
    scale = log_rising(more, less) + less * torch.log(a + b + SHIFT) - less - torch.lgamma(less)
    return torch.exp(a * log + b * log_rest + scale)
