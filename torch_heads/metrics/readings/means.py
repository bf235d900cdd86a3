"""Readings that are means: of losses, predictions, labels, right class ids."""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from torch_heads.families.family import Counts
from torch_heads.functional.values import safe_divide
from torch_heads.metrics.needs import Need, Term
from torch_heads.metrics.readings.reading import Reading, check_number, ratio
from torch_heads.metrics.sums import Sums, Total
from torch_heads.metrics.terms import BrierTerm, LossTerm


@dataclass(frozen=True)
class Mean(Reading):
    """A weighted mean over all columns: of the predictions, or of the labels."""

    of: int = Total.PREDICTION
    by: int = Total.WEIGHT

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("of", "by"):
            expected, valid = f"in [0, {Total.ALL - 1}]", range(Total.ALL).__contains__
            check_number(self, name, expected, valid, whole=True)

    def read(self, sums: Sums) -> Tensor:
        """Return the weighted sum over the weights; 0 for none, as in tf.estimator."""
        return safe_divide(sums.total(self.of), sums.total(self.by))


@dataclass(frozen=True)
class AverageLoss(Mean):
    """The loss over the sum of the weights: unlike the training loss, and never regularized."""

    higher_is_better = False
    of: int = Total.LOSS
    by: int = Total.LOSS_WEIGHT


@dataclass(frozen=True)
class LogLoss(AverageLoss):
    """The average negative log-likelihood of the labels; the average loss, NaN without labels.

    Of several columns that of each row is the mean over its labels that are there; of one of them
    all labels count alike.
    """

    def needs(self, counts: Counts) -> Iterable[Need]:
        """Return the term of one column's labels."""
        return () if self.column is None else (LossTerm(),)

    def read(self, sums: Sums) -> Tensor:
        """Return the weighted sum over the weights."""
        if self.column is None:
            return ratio(sums.total(self.of), sums.total(self.by))
        return ratio(sums.term(LossTerm()).sum(-1), sums.total(Total.WEIGHT))


@dataclass(frozen=True)
class Skill(AverageLoss):
    """How much less the average loss is than that of the prior: 1 for none, 0 for the prior's.

    It compares heads whatever the units of their labels: ``1 - average_loss / prior_loss``, where
    of a density both are without what they owe to the unit (``origin``).

    Attributes:
        loss: the average loss at the prior.
        origin: what that owes to the unit of the labels, as `families.Prior` says.
    """

    higher_is_better = True
    loss: float = 1.0
    origin: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("loss", "origin"):
            check_number(self, name, "of any size", lambda _: True)

    def read(self, sums: Sums) -> Tensor:
        """Return the skill, NaN without labels, and where the prior leaves no loss."""
        average = ratio(sums.total(self.of), sums.total(self.by))
        return 1 - ratio(average - self.origin, average.new_tensor(self.loss - self.origin))


@dataclass(frozen=True)
class ClassAccuracy(Mean):
    """The share of class ids predicted right."""

    higher_is_better = True
    of_counts = True


@dataclass(frozen=True)
class Coverage(Mean):
    """The share of labels that were there, unweighted."""

    of: int = Total.PRESENT
    by: int = Total.VALID

    def present(self, sums: Sums) -> Tensor:
        """Return whether there was any row."""
        return sums.total(self.by) > 0


@dataclass(frozen=True)
class AccuracyBaseline(Reading):
    """The accuracy of always answering the more frequent class: what labels are, not how good."""

    def read(self, sums: Sums) -> Tensor:
        """Return ``max(m, 1 - m)`` of the label mean ``m``."""
        label, weight = sums.total(Total.LABEL), sums.total(Total.WEIGHT)
        return safe_divide(torch.maximum(label, weight - label), weight)


@dataclass(frozen=True)
class BatchMean(Mean):
    """The plain mean of a loss over update calls: a small last batch counts as a full one."""

    higher_is_better = False
    of: int = 0
    by: int = 1

    def present(self, sums: Sums) -> Tensor:
        """Return whether any call counted."""
        return sums.total(self.by) > 0


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
class BrierScore(TermMean):
    """The mean squared distance of the probabilities and the label (Brier, 1950).

    Of two classes that of the second one's probability; of several, the sum over all classes, where
    a soft label counts as its most likely class.
    """

    higher_is_better = False
    term = BrierTerm()
