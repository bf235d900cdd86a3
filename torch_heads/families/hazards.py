"""The families of stages that are passed one after the other."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_heads.families.family import Family, logit
from torch_heads.families.prior import Prior, seen_share
from torch_heads.functional.running import running_total
from torch_heads.functional.values import safe_divide


@dataclass(frozen=True)
class Hazards(Family):
    """How many of ``K`` stages are passed: of each stage, the log odds to stop there.

    A label ``y`` of ``K`` or less is the stage that was stopped at, from 0; ``K`` stands for all
    passed. One half more stands for "that stage passed, and then lost from sight": it is censored.
    The loss is that of the continuation ratio, which is the one of the discrete hazard (Tutz &
    Schmid, "Modeling Discrete Time-to-Event Data", 2016), and that of CORN (Shi et al., 2021) but
    for its normalisation.
    """

    lowest: ClassVar[float] = 0.0
    finite: ClassVar[bool] = True

    @property
    @abstractmethod
    def stages(self) -> int:
        """How many stages there are."""

    @property
    def logits_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """One logit per stage."""
        return (self.stages,)

    @property
    def highest(self) -> float:  # type: ignore[override]
        """All stages passed."""
        return float(self.stages)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of the sigmoid cross entropies of all stages that were reached."""
        stage = torch.arange(self.stages, device=logits.device)
        label = labels.unsqueeze(-1)
        stopped, reached = (stage == label).to(logits.dtype), (stage <= label).to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, stopped, reached, reduction="none").sum(
            -1
        )

    def moments(self, labels: Tensor) -> Tensor:
        """Return whether each label stopped at each stage, and whether it reached it, ``2 K``."""
        stage, label = torch.arange(self.stages, device=labels.device), labels.unsqueeze(-1)
        return torch.cat([stage == label, stage <= label], dim=-1).double()

    def prior(self, means: Tensor, counts: Tensor) -> Prior:
        """Return the log odds of the share that stopped at each stage, of those who reached it."""
        stopped, reached = means.chunk(2, dim=-1)
        share = seen_share(safe_divide(stopped, reached), reached * counts.unsqueeze(-1))
        offset = logit(share)
        return Prior(offset, torch.ones_like(offset), torch.zeros_like(counts))

    def hazards(self, logits: Tensor) -> Tensor:
        """Return the probability to stop at each stage of those who reach it, ``[..., U, K]``."""
        return torch.sigmoid(logits)

    def survival(self, logits: Tensor) -> Tensor:
        """Return the probability to pass each stage, ``[..., U, K]``; it never rises."""
        return torch.exp(-running_total(F.softplus(logits)))
