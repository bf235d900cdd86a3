"""What a family declares: how many logits a label has, its values, its loss and its links."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import StrEnum
from math import inf, prod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from torch_heads.functional.errors import unexpected


class Counts(StrEnum):
    """What the metrics of a family count of each label.

    ============ ===========================================================================
    ``scores``   probabilities in [0, 1], by bin and by label: curves, accuracies
    ``classes``  class ids, by label: confusions
    ``numbers``  means, and the differences of predictions and labels, by bin
    ============ ===========================================================================
    """

    SCORES = "scores"
    CLASSES = "classes"
    NUMBERS = "numbers"


class ClassBalance(NamedTuple):
    """Corrections of class imbalance, with the meaning they have in `torch.nn.functional`.

    Attributes:
        class_weight: a factor of the loss per class, ``[U]``; ``[U, K]`` for class ids.
        pos_weight: ``[U]``, a factor of the positive labels' loss.
        label_smoothing: ``[U]`` or one number in [0, 1], how far labels move to uniform.
        n_classes: ``[U]``, how many of the ``K`` logits of each label are classes; None for all.
    """

    class_weight: Tensor | None = None
    pos_weight: Tensor | None = None
    label_smoothing: Tensor | float | None = None
    n_classes: Tensor | None = None


NO_BALANCE = ClassBalance()


@dataclass(frozen=True)
class Family(ABC):
    """A distribution of a label given its logits.

    A subclass is a frozen dataclass whose fields are its fixed parameters, if it has any. It
    declares ``logits_shape``, what its labels may be, ``loss`` and ``mean``; it knows nothing of
    weights, reductions or batches. Everywhere ``U`` is the number of labels side by side, of one
    head or of many: logits are ``[..., U, *logits_shape]``, and each label must be treated for
    itself. Heads whose families are equal are computed as one.

    Attributes:
        logits_shape: the shape of one label's logits: ``()`` for one, ``(P,)`` for several. In a
            head's logits ``[..., U * P]``, those of one label stand side by side.
        lowest: the least value of a label.
        highest: the largest value of a label.
        takes_ids: whether labels are class ids, int64; else they have the dtype of the logits.
        counts: what metrics count.
        finite: whether finite logits always give finite losses and gradients, so that logits that
            do not count need not be set to 0.
    """

    lowest: ClassVar[float] = -inf
    highest: ClassVar[float] = inf
    logits_shape: ClassVar[tuple[int, ...]] = ()
    takes_ids: ClassVar[bool] = False
    counts: ClassVar[Counts] = Counts.NUMBERS
    finite: ClassVar[bool] = False

    @property
    def logits_per_label(self) -> int:
        """How many logits a label has."""
        return prod(self.logits_shape)

    @property
    def kernel(self) -> Hashable:
        """What families must have in common for their heads to be computed as one."""
        return self

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each label, ``[..., U]``: its negative log-likelihood.

        Args:
            logits: ``[..., U, *logits_shape]``, floating.
            labels: ``[..., U]``, of the logits' dtype, or int64 class ids.
        """

    @abstractmethod
    def mean(self, logits: Tensor) -> Tensor:
        """Return the mean of each label, ``[..., U]``: the inverse link."""

    def mean_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean of `loss` over all labels, a scalar."""
        return self.loss(logits, labels).mean()

    def balanced_loss(self, logits: Tensor, labels: Tensor, balance: ClassBalance) -> Tensor:
        """Return `loss`, corrected for class imbalance.

        Raises:
            TypeError: if the family has no classes.
        """
        raise TypeError(f"{type(self).__name__}: labels are no classes, and have no balance.")

    def mean_where(self, logits: Tensor, labels: Tensor, present: Tensor) -> Tensor | None:
        """Return the mean over all labels of `loss`, or of 0 where a label is not present.

        None where no kernel is faster than a product with `loss`.
        """
        return None

    def soft_loss(self, logits: Tensor, probabilities: Tensor, balance: ClassBalance) -> Tensor:
        """Return the loss ``[..., U]`` where labels are class probabilities ``[..., U, K]``.

        Raises:
            TypeError: if the family has no classes.
        """
        raise TypeError(f"{type(self).__name__}: labels are no classes, and have no probabilities.")

    def label_weights(self, labels: Tensor, balance: ClassBalance) -> Tensor | None:
        """Return what else each label counts in a mean over weights, ``[..., U]``; None for 1."""
        return None

    def observed(self, logits: Tensor) -> Tensor:
        """Return what metrics compare with each label, ``[..., U]``: the mean, or a class id."""
        return self.mean(logits)

    def log_odds(self, logits: Tensor, scores: Tensor) -> Tensor:
        """Return the log odds ``[..., U]`` of scores, by which metrics count them finely.

        Above 0, the decision is positive.

        Args:
            logits: ``[..., U, *logits_shape]``.
            scores: ``[..., U]``, what `observed` returns of them.
        """
        return torch.logit(scores)

    def link(self, mean: Tensor) -> Tensor:
        """Return logits ``[..., U, *logits_shape]`` of which ``mean`` is the inverse link.

        Raises:
            TypeError: if the mean does not determine the logits.
        """
        raise TypeError(f"{type(self).__name__}: the mean alone does not tell the logits.")

    def logits(self, logits: Tensor) -> Tensor:
        """Return the logits themselves, as a prediction."""
        return logits


#: What a head predicts of each label: a method of its family, or a function of family and logits.
#: It returns ``[..., U]``, or ``[..., U, k]`` for several numbers per label.
Statistic = Callable[..., Tensor]


def check_family(who: str, family: Any) -> Family:
    """Return a family.

    Raises:
        TypeError: if it is none.
    """
    if not isinstance(family, Family):
        given = type(family).__name__
        raise TypeError(unexpected(who, "family", "as a torch_heads.Family", given))
    return family


def logit(probability: Tensor) -> Tensor:
    """Return ``log(p) - log(1 - p)``, finite at 0 and 1.

    >>> logit(torch.tensor([0.0, 0.5])).round(decimals=2)
    tensor([-87.3400,   0.0000])
    """
    tiny = torch.finfo(probability.dtype).tiny
    return probability.clamp(min=tiny).log() - (1 - probability).clamp(min=tiny).log()
