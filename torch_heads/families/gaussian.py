"""The family of real numbers with a scale of their own."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt
from typing import ClassVar

import torch
from torch import Tensor

from torch_heads.families.distribution import Distribution, bounded_log
from torch_heads.families.prior import Prior, mean_and_spread
from torch_heads.functional.special import LOG_SQRT_2_PI, normal_cdf, normal_density


@dataclass(frozen=True)
class Gaussian(Distribution):
    """A number around a location: of each label the location, and the log of the scale.

    ``beta`` weighs the gradient, and not the loss, by ``scale ** (2 * beta)`` (Seitzer et al., "On
    the Pitfalls of Heteroscedastic Uncertainty Estimation", 2022): at 0 a label that is badly
    predicted has its scale grown and its location left alone; at 1 the location learns as by
    squared errors. With a prior, the scale is in units of the labels' deviation.
    """

    beta: float = 0.5
    logits_shape: ClassVar[tuple[int, ...]] = (2,)

    @property
    def distribution(self) -> str:
        """What logits mean: the same for every ``beta``, which weighs the gradient alone."""
        return "Gaussian"

    def mean(self, logits: Tensor) -> Tensor:
        """Return the location."""
        return logits[..., 0]

    observed = mean

    def scale(self, logits: Tensor) -> Tensor:
        """Return the standard deviation, positive and finite for all logits."""
        return bounded_log(logits[..., 1]).exp()

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return ``((y - m) / s) ** 2 / 2 + log(s) + log(2 pi) / 2``.

        >>> Gaussian().loss(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[2.0]]))
        tensor([[1.4189]])
        """
        location, log_scale = logits.unbind(-1)
        log_scale = bounded_log(log_scale)
        error = (labels - location) * torch.exp(-log_scale)
        loss = error.square() / 2 + log_scale + LOG_SQRT_2_PI
        if not self.beta:
            return loss
        # the loss itself, of whose gradient the weight is a factor
        return torch.lerp(loss.detach(), loss, torch.exp(2 * self.beta * log_scale.detach()))

    def prior(self, means: Tensor, counts: Tensor) -> Prior:
        """Return mean and log of the standard deviation; the location moves by that deviation."""
        mean, spread = mean_and_spread(means)
        offset = torch.stack([mean, spread.log()], dim=-1)
        return Prior(offset, torch.stack([spread, torch.ones_like(spread)], -1), spread.log())

    def gradient_unit(self, scale: Tensor) -> Tensor | None:
        """Return the weight of the gradient at the labels' deviation, which is the first scale."""
        return scale[..., :1].expand(scale.shape) ** (2 * self.beta) if self.beta else None

    def quantile(self, logits: Tensor, q: float) -> Tensor:
        """Return ``m + s * z``, with the quantile ``z`` of the standard normal distribution."""
        share = torch.full((), q, dtype=torch.float64, device=logits.device)
        z: Tensor = torch.special.ndtri(share)
        return self.mean(logits) + self.scale(logits) * z

    def crps(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the continuous ranked probability score (Gneiting et al., 2005, equation 5)."""
        scale = self.scale(logits)
        z = (labels - self.mean(logits)) / scale
        return scale * (z * (2 * normal_cdf(z) - 1) + 2 * normal_density(z) - 1 / sqrt(pi))
