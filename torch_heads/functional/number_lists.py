"""Lists of numbers that a head is made from, such as thresholds: read as Python's, and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from torch_heads.functional.containers import by_key, listed
from torch_heads.functional.errors import unexpected
from torch_heads.functional.forms import is_real
from torch_heads.functional.tables import is_table
from torch_heads.functional.tensors import to_tensor


def is_learned(values: Any) -> bool:
    """Return whether a gradient goes to a tensor, or to any in a list, a dict or a module.

    >>> is_learned({"a": nn.Linear(2, 1).weight, "b": 1.0}), is_learned([1.0, 2.0])
    (True, False)
    """
    if isinstance(values, Tensor):
        return values.requires_grad
    values = by_key(values)
    if isinstance(values, Mapping):
        values = values.values()
    elif isinstance(values, nn.Module):
        values = values.parameters()
    elif not isinstance(values, (list, tuple)):
        return False
    return any(map(is_learned, values))


def refuse_learned(who: str, argument: str, values: Any, hint: str = "") -> None:
    """Refuse values with a gradient, which a setting is not part of.

    Raises:
        TypeError: if there is any.
    """
    if is_learned(values):
        hint = hint or "It would not be learned; what .detach() returns has none."
        given = "a tensor that requires one"
        raise TypeError(unexpected(who, argument, "without a gradient", given, hint))


def as_float(who: str, argument: str, value: Any) -> float:
    """Return a real number as a float.

    Raises:
        ValueError: if it is too large to be one.
    """
    try:
        return float(value)
    except OverflowError:
        expected, given = "as a float", f"a number of {len(str(abs(value)))} digits"
        raise ValueError(unexpected(who, argument, expected, given)) from None


def numbers_in(who: str, argument: str, expected: str, values: Any) -> list[Any]:
    """Return the entries of a list of numbers; those that are tensors as Python's.

    Raises:
        TypeError: if they are not several, or have a gradient.
        ValueError: if a tensor is sparse, not real, masked or on the meta device.
    """
    refuse_learned(who, argument, values)
    if isinstance(values, Mapping) or is_table(values):
        raise TypeError(unexpected(who, argument, expected, type(values).__name__))
    if isinstance(values, Tensor):
        values = to_tensor(who, argument, values, may_miss=False)
    given = listed(who, argument, expected, values)
    scalars = [isinstance(one, Tensor) and one.dim() == 0 for one in given]
    if any(scalar and one.is_meta for scalar, one in zip(scalars, given, strict=True)):
        kind = "tensors on the meta device, which have no value"
        raise ValueError(unexpected(who, argument, expected, kind))
    return [
        to_tensor(who, argument, one, may_miss=False).item() if scalar else one
        for scalar, one in zip(scalars, given, strict=True)
    ]


def floats_in(who: str, argument: str, expected: str, values: Any) -> tuple[float, ...]:
    """Return the entries of a list of real numbers as floats.

    Raises:
        TypeError: as `numbers_in` does, or if one is no real number.
        ValueError: as `numbers_in` does, or if one is too large to be a float.
    """
    given = numbers_in(who, argument, expected, values)
    for value in given:
        if not is_real(value):
            raise TypeError(unexpected(who, argument, expected, repr(value)))
    return tuple(as_float(who, argument, value) for value in given)


def check_thresholds(who: str, thresholds: Iterable[float] | None) -> tuple[float, ...]:
    """Return thresholds in (0, 1), no two of which would share a metric key.

    Raises:
        TypeError: if they are not a sequence of numbers, or have a gradient.
        ValueError: if one is out of range, given twice or has no value.
    """
    if thresholds is None:
        return ()
    values = floats_in(who, "thresholds", "as a list of floats", thresholds)
    for value in values:
        if not 0.0 < value < 1.0:
            raise ValueError(unexpected(who, "thresholds", "in (0, 1)", value))
    if len({f"{value:g}" for value in values}) < len(values):
        raise ValueError(unexpected(who, "thresholds", "that differ in 6 digits", list(values)))
    return values


def check_ascending(who: str, argument: str, values: Any, below: float) -> tuple[float, ...]:
    """Return numbers above 0 and below a bound, in ascending order.

    Raises:
        TypeError: if they are no list of numbers, or have a gradient.
        ValueError: if there is none, one is out of range or has no value, or they do not ascend.
    """
    given = floats_in(who, argument, "as a list of numbers", values)
    for value in given:
        if not 0 < value < below:
            raise ValueError(unexpected(who, argument, f"in (0, {below:g})", value))
    if not given or tuple(sorted(set(given))) != given:
        raise ValueError(unexpected(who, argument, "that ascend, at least one", [*given]))
    return given
