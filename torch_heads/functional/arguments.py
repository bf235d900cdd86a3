"""The checks of what heads are made from, at construction, before anything is kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from torch_heads.functional.containers import has_mask, in_order, listed, named_values
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.tables import is_table
from torch_heads.functional.tensors import is_text, kind_of, to_tensor
from torch_heads.functional.weights import WeightColumn

MissingLabel = float | str | Sequence[float | str] | None


def check_count(who: str, argument: str, value: Any, least: int) -> int:
    """Return a whole number that is large enough.

    Raises:
        TypeError: if it is not an int.
        ValueError: if it is too small, or there is no ``n_classes``.
    """
    if not isinstance(value, Integral) or isinstance(value, bool):
        # the originals' own distinction
        error = ValueError if value is None and argument == "n_classes" else TypeError
        raise error(unexpected(who, argument, "as an int", repr(value)))
    if value < least:
        raise ValueError(unexpected(who, argument, f">= {least}", value))
    return int(value)


def check_weight_column(who: str, value: Any) -> WeightColumn:
    """Return the key of a feature, or a callable of the features.

    Raises:
        TypeError: if it is neither.
    """
    column: WeightColumn = value
    if value is None or isinstance(value, str) or callable(value):
        return column
    expected = "as a feature's name or a callable of the features"
    raise TypeError(unexpected(who, "weight_column", expected, type(value).__name__))


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


def check_thresholds(who: str, thresholds: Iterable[float] | None) -> tuple[float, ...]:
    """Return thresholds in (0, 1), no two of which would share a metric key.

    Raises:
        TypeError: if they are not a sequence of numbers.
        ValueError: if one is out of range or given twice.
    """
    if thresholds is None:
        return ()
    expected = "as a list of floats"
    given = listed(who, "thresholds", expected, thresholds)
    for value in given:
        if not isinstance(value, Real) and not (isinstance(value, Tensor) and value.dim() == 0):
            raise TypeError(unexpected(who, "thresholds", expected, repr(value)))
        if isinstance(value, Tensor) and value.is_meta:
            kind = "tensors on the meta device, which have no value"
            raise ValueError(unexpected(who, "thresholds", expected, kind))
    values = tuple(as_float(who, "thresholds", value) for value in given)
    for value in values:
        if not 0.0 < value < 1.0:
            raise ValueError(unexpected(who, "thresholds", "in (0, 1)", value))
    if len({f"{value:g}" for value in values}) < len(values):
        raise ValueError(unexpected(who, "thresholds", "that differ in 6 digits", list(values)))
    return values


def check_share(who: str, argument: str, value: Any, *, bounds: bool = False) -> float:
    """Return a number in (0, 1), or in [0, 1] where the bounds are allowed.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is out of range.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(unexpected(who, argument, "as a number", repr(value)))
    share = float(value)
    if not (0 < share < 1 or (bounds and share in (0, 1))):
        raise ValueError(unexpected(who, argument, "in [0, 1]" if bounds else "in (0, 1)", value))
    return share


def check_ascending(who: str, argument: str, values: Any, below: float) -> tuple[float, ...]:
    """Return numbers above 0 and below a bound, in ascending order.

    Raises:
        TypeError: if they are no list of numbers.
        ValueError: if there is none, one is out of range, or they do not ascend.
    """
    expected = "as a list of numbers"
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(unexpected(who, argument, expected, repr(values)))
    given = values.tolist() if isinstance(values, Tensor) else list(values)
    for value in given:
        if not isinstance(value, Real) or isinstance(value, bool):
            raise TypeError(unexpected(who, argument, expected, repr(value)))
        if not 0 < float(value) < below:
            raise ValueError(unexpected(who, argument, f"in (0, {below:g})", value))
    if not given or sorted(set(given)) != given:
        raise ValueError(unexpected(who, argument, "that ascend, at least one", given))
    return tuple(map(float, given))


def check_vocabulary(who: str, vocabulary: Any, n_classes: int) -> tuple[str, ...] | None:
    """Return the names of all classes.

    Raises:
        ValueError: if they are not a list of as many different strings as there are classes.
    """
    argument = "label_vocabulary"
    if vocabulary is None:
        return None
    if not isinstance(vocabulary, (list, tuple)):
        given = type(vocabulary).__name__
        raise ValueError(unexpected(who, argument, "as a list or tuple", given))
    for name in vocabulary:
        if not isinstance(name, str):
            raise ValueError(unexpected(who, argument, "of strings", repr(name)))
    if len(vocabulary) != n_classes:
        given = f"{len(vocabulary)}: {preview(vocabulary)}"
        raise ValueError(unexpected(who, argument, f"of {n_classes} names, one per class", given))
    if len(set(vocabulary)) < len(vocabulary):
        twice = next(name for name in vocabulary if vocabulary.count(name) > 1)
        raise ValueError(unexpected(who, argument, "without duplicates", f"{twice!r} twice"))
    return tuple(vocabulary)


