"""Labels of which an example has any number, in all forms, as multi-hot rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan, prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.containers import (
    in_order,
    is_gap,
    is_table,
    opened,
    table_columns,
)
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.hints import SAME_BATCH
from torch_heads.functional.labels import MISSING_NAME, class_ids
from torch_heads.functional.missing import each_missing
from torch_heads.functional.tensors import gap, is_text, to_tensor
from torch_heads.functional.values import check_columns, check_values, zero_where_false


def multi_hot(
    who: str,
    labels: Any,
    vocabulary: Sequence[str] | None,
    leading: Sequence[int],
    n_classes: int,
    device: torch.device,
    missing: object = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Return labels as ``[D*, n_classes]``, one entry per class.

    Multi-hot labels are taken as they are, and by name out of a dict or a table with a column per
    class. Sets of classes may be given row-wise as ``torch.sparse_coo_tensor`` of ids
    (``[D*, ?]``), as a (jagged) nested tensor of ids, as Python sets or nested lists of ids or
    names. Nested lists of numbers are multi-hot where all rows have length ``n_classes``, and sets
    of ids else. A set of
    nothing but ``missing``, and a gap in place of a set, is a row without a label. Where ``mask``
    ``[D*]`` is False (padding), any set will do.

    Raises:
        ValueError: if an id is out of range, a name unknown, or the batch of another shape.
    """
    may_miss = missing is not None
    if is_table(labels):
        labels = table_columns(who, "labels", labels)
        if len(labels) == 1:  # of sets
            (labels,) = labels.values()
    if isinstance(labels, Mapping):
        table = labels
        names = vocabulary or [str(i) for i in range(n_classes)]
        own = [(name, table[name]) for name in table if _names_class(name, names)]
        if len(own) < n_classes:
            own = [(name, table[name]) for name in table]
        each = [
            to_tensor(who, f"labels[{name!r}]", one, device, may_miss, mask)
            for name, one in zip(names, in_order(who, "labels", own, names, "class"), strict=True)
        ]
        columns = [check_columns(who, "labels of a class", one, leading, 1) for one in each]
        return torch.cat(columns, -1)
    if not isinstance(labels, Tensor):
        labels = _listed(opened(labels))
    sparse = isinstance(labels, Tensor) and (labels.layout == torch.sparse_coo or labels.is_nested)
    argument = "sparse labels" if sparse else "labels"
    if sparse and labels.device != device:
        expected = f"on the logits' device {device}"
        raise ValueError(unexpected(who, argument, expected, labels.device))
    if sparse:
        nested = labels.is_nested
        sets = _sets_of_nested(who, labels) if nested else _sets_of_sparse(who, labels)
        _refuse_multi_hot(who, labels, sets, n_classes)
    elif is_text(labels) or _are_sets(labels, len(leading), n_classes):
        sets = _sets_of_lists(who, labels, len(leading), vocabulary, device, missing, mask)
    else:
        if isinstance(labels, Tensor) and labels.layout != torch.strided:
            expected = "to be dense, torch.sparse_coo or jagged"
            raise ValueError(unexpected(who, argument, expected, labels.layout))
        if isinstance(labels, (list, tuple)):
            labels = [[row] * n_classes if is_gap(row) else row for row in labels]
        dense = to_tensor(who, argument, labels, device, may_miss, mask)
        return check_columns(who, argument, dense, leading, n_classes)
    if sets.leading != tuple(leading):
        expected = f"of batch shape {list(leading)}"
        raise ValueError(unexpected(who, argument, expected, list(sets.leading), SAME_BATCH))
    return _hot(who, argument, sets, n_classes, missing, mask)


def _hot(
    who: str, argument: str, sets: _Sets, n_classes: int, missing: object, mask: Tensor | None
) -> Tensor:
    ids, leading = sets.ids, sets.leading
    if ids.is_floating_point() or ids.dtype == torch.bool or ids.is_complex():
        raise ValueError(unexpected(who, argument, "to be integer class ids", ids.dtype))
    if mask is not None:
        ids = zero_where_false(ids, mask.flatten()[sets.rows])
    absent = None
    if missing is not None:
        values = {MISSING_NAME} if sets.named else {*each_missing(missing)}
        absent = _rows_of_nothing_but(values, ids, sets.rows, leading)
        ids = zero_where_false(ids, ~absent[sets.rows])
        if sets.gaps:
            absent = absent.index_fill(0, torch.tensor(sets.gaps, device=ids.device), True)
    check_values(who, argument, ids, 0, n_classes - 1)
    hot = torch.zeros(prod(leading) * n_classes, dtype=torch.int64, device=ids.device)
    hot = hot.index_fill(0, sets.rows * n_classes + ids, 1).view(-1, n_classes)
    if absent is not None:
        hot = hot.double().masked_fill(absent.unsqueeze(-1), nan)
    return hot.view(*leading, n_classes)


