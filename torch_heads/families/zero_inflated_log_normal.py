"""The family of amounts that are often 0."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_heads.families.distribution import Distribution
from torch_heads.families.family import logit
from torch_heads.families.prior import Prior, mean_and_spread, seen_share
from torch_heads.functional.special import LOG_SQRT_2_PI, inverse_softplus, normal_cdf
from torch_heads.functional.values import safe_divide

LEAST_SCALE = 1e-4  # whose square is not lost in float32


@dataclass(frozen=True)
class ZeroInflatedLogNormal(Distribution):
    """An amount that is 0, or else log-normal: of each label three logits.

    They are the log odds of being positive, the mean of the log amount, and what the softplus makes
    its scale (Wang et al., "A Deep Probabilistic Model for Customer Lifetime Value Prediction",
    2019).
    """

    lowest: ClassVar[float] = 0.0
    logits_shape: ClassVar[tuple[int, ...]] = (3,)

    def mean(self, logits: Tensor) -> Tensor:
        """Return ``p * exp(m + s ** 2 / 2)``."""
        # one exponential: a probability of 0 times a mean that overflows would be NaN
        return torch.exp(F.logsigmoid(logits[..., 0]) + self._log_positive_mean(logits))

    observed = mean

    def probability_positive(self, logits: Tensor) -> Tensor:
        """Return ``p``, the probability that the amount is not 0."""
        return torch.sigmoid(logits[..., 0])

    def scale(self, logits: Tensor) -> Tensor:
        """Return ``s``, the standard deviation of the log of amounts that are not 0."""
        return F.softplus(logits[..., 2]) + LEAST_SCALE

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return ``-log(1 - p)`` of 0, else ``-log(p)`` and the loss of the log-normal amount.

        That is ``log(y) + log(s) + log(2 pi) / 2 + ((log(y) - m) / s) ** 2 / 2``.

        >>> z = torch.tensor([[[0.0, 0.0, 0.5413]], [[0.0, 0.0, 0.5413]]])
        >>> ZeroInflatedLogNormal().loss(z, torch.tensor([[0.0], [1.0]])).round(decimals=3)
        tensor([[0.6930],
                [1.6120]])
        """
        odds, location, _ = logits.unbind(-1)
        positive = labels > 0
        log_labels = torch.where(positive, labels, 1.0).log()
        scale = self.scale(logits)
        amount = ((log_labels - location) / scale).square() / 2 + scale.log() + LOG_SQRT_2_PI
        chance = F.softplus(torch.where(positive, -odds, odds))
        return chance + torch.where(positive, amount + log_labels, 0.0)

    def moments(self, labels: Tensor) -> Tensor:
        """Return whether each amount is positive, and its log and the square of that if so."""
        positive = labels > 0
        log = torch.where(positive, labels, 1.0).log()
        return torch.stack([positive.to(labels.dtype), log, log.square()], dim=-1)

    def prior(self, means: Tensor, counts: Tensor) -> Prior:
        """Return the log odds of being positive, and mean and deviation of the log of amounts."""
        positive = means[:, :1]
        location, spread = mean_and_spread(safe_divide(means[:, 1:], positive))
        odds = logit(seen_share(positive[:, 0], counts))
        ones = torch.ones_like(odds)
        raw = inverse_softplus((spread - LEAST_SCALE).clamp(min=LEAST_SCALE))
        offset = torch.stack([odds, location, raw], dim=-1)
        return Prior(offset, torch.stack([ones, spread, ones], dim=-1), means[:, 1])

    def quantile(self, logits: Tensor, q: float) -> Tensor:
        """Return the quantile; 0 up to the probability of 0."""
        p = self.probability_positive(logits)
        share = (q - (1 - p)) / p
        z = torch.special.ndtri(share.clamp(0, 1))
        amount = torch.exp(logits[..., 1] + self.scale(logits) * z)
        return torch.where(share > 0, amount, 0.0)

    def crps(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return ``E|X - y| - E|X - X'| / 2``, from those of the log-normal amount.

        They are in Baran & Lerch, "Log-normal distribution based ensemble model output statistics"
        (2015).
        """
        p, scale = self.probability_positive(logits), self.scale(logits)
        mean = self.mean(logits)  # of all amounts, and so p times that of those above 0
        z = (labels.log() - logits[..., 1]) / scale  # -inf of 0
        distance = p * labels * (2 * normal_cdf(z) - 1) + mean * (1 - 2 * normal_cdf(z - scale))
        spread = 2 * mean * (2 * normal_cdf(scale / sqrt(2)) - 1)
        return (1 - p) * labels + distance - (1 - p) * mean - p * spread / 2

    def _log_positive_mean(self, logits: Tensor) -> Tensor:
        return logits[..., 1] + self.scale(logits).square() / 2
