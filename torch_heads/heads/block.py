"""Blocks: the computation of one head, or of many heads of one family side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, nn

from torch_heads.functional.reductions import Reduction, safe_divide
from torch_heads.functional.scores import ScoreBins
from torch_heads.metrics.tally import ColumnTally, Observed, ScoreTally, Tally

if TYPE_CHECKING:
    from torch_heads.heads.tensor_head import TensorHead


class Batch(NamedTuple):
    """One batch of a block, checked and encoded.

    ``logits`` are ``[D*, C]`` and ``labels`` ``[D*, U]``; ``weights`` and ``mask`` (True where a
    label counts) are ``[D*, U]``, ``[D*, 1]``, or None where all are 1.
    """

    logits: Tensor
    labels: Tensor
    weights: Tensor | None = None
    mask: Tensor | None = None
    features: Mapping[str, Any] | None = None


class Measured(NamedTuple):
    """A block's losses, one per head ``[H]``, and what its tally observed."""

    losses: Tensor
    observed: Observed | None


class Block(nn.Module):
    """The losses and observations of one head."""

    def __init__(self, heads: Sequence[TensorHead]) -> None:
        super().__init__()
        self.heads = tuple(heads)  # in a tuple, they do not become child modules

    def measure(self, batch: Batch, observe: bool = False) -> Measured:
        """Return each head's reduced loss and, if asked, what the tally takes from the batch."""
        head = self.heads[0]
        logits, labels = batch.logits.flatten(0, -2), batch.labels.flatten(0, -2)
        weights, mask = (None if x is None else x.flatten(0, -2) for x in batch[2:4])
        if head.loss_fn is None:
            losses = head.family.loss(logits, labels, self._widths())
        else:
            losses = head.custom_losses(batch).flatten(0, -2).expand(labels.shape)
        share = None if mask is None else self._share(mask.to(losses.dtype))
        loss_weights = _product(share, weights)
        reduced = self._reduce(losses, share, loss_weights)
        if not observe:
            return Measured(reduced, None)
        seen = None if mask is None else mask.to(losses.dtype)
        if head.inverse_link_fn is None:
            predictions = head.family.observed(logits, labels, self._widths())
        else:
            predictions = head.inverse_link_fn(logits)
        return Measured(
            reduced,
            Observed(logits, labels, predictions, losses, _product(seen, weights), loss_weights),
        )

    def tally(self) -> Tally:
        """Return a new tally of this block's columns."""
        if all(head.bins is None for head in self.heads):
            return ColumnTally(sum(head.labels_dimension for head in self.heads))
        return ScoreTally(
            [head.bins or ScoreBins() for head in self.heads for _ in range(head.labels_dimension)]
        )

    def _reduce(self, losses: Tensor, share: Tensor | None, loss_weights: Tensor | None) -> Tensor:
        if len(losses) == 0:
            return (losses.sum() * 0).expand(len(self.heads))  # 0, and connected to the logits
        mean = self._per_head(losses if loss_weights is None else losses * loss_weights)
        return self._normalize(mean, len(losses), share, loss_weights)

    def _normalize(
        self, mean: Tensor, rows: int, share: Tensor | None, loss_weights: Tensor | None
    ) -> Tensor:
        head = self.heads[0]
        return self._normalized(
            head.loss_reduction, mean, rows * head.loss_dimension, share, loss_weights
        )

    def _normalized(
        self,
        reduction: Reduction,
        mean: Tensor,
        elements: int | Tensor,
        share: Tensor | None,
        loss_weights: Tensor | None,
    ) -> Tensor:
        # A head's mean over rows and columns is the originals' in every form: over a multi-label
        # example's classes they average, over a regression's columns they count.
        if reduction is Reduction.SUM:
            return mean * elements
        divisor = loss_weights if reduction is Reduction.WEIGHTED_MEAN else share
        return mean if divisor is None else safe_divide(mean, self._per_head(divisor))

    def _widths(self) -> Sequence[int]:
        return (self.heads[0].logits_dimension,)

    def _share(self, mask: Tensor) -> Tensor:
        """Return what each label counts in its example's loss: on average 1 where all are there."""
        return mask

    def _per_head(self, values: Tensor) -> Tensor:
        """Return the mean over rows and each head's columns of ``[N, U]`` or ``[N, 1]`` values."""
        return values.mean().unsqueeze(0)


def _product(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return second if first is None else first
    return first * second
