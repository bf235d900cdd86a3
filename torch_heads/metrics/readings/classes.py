"""Readings of the rank of the label's class, and of whole rows of several labels."""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from torch_heads.families.family import Counts
from torch_heads.metrics.needs import Need, RankCounts, RowTerm
from torch_heads.metrics.readings.reading import Reading, check_number, ratio
from torch_heads.metrics.sums import Sums
from torch_heads.metrics.terms import CoverageDepth, ExactMatchTerm, RankingPrecision


@dataclass(frozen=True)
class RankReading(Reading):
    """A metric of the rank of the label's class among all."""

    higher_is_better = True
    of_counts = True

    def needs(self, counts: Counts) -> Iterable[Need]:
        """Return the counts of ranks."""
        return (RankCounts(),)


@dataclass(frozen=True)
class TopKAccuracy(RankReading):
    """The share of labels whose class is among the ``k`` with the largest logits."""

    k: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "k", "at least 1", lambda k: k >= 1, whole=True)

    def read(self, sums: Sums) -> Tensor:
        """Return the share."""
        ranks = sums.ranks
        return ratio(ranks[..., : self.k].sum(-1), ranks.sum(-1))


@dataclass(frozen=True)
class MeanReciprocalRank(RankReading):
    """The mean of 1 over the rank of the label's class, from 1."""

    def read(self, sums: Sums) -> Tensor:
        """Return the mean."""
        ranks = sums.ranks
        each = torch.arange(1, ranks.shape[-1] + 1, device=ranks.device)
        return ratio((ranks / each).sum(-1), ranks.sum(-1))


@dataclass(frozen=True)
class RowMean(Reading):
    """The weighted mean of a term over rows."""

    @property
    @abstractmethod
    def term(self) -> RowTerm:
        """The term."""

    def needs(self, counts: Counts) -> Iterable[Need]:
        """Return the term."""
        return (self.term,)

    def read(self, sums: Sums) -> Tensor:
        """Return the mean over rows."""
        return sums.row_mean(self.term)


@dataclass(frozen=True)
class ExactMatch(RowMean):
    """The share of rows of which all labels are predicted right (subset accuracy)."""

    higher_is_better = True
    term = ExactMatchTerm()


@dataclass(frozen=True)
class LabelRankingAveragePrecision(RowMean):
    """The mean, over a row's classes, of the share of its classes among those ranked as high."""

    higher_is_better = True
    term = RankingPrecision()


@dataclass(frozen=True)
class CoverageError(RowMean):
    """How far down the ranking one must go, in the mean, to have all of a row's classes."""

    higher_is_better = False
    term = CoverageDepth()
