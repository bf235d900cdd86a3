"""What an epoch of evaluation adds up: the metrics and the loss of one data loader, or of all."""

from __future__ import annotations

import torch
from torch import Tensor

from torch_heads.computation.computation import Measurement
from torch_heads.functional.values import safe_divide
from torch_heads.heads.base import Head
from torch_heads.metrics.agreement import Agreement
from torch_heads.metrics.collection import ReadingCollection
from torch_heads.metrics.counters.usual import BatchMeans
from torch_heads.metrics.tally import Tally


class Epoch:
    """The metrics of a head over an epoch, and its loss, in which labels count and not batches.

    Args:
        head: the head.
        agreement: what all processes must have in common.
        own: whether the metrics are its own; else they are those that the head wraps.
    """

    def __init__(self, head: Head, agreement: Agreement, own: bool = False) -> None:
        self._head, self._own = head, head.metrics() if own else None
        self._loss = Tally([BatchMeans(len(head.computation.targets))])
        self._loss.agreement = agreement

    @property
    def metrics(self) -> ReadingCollection:
        """The metrics."""
        return self._head.metric_collection if self._own is None else self._own

    def reset(self) -> None:
        """Forget all batches."""
        self.metrics.reset()
        self._loss.reset()

    def record(self, measured: Measurement) -> None:
        """Add a batch that was measured with its divisors."""
        loss = self._loss, (measured.losses, measured.divisors)
        self._head.computation.record(self.metrics, measured, others=[loss])

    def values(self) -> dict[str, Tensor]:
        """Return the loss, and every metric by its key.

        Each ``loss/<head>`` is of the epoch, in place of the mean of its batches; NaN where the
        head never had a label.
        """
        computation, sums = self._head.computation, self._loss.compute()["sums"]
        losses = safe_divide(sums[:, 0], sums[:, 1])
        whole = computation.total_loss(losses).reshape(()).to(torch.get_default_dtype())
        found = {"loss": whole, **self.metrics.compute()}
        keys = [key for key, _ in computation.batch_mean_keys()]
        if keys:
            means = torch.stack([found[key] for key in keys])
            own = torch.cat([own for own, _ in computation.batch_means(losses, None)])
            each = torch.where(means.isnan(), means, own.to(means.dtype))
            found |= dict(zip(keys, each.unbind(), strict=True))
        return found