def _refuse_multi_hot(who: str, labels: Tensor, sets: _Sets, n_classes: int) -> None:
    """Refuse rows as wide as there are classes that are no sets of ids, but could be multi-hot.

    They have nothing but 0 and 1, and some of these twice. On a device an assertion reports them,
    so that nothing waits.
    """
    ids = sets.ids
    if ids.dtype == torch.bool or ids.is_floating_point() or not len(ids):
        return
    if labels.is_nested:
        if n_classes == 2 or any(len(row) != n_classes for row in labels.unbind()):
            return
        binary = ((ids == 0) | (ids == 1)).all()
    else:
        if labels.shape[-1] != n_classes:
            return
        # a set of one id stands in the first place
        binary = torch.eq(ids, 1).all() & labels._indices()[-1].any()
    if ids.is_cuda or torch.compiler.is_compiling():
        torch._assert_async(~binary, "sparse labels of 0 and 1 could be multi-hot: make them dense")
    elif not ids.is_meta and bool(binary):
        expected, given = "as sets of ids", f"0 and 1 alone in rows of {n_classes}"
        hint = "Multi-hot rows are dense: labels.to_dense(); sets of ids have another width."
        raise ValueError(unexpected(who, "sparse labels", expected, given, hint))


def _names_class(name: object, names: Sequence[str]) -> bool:
    """Return whether a column is a class by name; others may stand beside these."""
    return name in names or (isinstance(name, (int, np.integer)) and int(name) in range(len(names)))


def _listed(labels: Any) -> Any:
    """Return lists for an array of objects such as lists, and all else as it is."""
    if isinstance(labels, np.ndarray) and labels.dtype.kind == "O":
        return [_listed(opened(label)) for label in labels.tolist()]
    if isinstance(labels, list):
        return [_listed(label) for label in labels]
    return labels


class _Sets(NamedTuple):
    """Sets of class ids: each id and its row, and the batch shape.

    ``named`` is whether they came as names, and ``gaps`` are the rows without a set.
    """

    ids: Tensor
    rows: Tensor
    leading: tuple[int, ...]
    named: bool = False
    gaps: Sequence[int] = ()


def _rows_of_nothing_but(
    missing: set[Any], ids: Tensor, rows: Tensor, leading: Sequence[int]
) -> Tensor:
    counts = torch.zeros(prod(leading), dtype=torch.int64, device=ids.device)
    alone = torch.eq(counts.index_add(0, rows, torch.ones_like(rows)), 1)
    held = torch.zeros_like(alone)
    for value in missing:
        if not isinstance(value, str):  # a name, among ids
            hits = counts.index_add(0, rows, torch.eq(ids, value).to(torch.int64))
            held = held | (hits == 1)
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
    gaps: list[int] = []
    if not set(map(type, flat)) <= {str, int, bytes}:
        for i, entries in enumerate(sets):
            for entry in filter(is_gap, entries):
                if missing is None or len(entries) > 1:
                    raise ValueError(gap(who, "labels", repr(entry), [i]))
                gaps.append(i)
        flat = [entry for entry in flat if not is_gap(entry)]
        for i in gaps:
            sets[i] = []
    rows = torch.tensor(
        [i for i, entries in enumerate(sets) for _ in entries], dtype=torch.int64, device=device
    )
    named = is_text(flat)
    if named:
        ids = torch.from_numpy(class_ids(who, flat, vocabulary, missing)).to(device)
    else:
        numbers = flat or np.zeros(0, dtype=np.int64)
        ids = to_tensor(who, "labels", numbers, device, may_miss=False)
    return _Sets(ids, rows, _batch_shape(who, labels, depth), named, gaps)


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
    """Return whether lists are sets of ids, not multi-hot."""
    if not isinstance(labels, (list, tuple)):
        return False
    sets = _rows_of_sets(labels, depth, keep=True)
    if sets is None or not sets:
        return sets is not None
    sets = [row for row in sets if not is_gap(row)]
    full = [row for row in sets if len(row) == n_classes and not isinstance(row, (set, frozenset))]
    return not full or len(full) < len(sets)


def _rows_of_sets(labels: Any, depth: int, keep: bool = False) -> list[Any] | None:
    """Return the entries of each row, None where a row is no list; or ``keep`` the rows."""
    level: list[Any] = [labels]
    for _ in range(depth):
        if any(_is_entry(part) or isinstance(part, (set, frozenset)) for part in level):
            return None
        level = [item for part in level for item in part]
    if any(_is_entry(row) and not is_gap(row) for row in level):
        return None
    return level if keep else [[row] if is_gap(row) else list(row) for row in level]


def _is_entry(value: Any) -> bool:
    return not isinstance(value, (list, tuple, set, frozenset)) and getattr(value, "ndim", 0) == 0
