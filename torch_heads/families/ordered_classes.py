"""The family of one class out of several that have an order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_heads.families.family import Counts
from torch_heads.families.hazards import Hazards
from torch_heads.functional.running import running_total


@dataclass(frozen=True)
class OrderedClasses(Hazards):
    """One of ``n_classes`` ascending classes, a stage less than these; labels are class ids."""

    n_classes: int
    takes_ids: ClassVar[bool] = True
    ordered: ClassVar[bool] = True
    counts: ClassVar[Counts] = Counts.CLASSES

    @property
    def stages(self) -> int:
        """One between each class and the next."""
        return self.n_classes - 1

    def mean(self, logits: Tensor) -> Tensor:
        """Return the probability of each class, ``[..., U, n_classes]``.

        >>> OrderedClasses(3).mean(torch.zeros(1, 2))
        tensor([[0.5000, 0.2500, 0.2500]])
        """
        one = torch.ones_like(logits[..., :1])
        reached = torch.cat([one, self.survival(logits)], dim=-1)
        return reached * torch.cat([self.hazards(logits), one], dim=-1)

    def class_logits(self, logits: Tensor) -> Tensor:
        """Return the log of the probability of each class."""
        passed = running_total(F.softplus(logits))
        reached = torch.cat([torch.zeros_like(passed[..., :1]), passed], dim=-1)
        stopped = torch.cat([F.logsigmoid(logits), torch.zeros_like(logits[..., :1])], dim=-1)
        return stopped - reached

    def link(self, mean: Tensor) -> Tensor:
        """Return the log odds of each class among it and those above, finite at 0."""
        tiny = torch.finfo(mean.dtype).tiny
        above = mean.flip(-1).cumsum(-1).flip(-1)[..., 1:]
        return mean[..., :-1].clamp(min=tiny).log() - above.clamp(min=tiny).log()

    def class_ids(self, logits: Tensor) -> Tensor:
        """Return the likeliest class, the first of equals."""
        return self.mean(logits).argmax(-1)

    def observed(self, logits: Tensor) -> Tensor:
        """Return the likeliest class, the first of equals; -1 for none where a logit is NaN."""
        most, ids = self.mean(logits).max(-1)
        return ids.masked_fill(most.isnan(), -1)

    def all_class_ids(self, logits: Tensor) -> Tensor:
        """Return the ids of all classes for each label, ``[..., U, n_classes]``."""
        ids = torch.arange(self.n_classes, device=logits.device)
        return ids.expand(*logits.shape[:-1], self.n_classes)
