"""Blocks: the computation of one head, or of many heads of one family side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from torch_heads.functional.families import Balance, Categorical, class_weights
from torch_heads.functional.groups import Groups
from torch_heads.functional.reductions import Reduction, safe_divide, sum_rows
from torch_heads.functional.tensors import blank
from torch_heads.heads.batch import Batch, counting, rows_of
from torch_heads.heads.custom import custom_losses, custom_predictions
from torch_heads.metrics.sums import Observed
from torch_heads.metrics.tally import ClassTally, NumberTally, ScoreTally, Tally

if TYPE_CHECKING:
    from torch_heads.heads.tensor_head import TensorHead


class Measured(NamedTuple):
    """A block's losses, one per head, and what its tally observed.

    ``losses`` are a scalar for one head, ``[H]`` for several; ``counted``, of the same shape, tells
    which heads had any label; None for all.
    """

    losses: Tensor
    observed: Observed | None = None
    counted: Tensor | None = None

    @property
    def counts(self) -> Tensor:
        """Which heads had any label, as a tensor."""
        if self.counted is not None:
            return self.counted
        return torch.ones_like(self.losses, dtype=torch.bool)


class Weighing(NamedTuple):
    """What each label of a batch counts, ``[N, U]`` or ``[N, 1]``; None where all count 1.

    ``share`` is what it counts in a mean over the batch, ``loss`` that times its weight, ``norm``
    what it counts in a mean over the weights.
    """

    share: Tensor | None = None
    loss: Tensor | None = None
    norm: Tensor | None = None

    def by(self, reduction: Reduction) -> Tensor | None:
        """Return what counts in the divisor of a mean."""
        return self.norm if reduction is Reduction.WEIGHTED_MEAN else self.share


class Block(nn.Module):
    """The losses and observations of one head."""

    def __init__(self, heads: Sequence[TensorHead]) -> None:
        super().__init__()
        self.heads = tuple(heads)  # in a tuple, they do not become child modules
        categorical = isinstance(heads[0].family, Categorical)
        #: How many logits each head has.
        self.widths = [head.logits_dimension for head in heads]
        #: Which logits belong to each column of class ids; None for other families.
        self.groups = Groups(self.widths) if categorical else None

    def measure(
        self, batch: Batch, observe: bool = False, divisors: Tensor | None = None
    ) -> Measured:
        """Return each head's reduced loss and, if asked, what the tally takes from the batch.

        Args:
            batch: the batch.
            observe: whether to return what the tally takes, too.
            divisors: what to divide by instead of what `divisors` returns of this batch.
        """
        family, balance = self.heads[0].family, self.balance()
        logits, labels = rows_of(batch.logits), rows_of(batch.labels)
        rows = logits.shape[0]
        weighing = self.weigh(batch, balance)
        plain = self.heads[0].loss_fn is None and balance is None and weighing.loss is None
        if plain and not observe and len(self.heads) == 1 and rows > 0:
            mean = family.mean_loss(logits, labels, self.groups)
            return Measured(self.normalize(mean, rows, weighing, divisors))
        sums = column_sums(self._losses(batch, logits, labels, balance), weighing.loss)
        means = self.from_columns(sums / max(rows, 1))
        losses = self.normalize(means, rows, weighing, divisors)
        if not observe:
            return Measured(losses)
        if balance is not None:  # metrics are not balanced
            sums = column_sums(family.loss(logits, labels, self.groups), weighing.loss)
        observed = self._observe(batch, logits, labels, sums, weighing)
        seen = observed.labelled
        counted = None if seen is None else self.counted(self.per_head(seen.to(logits.dtype)) > 0)
        return Measured(losses, observed, counted)

    def _losses(
        self, batch: Batch, logits: Tensor, labels: Tensor, balance: Balance | None
    ) -> Tensor:
        """Return the loss of each label, ``[N, U]``."""
        head = self.heads[0]
        if head.loss_fn is None:
            return head.family.loss(logits, labels, self.groups, balance)
        losses = blank(custom_losses(head, batch), counting(batch.weights, batch.labelled))
        return rows_of(losses).expand(labels.shape)

    def _observe(
        self, batch: Batch, logits: Tensor, labels: Tensor, loss_sums: Tensor, weighing: Weighing
    ) -> Observed:
        head = self.heads[0]
        given = batch.weights, batch.labelled, batch.rows
        weights, labelled, rows = (None if one is None else rows_of(one) for one in given)
        if head.inverse_link_fn is None:
            predictions = head.family.observed(logits, self.groups)
        else:
            # what does not count is 0, of which a link such as 1 / z makes an infinity
            keep = labelled if weights is None else weights != 0
            predictions = blank(rows_of(custom_predictions(head, batch.logits)), keep)
        seen = None if labelled is None else product(labelled.to(logits.dtype), weights)
        return Observed(
            logits,
            labels,
            predictions,
            loss_sums,
            weighing.loss,
            weights if seen is None else seen,
            labelled,
            rows,
        )

    def tally(self) -> Tally:
        """Return a new tally of this block's columns."""
        if isinstance(self.heads[0].family, Categorical):
            return ClassTally(self.widths)
        if all(head.bins is None for head in self.heads):
            return NumberTally(sum(head.labels_dimension for head in self.heads))
        return ScoreTally([head.bins for head in self.heads for _ in range(head.labels_dimension)])

    def weigh(self, batch: Batch, balance: Balance | None) -> Weighing:
        """Return what each label of the batch counts."""
        weights, labelled = batch.weights, batch.labelled
        share = None if labelled is None else self.share(rows_of(labelled).to(batch.logits.dtype))
        loss = norm = product(share, None if weights is None else rows_of(weights))
        if self.groups is not None and balance is not None and balance.class_weight is not None:
            labels = rows_of(batch.labels)
            norm = product(loss, class_weights(labels, self.groups, balance.class_weight))
        return Weighing(share, loss, norm)

    def divisors(self, batch: Batch) -> Tensor:
        """Return what each head's loss is divided by, ``[H]``; 1 under the reduction ``sum``."""
        rows = rows_of(batch.logits).shape[0]
        weighing = self.weigh(batch, self.balance())
        ones = batch.logits.new_ones(len(self.heads))

        def divisors(reduction: Reduction) -> Tensor:
            if reduction is Reduction.SUM:
                return ones
            by = weighing.by(reduction)
            return ones * self.elements(rows) * (1 if by is None else self.per_head(by))

        return self.by_reduction(divisors)

    def normalize(
        self, mean: Tensor, rows: int, weighing: Weighing, divisors: Tensor | None
    ) -> Tensor:
        """Return the reduced losses from the means over rows and columns."""

        # A head's mean over rows and columns is the originals' in every form: over a multi-label
        # example's classes they average, over a regression's columns they count.
        def losses(reduction: Reduction) -> Tensor:
            if reduction is Reduction.SUM:
                return mean * self.elements(rows)
            if divisors is not None:
                return safe_divide(mean * self.elements(rows), divisors.view(mean.shape))
            by = weighing.by(reduction)
            return mean if by is None else safe_divide(mean, self.per_head(by))

        return self.by_reduction(losses)

    def by_reduction(self, values: Callable[[Reduction], Tensor]) -> Tensor:
        """Return each head's value under its own reduction."""
        return values(self.heads[0].loss_reduction)

    def elements(self, rows: int) -> int | Tensor:
        """Return how many loss elements each head has in so many rows."""
        return rows * self.heads[0].loss_dimension

    def balance(self) -> Balance | None:
        """Return the corrections of class imbalance."""
        return self.heads[0].balance

    def counted(self, any_label: Tensor) -> Tensor | None:
        """Return for which heads the batch counts: those with a label, or that never miss one."""
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
        return self.from_columns(values.sum(0) / max(len(values), 1))

    def from_columns(self, columns: Tensor) -> Tensor:
        """Return the mean over each head's columns."""
        return columns.mean()


def column_sums(values: Tensor, weights: Tensor | None) -> Tensor:
    """Return the sum over rows of ``[N, U]`` weighted values."""
    return sum_rows(values if weights is None else values * weights)


def product(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Return the product of two factors, of which None is 1."""
    if first is None or second is None:
        return second if first is None else first
    return first * second
