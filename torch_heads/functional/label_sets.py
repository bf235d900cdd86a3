"""Labels of which an example has any number, in all forms, as multi-hot rows."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan, prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.labels import MISSING_NAME, class_ids
from torch_heads.functional.tensors import is_text, to_tensor
from torch_heads.functional.values import SAME_BATCH, check_columns, check_values, zero_where_false


def multi_hot(
    who: str,
    labels: Any,
    vocabulary: Sequence[str] | None,
    leading: Sequence[int],
    n_classes: int,
    device: torch.device,
    missing: float | str | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Return labels as ``[D*, n_classes]``, one entry per class.

    Multi-hot labels are taken as they are. Sets of classes may be given row-wise as
    ``torch.sparse_coo_tensor`` of ids (``[D*, ?]``), as a (jagged) nested tensor of ids, or as
    nested lists of ids or names, in which rows of length ``n_classes`` are read as multi-hot. A
    set of nothing but ``missing`` is a row without a label. Where ``mask`` ``[D*]`` is False
    (padding), any set will do.

    Raises:
        ValueError: if an id is out of range, a name unknown, or the batch of another shape.
    """
    sparse = isinstance(labels, Tensor) and (labels.layout == torch.sparse_coo or labels.is_nested)
    argument = "sparse labels" if sparse else "labels"
    if sparse and labels.device != device:
        expected = f"on the logits' device {device}"
        raise ValueError(unexpected(who, argument, expected, labels.device))
    if sparse:
        nested = labels.is_nested
        sets = _sets_of_nested(who, labels) if nested else _sets_of_sparse(who, labels)
    elif is_text(labels) or _are_sets(labels, len(leading), n_classes):
        sets = _sets_of_lists(who, labels, len(leading), vocabulary, device, missing, mask)
    else:
        if isinstance(labels, Tensor) and labels.layout != torch.strided:
            expected = "to be dense, torch.sparse_coo or jagged"
            raise ValueError(unexpected(who, argument, expected, labels.layout))
        dense = to_tensor(who, argument, labels, device)
        return check_columns(who, argument, dense, leading, n_classes)
    if sets.leading != tuple(leading):
        expected = f"of batch shape {list(leading)}"
        raise ValueError(unexpected(who, argument, expected, list(sets.leading), SAME_BATCH))
    return _hot(who, argument, sets, n_classes, missing, mask)


def _hot(
    who: str,
    argument: str,
    sets: _Sets,
    n_classes: int,
    missing: float | str | None,
    mask: Tensor | None,
) -> Tensor:
    ids, leading = sets.ids, sets.leading
    if ids.is_floating_point() or ids.dtype == torch.bool or ids.is_complex():
        raise ValueError(unexpected(who, argument, "to be integer class ids", ids.dtype))
    if mask is not None:
        ids = zero_where_false(ids, mask.flatten()[sets.rows])
    absent = None
    if missing is not None:
        absent = _rows_of_nothing_but(
            MISSING_NAME if sets.named else missing, ids, sets.rows, leading
        )
        ids = zero_where_false(ids, ~absent[sets.rows])
    check_values(who, argument, ids, 0, n_classes - 1)
    hot = torch.zeros(prod(leading) * n_classes, dtype=torch.int64, device=ids.device)
    hot = hot.index_fill(0, sets.rows * n_classes + ids, 1).view(-1, n_classes)
    if absent is not None:
        value = nan if isinstance(missing, str) or missing is None else missing
        hot = hot.double().masked_fill(absent.unsqueeze(-1), value)
    return hot.view(*leading, n_classes)


class _Sets(NamedTuple):
    """Sets of class ids: each id and its row, the batch shape, and whether they came as names."""

    ids: Tensor
    rows: Tensor
    leading: tuple[int, ...]
    named: bool = False


