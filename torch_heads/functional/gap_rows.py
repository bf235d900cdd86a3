"""Rows that are missing as a whole, as None in a list of rows: rows of gaps."""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType
from typing import Any

import numpy as np
from torch import Tensor

from torch_heads.functional.containers import is_gap

Shape = tuple[int | EllipsisType, ...]  # the end is not known where there is nothing but gaps

UNKNOWN: Shape = (...,)


def filled_rows(values: Sequence[Any]) -> Sequence[Any] | None:
    """Return nested lists with rows of None in place of rows that are gaps; None if ragged.

    >>> filled_rows([None, [1, 2]]), filled_rows([[1], [2, 3]])
    ([[None, None], [1, 2]], None)
    """
    shape = _shape(values)
    return None if shape is None or shape[-1:] == UNKNOWN else _filled(values, shape)


def widened(labels: Tensor, leading: Sequence[int], width: int) -> Tensor:
    """Return a batch of nothing but gaps as rows of gaps ``[D*, width]``, and any other as it is.

    >>> import torch
    >>> widened(torch.tensor([torch.nan]), [1], 2)
    tensor([[nan, nan]])
    """
    gaps = width > 1 and labels.shape == tuple(leading) and labels.isnan().all()
    return labels.unsqueeze(-1).expand(*leading, width) if gaps else labels


def _shape(values: Any) -> Shape | None:
    """Return the shape of nested lists, None if they are ragged."""
    if is_gap(values):
        return UNKNOWN
    if isinstance(values, Tensor):
        return tuple(values.shape)
    if not isinstance(values, (list, tuple, np.ndarray)):
        return ()
    shapes = {_shape(value) for value in values}
    most = max((shape for shape in shapes if shape is not None), key=_known, default=())
    if all(shape == most or _begins(most, shape) for shape in shapes):
        return (len(values), *most)
    return None


def _known(shape: Shape) -> tuple[int, bool]:
    """Return how much of a shape is known."""
    ends = shape[-1:] != UNKNOWN
    return len(shape) - (not ends), ends


def _begins(whole: Shape, shape: Shape | None) -> bool:
    """Return whether a shape of unknown end is the beginning of another one."""
    return shape is not None and shape[-1:] == UNKNOWN and whole[: len(shape) - 1] == shape[:-1]


def _filled(values: Any, shape: Shape) -> Any:
    if is_gap(values):
        return np.full([size for size in shape if size is not ...], None).tolist()
    if isinstance(values, Tensor) and values.is_cpu and not values.requires_grad:
        return values.tolist()  # of any dtype, also one that NumPy lacks
    return [_filled(value, shape[1:]) for value in values] if shape else values
