"""Whatever holds values: series, frames, tables, masked arrays; known by what it offers.

What carries a mask keeps it, as None in place of what is masked; what carries names is read by
them.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from itertools import chain
from numbers import Number
from typing import Any

import numpy as np
from torch import Tensor

from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.tables import Table, by_name, fields_of, is_series, is_table

ENTRIES = (str, bytes, Number, np.bool_, type(None))
NESTED = frozenset({list, tuple})


def has_mask(values: Any) -> bool:
    """Return whether a tensor carries a mask, as a ``torch.masked.MaskedTensor`` does."""
    return type(values) is not Tensor and hasattr(type(values), "get_mask")


def is_gap(value: Any) -> bool:
    """Return whether one value means that there is none: None, NaN, NA, or a masked one.

    >>> [is_gap(value) for value in (None, float("nan"), np.ma.masked, 0, "")]
    [True, True, True, False, False]
    """
    if value is None or value is np.ma.masked:
        return True
    if isinstance(value, (int, str, bytes)) or hasattr(value, "__iter__"):
        return False
    same = None
    try:
        same = value == value
        return not same
    except ArithmeticError:  # a signalling NaN
        return True
    except TypeError:  # "boolean value of NA is ambiguous", and NA is NA; no condition is a gap
        return same is value


def opened(values: Any) -> Any:
    """Return what a container holds: an array, or a list; tensors, dicts and tables as they are.

    >>> opened(np.ma.masked_equal([1, 9], 9)).tolist()
    [1, None]
    """
    if isinstance(values, (list, tuple)):
        return _of_list(values)
    if has_mask(values):
        mask = values.get_mask().cpu().numpy()
        return opened(np.ma.MaskedArray(values.get_data().detach().cpu().numpy(), ~mask))
    if hasattr(type(values), "as_py"):  # one value of pyarrow
        return opened(by_key(values) if isinstance(values, Mapping) else values.as_py())
    if isinstance(values, (Tensor, str, bytes, Mapping, set, frozenset, np.generic)):
        return values
    if is_table(values):
        return values
    if isinstance(values, np.ndarray):
        return _of_array(values)
    kind = type(values)
    if hasattr(kind, "struct") and str(getattr(values, "dtype", "")).startswith("Struct"):
        return opened(values.to_list())  # with the names of its fields
    if hasattr(kind, "__array__") or isinstance(values, memoryview):
        for made in (np.asarray, list):
            with suppress(Exception):  # of its own kind: there is no array of such entries
                return opened(made(values))
        return values
    if isinstance(values, Sequence) and not hasattr(values, "typecode"):
        return opened(list(values))
    return values


def by_key(values: Any) -> Any:
    """Return what a map or struct of pyarrow holds, by its keys; anything else as it is."""
    if not isinstance(values, Mapping) or not hasattr(type(values), "as_py"):
        return values
    pairs = _pairs(values)
    if pairs is None:
        return None
    try:
        held = dict(pairs)
    except TypeError:  # of keys that no dict has
        return pairs
    return held if len(held) == len(pairs) else Table([key for key, _ in pairs], held)


def _pairs(values: Any) -> list[tuple[Any, Any]] | None:
    """Return the keys and values of a map or struct of pyarrow; None of one that is null."""
    try:
        held = values.as_py()
    except ValueError:  # of a struct in which a field stands twice
        return [(name, None) for name in values]
    return [*held.items()] if isinstance(held, dict) else held


def entry_types(values: Sequence[Any]) -> set[type]:
    """Return the types of what lists hold that are nested equally deep.

    >>> entry_types([[1, 2.5], [None]]) == {int, float, type(None)}
    True
    """
    kinds = {*map(type, values)}
    while kinds and kinds <= NESTED:
        values = [*chain.from_iterable(values)]
        kinds = {*map(type, values)}
    return kinds


def are_entries(kinds: Collection[type]) -> bool:
    """Return whether values of these types hold no others: numbers, strings, bytes and None."""
    return all(issubclass(kind, ENTRIES) for kind in kinds)


def _of_list(values: Sequence[Any]) -> Any:
    """Return a list of what each entry holds, or a table of entries that have names."""
    fields = fields_of(values)
    if fields is not None:
        return Table(fields, dict(zip(fields, values, strict=True)))
    if are_entries(entry_types(values)):
        return values
    rows = by_name([value if is_series(value) else _opened_row(value) for value in values])
    return rows if isinstance(rows, Table) else [opened(row) for row in rows]


def _opened_row(value: Any) -> Any:
    """Return what an entry of a list holds; a nested tensor is as a list of its parts."""
    nested = isinstance(value, Tensor) and value.is_nested
    return [*value.unbind()] if nested else opened(value)


def _of_array(values: np.ndarray[Any, Any]) -> Any:
    """Return an array without its mask, and of objects what these hold."""
    if isinstance(values, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(values)
        values = values.data
        if mask.any():
            values = values.astype(object)
            values[mask] = None
    if values.dtype.kind == "T":
        values = values.astype(object)
    if values.ndim == 0:
        return values[()]
    if values.dtype.kind != "O":
        return values
    if are_entries({*map(type, values.ravel().tolist())}):
        return values
    return opened(values.tolist())


def named_values(values: Any) -> list[tuple[Any, Any]] | None:
    """Return the names and values of a dict or a series with an index, None for anything else."""
    if hasattr(type(values), "as_py"):  # one value of pyarrow
        return _pairs(values) if isinstance(values, Mapping) else named_values(values.as_py())
    fields = fields_of(values)
    if fields is not None:
        return list(zip(fields, values, strict=True))
    if is_table(values) or not (isinstance(values, Mapping) or is_series(values)):
        return None
    return list(values.items())


def listed(who: str, argument: str, expected: str, values: Any) -> list[Any]:
    """Return several values as a list, of whatever holds them.

    Raises:
        TypeError: if they are a text, or not several.
    """
    # what goes wrong in a generator is the user's to know
    held = [*values] if isinstance(values, Iterator) else values
    if not isinstance(held, (str, bytes)):
        with suppress(Exception):  # whatever refuses to be looped over does so in its own words
            return [value.as_py() if hasattr(type(value), "as_py") else value for value in held]
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
    places: dict[Any, int] = {name: i for i, name in enumerate(names)}
    expected = f"by {what} name or id, of {preview(names)}"
    found: dict[int, Any] = {}
    for name, value in given:
        integer = isinstance(name, (int, np.integer)) and not isinstance(name, bool)
        known = places.get(name) if isinstance(name, Hashable) else None  # a key of pyarrow's
        place = int(name) if integer and 0 <= name < len(names) else known
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
