"""The rows of a batch that are there: what a ``loss_fn`` gets, which may look at all of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from torch import Tensor

from torch_heads.computation.inputs import EncodedBatch, Features
from torch_heads.functional.containers import opened
from torch_heads.functional.tables import is_table, table_columns
from torch_heads.functional.values import both, rows_of


class PresentRows:
    """The rows of a batch in which any label is present, ``[R, ...]``; the dimensions are flat.

    As tf.estimator does with padded steps, others are left out before the function, not after it.
    To find them waits for the device, which nothing else in a loss does.

    Args:
        batch: of a single target, in which labels may be missing or steps padded.
    """

    def __init__(self, batch: EncodedBatch) -> None:
        there = both(batch.present, batch.valid)
        assert there is not None
        self._leading = batch.labels.shape[:-1]
        self._index = rows_of(there).any(-1).nonzero().squeeze(-1)
        present = None if batch.present is None else self._pick(batch.present)
        soft = batch.probabilities
        #: Its rows, as a batch.
        self.batch = EncodedBatch(
            [self._pick(block, len(self._leading)) for block in batch.logits],
            self._pick(batch.labels),
            None if batch.weights is None else self._pick(batch.weights),
            present,
            None,
            None if soft is None else [self._pick(own, len(self._leading)) for own in soft],
            self._of_features(batch.features),
        )

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self._index)

    def restore(self, losses: Tensor) -> Tensor:
        """Return losses ``[R, L]`` of these rows as ``[D*, L]``, 0 where there is none."""
        rows = self._leading.numel()
        zeros = losses.new_zeros(rows, losses.shape[-1])
        return zeros.index_copy(0, self._index, losses).unflatten(0, self._leading)  # type: ignore

    def _pick(self, values: Tensor, dimensions: int | None = None) -> Tensor:
        last = values.dim() - 1 if dimensions is None else dimensions
        return values.flatten(0, last - 1).index_select(0, self._index)

    def _of_features(self, features: Features | None) -> Features | None:
        """Return features with the rows of what has a row for each of the batch."""
        if features is None:
            return None
        if is_table(features):
            features = table_columns("a loss_fn", "features", features)
        if not isinstance(features, Mapping):
            return self._of_feature(features)
        return {key: self._of_feature(value) for key, value in features.items()}

    def _of_feature(self, value: Any) -> Any:
        count = len(self._leading)
        own = value if isinstance(value, (Tensor, str, bytes, Mapping)) else opened(value)
        if isinstance(own, (list, tuple)):
            with suppress(ValueError):  # of rows that differ in length
                own = np.asarray(own)
        if tuple(getattr(own, "shape", ())[:count]) != tuple(self._leading):
            return value
        if isinstance(own, Tensor):
            return self._pick(own, count)
        if isinstance(own, np.ndarray):
            return own.reshape(-1, *own.shape[count:])[self._index.cpu().numpy()]
        return value


def connected_zeros(batch: EncodedBatch, columns: int) -> Tensor:
    """Return losses ``[D*, columns]`` of 0 whose gradient by the logits is 0, where no row counts.

    So that a network has a gradient in every process, whichever has labels.
    """
    (block,) = batch.logits
    none = block.flatten(batch.labels.dim() - 1).sum(-1, keepdim=True) * 0
    return none.expand(*none.shape[:-1], columns)
