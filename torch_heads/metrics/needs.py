"""Needs: what a reading asks a tally to keep of each label.

A tally keeps what the readings of its heads need, and no more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from torch_heads.families.family import Family
from torch_heads.functional.declaration import Declaration


@dataclass(frozen=True)
class Need(Declaration, ABC):
    """Something that a tally can keep of some label columns."""


@dataclass(frozen=True)
class Totals(Need):
    """The sums that every tally keeps, named by `Total`."""


@dataclass(frozen=True)
class ScoreCounts(Need):
    """Scores, counted by bin and kind of label."""


@dataclass(frozen=True)
class ResidualCounts(Need):
    """Residuals of numbers, counted by bin."""


@dataclass(frozen=True)
class Confusions(Need):
    """Class ids, counted by label and prediction."""


@dataclass(frozen=True)
class ClassCounts(Need):
    """Class ids, counted by class: right ones, predictions, labels. `Confusions` tell these."""


@dataclass(frozen=True)
class RankCounts(Need):
    """The rank of the label's class among all classes by their logits, counted."""


@dataclass(frozen=True)
class ClassScoreCounts(Need):
    """The probability of each class against the others, counted by bin as scores are."""


@dataclass(frozen=True)
class TimeCounts(Need):
    """Times to an event, counted by cell, by whether they are censored, and by the prediction."""


@dataclass(frozen=True)
class SurvivalSums(Need):
    """The predicted curves of survival, summed."""


class Elements(NamedTuple):
    """Labels side by side, of which a term is summed.

    Attributes:
        family: the distribution of these labels.
        labels: ``[N, U]``; as predictions and logits in float64, or int64 class ids.
        predictions: ``[N, U]``, what metrics compare with each label.
        logits: ``[N, U, *logits_shape]``; padded classes are -inf.
    """

    family: Family
    labels: Tensor
    predictions: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Term(Need, ABC):
    """A function of a label and its logits, whose weighted sum is kept.

    A subclass is a frozen dataclass whose fields are its parameters.
    """

    @abstractmethod
    def values(self, seen: Elements) -> Tensor:
        """Return the value of each label, ``[N, U]``."""


class Rows(NamedTuple):
    """The rows of one head with several label columns.

    Attributes:
        labels: ``[N, U]``, 1 where a class is there.
        log_odds: ``[N, U]``; above 0, the class is predicted.
        present: ``[N, U]``, whether there is a label.
    """

    labels: Tensor
    log_odds: Tensor
    present: Tensor


@dataclass(frozen=True)
class RowTerm(Need, ABC):
    """A function of a whole row of labels, whose weighted mean over rows is kept."""

    @abstractmethod
    def values(self, rows: Rows) -> Tensor:
        """Return the value of each row, ``[N]``."""
