"""How the logits of a group lie side by side."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from torch_heads.computation.target import Target
from torch_heads.functional.constants import Constants


class Bucket(NamedTuple):
    """Targets whose labels have equally many logits, once padded.

    Attributes:
        targets: their places among those of the group.
        columns: their label columns among those of the group.
        logits: their logits among those of the group, padded.
        shape: ``(U, *logits_shape)`` of these logits.
    """

    targets: slice
    columns: slice
    logits: slice
    shape: tuple[int, ...]


class LogitLayout:
    """The logits of a group, in buckets of labels that have equally many.

    Where all labels have the same number of logits, there is one bucket, and nothing to pad. Else
    each is padded to the next power of two, or less where no label of the bucket needs as many: so
    there are few buckets, and at most twice the logits in memory.

    Args:
        targets: in the order of `in_buckets`.
    """

    def __init__(self, targets: Sequence[Target]) -> None:
        shapes = [target.family.logits_shape for target in targets]
        self.buckets: list[Bucket] = []
        index: list[int] = []
        padding: list[bool] = []
        first = column = start = 0
        while first < len(targets):
            size = bucket_size(shapes[first])
            last = first
            while last < len(targets) and bucket_size(shapes[last]) == size:
                last += 1
            members = targets[first:last]
            columns = sum(target.columns for target in members)
            widest = max(shapes[first:last])
            width = max(target.family.logits_per_label for target in members)
            place = len(index)
            for target in members:
                own = target.family.logits_per_label
                for _ in range(target.columns):
                    index += [start + min(i, own - 1) for i in range(width)]
                    padding += [i >= own for i in range(width)]
                    start += own
            span = slice(column, column + columns)
            logits = slice(place, len(index))
            self.buckets.append(Bucket(slice(first, last), span, logits, (columns, *widest)))
            first, column = last, column + columns
        #: Which label column each of the padded logits belongs to.
        self.column_of_logit = [
            column
            for bucket in self.buckets
            for column in range(bucket.columns.start, bucket.columns.stop)
            for _ in range(prod(bucket.shape[1:]))
        ]
        #: Where the padded logits stand among those of the targets, one after the other.
        self.index = index
        self.padded = any(padding)
        #: Whether the logits need no view, no copy and no split.
        self.flat = len(self.buckets) == 1 and shapes[0] == ()
        self._constants = Constants(index=index, padding=padding) if self.padded else Constants()

    def pad(self, logits: Tensor) -> Tensor:
        """Return logits ``[..., C]`` of the targets with others beside them, as padding."""
        if not self.padded:
            return logits
        return logits.index_select(-1, self._constants.on(logits.device)["index"])

    def fill(self, padded: Tensor, value: float) -> Tensor:
        """Return padded logits with a value in place of the padding."""
        if not self.padded:
            return padded
        return padded.masked_fill(self._constants.on(padded.device)["padding"], value)

    def blocks(self, padded: Tensor) -> list[Tensor]:
        """Return padded logits as ``[..., U, *logits_shape]`` of each bucket."""
        if self.flat:
            return [padded]
        parts: Sequence[Tensor] = [padded]
        if len(self.buckets) > 1:
            sizes = [bucket.logits.stop - bucket.logits.start for bucket in self.buckets]
            parts = torch.split(padded, sizes, dim=-1)
        return [
            part.unflatten(-1, bucket.shape)  # type: ignore[no-untyped-call]
            for part, bucket in zip(parts, self.buckets, strict=True)
        ]


def in_buckets(targets: Sequence[Target]) -> list[int]:
    """Return an order of the targets in which those of a bucket stand side by side."""
    sizes = [bucket_size(target.family.logits_shape) for target in targets]
    first = {size: i for i, size in reversed(list(enumerate(sizes)))}
    return sorted(range(len(targets)), key=lambda i: (first[sizes[i]], i))


def bucket_size(shape: tuple[int, ...]) -> int:
    """Return what the logits of labels in one bucket have in common: the next power of two."""
    return 1 << (shape[0] - 1).bit_length() if shape else 0
