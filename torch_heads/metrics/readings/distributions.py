"""Readings of whole predicted distributions: scores, and whether intervals hold."""

from dataclasses import dataclass

from torch_heads.metrics.distribution_terms import (
    CoveredTerm,
    CrpsTerm,
    QuantilePinballTerm,
    QuantileTerm,
)
from torch_heads.metrics.needs import Term
from torch_heads.metrics.readings.means import TermMean
from torch_heads.metrics.readings.reading import check_level


@dataclass(frozen=True)
class Crps(TermMean):
    """The mean continuous ranked probability score (Gneiting & Raftery, 2007), in the label's unit.

    Of a distribution that is one number, it is the absolute error.
    """

    higher_is_better = False

    term = CrpsTerm()


@dataclass(frozen=True)
class LevelMean(TermMean):
    """The weighted mean of a term of the quantiles that a ``level`` needs."""

    level: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_level(self)


@dataclass(frozen=True)
class IntervalCoverage(LevelMean):
    """The share of labels in the central interval of a ``level``: at best, that level."""

    level: float = 0.9

    @property
    def term(self) -> Term:
        """Whether a label lies inside."""
        return CoveredTerm(self.level)


@dataclass(frozen=True)
class QuantileCoverage(LevelMean):
    """The share of labels that do not exceed the quantile of a ``level``: at best, that level."""

    @property
    def term(self) -> Term:
        """Whether a label does not exceed it."""
        return QuantileTerm(self.level)


@dataclass(frozen=True)
class QuantilePinball(LevelMean):
    """The mean pinball loss of the quantile of a ``level`` (Koenker & Bassett, 1978)."""

    higher_is_better = False

    @property
    def term(self) -> Term:
        """The loss of a label."""
        return QuantilePinballTerm(self.level)
