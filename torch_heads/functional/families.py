"""Families of distributions: an inverse link, and the loss of one element.

A family is a pure declaration. It knows nothing of example weights, reductions or batches; losses
come out one per label column, in the floating dtype of the logits.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import inf
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_heads.functional.groups import Groups

FEW_CLASSES = 15  # up to which PyTorch's kernel for CPUs is several times slower than the formula


class Balance(NamedTuple):
    """Corrections of class imbalance, with the meaning they have in `torch.nn.functional`.

    Attributes:
        class_weight: ``[C]``, a factor of the loss per class.
        pos_weight: ``[C]``, a factor of the positive labels' loss.
        label_smoothing: ``[U]`` or one number in [0, 1], how far labels move to uniform.
    """

    class_weight: Tensor | None = None
    pos_weight: Tensor | None = None
    label_smoothing: Tensor | float | None = None


@dataclass(frozen=True)
class Family(ABC):
    """A distribution of the label given the logits. Families of equal parameters share a kernel."""

    lowest: ClassVar[float] = -inf
    highest: ClassVar[float] = inf

    def label_dtype(self, logits: Tensor) -> torch.dtype:
        """Return the dtype in which `loss` wants its labels."""
        return logits.dtype

    @abstractmethod
    def mean(self, logits: Tensor) -> Tensor:
        """Return the inverse link of each logit, of the logits' shape."""

    @abstractmethod
    def loss(
        self,
        logits: Tensor,
        labels: Tensor,
        groups: Groups | None = None,
        balance: Balance | None = None,
    ) -> Tensor:
        """Return the loss of each label column, ``[D*, U]``.

        That is the negative log-likelihood, up to a factor or a term without the logits.

        Args:
            logits: ``[D*, C]``, floating; with ``groups``, as `Groups.pad` returns them with -inf.
            labels: ``[D*, U]``, of the logits' dtype, or int64 class ids.
            groups: which logits belong to each column of class ids; by default all to one.
            balance: corrections of class imbalance, where the family has classes.
        """

    def mean_loss(self, logits: Tensor, labels: Tensor, groups: Groups | None = None) -> Tensor:
        """Return the mean of `loss`, a scalar."""
        return self.loss(logits, labels, groups).mean()

    def observed(self, logits: Tensor, groups: Groups | None = None) -> Tensor:
        """Return what metrics see of each label column: the mean, unless said otherwise."""
        return self.mean(logits)


@dataclass(frozen=True)
class Bernoulli(Family):
    """One yes or no per logit, by the sigmoid; labels in [0, 1], soft ones too."""

    lowest: ClassVar[float] = 0.0
    highest: ClassVar[float] = 1.0

    def mean(self, logits: Tensor) -> Tensor:
        """Return the probability of yes."""
        return torch.sigmoid(logits)

    def loss(
        self,
        logits: Tensor,
        labels: Tensor,
        groups: Groups | None = None,
        balance: Balance | None = None,
    ) -> Tensor:
        """Return ``max(z, 0) - z * y + log(1 + exp(-|z|))``, the stable sigmoid cross entropy.

        >>> Bernoulli().loss(torch.tensor([[0.0], [-41.0]]), torch.ones(2, 1))
        tensor([[ 0.6931],
                [41.0000]])
        """
        class_weight, pos_weight, smoothing = balance or Balance()
        if smoothing is not None:
            labels = labels * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(
            logits, labels, class_weight, reduction="none", pos_weight=pos_weight
        )

    def mean_loss(self, logits: Tensor, labels: Tensor, groups: Groups | None = None) -> Tensor:
        """Return the mean of `loss`, by one kernel."""
        return F.binary_cross_entropy_with_logits(logits, labels)


