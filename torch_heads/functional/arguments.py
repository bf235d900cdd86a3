"""The checks of what heads are made from, at construction, before anything is kept."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.containers import in_order, named_values, opened
from torch_heads.functional.errors import class_of, preview, unexpected
from torch_heads.functional.forms import is_real, is_text, kind_of
from torch_heads.functional.number_lists import as_float, numbers_in, refuse_learned
from torch_heads.functional.tables import is_table, table_columns
from torch_heads.functional.tensors import to_tensor
from torch_heads.functional.weights import WeightColumn

MissingLabel = float | str | Sequence[float | str] | None


def check_count(who: str, argument: str, value: Any, least: int, most: float = inf) -> int:
    """Return a whole number in ``[least, most]``.

    Raises:
        TypeError: if it is not an int.
        ValueError: if it is out of range, or there is no ``n_classes``.
    """
    if not (isinstance(value, Integral) and is_real(value)):
        # the originals' own distinction
        error = ValueError if value is None and argument == "n_classes" else TypeError
        raise error(unexpected(who, argument, "as an int", repr(value)))
    count = int(value)
    if not least <= count <= most:
        expected = f">= {least}" if most == inf else f"in [{least}, {most}]"
        raise ValueError(unexpected(who, argument, expected, value))
    return count


def check_flag(who: str, argument: str, value: Any) -> bool:
    """Return a truth value.

    Raises:
        TypeError: if it is anything else, which may be as true as "no" is.
    """
    if not isinstance(value, (bool, np.bool_)):
        given = f"a {type(value).__name__}"
        raise TypeError(unexpected(who, argument, "as True or False", given))
    return bool(value)


def check_function(who: str, argument: str, value: Any) -> None:
    """Refuse what is no function or module.

    Raises:
        TypeError: if it cannot be called, or is a class, which would make an object.
    """
    if isinstance(value, type) or not callable(value):
        raise TypeError(unexpected(who, argument, "to be callable", class_of(value)))


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


def check_share(who: str, argument: str, value: Any, *, bounds: bool = False) -> float:
    """Return a number in (0, 1), or in [0, 1] where the bounds are allowed.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is out of range.
    """
    if not is_real(value):
        raise TypeError(unexpected(who, argument, "as a number", repr(value)))
    share = as_float(who, argument, value)
    if not (0 < share < 1 or (bounds and share in (0, 1))):
        raise ValueError(unexpected(who, argument, "in [0, 1]" if bounds else "in (0, 1)", value))
    return share


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
    if missing is None:
        return None
    if isinstance(missing, Tensor):
        each = missing.unsqueeze(0) if missing.dim() == 0 else missing
        values = numbers_in(who, "missing_label", "as a number, or a list of these", each)
        missing = values[0] if missing.dim() == 0 else values
    else:
        held = opened(missing)
        missing = held.tolist() if isinstance(held, np.ndarray) else held
    if isinstance(missing, (list, tuple, set, frozenset)):
        if not missing:
            raise ValueError(unexpected(who, "missing_label", "with at least one value", missing))
        return tuple(
            one
            if isinstance(one, float) and one != one  # always missing, beside others
            else _check_missing_value(who, one, vocabulary, label_range, whole)
            for one in missing
        )
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
    if not is_real(missing):
        kind = "a number" if vocabulary is None else "a string or a number"
        expected = f"as {kind}, or a list of these, as the labels are"
        raise TypeError(unexpected(who, argument, expected, repr(missing)))
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
        TypeError: if they have a gradient.
    """
    if values is None:
        return None
    expected = "as one number per class" if n_classes > 1 else "as one number"
    named = named_values(values)
    if named is not None and n_classes > 1:
        names = vocabulary or [str(i) for i in range(n_classes)]
        values = in_order(who, argument, named, names, "class")
    elif named is not None:
        given = f"a {type(values).__name__} of {preview(name for name, _ in named)}"
        raise ValueError(unexpected(who, argument, expected, given))
    elif is_table(values):
        given = f"a table of {preview(table_columns(who, argument, values))}"
        hint = "A dict or a series has them by class." if n_classes > 1 else ""
        raise ValueError(unexpected(who, argument, expected, given, hint))
    elif is_text(values):
        raise ValueError(unexpected(who, argument, expected, kind_of(values)))
    refuse_learned(who, argument, values)
    # not on the meta device, where a model may be built whose other states are loaded
    device = None if isinstance(values, Tensor) else torch.device("cpu")
    values = to_tensor(who, argument, values, device, may_miss=False)
    if values.dim() == 0 and values.dtype == torch.bool:
        raise ValueError(unexpected(who, argument, expected, "a truth value"))
    weights: Tensor = values.to(torch.get_default_dtype(), copy=True)
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
