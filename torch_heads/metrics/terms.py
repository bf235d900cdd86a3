"""Terms: functions of a label and its prediction, whose sums tell what was not counted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_heads.metrics.needs import Elements, Rows, RowTerm, Term


@dataclass(frozen=True)
class SquaredError(Term):
    """``(p - y)^2``."""

    def values(self, seen: Elements) -> Tensor:
        """Return the value of each label."""
        return torch.square(seen.predictions - seen.labels)


@dataclass(frozen=True)
class AbsoluteError(Term):
    """``|p - y|``; of class ids, how many classes lie between, NaN where none is predicted."""

    def values(self, seen: Elements) -> Tensor:
        """Return the value of each label."""
        distance = (seen.predictions - seen.labels).abs().double()
        if not seen.family.takes_ids:
            return distance
        return torch.where(seen.predictions < 0, torch.nan, distance)


@dataclass(frozen=True)
class LossTerm(Term):
    """The loss of the label by its family, unweighted by its class."""

    def values(self, seen: Elements) -> Tensor:
        """Return the value of each label."""
        return seen.family.loss(seen.logits, seen.labels)


@dataclass(frozen=True)
class SquaredLabel(Term):
    """``y^2``."""

    def values(self, seen: Elements) -> Tensor:
        """Return the value of each label."""
        return torch.square(seen.labels)


@dataclass(frozen=True)
class AbsoluteLabel(Term):
    """``|y|``."""

    def values(self, seen: Elements) -> Tensor:
        """Return the value of each label."""
        return seen.labels.abs()


@dataclass(frozen=True)
class SquaredPrediction(Term):
    """``p^2``."""

    def values(self, seen: Elements) -> Tensor:
        """Return the value of each label."""
        return torch.square(seen.predictions)


@dataclass(frozen=True)
class SquaredLogError(Term):
    """``(log(1 + p) - log(1 + y))^2``; NaN below -1."""

    def values(self, seen: Elements) -> Tensor:
        """Return the value of each label."""
        return torch.square(torch.log1p(seen.predictions) - torch.log1p(seen.labels))


@dataclass(frozen=True)
class PercentageError(Term):
    """``|p - y| / |y|``, with a denominator of at least 2.2e-16, as in scikit-learn."""

    def values(self, seen: Elements) -> Tensor:
        """Return the value of each label."""
        least = torch.finfo(torch.float64).eps
        return (seen.predictions - seen.labels).abs() / seen.labels.abs().clamp(min=least)


@dataclass(frozen=True)
class SymmetricPercentageError(Term):
    """``2 |p - y| / (|p| + |y|)``, 0 where both are 0."""

    def values(self, seen: Elements) -> Tensor:
        """Return the value of each label."""
        size = seen.predictions.abs() + seen.labels.abs()
        distance = (seen.predictions - seen.labels).abs()
        return torch.where(size > 0, 2 * distance / size, 0.0)


@dataclass(frozen=True)
class DevianceTerm(Term):
    """The unit deviance of the Tweedie distribution of a power (Jorgensen, 1987).

    0 is the normal distribution, 1 Poisson's, 2 the gamma distribution. NaN where the label or the
    prediction is outside of what the distribution can be.
    """

    power: float

    def values(self, seen: Elements) -> Tensor:
        """Return the value of each label."""
        y, p, power = seen.labels, seen.predictions, self.power
        if power == 0:
            return torch.square(p - y)
        inside = p > 0
        if power > 0:
            inside = inside & (y >= 0 if power < 2 else y > 0)
        if power == 1:
            value = torch.xlogy(y, y / p) - y + p
        elif power == 2:
            value = torch.log(p / y) + y / p - 1
        else:
            value = (
                y.clamp(min=0) ** (2 - power) / ((1 - power) * (2 - power))
                - y * p ** (1 - power) / (1 - power)
                + p ** (2 - power) / (2 - power)
            )
        return torch.where(inside, 2 * value, torch.nan)


@dataclass(frozen=True)
class BrierTerm(Term):
    """``(p - y)^2`` of a score; of class ids, the sum over the classes."""

    def values(self, seen: Elements) -> Tensor:
        """Return the value of each label."""
        if not seen.family.takes_ids:
            return torch.square(seen.predictions - seen.labels)
        scores = seen.family.mean(seen.logits)
        labels = F.one_hot(seen.labels, scores.shape[-1])
        return torch.square(scores - labels).sum(-1)


# Of whole rows.


@dataclass(frozen=True)
class ExactMatchTerm(RowTerm):
    """Whether all labels of a row that are there are predicted right."""

    def values(self, rows: Rows) -> Tensor:
        """Return the value of each row."""
        right = (rows.log_odds > 0) == (rows.labels > 0)
        return (right | ~rows.present).all(-1).double()


@dataclass(frozen=True)
class RowFBeta(RowTerm):
    """The F score of a row's predicted classes; 0 where none is predicted and none is there."""

    beta: float

    def values(self, rows: Rows) -> Tensor:
        """Return the value of each row."""
        predicted = (rows.log_odds > 0) & rows.present
        labels = (rows.labels > 0) & rows.present
        factor = self.beta**2
        both = (predicted & labels).sum(-1).double()
        size = predicted.sum(-1) + factor * labels.sum(-1)
        return torch.where(size > 0, (1 + factor) * both / size, 0.0)


@dataclass(frozen=True)
class RankingPrecision(RowTerm):
    """The mean, over a row's classes, of the share of its classes among those ranked as high.

    1 where all classes are there, or none is, as in scikit-learn.
    """

    def values(self, rows: Rows) -> Tensor:
        """Return the value of each row."""
        labels = (rows.labels > 0) & rows.present
        count, every = labels.sum(-1), rows.present.sum(-1)
        above = at_least(rows, rows.present), at_least(rows, labels)
        share = torch.where(labels, above[1] / above[0], 0.0).sum(-1)
        ranked = (count > 0) & (count < every)
        return torch.where(ranked, share / count, 1.0)


@dataclass(frozen=True)
class CoverageDepth(RowTerm):
    """How far down the ranking one must go to have all of a row's classes; 0 without any."""

    def values(self, rows: Rows) -> Tensor:
        """Return the value of each row."""
        labels = (rows.labels > 0) & rows.present
        depth = torch.where(labels, at_least(rows, rows.present), 0.0)
        return depth.max(-1).values


def at_least(rows: Rows, among: Tensor) -> Tensor:
    """Return, for each class, how many ``among`` all have a logit as high, ``[N, U]``."""
    odds = torch.where(among, rows.log_odds, -torch.inf)
    ascending = odds.sort(-1).values
    below = torch.searchsorted(ascending.contiguous(), rows.log_odds.contiguous())
    return (odds.shape[-1] - below).double()
