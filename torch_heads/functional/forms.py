"""What form values have that users give: whether text, of which shape, kind and device."""

from collections.abc import Mapping
from contextlib import suppress
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.containers import opened
from torch_heads.functional.errors import preview
from torch_heads.functional.tables import is_table

NUMBERS = {int, float, bool, type(None)}  # of Python, and None
#: Floats of 8 bits, which PyTorch holds, but in which it does not compute.
FLOAT8 = {
    torch.float8_e4m3fn,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2,
    torch.float8_e5m2fnuz,
    torch.float8_e8m0fnu,
}


def is_text(values: Any) -> bool:
    """Return whether the values are strings: a NumPy array or (nested) list of them, or one.

    >>> is_text([["zero"], ["one"]]), is_text([[], [3]])
    (True, False)
    """
    if isinstance(values, Tensor):
        return False
    if isinstance(values, np.ndarray):
        return values.dtype.kind in "SUT" or (
            values.dtype.kind == "O" and is_text(values.ravel().tolist())
        )
    if isinstance(values, (list, tuple, set, frozenset)):
        return not NUMBERS.issuperset(map(type, values)) and any(map(is_text, values))
    if hasattr(type(values), "as_py"):  # one value of pyarrow
        values = values.as_py()
    return isinstance(values, (str, bytes))


def is_real(value: Any) -> bool:
    """Return whether a value is a real number: no truth value, and no span of time.

    >>> is_real(0.5), is_real(True), is_real(np.timedelta64(1, "s"))
    (True, False, False)
    """
    # NumPy counts spans of time among whole numbers
    return isinstance(value, Real) and not isinstance(value, (bool, np.timedelta64))


def is_empty(values: Any) -> bool:
    """Return whether a NumPy array or (nested) list holds no value.

    >>> is_empty([[], []]), is_empty([[], [3]])
    (True, False)
    """
    if isinstance(values, np.ndarray):
        return values.size == 0
    return isinstance(values, (list, tuple)) and all(is_empty(value) for value in values)


def shape_of(values: Any) -> tuple[int, ...]:
    """Return the shape of labels in any form; of rows of different lengths, their number alone.

    That of a dict or a table is the one of its first column; what holds no rows has none.

    >>> shape_of([[1, 2], [3, 4], [5, 6]]), shape_of([{1}, {0, 2}]), shape_of({"a": [1, 2]})
    ((3, 2), (2,), (2,))
    """
    if isinstance(values, Tensor):
        return (values.size(0),) if values.is_nested else tuple(values.shape)
    if isinstance(values, Mapping) and not is_table(values):
        return shape_of(next(iter(values.values())))
    held = opened(values)
    with suppress(ValueError, RuntimeError, TypeError):  # ragged; tensors with a gradient, on a GPU
        return (len(held),) if is_table(held) else tuple(np.shape(held))
    with suppress(RuntimeError, TypeError):
        return (len(held),)
    return ()


def shape_by_name(columns: Mapping[Any, Any]) -> tuple[int, ...]:
    """Return the shape of a batch whose columns come by name, ``[D*]`` or ``[D*, 1]`` each.

    >>> shape_by_name({"time": [[1.0], [2.0]], "event": [1, 0]}), shape_by_name({"a": [[1, 0]]})
    ((2,), (1, 2))
    """
    shape = shape_of(columns)
    return shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape


def device_of(values: Any) -> torch.device:
    """Return the device of the first tensor among values, the CPU without any."""
    rest = [values]
    while rest:
        one = rest.pop()
        if isinstance(one, Tensor):
            return one.device
        if isinstance(one, Mapping):
            rest += one.values()
    return torch.device("cpu")


def kind_of(values: Any) -> str:
    """Return what kind of values these are, in a word or two.

    >>> kind_of([1, 2]), kind_of(["a"]), kind_of({"even": [1]})
    ('numbers', 'strings', "a dict of ['even']")
    """
    if isinstance(values, Mapping):
        return f"a dict of {preview(values)}"
    if isinstance(values, Tensor):
        return f"a tensor of {values.dtype}"
    if is_text(values):
        return "strings"
    if isinstance(values, np.ndarray) and values.dtype.kind not in "biufO":
        return f"{values.dtype} values"
    entries = np.asarray(values, dtype=object).ravel().tolist()
    others = [entry for entry in entries if not isinstance(entry, Real)]
    if others:
        return f"{type(others[0]).__name__} values"
    return "numbers" if entries else "nothing"


def is_float8(values: Any) -> bool:
    """Return whether values are a tensor of floats of 8 bits."""
    return isinstance(values, Tensor) and values.dtype in FLOAT8
