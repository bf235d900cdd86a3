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

from torch_heads.families.prior import Prior
from torch_heads.functional.declaration import Declaration, declared
from torch_heads.functional.errors import class_of, unexpected

#: What a family says of its `Family.loss`, and of no other.
OF_LOSS = ("mean_loss", "mean_where", "balanced_loss", "soft_loss", "finite")

PLAIN = (bool, int, float, str, tuple)


class Counts(StrEnum):
    """What the metrics of a family count of each label.

    ============ ===========================================================================
    ``scores``   probabilities in [0, 1], by bin and by label: curves, accuracies
    ``classes``  class ids, by label: confusions
    ``numbers``  means, and the differences of predictions and labels, by bin
    ``times``    times to an event, by what was predicted: concordance, survival
    ============ ===========================================================================
    """

    SCORES = "scores"
    CLASSES = "classes"
    NUMBERS = "numbers"
    TIMES = "times"


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


class LabelPart(NamedTuple):
    """One of several numbers that a user gives for a label: its name, and what it may be."""

    name: str
    lowest: float = -inf
    highest: float = inf
    whole: bool = False


@dataclass(frozen=True)
class Family(Declaration, ABC):
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
        label_parts: the numbers that a user gives for each label, where they are several, such as a
            time and an event; `encode` makes one of them.
        counts: what metrics count.
        quantile_range: between which levels it tells any quantile of a label, as a `Distribution`
            does; None where it tells none.
        ordered: whether the order of class ids means something.
        linked: whether a user's function makes the mean of the logits, which `distribution` does
            not say.
        finite: whether finite logits always give finite losses and gradients, so that logits that
            do not count need not be set to 0.
    """

    lowest: ClassVar[float] = -inf
    highest: ClassVar[float] = inf
    logits_shape: ClassVar[tuple[int, ...]] = ()
    takes_ids: ClassVar[bool] = False
    label_parts: ClassVar[tuple[LabelPart, ...]] = ()
    counts: ClassVar[Counts] = Counts.NUMBERS
    quantile_range: ClassVar[tuple[float, float] | None] = None
    ordered: ClassVar[bool] = False
    linked: ClassVar[bool] = False
    finite: ClassVar[bool] = False

    #: Returns the mean over all labels of `loss`, or of 0 where a label is not ``present``, from
    #: ``logits``, ``labels`` and ``present``; or None. None where a product is as fast.
    mean_where: ClassVar[Callable[..., Tensor | None] | None] = None

    def __init_subclass__(cls) -> None:
        """Forget what is known of another loss, where a subclass has one of its own."""
        super().__init_subclass__()
        for name in OF_LOSS:
            if _depth(cls, "loss") < _depth(cls, name):
                setattr(cls, name, getattr(Family, name))

    @property
    def logits_per_label(self) -> int:
        """How many logits a label has."""
        return prod(self.logits_shape)

    @property
    def distribution(self) -> str:
        """What logits of this family mean, in words that a checkpoint keeps.

        By default the name of the class, with its fields that are plain values; a family with
        fields that change the loss alone leaves these out.
        """
        own = declared(self).items()
        plain = [f"{name}={value!r}" for name, value in own if isinstance(value, PLAIN)]
        return f"{type(self).__name__}({', '.join(plain)})" if plain else type(self).__name__

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

    @property
    def numbers_per_label(self) -> int:
        """How many numbers a user gives for a label."""
        return max(len(self.label_parts), 1)

    @property
    def given_range(self) -> tuple[float, float]:
        """The least and the largest number that a user may give for a label."""
        parts = self.label_parts or (LabelPart("label", self.lowest, self.highest),)
        return min(part.lowest for part in parts), max(part.highest for part in parts)

    @property
    def mean_range(self) -> tuple[float, float]:
        """The least and the largest mean; of class ids, that of the probabilities."""
        return (0.0, 1.0) if self.takes_ids else (self.lowest, self.highest)

    def encode(self, *parts: Tensor) -> Tensor:
        """Return the one number that the computation has for each label, from its parts.

        Args:
            parts: by `label_parts`, each ``[..., U]`` and checked; of any dtype.
        """
        (part,) = parts
        return part

    def mean_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean of `loss` over all labels, a scalar."""
        return self.loss(logits, labels).mean()

    def balanced_loss(self, logits: Tensor, labels: Tensor, balance: ClassBalance) -> Tensor:
        """Return `loss`, corrected for class imbalance.

        Raises:
            TypeError: if its loss has none: labels are no classes, or a subclass has another loss.
        """
        raise TypeError(f"{type(self).__name__}: its loss has no balance of classes.")

    def soft_loss(self, logits: Tensor, probabilities: Tensor, balance: ClassBalance) -> Tensor:
        """Return the loss ``[..., U]`` where labels are class probabilities ``[..., U, K]``.

        Raises:
            TypeError: if its loss takes none.
        """
        raise TypeError(f"{type(self).__name__}: its loss takes no class probabilities.")

    def label_weights(self, labels: Tensor, balance: ClassBalance) -> Tensor | None:
        """Return what else each label counts in a mean over weights, ``[..., U]``; None for 1."""
        return None

    def observed(self, logits: Tensor) -> Tensor:
        """Return what metrics compare with each label, ``[..., U]``: the mean, or a class id."""
        return self.mean(logits)

    def class_logits(self, logits: Tensor) -> Tensor:
        """Return logits of which the softmax is the probability of each class, ``[..., U, K]``.

        By default the logits: those of class ids are one per class.
        """
        return logits

    def moments(self, labels: Tensor) -> Tensor:
        """Return the numbers ``[..., U, S]`` of each label whose means tell the `prior`."""
        return labels.unsqueeze(-1)

    def prior(self, means: Tensor, counts: Tensor) -> Prior:
        """Return the prior of labels of which the means of the `moments` are known.

        By default the link of their mean, and a scale of 1.

        Args:
            means: ``[U, S]``, in float64.
            counts: ``[U]``, how many labels there are, or their weight. What was never seen is
                taken to be as frequent as half a label, so that the prior is finite.

        Raises:
            TypeError: if the mean does not determine the logits.
        """
        offset = self.link(means[:, 0])
        return Prior(offset, torch.ones_like(offset), torch.zeros_like(counts))

    def gradient_unit(self, scale: Tensor) -> Tensor | None:
        """Return the factor ``[U, *logits_shape]`` of the gradient that a prior takes away.

        None, as usual, where the loss alone says how steep it is. A family that weighs the gradient
        by what has the unit of the labels returns that of the prior.

        Args:
            scale: ``[U, *logits_shape]``, of the prior; 1 without one.
        """
        return None

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


def _depth(kind: type, name: str) -> int:
    """Return how far up among the bases of a class a name is defined."""
    return next(i for i, base in enumerate(kind.__mro__) if name in vars(base))


#: What a head predicts of each label: a method of its family, or a function of family and logits.
#: It returns ``[..., U]``, or ``[..., U, k]`` for several numbers per label.
Statistic = Callable[..., Tensor]


def check_family(who: str, family: Any) -> Family:
    """Return a family.

    Raises:
        TypeError: if it is none.
    """
    if not isinstance(family, Family):
        given = class_of(family)
        raise TypeError(unexpected(who, "family", "as a torch_heads.Family", given))
    return family


def logit(probability: Tensor) -> Tensor:
    """Return ``log(p) - log(1 - p)``, finite at 0 and 1.

    >>> logit(torch.tensor([0.0, 0.5])).round(decimals=2)
    tensor([-87.3400,   0.0000])
    """
    tiny = torch.finfo(probability.dtype).tiny
    return probability.clamp(min=tiny).log() - (1 - probability).clamp(min=tiny).log()
