"""What users may pass where a tensor is due, and how it becomes one."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from math import nan
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.containers import (
    NESTED,
    are_entries,
    entry_types,
    has_mask,
    is_gap,
    opened,
)
from torch_heads.functional.errors import unexpected
from torch_heads.functional.forms import NUMBERS, is_float8, is_real, is_text, kind_of
from torch_heads.functional.gap_rows import filled_rows
from torch_heads.functional.gaps import refuse_gaps
from torch_heads.functional.tables import columns_in_order, is_table

OTHER_NUMBERS = (Decimal, Fraction)  # of which there are no tensors
DIFFERENT_LENGTHS = "rows of different lengths"


def to_tensor(
    who: str,
    argument: str,
    values: Any,
    device: torch.device | None = None,
    may_miss: bool | None = None,
    valid: Tensor | None = None,
) -> Tensor:
    """Return numbers as a tensor; what is none goes to ``device``.

    A dense tensor is returned as it is. Python floats get torch's default dtype; what has a dtype
    keeps it. What is masked, None or NA is a gap; of labels and weights, which say whether any
    ``may_miss``, so is NaN in anything but a tensor. Gaps that may be there become NaN. Of these,
    Python floats stay in float64, in which they are, where the default dtype would round any.

    Raises:
        ValueError: if the values are missing, ragged, sparse, not real, or on another device.
    """
    if isinstance(values, Tensor):
        values = _checked(who, argument, values, device)
        return _unmasked(who, argument, values, may_miss, valid) if has_mask(values) else values
    if values is None:
        raise ValueError(unexpected(who, argument, "to be given", None))
    kinds = entry_types(values) if type(values) in NESTED else set()
    held = values if kinds and are_entries(kinds) else opened(values)
    if isinstance(held, Mapping):
        raise ValueError(unexpected(who, argument, "as one tensor", kind_of(held)))
    if is_table(held):
        columns = columns_in_order(who, argument, held)
        return _side_by_side(
            who,
            argument,
            [to_tensor(who, argument, one, device, may_miss, valid) for one in columns],
        )
    array = _array(who, argument, held)
    if array.dtype.kind == "O":
        array = _numbers(who, argument, array, may_miss, valid)
    elif may_miss is False and array.dtype.kind == "f" and np.isnan(array).any():
        refuse_gaps(who, argument, np.isnan(array), array, valid)
    array = _real(who, argument, array)
    floats = array.dtype.kind == "f" and isinstance(held, (list, tuple))
    exact = may_miss is not None
    if floats and _have_default_dtype(array, kinds or entry_types(held), exact):
        return torch.tensor(array, dtype=torch.get_default_dtype(), device=device)
    # a copy: the caller's array may be read-only, reversed, or of the other byte order
    dtype = array.dtype.newbyteorder("=") if array.dtype != np.longdouble else np.float64
    return torch.tensor(array.astype(dtype), device=device)


def _checked(who: str, argument: str, values: Tensor, device: torch.device | None) -> Tensor:
    """Return a tensor of real numbers, dense and on the device.

    Raises:
        ValueError: if it is none.
    """
    if values.layout != torch.strided or values.is_nested:
        kind = "a nested tensor" if values.is_nested else values.layout
        raise ValueError(unexpected(who, argument, "to be dense", kind))
    if values.is_complex():
        raise ValueError(unexpected(who, argument, "to be real", values.dtype))
    if values.is_quantized:
        hint = f"{argument}.dequantize() has numbers."
        raise ValueError(unexpected(who, argument, "to be numeric", values.dtype, hint))
    if device is not None and values.device != device:
        expected = f"on the logits' device {device}"
        raise ValueError(unexpected(who, argument, expected, values.device))
    return values.float() if is_float8(values) else values


def _side_by_side(who: str, argument: str, columns: Sequence[Tensor]) -> Tensor:
    """Return columns as the last dimension; a single one of rows as it is.

    Raises:
        ValueError: if they differ in shape.
    """
    if len(columns) == 1 and columns[0].dim() > 1:
        return columns[0]
    shapes = {column.shape for column in columns}
    if len(shapes) > 1:
        raise ValueError(unexpected(who, argument, "to be rectangular", DIFFERENT_LENGTHS))
    return torch.stack(list(columns), -1)


def _array(who: str, argument: str, held: Any) -> np.ndarray[Any, Any]:
    """Return what a container holds as an array, of objects where these are not all numbers.

    Raises:
        ValueError: if there is none.
    """
    with suppress(Exception):  # of any kind, as objects that are no arrays raise them
        return np.asarray(held)
    expected, given, hint = "as a tensor, an array or a list", type(held).__name__, ""
    if isinstance(held, (list, tuple)):
        expected, given = "as one tensor", "a list of tensors"
        hint = "Stack them: torch.stack(...)."
        with suppress(Exception):  # NumPy has no tensors with a gradient, or of other devices
            rows = filled_rows(held)
            if rows is not None:
                return np.asarray(rows)
            expected, given, hint = "to be rectangular", DIFFERENT_LENGTHS, ""
    raise ValueError(unexpected(who, argument, expected, given, hint))


def _real(who: str, argument: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an array of real numbers, unsigned ones as int64.

    Raises:
        ValueError: if it holds anything else, or a number is too large.
    """
    if array.dtype.kind == "c":
        raise ValueError(unexpected(who, argument, "to be real", f"{array.dtype} values"))
    if array.dtype.kind not in "biuf":
        raise ValueError(unexpected(who, argument, "to be numeric", kind_of(array)))
    if array.dtype.kind != "u":
        return array
    if array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(unexpected(who, argument, "to fit into int64", array.max()))
    return array.astype(np.int64)


