"""Labels in the forms that users have them, made into numbers.

Class names become ids by a vocabulary; sparse sets of ids or names become multi-hot rows; and
every value is checked before it is used.
"""

from collections.abc import Callable, Sequence
from math import inf, nan, prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.tensors import SAME_BATCH, blank, check_columns, is_text, to_tensor

MISSING_NAME = -1  # the id of a name that means "not labelled"

Blame = str | Callable[[Tensor], str]  # who refuses, or who does given the mask of bad values


def class_ids(
    who: str,
    names: Any,
    vocabulary: Sequence[str] | None,
    missing: object = None,
    mask: Tensor | None = None,
) -> np.ndarray[Any, Any]:
    """Return the int64 index of each class name in the vocabulary, in the names' shape.

    The name that means "not labelled" becomes -1; where ``mask`` is False (padding), any does.

    Raises:
        ValueError: if there is no vocabulary, or a name is not in it.
    """
    if vocabulary is None:
        hint = "Class names need a label_vocabulary."
        raise ValueError(unexpected(who, "labels", "to be numeric", "strings", hint))
    try:
        array = np.asarray(names)
    except ValueError:
        given = "rows of different lengths"
        raise ValueError(unexpected(who, "labels", "to be rectangular", given)) from None
    index = {name: i for i, name in enumerate(vocabulary)}
    flat = [name.decode() if isinstance(name, bytes) else name for name in array.ravel().tolist()]
    ids = np.array([index.get(name, MISSING_NAME) for name in flat], dtype=np.int64)
    known = ids >= 0
    if missing is not None:
        known |= np.array([name == missing for name in flat], dtype=bool)
    if mask is not None and mask.numel() == known.size:
        known |= ~mask.cpu().numpy().ravel()
    if not known.all():
        unknown = repr(flat[int(np.flatnonzero(~known)[0])])
        expected = f"from label_vocabulary {preview(vocabulary)}"
        raise ValueError(unexpected(who, "labels", expected, unknown))
    return ids.reshape(array.shape)


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
    if isinstance(labels, Tensor) and labels.layout == torch.sparse_coo:
        sets = _sets_of_sparse(labels)
    elif isinstance(labels, Tensor) and labels.is_nested:
        sets = _sets_of_nested(who, labels)
    elif is_text(labels) or _are_sets(labels, len(leading), n_classes):
        sets = _sets_of_lists(who, labels, len(leading), vocabulary, device, missing, mask)
    else:
        if isinstance(labels, Tensor) and not sparse and labels.layout != torch.strided:
            expected = "to be dense, torch.sparse_coo or jagged"
            raise ValueError(unexpected(who, argument, expected, labels.layout))
        dense = to_tensor(who, argument, labels, device)
        return check_columns(who, "labels", dense, leading, n_classes)
    if sets.leading != tuple(leading):
        expected = f"of batch shape {list(leading)}"
        raise ValueError(unexpected(who, argument, expected, list(sets.leading), SAME_BATCH))
    ids = sets.ids
    if ids.is_floating_point() or ids.dtype == torch.bool or ids.is_complex():
        raise ValueError(unexpected(who, argument, "to be integer class ids", ids.dtype))
    if mask is not None:
        ids = blank(ids, mask.flatten()[sets.rows])
    absent = None
    if missing is not None:
        absent = _rows_of_nothing_but(
            MISSING_NAME if sets.named else missing, ids, sets.rows, leading
        )
        ids = blank(ids, ~absent[sets.rows])
    check_values(who, argument, ids, 0, n_classes - 1)
    hot = torch.zeros(prod(leading) * n_classes, dtype=torch.int64, device=device)
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


def _sets_of_sparse(labels: Tensor) -> _Sets:
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
    sizes: list[int] = []
    for _ in range(depth):
        sizes.append(len(labels))
        labels = labels[0] if len(labels) else []
    return _Sets(ids, rows, tuple(sizes), named)


def check_values(
    who: Blame, argument: str, values: Tensor, low: float, high: float | Tensor
) -> None:
    """Refuse values outside of ``[low, high]``, and NaN.

    On a CPU this raises at once. On CUDA, and while compiling, an assertion on the device reports
    it, so that nothing waits. ``high`` may be a tensor that broadcasts to the values; ``who`` may
    be a function that tells from the mask of bad values whose they are.

    Raises:
        ValueError: if a value is out of range.
    """
    if values.numel() == 0 or values.is_meta or (isinstance(high, float) and low == -high == -inf):
        return
    compiling = torch.compiler.is_compiling()
    if compiling or values.is_cuda:
        inside = ((values >= low) & (values <= high)).all()
        most = "n_classes - 1" if isinstance(high, Tensor) else high
        # compiled code may take numbers for symbols, which have no text
        allowed = "their range" if compiling else f"[{low}, {most}]"
        torch._assert_async(inside, f"{argument} must lie in {allowed}")
        return
    if not isinstance(high, Tensor):
        least, greatest = (value.item() for value in values.aminmax())
        if low <= least and greatest <= high:  # false for NaN
            return
    bad = ~((values >= low) & (values <= high))
    if bad.any():
        owner = who if isinstance(who, str) else who(bad)
        limit = high.expand_as(values)[bad][0].item() if isinstance(high, Tensor) else high
        allowed = f"in [{low:g}, {limit:g}]" if np.isfinite(limit) else f">= {low:g}"
        raise ValueError(unexpected(owner, argument, allowed, values[bad][0].item()))


def whole_numbers(who: Blame, argument: str, values: Tensor) -> Tensor:
    """Return floats that are whole numbers as int64; other dtypes as they are.

    Raises:
        ValueError: if a value has a fraction.
    """
    if not values.is_floating_point():
        return values
    whole = values == values.round()  # false for NaN
    if torch.compiler.is_compiling() or values.is_cuda:
        torch._assert_async(whole.all(), f"{argument} must be whole class ids")
    elif not values.is_meta and not whole.all():
        owner = who if isinstance(who, str) else who(~whole)
        raise ValueError(unexpected(owner, argument, "as class ids", values[~whole][0].item()))
    return values.to(torch.int64)


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
