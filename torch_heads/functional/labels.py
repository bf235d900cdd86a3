"""Labels in the forms that users have them, made into numbers.

Class names become ids by a vocabulary, and every value is checked before it is used.
"""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.errors import preview, unexpected

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
