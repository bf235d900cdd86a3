"""The family of numbers of which quantiles are predicted."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import NormalDist
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_heads.families.distribution import Distribution
from torch_heads.families.prior import Prior, mean_and_spread
from torch_heads.functional.constants import Constants
from torch_heads.functional.errors import unexpected
from torch_heads.functional.running import running_total
from torch_heads.functional.special import inverse_softplus


@dataclass(frozen=True)
class Quantiles(Distribution):
    """A number by its quantiles at ascending levels: the lowest, and the steps between neighbours.

    A step is the softplus of its logit, so that quantiles cannot cross.
    """

    levels: tuple[float, ...]
    finite: ClassVar[bool] = True
    constants: Constants = field(init=False, repr=False, compare=False)
    middle: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Keep the levels as a tensor, too, and the place of the one nearest to the median."""
        distances = [abs(level - 0.5) for level in self.levels]
        object.__setattr__(self, "middle", distances.index(min(distances)))
        levels = torch.tensor(self.levels, dtype=torch.float64, device="cpu")
        object.__setattr__(self, "constants", Constants(levels=levels))

    @property
    def logits_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """One logit per level."""
        return (len(self.levels),)

    @property
    def quantile_range(self) -> tuple[float, float]:  # type: ignore[override]
        """Quantiles are told between the lowest and the highest level."""
        return self.levels[0], self.levels[-1]

    def quantiles(self, logits: Tensor) -> Tensor:
        """Return the quantile at each level, ``[..., U, Q]``, ascending."""
        lowest, steps = logits[..., :1], F.softplus(logits[..., 1:])
        return running_total(torch.cat([lowest, steps], dim=-1))

    def mean(self, logits: Tensor) -> Tensor:
        """Return the median, or the quantile at the level nearest to it."""
        return self.quantiles(logits)[..., self.middle]

    observed = mean

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean over the levels of the `pinball` losses.

        >>> Quantiles((0.1, 0.5)).loss(torch.tensor([[[0.0, 0.0]]]), torch.tensor([[1.0]]))
        tensor([[0.1267]])
        """
        return self.pinball(logits, labels).mean(-1)

    def pinball(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return ``max(q * e, (q - 1) * e)`` of each level, ``[..., U, Q]`` (Koenker, 1978)."""
        error = labels.unsqueeze(-1) - self.quantiles(logits)
        levels = self.constants.on(logits.device)["levels"].to(error.dtype)
        return torch.maximum(levels * error, (levels - 1) * error)

    def prior(self, means: Tensor, counts: Tensor) -> Prior:
        """Return the quantiles of a normal distribution of the labels' mean and deviation.

        The lowest moves by that deviation; a step by its own size, so that it is as easily doubled
        in every unit.
        """
        mean, spread = mean_and_spread(means)
        z = means.new_tensor([NormalDist().inv_cdf(level) for level in self.levels])
        lowest = (mean + spread * z[0]).unsqueeze(-1)
        steps = spread.unsqueeze(-1) * z.diff()
        offset = torch.cat([lowest, inverse_softplus(steps)], dim=-1)
        scale = torch.cat([spread.unsqueeze(-1), -steps / torch.expm1(-steps)], dim=-1)
        return Prior(offset, scale, torch.zeros_like(mean))

    def quantile(self, logits: Tensor, q: float) -> Tensor:
        """Return the quantile at a level, linear between those that are predicted.

        Raises:
            ValueError: if ``q`` lies beyond the levels.
        """
        low, high = self.quantile_range
        if not low <= q <= high:
            raise ValueError(unexpected("Quantiles", "q", f"in [{low:g}, {high:g}]", q))
        values = self.quantiles(logits)
        after = next(i for i, level in enumerate(self.levels) if level >= q)
        if self.levels[after] == q:
            return values[..., after]
        before, level = after - 1, self.levels[after - 1]
        share = (q - level) / (self.levels[after] - level)
        return torch.lerp(values[..., before], values[..., after], share)
