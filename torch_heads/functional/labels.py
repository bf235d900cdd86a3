"""Labels in the forms that users have them, made into numbers.

Class names become ids by a vocabulary; sparse sets of ids or names become multi-hot rows; and
every value is checked before it is used.
"""

from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.tensors import check_columns, is_text, to_tensor


def class_ids(
    who: str, names: Any, vocabulary: Sequence[str] | None, mask: Tensor | None = None
) -> np.ndarray[Any, Any]:
    """Return the int64 index of each class name in the vocabulary, in the names' shape.

    Where ``mask`` is False (padding), any name will do.

    Raises:
        ValueError: if there is no vocabulary, or a name is not in it.
    """
    if vocabulary is None:
        raise ValueError(
            unexpected(
                who,
                "labels",
                "to be numeric",
                "strings",
                "Class names need a label_vocabulary.",
            )
        )
    array = np.asarray(names)
    index = {name: i for i, name in enumerate(vocabulary)}
    flat = [name.decode() if isinstance(name, bytes) else name for name in array.ravel().tolist()]
    ids = np.array([index.get(name, -1) for name in flat], dtype=np.int64).reshape(array.shape)
    known = ids >= 0
    if mask is not None and mask.numel() == known.size:
        known |= ~mask.cpu().numpy().reshape(known.shape)
    if not known.all():
        unknown = flat[int(np.flatnonzero(~known)[0])]
        raise ValueError(
            unexpected(who, "labels", f"from label_vocabulary {preview(vocabulary)}", repr(unknown))
        )
    return ids


def multi_hot(
    who: str,
    labels: Any,
    vocabulary: Sequence[str] | None,
    leading: Sequence[int],
    n_classes: int,
    device: torch.device,
) -> Tensor:
    """Return labels as ``[D*, n_classes]``, one entry per class.

    Multi-hot labels are taken as they are. Sets of classes may be given row-wise as
    ``torch.sparse_coo_tensor`` of ids (``[D*, ?]``), as a (jagged) nested tensor of ids, or as
    nested lists of ids or names, in which rows of length ``n_classes`` are read as multi-hot.

    Raises:
        ValueError: if an id is out of range, a name unknown, or the batch of another shape.
    """
    if isinstance(labels, Tensor) and labels.layout == torch.sparse_coo:
        # not coalesced: that would add the ids of equal positions
        places, ids = labels._indices()[:-1], labels._values()
        given = labels.shape[:-1]
        rows = torch.zeros_like(ids, dtype=torch.int64)
        for place, size in zip(places, given, strict=True):
            rows = rows * size + place
    elif isinstance(labels, Tensor) and labels.is_nested:
        parts = labels.unbind()
        given = torch.Size([len(parts)])
        ids = torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64)
        lengths = torch.tensor([len(part) for part in parts], device=ids.device)
        rows = torch.arange(len(parts), device=ids.device).repeat_interleave(
            lengths, output_size=len(ids)
        )
    elif is_text(labels) or _is_ragged(labels, len(leading), n_classes):
        pairs = list(_rows_of_sets(labels, len(leading)))
        given = torch.Size(_sizes(labels, len(leading)))
        flat = [entry for _, entries in pairs for entry in entries]
        if is_text(flat):
            ids = torch.from_numpy(class_ids(who, flat, vocabulary)).to(device)
        else:
            ids = to_tensor(who, "labels", flat, device) if flat else torch.zeros(0).long()
        rows = torch.tensor(
            [row for row, entries in pairs for _ in entries], dtype=torch.int64, device=device
        )
    else:
        dense = to_tensor(who, "labels", labels, device)
        return check_columns(who, "labels", dense, leading, n_classes)
    if given != torch.Size(leading):
        raise ValueError(
            unexpected(who, "sparse labels", f"of batch shape {list(leading)}", list(given))
        )
    if ids.is_floating_point() or ids.dtype == torch.bool or ids.is_complex():
        raise ValueError(unexpected(who, "sparse labels", "to be integer class ids", ids.dtype))
    check_values(who, "sparse labels", ids, 0, n_classes - 1)
    hot = torch.zeros(int(np.prod(leading)) * n_classes, dtype=torch.int64, device=device)
    hot[rows.to(device) * n_classes + ids.to(device)] = 1
    return hot.view(*leading, n_classes)


def check_values(
    who: str | Callable[[Tensor], str], argument: str, values: Tensor, low: float, high: Any
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
    if torch.compiler.is_compiling() or values.is_cuda:
        inside = ((values >= low) & (values <= high)).all()
        torch._assert_async(inside, f"{argument} must lie in [{low:g}, {high}]")
        return
    if not isinstance(high, Tensor):
        least, most = values.aminmax()
        if least >= low and most <= high:  # false for NaN
            return
    bad = ~((values >= low) & (values <= high))
    if bad.any():
        owner = who if isinstance(who, str) else who(bad)
        limit = high.expand_as(values)[bad][0].item() if isinstance(high, Tensor) else high
        allowed = f"in [{low:g}, {limit:g}]" if np.isfinite(limit) else f">= {low:g}"
        raise ValueError(unexpected(owner, argument, allowed, values[bad][0].item()))


def whole_numbers(who: str, argument: str, values: Tensor) -> Tensor:
    """Return floats that are whole numbers as int64; other dtypes as they are.

    Raises:
        ValueError: if a value has a fraction. Out of CUDA graphs and compiled code only, where
            an assertion on the device reports it.
    """
    if not values.is_floating_point():
        return values
    fraction = torch.where(values.isfinite(), values - values.round(), 1.0).abs()
    check_values(who, f"the fraction of class ids in {argument}", fraction, 0.0, 0.0)
    return values.to(torch.int64)


def _is_ragged(labels: Any, depth: int, n_classes: int) -> bool:
    if not isinstance(labels, (list, tuple)):
        return False
    return any(len(entries) != n_classes for _, entries in _rows_of_sets(labels, depth))


def _rows_of_sets(labels: Any, depth: int) -> Iterator[tuple[int, Sequence[Any]]]:
    level: list[Any] = [labels]
    for _ in range(depth):
        level = [
            item for part in level if isinstance(part, (list, tuple, np.ndarray)) for item in part
        ]
    for row, entries in enumerate(level):
        yield row, entries if isinstance(entries, (list, tuple, np.ndarray)) else [entries]


def _sizes(labels: Any, depth: int) -> list[int]:
    sizes = []
    for _ in range(depth):
        sizes.append(len(labels))
        labels = labels[0] if len(labels) else []
    return sizes
