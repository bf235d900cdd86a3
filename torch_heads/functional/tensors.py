"""What users may pass where a tensor is due, and how it becomes one."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from math import nan
from numbers import Number, Real
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
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.gap_rows import filled_rows
from torch_heads.functional.tables import columns_in_order, is_table

OTHER_NUMBERS = (Decimal, Fraction)  # of which there are no tensors
NUMBERS = {int, float, bool, type(None)}  # of Python, and None
DIFFERENT_LENGTHS = "rows of different lengths"
#: Floats of 8 bits, which PyTorch holds, but in which it does not compute.
FLOAT8 = {
    torch.float8_e4m3fn,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2,
    torch.float8_e5m2fnuz,
    torch.float8_e8m0fnu,
}
NEEDS_MISSING = "Labels that are missing need a missing_label."


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

    That of a dict or a table is the one of its first column.

    >>> shape_of([[1, 2], [3, 4], [5, 6]]), shape_of([{1}, {0, 2}]), shape_of({"a": [1, 2]})
    ((3, 2), (2,), (2,))
    """
    if isinstance(values, Tensor):
        return (values.size(0),) if values.is_nested else tuple(values.shape)
    if is_table(values):
        return (len(values),)
    if isinstance(values, Mapping):
        return shape_of(next(iter(values.values())))
    held = opened(values)
    if is_table(held):
        return (len(held),)
    try:
        return np.shape(held)
    except ValueError:
        return (len(held),)


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
    ``may_miss``, so is NaN in anything but a tensor. Gaps that may be there become NaN.

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
        _refuse_gaps(who, argument, np.isnan(array), array, valid)
    if array.dtype.kind == "c":
        raise ValueError(unexpected(who, argument, "to be real", f"{array.dtype} values"))
    if array.dtype.kind not in "biuf":
        raise ValueError(unexpected(who, argument, "to be numeric", kind_of(array)))
    if array.dtype.kind == "u":
        if array.size and array.max() > np.iinfo(np.int64).max:
            raise ValueError(unexpected(who, argument, "to fit into int64", array.max()))
        array = array.astype(np.int64)
    floats = array.dtype.kind == "f" and isinstance(held, (list, tuple))
    if floats and _have_default_dtype(array, kinds or entry_types(held)):
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
        expected, given = "to be rectangular", DIFFERENT_LENGTHS
        rows = filled_rows(held)
        if rows is not None:
            with suppress(Exception):
                return np.asarray(rows)
            # NumPy has no tensors with a gradient, or of other devices
            expected, given = "as one tensor", "a list of tensors"
            hint = "Stack them: torch.stack(...)."
    raise ValueError(unexpected(who, argument, expected, given, hint))


def _have_default_dtype(array: np.ndarray[Any, Any], kinds: set[type]) -> bool:
    """Return whether numbers of these types are all Python's, and not too large for the dtype."""
    if not kinds <= NUMBERS:
        return False
    if int not in kinds:
        return True
    largest = 2 / torch.finfo(torch.get_default_dtype()).eps  # of the whole numbers without gaps
    return not (np.abs(array) > largest).any()


def _numbers(
    who: str,
    argument: str,
    array: np.ndarray[Any, Any],
    may_miss: bool | None,
    valid: Tensor | None,
) -> np.ndarray[Any, Any]:
    """Return numbers that came as objects, with NaN for gaps."""
    entries = array.ravel().tolist()
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
        elif not isinstance(entry, (Real, np.bool_)):
            expected, given = "to be numeric", f"{type(entry).__name__} values"
            if isinstance(entry, Number):
                expected = "to be real"
            if isinstance(entry, (list, tuple, np.ndarray)):
                expected, given = "to be rectangular", DIFFERENT_LENGTHS
            elif is_text(entry):
                given = "strings"
            raise ValueError(unexpected(who, argument, expected, given))
    if gaps.any() and not (may_miss or nan_alone):
        _refuse_gaps(who, argument, gaps, array, valid)
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
        _refuse_gaps(who, argument, ~mask.cpu().numpy(), None, valid)
    data = data if data.is_floating_point() else data.double()
    return torch.where(mask, data, nan)


def _refuse_gaps(
    who: str,
    argument: str,
    gaps: np.ndarray[Any, Any],
    values: np.ndarray[Any, Any] | None,
    valid: Tensor | None,
) -> None:
    """Refuse the first gap in a row that is no padding.

    Raises:
        ValueError: if there is any.
    """
    if valid is not None and gaps.shape[: valid.dim()] == valid.shape:
        rows = valid.cpu().numpy()
        gaps = gaps & rows.reshape(*rows.shape, *[1] * (gaps.ndim - rows.ndim))
    for place in np.argwhere(gaps)[:1]:
        given = "a masked entry" if values is None else repr(values.item(*place))
        raise ValueError(gap(who, argument, given, place.tolist()))


def gap(who: str, argument: str, given: str, place: Sequence[int]) -> str:
    """Return the words that refuse a gap in a row."""
    where = f" in row {place[0]}" if place else ""
    where += f", at {list(place)}" if len(place) > 2 else ""
    hint = NEEDS_MISSING if "labels" in argument else ""
    return unexpected(who, argument, "without gaps", f"{given}{where}", hint)


def sum_scalars(who: str, losses: Any) -> Tensor | float:
    """Return the sum of a list of regularization losses, 0 where it is empty or None.

    Raises:
        TypeError: if it is not a list or tuple.
        ValueError: if an entry is not a scalar.
    """
    argument, expected = "regularization_losses", "as a list of scalars"
    if losses is None:
        return 0.0
    if not isinstance(losses, (list, tuple)):
        raise TypeError(unexpected(who, argument, expected, type(losses).__name__))
    total: Tensor | float = 0.0
    for loss in losses:
        try:
            scalar = _scalar(loss)
        except OverflowError:
            given = "an entry too large for a float"
            raise ValueError(unexpected(who, argument, expected, given)) from None
        if scalar is None:
            raise ValueError(unexpected(who, argument, expected, f"an entry {_in_words(loss)}"))
        total = total + scalar
    return total


def _scalar(loss: Any) -> Tensor | float | None:
    """Return one real number; None where it is anything else, or masked."""
    if isinstance(loss, Tensor):
        dense = loss.layout == torch.strided and not (loss.is_nested or loss.is_quantized)
        if not dense or loss.dim() or loss.is_complex() or has_mask(loss):
            return None
        return loss.float() if is_float8(loss) else loss
    held = opened(loss)
    if isinstance(held, np.ndarray) and held.ndim == 0:
        held = held.item()
    return float(held) if isinstance(held, Real) else None


def _in_words(loss: Any) -> str:
    if not isinstance(loss, Tensor):
        return repr(loss)
    if loss.dim() and not loss.is_nested:
        return str(list(loss.shape))
    return f"that is a {type(loss).__name__} of {loss.dtype}, {loss.layout}"


def is_float8(values: Any) -> bool:
    """Return whether values are a tensor of floats of 8 bits."""
    return isinstance(values, Tensor) and values.dtype in FLOAT8
