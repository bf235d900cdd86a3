"""Blocks: the computation of one head, or of many heads of one family side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, nn

from torch_heads.functional.families import Balance, Categorical, class_weights
from torch_heads.functional.groups import Groups
from torch_heads.functional.reductions import Reduction, safe_divide
from torch_heads.functional.scores import ScoreBins
from torch_heads.functional.tensors import blank
from torch_heads.metrics.sums import Observed
from torch_heads.metrics.tally import ClassTally, ColumnTally, ScoreTally, Tally

if TYPE_CHECKING:
    from torch_heads.heads.tensor_head import TensorHead


class Batch(NamedTuple):
    """One batch of a block, checked and encoded.

    ``logits`` are ``[D*, C]`` and ``labels`` ``[D*, U]``. The masks and ``weights`` are ``[D*, U]``
    or ``[D*, 1]``, or None where all are 1: ``labelled`` is False where there is no label, ``rows``
    where there could not be one. What stands in the logits and labels there is 0.
    """

    logits: Tensor
    labels: Tensor
    weights: Tensor | None = None
    labelled: Tensor | None = None
    rows: Tensor | None = None
    features: Mapping[str, Any] | None = None


class Measured(NamedTuple):
    """A block's losses, one per head, and what its tally observed.

    ``losses`` are a scalar for one head, ``[H]`` for several; ``counted``, of the same shape, tells
    which heads had any label; None for all.
    """

    losses: Tensor
    observed: Observed | None = None
    counted: Tensor | None = None


class Block(nn.Module):
    """The losses and observations of one head."""

    def __init__(self, heads: Sequence[TensorHead]) -> None:
        super().__init__()
        self.heads = tuple(heads)  # in a tuple, they do not become child modules
        categorical = isinstance(heads[0].family, Categorical)
        widths = [head.logits_dimension for head in heads]
        #: Which logits belong to each column of class ids; None for other families.
        self.groups = Groups(widths) if categorical else None

    def measure(self, batch: Batch, observe: bool = False) -> Measured:
        """Return each head's reduced loss and, if asked, what the tally takes from the batch."""
        head, family = self.heads[0], self.heads[0].family
        logits, labels = rows_of(batch.logits), rows_of(batch.labels)
        weights, labelled, rows = (
            None if values is None else rows_of(values) for values in batch[2:5]
        )
        groups = self.groups
        balance = self.balance()
        plain = head.loss_fn is None and balance is None and weights is None and labelled is None
        if plain and not observe and len(self.heads) == 1 and logits.shape[0] > 0:
            mean = family.mean_loss(logits, labels, groups)
            return Measured(self.normalize(mean, logits.shape[0], None, None))
        if head.loss_fn is None:
            losses = family.loss(logits, labels, groups, balance)
        else:
            losses = rows_of(head.custom_losses(batch)).expand(labels.shape)
        share = None if labelled is None else self.share(labelled.to(losses.dtype))
        loss_weights = product(share, weights)
        norm = loss_weights
        if groups is not None and balance is not None and balance.class_weight is not None:
            by_class = class_weights(labels, groups, balance.class_weight)
            norm = product(loss_weights, by_class)
        columns, reduced = self.reduce(losses, share, loss_weights, norm)
        if not observe:
            return Measured(reduced)
        if balance is not None:
            losses = family.loss(logits, labels, groups)  # metrics are not balanced
        if head.inverse_link_fn is None:
            predictions = family.observed(logits, labels, groups)
        else:
            # of the 0 that stands for what does not count, any link may make an infinity
            keep = labelled if weights is None else weights != 0
            predictions = blank(head.inverse_link_fn(logits), keep)
        seen = None if labelled is None else labelled.to(losses.dtype)
        counted = None if seen is None else self.counted(self.per_head(seen) > 0)
        observed = Observed(
            logits,
            labels,
            predictions,
            losses,
            loss_weights,
            product(seen, weights),
            labelled,
            rows,
            columns * losses.shape[0] if balance is None and columns.dim() else None,
        )
        return Measured(reduced, observed, counted)

    def tally(self) -> Tally:
        """Return a new tally of this block's columns."""
        if isinstance(self.heads[0].family, Categorical):
            return ClassTally(self.widths)
        if all(head.bins is None for head in self.heads):
            return ColumnTally(sum(head.labels_dimension for head in self.heads))
        return ScoreTally(
            [head.bins or ScoreBins() for head in self.heads for _ in range(head.labels_dimension)]
        )

    def reduce(
        self,
        losses: Tensor,
        share: Tensor | None,
        loss_weights: Tensor | None,
        norm: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return the means of `column_means`, and the loss of each head as `per_head` has it.

        Args:
            losses: ``[N, U]``.
            share: what each label counts in the mean over the batch.
            loss_weights: the same, times the weights.
            norm: what each label counts in the mean over the weights.
        """
        if losses.shape[0] == 0:
            nothing = self.column_means(losses.sum(0, keepdim=True) * 0)  # connected to the logits
            return nothing, self.from_columns(nothing)
        columns = self.column_means(losses if loss_weights is None else losses * loss_weights)
        mean = self.from_columns(columns)
        return columns, self.normalize(mean, losses.shape[0], share, norm)

    def normalize(
        self, mean: Tensor, rows: int, share: Tensor | None, norm: Tensor | None
    ) -> Tensor:
        """Return the reduced losses from the means over rows and columns."""
        head = self.heads[0]
        return self.normalize_as(head.loss_reduction, mean, rows * head.loss_dimension, share, norm)

    def normalize_as(
        self,
        reduction: Reduction,
        mean: Tensor,
        elements: int | Tensor,
        share: Tensor | None,
        norm: Tensor | None,
    ) -> Tensor:
        """Return the losses under one reduction, from the means over rows and columns."""
        # A head's mean over rows and columns is the originals' in every form: over a multi-label
        # example's classes they average, over a regression's columns they count.
        if reduction is Reduction.SUM:
            return mean * elements
        divisor = norm if reduction is Reduction.WEIGHTED_MEAN else share
        return mean if divisor is None else safe_divide(mean, self.per_head(divisor))

    @property
    def widths(self) -> Sequence[int]:
        """How many logits each head has."""
        return (self.heads[0].logits_dimension,)

    def balance(self) -> Balance | None:
        """Return the corrections of class imbalance."""
        return self.heads[0].balance

    def counted(self, any_label: Tensor) -> Tensor | None:
        """Return whether the batch counts for each head: if it has a label, or none may miss."""
        return any_label if self.heads[0].may_miss else None

    def share(self, labelled: Tensor) -> Tensor:
        """Return what each label counts in its example's loss: 1 on average where all are there.

        A multi-label example's loss is the mean over the labels that it has.
        """
        head = self.heads[0]
        if labelled.shape[-1] == 1 or head.loss_dimension > 1:
            return labelled
        return safe_divide(labelled, labelled.mean(-1, keepdim=True))

    def per_head(self, values: Tensor) -> Tensor:
        """Return the mean over rows and a head's columns of ``[N, U]`` or ``[N, 1]`` values.

        The mean is a scalar for one head, ``[H]`` for several.
        """
        return self.from_columns(self.column_means(values))

    def column_means(self, values: Tensor) -> Tensor:
        """Return the mean over rows: a scalar for one head, per column for several."""
        return values.mean()

    def from_columns(self, columns: Tensor) -> Tensor:
        """Return the mean over each head's columns."""
        return columns


def rows_of(values: Tensor) -> Tensor:
    """Return values ``[D*, U]`` as ``[N, U]``."""
    return values if values.dim() == 2 else values.flatten(0, -2)


def product(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Return the product of two factors, of which None is 1."""
    if first is None or second is None:
        return second if first is None else first
    return first * second