@dataclass(frozen=True)
class Categorical(Family):
    """One class out of several, by the softmax over a group of logits; labels are class ids."""

    lowest: ClassVar[float] = 0.0

    def label_dtype(self, logits: Tensor) -> torch.dtype:
        """Return int64: labels are class ids."""
        return torch.int64

    def mean(self, logits: Tensor) -> Tensor:
        """Return the probability of each class of one group, over the last axis."""
        return torch.softmax(logits, dim=-1)

    def loss(
        self,
        logits: Tensor,
        labels: Tensor,
        groups: Groups | None = None,
        balance: Balance | None = None,
    ) -> Tensor:
        """Return ``logsumexp(z) - z[y]`` of each group of logits.

        >>> z = torch.tensor([[10.0, 0.0, 0.0], [0.0, 10.0, 0.0]])
        >>> Categorical().loss(z, torch.tensor([[1], [1]])).round(decimals=2)
        tensor([[10.],
                [ 0.]])
        """
        groups = groups or Groups([logits.shape[-1]])
        class_weight, _, smoothing = balance or Balance()
        parts = [log_softmax_terms(part) for part in groups.spread(logits)]
        losses = groups.gather(
            [
                (total - shifted.gather(-1, ids.unsqueeze(-1))).squeeze(-1)
                for (shifted, total), ids in zip(parts, groups.pick(labels), strict=True)
            ]
        )
        if class_weight is not None:
            losses = losses * class_weights(labels, groups, class_weight)
        if smoothing is None:
            return losses
        own_classes = groups.pad(logits.new_ones(sum(groups.widths)), 0.0)
        weights = own_classes if class_weight is None else groups.pad(class_weight, 0.0)
        uniform = groups.gather(
            [
                # the padding's weight is 0, its loss infinite: 0 * inf would be NaN
                (torch.where(own > 0, total - shifted, 0.0) * own).sum(-1) / count.sum(-1)
                for (shifted, total), own, count in zip(
                    parts,
                    groups.spread(weights),
                    groups.spread(own_classes),
                    strict=True,
                )
            ]
        )
        return losses * (1 - smoothing) + uniform * smoothing

    def observed(self, logits: Tensor, groups: Groups | None = None) -> Tensor:
        """Return the likeliest class of each group, the first of equals."""
        groups = groups or Groups([logits.shape[-1]])
        # on a CPU, the place of the maximum comes two to three times faster from max than argmax
        return groups.gather([part.max(-1).indices for part in groups.spread(logits)])


@dataclass(frozen=True)
class Normal(Family):
    """A real number, by the squared error (no factor of a half)."""

    def mean(self, logits: Tensor) -> Tensor:
        """Return the logits themselves."""
        return logits

    def loss(
        self,
        logits: Tensor,
        labels: Tensor,
        groups: Groups | None = None,
        balance: Balance | None = None,
    ) -> Tensor:
        """Return ``(y - z) ** 2``."""
        return torch.square(labels - logits)


@dataclass(frozen=True)
class Poisson(Family):
    """A count, by its log rate; ``full`` adds the label's own term, so that losses compare."""

    lowest: ClassVar[float] = 0.0
    full: bool = True

    def mean(self, logits: Tensor) -> Tensor:
        """Return the rate, ``exp(z)``."""
        return torch.exp(logits)

    def loss(
        self,
        logits: Tensor,
        labels: Tensor,
        groups: Groups | None = None,
        balance: Balance | None = None,
    ) -> Tensor:
        """Return ``exp(z) - z * y``, with Stirling's ``log(y!)`` for ``y > 1`` where ``full``.

        >>> Poisson().loss(torch.tensor([0.5]), torch.tensor([5.0]))
        tensor([3.9196])
        """
        return F.poisson_nll_loss(logits, labels, log_input=True, full=self.full, reduction="none")


def log_softmax_terms(logits: Tensor) -> tuple[Tensor, Tensor | float]:
    """Return minuend and subtrahend of `torch.log_softmax` over the last axis.

    For few classes on a CPU the two stay apart, so that who needs one entry does not compute all.
    """
    if logits.shape[-1] > FEW_CLASSES or not logits.is_cpu:
        return torch.log_softmax(logits, -1), 0.0
    shifted = logits - logits.detach().amax(-1, keepdim=True)
    return shifted, shifted.exp().sum(-1, keepdim=True).log()


def class_weights(labels: Tensor, groups: Groups, class_weight: Tensor) -> Tensor:
    """Return the weight of each label's class, of the labels' shape."""
    picked = [
        own.expand(*ids.shape, own.shape[-1]).gather(-1, ids.unsqueeze(-1)).squeeze(-1)
        for own, ids in zip(
            groups.spread(groups.pad(class_weight, 0.0)), groups.pick(labels), strict=True
        )
    ]
    return groups.gather(picked)
