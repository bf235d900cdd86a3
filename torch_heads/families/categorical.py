"""The family of one class out of several."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_heads.families.family import ClassBalance, Counts, Family
from torch_heads.families.prior import Prior, seen_share

IGNORED = -100  # no class id

FEW_CLASSES = 15  # up to which PyTorch's kernel for CPUs is several times slower than the formula


@dataclass(frozen=True)
class Categorical(Family):
    """One class out of ``n_classes``, by the softmax over its logits; labels are class ids.

    Heads of different numbers of classes are computed as one: logits that are -inf are no class.
    """

    n_classes: int
    lowest: ClassVar[float] = 0.0
    takes_ids: ClassVar[bool] = True
    counts: ClassVar[Counts] = Counts.CLASSES
    finite: ClassVar[bool] = True

    @property
    def logits_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """One logit per class."""
        return (self.n_classes,)

    @property
    def highest(self) -> float:  # type: ignore[override]
        """The last class id."""
        return self.n_classes - 1.0

    @property
    def kernel(self) -> Hashable:
        """The class: heads of any number of classes are padded to a few widths."""
        return type(self)

    def mean(self, logits: Tensor) -> Tensor:
        """Return the probability of each class, ``[..., U, K]``."""
        return torch.softmax(logits, dim=-1)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return ``logsumexp(z) - z[y]`` of each label.

        >>> z = torch.tensor([[[10.0, 0.0, 0.0]], [[0.0, 10.0, 0.0]]])
        >>> Categorical(3).loss(z, torch.tensor([[1], [1]])).round(decimals=2)
        tensor([[10.],
                [ 0.]])
        """
        if logits.stride(-1) != 1:
            # classes may lie behind one another in memory, as channels of an image do
            return F.cross_entropy(logits.movedim(-1, 1), labels, reduction="none")
        shifted, total = _log_softmax_terms(logits)
        return (total - shifted.gather(-1, labels.unsqueeze(-1))).squeeze(-1)

    def balanced_loss(self, logits: Tensor, labels: Tensor, balance: ClassBalance) -> Tensor:
        """Return `loss`, corrected as `torch.nn.functional` does."""
        class_weight, _, smoothing, n_classes = balance
        shifted, total = _log_softmax_terms(logits)
        losses = (total - shifted.gather(-1, labels.unsqueeze(-1))).squeeze(-1)
        if class_weight is not None:
            losses = losses * _of_class(class_weight, labels)
        if smoothing is None:
            return losses
        terms = total - shifted
        if class_weight is not None:
            # the loss of a class that has no weight may be infinite: 0 * inf would be NaN
            terms = torch.where(class_weight > 0, terms, 0.0) * class_weight
        uniform = terms.sum(-1) / (logits.shape[-1] if n_classes is None else n_classes)
        return losses * (1 - smoothing) + uniform * smoothing

    def soft_loss(self, logits: Tensor, probabilities: Tensor, balance: ClassBalance) -> Tensor:
        """Return ``-sum(p * log_softmax(z))`` of each label, as `torch.nn.functional` does.

        >>> z, p = torch.zeros(1, 1, 4), torch.tensor([[[0.5, 0.5, 0.0, 0.0]]])
        >>> Categorical(4).soft_loss(z, p, ClassBalance())
        tensor([[1.3863]])
        """
        class_weight, _, smoothing, n_classes = balance
        if smoothing is not None:
            count = logits.shape[-1] if n_classes is None else n_classes.unsqueeze(-1)
            smoothing = smoothing.unsqueeze(-1) if isinstance(smoothing, Tensor) else smoothing
            probabilities = probabilities * (1 - smoothing) + smoothing / count
        if class_weight is not None:
            probabilities = probabilities * class_weight
        # padding has no probability, and a loss that is infinite: 0 * inf would be NaN
        terms = torch.where(probabilities > 0, torch.log_softmax(logits, -1), 0.0)
        return -(probabilities * terms).sum(-1)

    def mean_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean of `loss`."""
        if logits.shape[-1] <= FEW_CLASSES or logits.stride(-1) != 1:
            return self.loss(logits, labels).mean()
        return F.cross_entropy(logits.flatten(0, -2), labels.flatten())

    def mean_where(self, logits: Tensor, labels: Tensor, present: Tensor) -> Tensor | None:
        """Return the mean of `loss`, by one kernel where there are many classes on a CPU."""
        by_formula = logits.shape[-1] <= FEW_CLASSES and logits.stride(-1) == 1
        if by_formula or not logits.is_cpu:  # on CUDA the kernel is not deterministic
            return None
        if logits.stride(-1) == 1:
            logits, labels, present = logits.flatten(0, -2), labels.flatten(), present.flatten()
        else:
            logits = logits.movedim(-1, 1)
        labels = torch.where(present, labels, IGNORED)
        sums = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
        return sums / labels.numel()

    def label_weights(self, labels: Tensor, balance: ClassBalance) -> Tensor | None:
        """Return the weight of each label's class, by which cross entropy divides its mean."""
        weight = balance.class_weight
        return None if weight is None else _of_class(weight, labels)

    def observed(self, logits: Tensor) -> Tensor:
        """Return the likeliest class, the first of equals; -1 for none where a logit is NaN."""
        # on a CPU, the place of the maximum comes two to three times faster from max than argmax
        most, ids = logits.max(-1)
        return ids.masked_fill(most.isnan(), -1)

    def moments(self, labels: Tensor) -> Tensor:
        """Return 1 for the class of each label, else 0."""
        return F.one_hot(labels, self.n_classes).double()

    def prior(self, means: Tensor, counts: Tensor) -> Prior:
        """Return the log of the share of each class."""
        offset = seen_share(means, counts.unsqueeze(-1)).log()
        return Prior(offset, torch.ones_like(offset), torch.zeros_like(counts))

    def link(self, mean: Tensor) -> Tensor:
        """Return the log probability of each class, finite at 0."""
        return mean.clamp(min=torch.finfo(mean.dtype).tiny).log()

    def class_ids(self, logits: Tensor) -> Tensor:
        """Return the likeliest class, the first of equals."""
        return logits.argmax(-1)

    def all_class_ids(self, logits: Tensor) -> Tensor:
        """Return the ids of all classes for each label, ``[..., U, K]``."""
        return torch.arange(logits.shape[-1], device=logits.device).expand(logits.shape)


def _of_class(class_weight: Tensor, labels: Tensor) -> Tensor:
    """Return the weight of each label's class ``[..., U]``, out of weights ``[U, K]``."""
    weights = class_weight.expand(*labels.shape, class_weight.shape[-1])
    return weights.gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def _log_softmax_terms(logits: Tensor) -> tuple[Tensor, Tensor | float]:
    """Return minuend and subtrahend of `torch.log_softmax` over the last axis.

    For few classes on a CPU the two stay apart, so that who needs one entry does not compute all.
    """
    if logits.shape[-1] > FEW_CLASSES or not logits.is_cpu:
        return torch.log_softmax(logits, -1), 0.0
    shifted = logits - logits.detach().amax(-1, keepdim=True)
    return shifted, shifted.exp().sum(-1, keepdim=True).log()
