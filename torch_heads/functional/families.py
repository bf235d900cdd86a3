"""Families of distributions: an inverse link, and the loss of one element.

A family is a pure declaration. It knows nothing of weights, reductions or batches; losses come
out one per label column, in the floating dtype of the logits.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor


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
    def loss(self, logits: Tensor, labels: Tensor, widths: Sequence[int]) -> Tensor:
        """Return the negative log-likelihood of each label column.

        Args:
            logits: ``[D*, C]``, floating.
            labels: ``[D*, U]``, of the logits' dtype, or int64 class ids.
            widths: how many logits belong to each class-id column; only class ids need it.
        """

    def observed(self, logits: Tensor, labels: Tensor, widths: Sequence[int]) -> Tensor:
        """Return what metrics average of each label column: the mean, unless said otherwise."""
        return self.mean(logits)


@dataclass(frozen=True)
class Bernoulli(Family):
    """One yes or no per logit, by the sigmoid; labels in [0, 1], soft ones too."""

    lowest: ClassVar[float] = 0.0
    highest: ClassVar[float] = 1.0

    def mean(self, logits: Tensor) -> Tensor:
        """Return the probability of yes."""
        return torch.sigmoid(logits)

    def loss(self, logits: Tensor, labels: Tensor, widths: Sequence[int] = ()) -> Tensor:
        """Return ``max(z, 0) - z * y + log(1 + exp(-|z|))``, the stable sigmoid cross entropy.

        >>> Bernoulli().loss(torch.tensor([[45.0], [-41.0]]), torch.ones(2, 1))
        tensor([[ 0.],
                [41.]])
        """
        return F.binary_cross_entropy_with_logits(logits, labels, reduction="none")


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

    def loss(self, logits: Tensor, labels: Tensor, widths: Sequence[int]) -> Tensor:
        """Return ``logsumexp(z) - z[y]`` of each group of logits, groups side by side.

        >>> z = torch.tensor([[10.0, 0.0, 0.0], [0.0, 10.0, 0.0]])
        >>> Categorical().loss(z, torch.tensor([[1], [1]]), widths=[3]).round(decimals=3)
        tensor([[1.0000e+01],
                [0.0000e+00]])
        """
        losses = [
            F.cross_entropy(group.flatten(0, -2), ids.flatten(), reduction="none")
            for group, ids in zip(logits.split(list(widths), -1), labels.unbind(-1), strict=True)
        ]
        return torch.stack(losses, dim=-1).view(labels.shape)

    def observed(self, logits: Tensor, labels: Tensor, widths: Sequence[int]) -> Tensor:
        """Return 1 where the likeliest class (the first of equals) is the label, else 0."""
        ids = torch.stack([group.argmax(-1) for group in logits.split(list(widths), -1)], dim=-1)
        return (ids == labels).to(logits.dtype)


@dataclass(frozen=True)
class Normal(Family):
    """A real number, by the squared error (no factor of a half)."""

    def mean(self, logits: Tensor) -> Tensor:
        """Return the logits themselves."""
        return logits

    def loss(self, logits: Tensor, labels: Tensor, widths: Sequence[int] = ()) -> Tensor:
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

    def loss(self, logits: Tensor, labels: Tensor, widths: Sequence[int] = ()) -> Tensor:
        """Return ``exp(z) - z * y``, with Stirling's ``log(y!)`` for ``y > 1`` where ``full``.

        >>> Poisson().loss(torch.tensor([0.5]), torch.tensor([5.0]))
        tensor([3.9196])
        """
        return F.poisson_nll_loss(logits, labels, log_input=True, full=self.full, reduction="none")