def check_missing_label(
    who: str,
    missing: Any,
    vocabulary: Sequence[str] | None,
    label_range: tuple[float, float],
    whole: bool = False,
) -> MissingLabel:
    """Return the value that means "not labelled", or a tuple of several, which no label can have.

    Raises:
        TypeError: if one is not of the labels' type.
        ValueError: if a label could have this value, or there is none in a list.
    """
    if isinstance(missing, (list, tuple, set, frozenset)):
        if not missing:
            raise ValueError(unexpected(who, "missing_label", "with at least one value", missing))
        return tuple(
            one
            if isinstance(one, float) and one != one  # always missing, beside others
            else _check_missing_value(who, one, vocabulary, label_range, whole)
            for one in missing
        )
    if missing is None:
        return None
    return _check_missing_value(who, missing, vocabulary, label_range, whole)


def _check_missing_value(
    who: str,
    missing: Any,
    vocabulary: Sequence[str] | None,
    label_range: tuple[float, float],
    whole: bool,
) -> float | str:
    argument = "missing_label"
    if isinstance(missing, str):
        if vocabulary is None:
            hint = "A string needs a label_vocabulary."
            raise TypeError(unexpected(who, argument, "as a number", repr(missing), hint))
        if missing in vocabulary:
            given = repr(missing)
            raise ValueError(unexpected(who, argument, "outside of label_vocabulary", given))
        return missing
    if isinstance(missing, bool) or not isinstance(missing, Real):
        kind = "a number" if vocabulary is None else "a string or a number"
        raise TypeError(unexpected(who, argument, f"as {kind}, as the labels are", repr(missing)))
    value = as_float(who, argument, missing)
    if whole and not (value.is_integer() and abs(value) <= 2**53):
        raise ValueError(unexpected(who, argument, "as a whole number within 2**53", missing))
    low, high = label_range
    bounded = low > -torch.inf
    if bounded and low <= value <= high:
        allowed = f"outside of the labels' range [{low:g}, {high:g}]"
        raise ValueError(unexpected(who, argument, allowed, missing))
    return int(value) if whole else value


def check_class_weights(
    who: str, argument: str, values: Any, n_classes: int, vocabulary: Sequence[str] | None = None
) -> Tensor | None:
    """Return one weight per class as a tensor; one number is for all.

    A dict, or a series with an index, is read by class name or id.

    Raises:
        ValueError: if there are not as many as classes, or one is negative or not finite.
    """
    if values is None:
        return None
    named = named_values(values)
    if named is not None and n_classes > 1:
        names = vocabulary or [str(i) for i in range(n_classes)]
        values = in_order(who, argument, named, names, "class")
    elif named is not None or is_table(values) or is_text(values):
        raise ValueError(unexpected(who, argument, "as one number per class", kind_of(values)))
    if not isinstance(values, Tensor) or has_mask(values):
        # not on the meta device, where a model may be built whose other states are loaded
        values = to_tensor(who, argument, values, torch.device("cpu"), may_miss=False)
    weights: Tensor = values.detach().to(torch.get_default_dtype(), copy=True)
    if weights.dim() == 0:
        weights = weights.expand(n_classes).clone()
    if weights.shape != (n_classes,):
        expected = f"of shape [{n_classes}], one per class"
        raise ValueError(unexpected(who, argument, expected, list(weights.shape)))
    if not weights.is_meta and not bool(((weights >= 0) & weights.isfinite()).all()):
        raise ValueError(unexpected(who, argument, ">= 0 and finite", weights.tolist()))
    return weights


def check_unbalanced(who: str, loss_fn: Any, **balance: Any) -> None:
    """Refuse corrections of class imbalance beside a ``loss_fn``, which would not see them.

    Raises:
        ValueError: if both are given.
    """
    given = [name for name, value in balance.items() if value is not None]
    if loss_fn is not None and given:
        raise ValueError(unexpected(who, "loss_fn", f"or {preview(given)}", "both"))


def check_smoothing(who: str, value: Any) -> float:
    """Return a label smoothing in [0, 1].

    Raises:
        ValueError: if it is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise ValueError(unexpected(who, "label_smoothing", "in [0, 1]", repr(value)))
    return float(value)
