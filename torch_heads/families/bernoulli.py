"""The family of a yes or no."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_heads.families.family import ClassBalance, Counts, Family, logit
from torch_heads.families.prior import Prior, seen_share


@dataclass(frozen=True)
class Bernoulli(Family):
    """One yes or no per logit, by the sigmoid; labels in [0, 1], soft ones too."""

    lowest: ClassVar[float] = 0.0
    highest: ClassVar[float] = 1.0
    counts: ClassVar[Counts] = Counts.SCORES
    finite: ClassVar[bool] = True

    def mean(self, logits: Tensor) -> Tensor:
        """Return the probability of yes."""
        return torch.sigmoid(logits)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return ``max(z, 0) - z * y + log(1 + exp(-|z|))``, the stable sigmoid cross entropy.

        >>> Bernoulli().loss(torch.tensor([[0.0], [-41.0]]), torch.ones(2, 1))
        tensor([[ 0.6931],
                [41.0000]])
        """
        return F.binary_cross_entropy_with_logits(logits, labels, reduction="none")

    def balanced_loss(self, logits: Tensor, labels: Tensor, balance: ClassBalance) -> Tensor:
        """Return `loss`, corrected as `torch.nn.functional` does."""
        smoothing = balance.label_smoothing
        if smoothing is not None:
            labels = labels * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(
            logits, labels, balance.class_weight, reduction="none", pos_weight=balance.pos_weight
        )

    observed = mean  # metrics see the probability

    def log_odds(self, logits: Tensor, scores: Tensor) -> Tensor:
        """Return the logits."""
        return logits

    def mean_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean of `loss`, by one kernel."""
        return F.binary_cross_entropy_with_logits(logits, labels)

    def prior(self, means: Tensor, counts: Tensor) -> Prior:
        """Return the log odds of the share of yes."""
        return super().prior(seen_share(means, counts.unsqueeze(-1)), counts)

    def link(self, mean: Tensor) -> Tensor:
        """Return the log odds."""
        return logit(mean)

    def class_ids(self, logits: Tensor) -> Tensor:
        """Return 1 where the logit is above 0, else 0."""
        return (logits > 0).to(torch.int64)

    def class_probabilities(self, logits: Tensor) -> Tensor:
        """Return the probabilities of no and of yes, ``[..., U, 2]``."""
        return torch.sigmoid(torch.stack([-logits, logits], dim=-1))

    def all_class_ids(self, logits: Tensor) -> Tensor:
        """Return 0 and 1 for each label, ``[..., U, 2]``."""
        return torch.arange(2, device=logits.device).expand(*logits.shape, 2)
