"""Predictions of many heads side by side: one tensor of each key that heads of a family have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_heads.computation.predictor import Part, Stacked
from torch_heads.heads.base import Head
from torch_heads.heads.multi import MultiHead
from torch_heads.heads.sequential import SequentialHeadWrapper


class Place(NamedTuple):
    """Where the prediction of one head stands: ``size`` places from ``column * stride`` on.

    Attributes:
        target: the number of the head.
        column: its first label column.
        columns: how many it has.
        size: how many places of the last axis are its own; of the last but one, if it is `inner`.
    """

    target: int
    column: int
    columns: int
    size: int


class Stack(NamedTuple):
    """A prediction of several heads.

    Attributes:
        key: the key that it has in each of them.
        values: ``[D*, U * stride]``; with ``inner`` ``[D*, U, K]``, for U label columns.
        stride: how many places each label column has.
        inner: whether an axis of K numbers per column is behind that of the columns.
        places: those of the heads.
    """

    key: str
    values: Tensor
    stride: int
    inner: bool
    places: list[Place]


def stacks_of(head: Head, logits: Any) -> dict[str, Stack]:
    """Return the predictions of many heads by the name of their tensor."""
    found = head.computation.stack(_as_one(head, logits))
    each = (stack for one in found for stack in _stacks(one))
    return {stack_name(i, one.key): one for i, one in enumerate(each)}


def stack_name(number: int, key: str) -> str:
    """Return the name of the predictions of several heads, which differ in their number."""
    return f"stacked_{number}/{key}"


def _stacks(one: Stacked) -> Iterator[Stack]:
    """Yield a prediction in as few tensors as there are forms in which heads take it."""
    forms: dict[tuple[bool, int | None], list[Part]] = {}
    for part in one.parts:
        inner = part.width is not None and not part.flat
        # padding may stand after the numbers of a head's last column alone
        whole = part.width is None or part.width == one.values.shape[-1]
        keeps = whole or (part.stop - part.start == 1 and not inner)
        forms.setdefault((inner, None if keeps else part.width), []).append(part)
    for (inner, width), parts in forms.items():
        values = one.values if width is None else one.values[..., :width]
        numbered = parts[0].width is not None and not inner
        stride = values.shape[-1] if numbered else 1
        places = [_place(part, stride, numbered) for part in parts]
        yield Stack(one.key, values.flatten(-2) if numbered else values, stride, inner, places)


def _place(part: Part, stride: int, numbered: bool) -> Place:
    columns = part.stop - part.start
    padding = stride - part.width if numbered and part.width is not None else 0
    return Place(part.target, part.start, columns, columns * stride - padding)


def _as_one(head: Head, logits: Any) -> Tensor:
    """Return logits as one tensor, which may be a dict of them by head name."""
    if isinstance(logits, Mapping) and isinstance(head, MultiHead):
        return torch.cat([_as_one(head[name], logits[name]) for name in head], -1)
    if isinstance(head, SequentialHeadWrapper):
        return _as_one(head.static_head, logits)
    return torch.as_tensor(logits)