def _rows_of_nothing_but(
    missing: float | str, ids: Tensor, rows: Tensor, leading: Sequence[int]
) -> Tensor:
    if isinstance(missing, str):  # a name, among ids
        return torch.zeros(prod(leading), dtype=torch.bool, device=ids.device)
    counts = torch.zeros(prod(leading), dtype=torch.int64, device=ids.device)
    alone = counts.index_add(0, rows, torch.ones_like(rows)) == 1
    held = counts.index_add(0, rows, torch.eq(ids, missing).to(torch.int64)) == 1
    return alone & held


def _sets_of_sparse(who: str, labels: Tensor) -> _Sets:
    if labels.dense_dim():
        given = f"{labels.dense_dim()} dense dimensions"
        raise ValueError(unexpected(who, "sparse labels", "with one id in each place", given))
    # not coalesced: that would add up the ids at equal positions
    ids, leading = labels._values(), tuple(labels.shape[:-1])
    rows = torch.zeros(len(ids), dtype=torch.int64, device=ids.device)
    for place, size in zip(labels._indices(), leading, strict=False):
        rows = rows * size + place
    return _Sets(ids, rows, leading)


def _sets_of_nested(who: str, labels: Tensor) -> _Sets:
    parts = labels.unbind()
    if labels.dim() != 2:
        given = f"parts of {labels.dim() - 1} dimensions"
        raise ValueError(unexpected(who, "nested labels", "as one list of ids per row", given))
    lengths = torch.tensor([len(part) for part in parts], device=labels.device)
    ids = torch.cat(list(parts)) if parts else torch.zeros(0, dtype=torch.int64)
    rows = torch.arange(len(parts), device=labels.device)
    return _Sets(ids, rows.repeat_interleave(lengths, output_size=len(ids)), (len(parts),))


def _sets_of_lists(
    who: str,
    labels: Any,
    depth: int,
    vocabulary: Sequence[str] | None,
    device: torch.device,
    missing: object,
    mask: Tensor | None,
) -> _Sets:
    sets = _rows_of_sets(labels, depth)
    if sets is None:
        expected = "as a list of class names per row"
        hint = "" if vocabulary else "Class names need a label_vocabulary."
        raise ValueError(unexpected(who, "labels", expected, preview(labels), hint))
    if mask is not None and mask.numel() == len(sets):
        steps = mask.flatten().tolist()
        sets = [entries if step else [] for entries, step in zip(sets, steps, strict=True)]
    flat = [entry for entries in sets for entry in entries]
    rows = torch.tensor(
        [i for i, entries in enumerate(sets) for _ in entries], dtype=torch.int64, device=device
    )
    named = is_text(flat)
    if named:
        ids = torch.from_numpy(class_ids(who, flat, vocabulary, missing)).to(device)
    else:
        numbers = np.asarray(flat) if flat else np.zeros(0, dtype=np.int64)
        ids = to_tensor(who, "labels", numbers, device)
    return _Sets(ids, rows, _batch_shape(who, labels, depth), named)


def _batch_shape(who: str, labels: Any, depth: int) -> tuple[int, ...]:
    sizes: list[int] = []
    level = [labels]
    for _ in range(depth):
        lengths = {len(part) for part in level}
        if len(lengths) > 1:
            expected = "with as many rows in each part of the batch"
            raise ValueError(unexpected(who, "labels", expected, preview(sorted(lengths))))
        sizes += lengths or {0}
        level = [item for part in level for item in part]
    return tuple(sizes)


def _are_sets(labels: Any, depth: int, n_classes: int) -> bool:
    if not isinstance(labels, (list, tuple)):
        return False
    sets = _rows_of_sets(labels, depth)
    return sets is not None and (not sets or any(len(entries) != n_classes for entries in sets))


def _rows_of_sets(labels: Any, depth: int) -> list[list[Any]] | None:
    """Return the entries of each row, None where a row is no list."""
    level: list[Any] = [labels]
    for _ in range(depth):
        if any(_is_entry(part) for part in level):
            return None
        level = [item for part in level for item in part]
    return None if any(_is_entry(row) for row in level) else [list(row) for row in level]


def _is_entry(value: Any) -> bool:
    return not isinstance(value, (list, tuple)) and getattr(value, "ndim", 0) == 0
