"""The family of real numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_heads.families.family import Family
from torch_heads.families.prior import Prior, mean_and_spread


@dataclass(frozen=True)
class Normal(Family):
    """A real number, by the squared error (no factor of a half)."""

    def mean(self, logits: Tensor) -> Tensor:
        """Return the logits themselves."""
        return logits

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return ``(y - z) ** 2``."""
        return torch.square(labels - logits)

    observed = mean

    def mean_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean of `loss`, by one kernel."""
        return F.mse_loss(logits, labels)

    def moments(self, labels: Tensor) -> Tensor:
        """Return each number and its square."""
        return torch.stack([labels, labels.square()], dim=-1)

    def prior(self, means: Tensor, counts: Tensor) -> Prior:
        """Return the mean, and the standard deviation as the scale."""
        mean, spread = mean_and_spread(means)
        return Prior(mean, spread, torch.zeros_like(mean))

    def link(self, mean: Tensor) -> Tensor:
        """Return the mean itself."""
        return mean
