"""Columns of a tensor in another order, in parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

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
