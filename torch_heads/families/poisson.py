"""The family of counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_heads.families.family import Family
from torch_heads.families.prior import Prior


@dataclass(frozen=True)
class Poisson(Family):
    """A count, by its log rate; ``full`` adds the label's own term, so that losses compare."""

    lowest: ClassVar[float] = 0.0
    full: bool = True

    def mean(self, logits: Tensor) -> Tensor:
        """Return the rate, ``exp(z)``."""
        return torch.exp(logits)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return ``exp(z) - z * y``, with Stirling's ``log(y!)`` for ``y > 1`` where ``full``.

        >>> Poisson().loss(torch.tensor([0.5]), torch.tensor([5.0]))
        tensor([3.9196])
        """
        return F.poisson_nll_loss(logits, labels, log_input=True, full=self.full, reduction="none")

    observed = mean

    @property
    def distribution(self) -> str:
        """What logits mean: the same with and without the label's own term."""
        return "Poisson"

    def mean_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean of `loss`, by one kernel."""
        return F.poisson_nll_loss(logits, labels, log_input=True, full=self.full)

    def moments(self, labels: Tensor) -> Tensor:
        """Return each count, and the term of it that a loss which is not full lacks."""
        term = torch.zeros_like(labels)
        if not self.full:
            zeros = torch.zeros_like(labels)
            term = Poisson().loss(zeros, labels) - self.loss(zeros, labels)
        return torch.stack([labels, term], dim=-1)

    def prior(self, means: Tensor, counts: Tensor) -> Prior:
        """Return the log of the mean."""
        mean, term = means.unbind(-1)
        offset = self.link(mean.clamp(min=0.5 / counts.clamp(min=1)))
        return Prior(offset, torch.ones_like(offset), -term)

    def link(self, mean: Tensor) -> Tensor:
        """Return the log rate, finite at 0."""
        return mean.clamp(min=torch.finfo(mean.dtype).tiny).log()
