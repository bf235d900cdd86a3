"""Readings of whole predicted distributions: scores, and whether intervals hold."""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from torch_heads.families.family import Counts
from torch_heads.metrics.distribution_terms import (
    CoveredTerm,
    CrpsTerm,
    QuantilePinballTerm,
    QuantileTerm,
)
from torch_heads.metrics.needs import Need, Term
from torch_heads.metrics.readings.reading import Reading, check_level, ratio
from torch_heads.metrics.sums import Sums, Total


@dataclass(frozen=True)
class TermMean(Reading):
    """The weighted mean of a term over all columns."""

    @property
    @abstractmethod
    def term(self) -> Term:
        """The term."""

    def needs(self, counts: Counts) -> Iterable[Need]:
        """Return the term."""
        return (self.term,)

    def read(self, sums: Sums) -> Tensor:
        """Return the sum over the weights."""
        return ratio(sums.term(self.term).sum(-1), sums.total(Total.WEIGHT))


@dataclass(frozen=True)
class Crps(TermMean):
    """The mean continuous ranked probability score (Gneiting & Raftery, 2007), in the label's unit.

    Of a distribution that is one number, it is the absolute error.
    """

    higher_is_better: ClassVar[bool | None] = False

    @property
    def term(self) -> Term:
        """The score of a label."""
        return CrpsTerm()


@dataclass(frozen=True)
class IntervalCoverage(TermMean):
    """The share of labels in the central interval of a ``level``: at best, that level."""

    level: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        check_level(self)

    @property
    def term(self) -> Term:
        """Whether a label lies inside."""
        return CoveredTerm(self.level)


@dataclass(frozen=True)
class QuantileCoverage(TermMean):
    """The share of labels that do not exceed the quantile of a ``level``: at best, that level."""

    level: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_level(self)

    @property
    def term(self) -> Term:
        """Whether a label does not exceed it."""
        return QuantileTerm(self.level)


@dataclass(frozen=True)
class QuantilePinball(TermMean):
    """The mean pinball loss of the quantile of a ``level`` (Koenker & Bassett, 1978)."""

    higher_is_better: ClassVar[bool | None] = False
    level: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_level(self)

    @property
    def term(self) -> Term:
        """The loss of a label."""
        return QuantilePinballTerm(self.level)
