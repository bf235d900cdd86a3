"""How columns are arranged: in which parts, and the logits of a group in which buckets."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_heads.computation.target import Target
from torch_heads.functional.constants import Constants


class Arrangement:
    """Splits the columns of a tensor into parts: views where they stand so, else a copy of each.

    Args:
        parts: where the columns of each part stand; of all parts together, each at least once.

    >>> Arrangement([[2, 0], [1]]).split(torch.tensor([[1.0, 2.0, 3.0]]))
    [tensor([[3., 1.]]), tensor([[2.]])]
    """

    def __init__(self, parts: Sequence[Sequence[int]]) -> None:
        index = [place for part in parts for place in part]
        self._sizes = [len(part) for part in parts]
        self._in_order = index == list(range(len(index)))
        if not self._in_order:
            first = {place: i for i, place in reversed(list(enumerate(index)))}
            inverse = [first[place] for place in sorted(first)]
            named = {
                f"part_{i}": torch.tensor([*part], device="cpu") for i, part in enumerate(parts)
            }
            self._constants = Constants(inverse=inverse, **named)

    def split(self, columns: Tensor) -> list[Tensor]:
        """Return the parts of columns ``[..., C]``."""
        if self._in_order:
            if len(self._sizes) == 1:
                return [columns]
            # one split, whose gradient is one copy; of slices, each would fill all columns
            return list(torch.split(columns, self._sizes, dim=-1))
        inverse, *parts = self._constants.on(columns.device).values()
        if columns.requires_grad and not torch.compiler.is_compiling():
            return list(_Split.apply(columns, inverse, *parts))  # type: ignore[no-untyped-call]
        return [columns.index_select(-1, part) for part in parts]


class _Split(torch.autograd.Function):
    """The parts of columns, which are contiguous, with a gradient that is put together once.

    Columns that stand in several parts are padding but for the first, and have no gradient there.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(columns: Tensor, inverse: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        return tuple(columns.index_select(-1, part) for part in parts)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Any) -> None:
        ctx.save_for_backward(inputs[1])
        ctx.parts = len(inputs) - 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (inverse,) = ctx.saved_tensors
        gradient = torch.cat(gradients, dim=-1).index_select(-1, inverse)
        return (gradient, None, *[None] * ctx.parts)


class Bucket(NamedTuple):
    """Targets whose labels have equally many logits, once padded.

    Attributes:
        targets: their places among those of the group.
        columns: their label columns among those of the group.
        shape: ``(U, *logits_shape)`` of their logits, padded.
        places: where these stand among the logits of the targets, one after the other; padding
            stands where the last one does.
        padding: the mask of the padding, of that shape; None without any.
    """

    targets: slice
    columns: slice
    shape: tuple[int, ...]
    places: list[int]
    padding: Constants | None


class LogitLayout:
    """The logits of a group, in buckets of labels that have equally many.

    Where all labels have the same number of logits, there is one bucket, and nothing to pad. Else
    each is padded to the next power of two, or less where no label of the bucket needs as many: so
    there are few buckets, and at most twice the logits in memory.

    Args:
        targets: in the order of `in_buckets`.
    """

    def __init__(self, targets: Sequence[Target]) -> None:
        sizes = [bucket_size(target) for target in targets]
        self.buckets: list[Bucket] = []
        first = column = start = 0
        while first < len(targets):
            last = first + sizes[first:].count(sizes[first])
            members = targets[first:last]
            shape = max(target.family.logits_shape for target in members)
            width = max(target.family.logits_per_label for target in members)
            index: list[int] = []
            padding: list[bool] = []
            for own in (t.family.logits_per_label for t in members for _ in range(t.columns)):
                index += [start + min(i, own - 1) for i in range(width)]
                padding += [i >= own for i in range(width)]
                start += own
            columns = sum(target.columns for target in members)
            mask = torch.tensor(padding, device="cpu").view(columns, *shape)
            self.buckets.append(
                Bucket(
                    slice(first, last),
                    slice(column, column + columns),
                    (columns, *shape),
                    index,
                    Constants(mask=mask) if any(padding) else None,
                )
            )
            first, column = last, column + columns
        self.padded = any(bucket.padding is not None for bucket in self.buckets)
        self._arrangement = Arrangement([bucket.places for bucket in self.buckets])

    def blocks(self, parts: Tensor | Sequence[Tensor]) -> list[Tensor]:
        """Return logits as ``[D*, U, *logits_shape]`` of each bucket; padding holds other logits.

        Args:
            parts: ``[D*, C]``, the logits of the targets one after the other, or those of each
                bucket by its ``places``.
        """
        if isinstance(parts, Tensor):
            parts = self._arrangement.split(parts)
        return [
            part.unflatten(-1, bucket.shape) if bucket.shape[1:] else part  # type: ignore
            for part, bucket in zip(parts, self.buckets, strict=True)
        ]

    def fill(self, blocks: Sequence[Tensor], value: float = -inf) -> list[Tensor]:
        """Return blocks with a value in place of the padding."""
        return [
            block
            if bucket.padding is None
            else block.masked_fill(bucket.padding.on(block.device)["mask"], value)
            for block, bucket in zip(blocks, self.buckets, strict=True)
        ]


def in_buckets(targets: Sequence[Target]) -> list[int]:
    """Return an order of the targets in which those of a bucket stand side by side."""
    sizes = [bucket_size(target) for target in targets]
    return sorted(range(len(targets)), key=lambda i: (sizes.index(sizes[i]), i))


def bucket_size(target: Target) -> int:
    """Return what the logits of labels in one bucket have in common: the next power of two."""
    shape = target.family.logits_shape
    return 1 << (shape[0] - 1).bit_length() if shape else 0
