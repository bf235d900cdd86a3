"""The values of a categorical feature, in the forms that users have them."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from torch_heads.functional.errors import unexpected
from torch_heads.functional.tensors import to_tensor


def category_array(who: str, values: Any, nothing: Any) -> np.ndarray[Any, Any]:
    """Return the values of a feature as an array, with ``nothing`` in place of None.

    Lists of different lengths are filled up with it.

    Raises:
        ValueError: if the values are a tensor that is not dense, or lists within such lists.

    >>> category_array("categorical column 'id'", [[3], [1, 2], None], nothing=-1).tolist()
    [[3, -1], [1, 2], [-1, -1]]
    """
    if isinstance(values, Tensor):
        return to_tensor(who, "the feature", values).detach().cpu().numpy()
    given = values if isinstance(values, (list, tuple)) else np.asarray(values)
    if isinstance(given, np.ndarray) and (given.dtype != object or given.ndim == 0):
        return given
    rows = [row.tolist() if isinstance(row, (Tensor, np.ndarray)) else row for row in given]
    sets = [row if isinstance(row, (list, tuple)) else [row] for row in rows]
    size = max(map(len, sets), default=1)
    filled = [[*row, *[None] * (size - len(row))] for row in sets]
    array = np.array(
        [[nothing if value is None else value for value in row] for row in filled], dtype=object
    )
    if any(isinstance(value, (list, tuple)) for value in array.flat):
        expected, deep = "of shape [B] or [B, n]", "lists of lists of different lengths"
        raise ValueError(unexpected(who, "the feature", expected, deep))
    return array if array.size else array.astype(np.int64)


def plain_name(name: Any) -> Any:
    """Return a name as Python's strings and numbers are, which can be looked up.

    >>> plain_name(b"red"), plain_name(np.array(3))
    ('red', 3)
    """
    if isinstance(name, (Tensor, np.ndarray, np.generic)):
        name = name.tolist()
    return name.decode() if isinstance(name, bytes) else name
