"""Terms of a whole predicted distribution, whose sums tell scores and coverage."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torch_heads.families.distribution import distribution, tails
from torch_heads.metrics.needs import Elements, Term


@dataclass(frozen=True)
class CrpsTerm(Term):
    """The continuous ranked probability score."""

    def values(self, seen: Elements) -> Tensor:
        """Return the value of each label."""
        return distribution(seen.family).crps(seen.logits, seen.labels)


@dataclass(frozen=True)
class OfQuantiles(Term):
    """A term of the quantiles that a ``level`` needs: as it is, the one at that level."""

    level: float

    @property
    def quantiles(self) -> tuple[float, ...]:
        """The levels of these quantiles."""
        return (self.level,)


@dataclass(frozen=True)
class CoveredTerm(OfQuantiles):
    """Whether a label lies in the central interval of a level."""

    @property
    def quantiles(self) -> tuple[float, ...]:
        """The levels of both bounds."""
        return tails(self.level)

    def values(self, seen: Elements) -> Tensor:
        """Return the value of each label."""
        return distribution(seen.family).covered(seen.logits, seen.labels, self.level)


@dataclass(frozen=True)
class QuantileTerm(OfQuantiles):
    """Whether a label does not exceed a quantile."""

    def values(self, seen: Elements) -> Tensor:
        """Return the value of each label."""
        quantile = distribution(seen.family).quantile(seen.logits, self.level)
        return (seen.labels <= quantile).double()


@dataclass(frozen=True)
class QuantilePinballTerm(OfQuantiles):
    """``max(q e, (q - 1) e)``, of the distance ``e`` of a label from a quantile."""

    def values(self, seen: Elements) -> Tensor:
        """Return the value of each label."""
        error = seen.labels - distribution(seen.family).quantile(seen.logits, self.level)
        return torch.maximum(self.level * error, (self.level - 1) * error)
