"""Whatever holds values: series, frames, tables, masked arrays; known by what it offers.

What carries a mask keeps it, as None in place of what is masked; what carries names is read by
them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

import numpy as np
from torch import Tensor

from torch_heads.functional.errors import preview, unexpected

PLAIN = frozenset({bool, int, float, str, bytes})
BY_NAME = "A table is read by the names of its columns; values in the right order have none."


def has_mask(values: Any) -> bool:
    """Return whether a tensor carries a mask, as a ``torch.masked.MaskedTensor`` does."""
    return type(values) is not Tensor and hasattr(values, "get_mask")


def is_gap(value: Any) -> bool:
    """Return whether one value means that there is none: None, NaN, NA, or a masked one.

    >>> [is_gap(value) for value in (None, float("nan"), np.ma.masked, 0, "")]
    [True, True, True, False, False]
    """
    if value is None or value is np.ma.masked:
        return True
    if isinstance(value, (int, str, bytes)) or hasattr(value, "__iter__"):
        return False
    try:
        return not bool(value == value)
    except (TypeError, ArithmeticError):  # "boolean value of NA is ambiguous", a signalling NaN
        return True


def opened(values: Any) -> Any:
    """Return what a container holds: an array, or a list; tensors, dicts and tables as they are.

    >>> opened(np.ma.masked_equal([1, 9], 9)).tolist()
    [1, None]
    """
    if isinstance(values, (list, tuple)):
        if set(map(type, values)) <= PLAIN:
            return values
        return [opened(value) for value in values]
    if has_mask(values):
        mask = values.get_mask().cpu().numpy()
        return opened(np.ma.MaskedArray(values.get_data().detach().cpu().numpy(), ~mask))
    if isinstance(values, Tensor):
        return values
    if isinstance(values, np.ma.MaskedArray) and values.dtype.names is None:
        mask = np.ma.getmaskarray(values)
        if not mask.any():
            return values.data
        entries = values.data.astype(object)
        entries[mask] = None
        return entries[()]  # of one entry, None
    if isinstance(values, np.ndarray):
        return values.astype(object) if values.dtype.kind == "T" else values
    if isinstance(values, (str, bytes, Mapping, set, frozenset)) or is_table(values):
        return values
    if hasattr(type(values), "struct") and str(values.dtype).startswith("Struct"):
        return values.to_list()  # with the names of its fields
    if hasattr(type(values), "__array__"):
        try:
            return opened(np.asarray(values))
        except Exception:  # of its own kind: there is no array of such entries
            return opened(list(values))
    if isinstance(values, Sequence) and not hasattr(values, "typecode"):
        return opened(list(values))
    return values


def is_table(values: Any) -> bool:
    """Return whether the values are a frame, a table or a structured array."""
    if isinstance(values, np.ndarray):
        return values.dtype.names is not None
    return not isinstance(values, Tensor) and hasattr(type(values), "columns")


def table_columns(who: str, argument: str, table: Any) -> dict[Any, Any]:
    """Return the columns of a table by name.

    Raises:
        ValueError: if two have the same name.
    """
    if isinstance(table, np.ndarray):
        names: list[Any] = list(table.dtype.names or ())
    else:
        found = getattr(table, "column_names", None)
        names = list(table.columns if found is None else found)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        expected = "with columns of different names"
        raise ValueError(unexpected(who, argument, expected, f"{twice!r} twice"))
    return {name: table[name] for name in names}


def columns_in_order(who: str, argument: str, table: Any) -> list[Any]:
    """Return the columns of a table whose names say their places, or of which there is one.

    Raises:
        ValueError: if the names say something else.
    """
    columns = table_columns(who, argument, table)
    if not columns:
        raise ValueError(unexpected(who, argument, "with columns", "a table without any"))
    if len(columns) == 1:
        return [*columns.values()]
    places = {str(name): column for name, column in columns.items()}
    order = [str(i) for i in range(len(columns))]
    if places.keys() != set(order):
        expected = "as one column, or columns that are named by their places 0, 1, ..."
        given = f"a table of {preview(columns)}"
        raise ValueError(unexpected(who, argument, expected, given, BY_NAME))
    return [places[place] for place in order]


def named_values(values: Any) -> list[tuple[Any, Any]] | None:
    """Return the names and values of a dict or a series with an index, None for anything else."""
    kind = type(values)
    if is_table(values):
        return None
    if isinstance(values, Mapping) or (hasattr(kind, "items") and hasattr(kind, "index")):
        return list(values.items()) if callable(values.items) else None
    return None


def listed(who: str, argument: str, expected: str, values: Any) -> list[Any]:
    """Return several values as a list, of whatever holds them.

    Raises:
        TypeError: if they are a text, or not several.
    """
    if not isinstance(values, (str, bytes)):
        with suppress(TypeError):  # of what is no iterable, or of no dimension
            return list(values)
    raise TypeError(unexpected(who, argument, expected, repr(values)))


def in_order(
    who: str, argument: str, given: Iterable[tuple[Any, Any]], names: Sequence[str], what: str
) -> list[Any]:
    """Return named values in the order of the names, or of the ids that stand for these.

    >>> in_order("head", "class_weight", {"b": 2.0, 0: 1.0}.items(), ["a", "b"], "class")
    [1.0, 2.0]

    Raises:
        ValueError: if a name is unknown, given twice or both an id and another one's name, or one
            is absent.
    """
    places = {name: i for i, name in enumerate(names)}
    expected = f"by {what} name or id, of {preview(names)}"
    found: dict[int, Any] = {}
    for name, value in given:
        integer = isinstance(name, (int, np.integer)) and not isinstance(name, bool)
        place = int(name) if integer and 0 <= name < len(names) else places.get(name)
        if place is None:
            raise ValueError(unexpected(who, argument, expected, repr(name), nearest(name, names)))
        if integer and places.get(str(name), place) != place:
            came = f"{name!r}, the id of {names[place]!r} and as text another name"
            raise ValueError(unexpected(who, argument, expected, came, "Names are strings."))
        if place in found:
            raise ValueError(unexpected(who, argument, expected, f"{name!r} twice"))
        found[place] = value
    absent = [name for i, name in enumerate(names) if i not in found]
    if absent:
        came = f"none for {preview(absent)}"
        raise ValueError(unexpected(who, argument, f"for every {what}", came))
    return [found[i] for i in range(len(names))]


def nearest(name: Any, names: Collection[str], least: float = 0.6) -> str:
    """Return a hint at the name that was perhaps meant, empty for none.

    Args:
        name: what was given.
        names: what is known.
        least: how alike both must be, in [0, 1].

    >>> nearest("Toxic", ["toxic", "length"])
    "The nearest is 'toxic'."
    """
    folded = {own.casefold(): own for own in names}
    close = get_close_matches(str(name).casefold(), folded, 1, least)
    return f"The nearest is {folded[close[0]]!r}." if close else ""