def _have_default_dtype(array: np.ndarray[Any, Any], kinds: set[type], exact: bool) -> bool:
    """Return whether numbers of these types are all Python's, and not too large for the dtype.

    To be ``exact``, none may be rounded in it.
    """
    if not kinds <= NUMBERS:
        return False
    if not exact and int not in kinds:
        return True
    dtype = torch.get_default_dtype()
    largest = 2 / torch.finfo(dtype).eps  # of the whole numbers without gaps
    lost = np.abs(array) > largest
    if exact:
        rounded = torch.from_numpy(array).to(dtype).double().numpy()
        lost |= (rounded != array) & (array == array)
    return not lost.any()


def _numbers(
    who: str,
    argument: str,
    array: np.ndarray[Any, Any],
    may_miss: bool | None,
    valid: Tensor | None,
) -> np.ndarray[Any, Any]:
    """Return numbers that came as objects, with NaN for gaps."""
    entries = [
        entry.item() if isinstance(entry, Tensor) and entry.dim() == 0 else entry
        for entry in array.ravel().tolist()
    ]
    if array.ndim == 0 and not (is_gap(entries[0]) or isinstance(entries[0], Number)):
        expected, given = "as a tensor, an array or a list", type(entries[0]).__name__
        raise ValueError(unexpected(who, argument, expected, given))
    gaps = np.array([is_gap(entry) for entry in entries], bool).reshape(array.shape)
    nan_alone = may_miss is None and all(
        isinstance(entries[i], float) for i in np.flatnonzero(gaps)
    )
    rest = [nan if gap else entry for gap, entry in zip(gaps.flat, entries, strict=True)]
    for i, entry in enumerate(rest):
        if isinstance(entry, OTHER_NUMBERS):
            rest[i] = float(entry)
        elif not (is_real(entry) or isinstance(entry, (bool, np.bool_))):
            expected, given = "to be numeric", f"{type(entry).__name__} values"
            if isinstance(entry, (complex, np.complexfloating)):
                expected = "to be real"
            if isinstance(entry, (list, tuple, np.ndarray)):
                expected, given = "to be rectangular", DIFFERENT_LENGTHS
            elif is_text(entry):
                given = "strings"
            raise ValueError(unexpected(who, argument, expected, given))
    if gaps.any() and not (may_miss or nan_alone):
        refuse_gaps(who, argument, gaps, array, valid)
    numbers = np.array(rest).reshape(array.shape)
    if numbers.dtype.kind == "O":
        bad = max(rest, key=abs)
        raise ValueError(unexpected(who, argument, "to fit into int64", bad))
    return numbers


def _unmasked(
    who: str, argument: str, values: Any, may_miss: bool | None, valid: Tensor | None
) -> Tensor:
    """Return the numbers of a masked tensor, with NaN for gaps."""
    data: Tensor = values.get_data()
    mask: Tensor = values.get_mask()
    if bool(mask.all()):
        return data
    if not may_miss:
        refuse_gaps(who, argument, ~mask.cpu().numpy(), None, valid)
    data = data if data.is_floating_point() else data.double()
    return torch.where(mask, data, nan)
