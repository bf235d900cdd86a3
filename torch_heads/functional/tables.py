"""What carries names: frames, tables, structured arrays, and rows whose parts have names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from torch_heads.functional.errors import preview, unexpected

BY_NAME = "A table is read by the names of its columns; values in the right order have none."


class Table:
    """Columns by name, of what has names but is no frame: a named tuple, or rows with names.

    Args:
        columns: the names, in which one may stand twice.
        held: what stands in each.
    """

    def __init__(self, columns: Sequence[Any], held: Mapping[Any, Any]) -> None:
        self._names, self._held = columns, held

    @property
    def columns(self) -> Sequence[Any]:
        """The names."""
        return self._names

    def __getitem__(self, name: Any) -> Any:
        """Return a column."""
        return self._held[name]

    def __len__(self) -> int:
        """Return how many rows there are."""
        return next((len(column) for column in self._held.values()), 0)


def is_table(values: Any) -> bool:
    """Return whether the values are a frame, a table or a structured array."""
    if isinstance(values, np.ndarray):
        return values.dtype.names is not None
    kind = type(values)
    return (
        not isinstance(values, Tensor)
        and hasattr(kind, "columns")
        and hasattr(kind, "__getitem__")
        and hasattr(kind, "__len__")
    )


def table_columns(who: str, argument: str, table: Any) -> dict[Any, Any]:
    """Return the columns of a table by name.

    Raises:
        ValueError: if two have the same name, or there is none by its name.
    """
    try:
        names = _column_names(table)
        if len(set(names)) == len(names):
            return {name: table[name] for name in names}
    except (AttributeError, LookupError, TypeError, ValueError):
        expected, given = "as a table that gives its columns by name", type(table).__name__
        raise ValueError(unexpected(who, argument, expected, given)) from None
    twice = next(name for name in names if names.count(name) > 1)
    expected = "with columns of different names"
    raise ValueError(unexpected(who, argument, expected, f"{twice!r} twice"))


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


def fields_of(values: Any) -> tuple[str, ...] | None:
    """Return the names in a named tuple; None where there is none, as in any other tuple."""
    fields: tuple[str, ...] | None = getattr(type(values), "_fields", None)
    # pandas and the standard library call a field _0 that has no name of its own
    return None if fields is None or all(name[:1] == "_" for name in fields) else fields


def is_series(values: Any) -> bool:
    """Return whether the values are a series with an index."""
    kind = type(values)
    named = hasattr(kind, "items") and hasattr(kind, "index")
    return named and not isinstance(values, Mapping) and callable(values.items)


def by_name(rows: Sequence[Any]) -> Table | Sequence[Any]:
    """Return rows whose parts have names as a table of these, and others as they are.

    Named are the parts of a dict, a named tuple, a table, a row of a structured array, and of a
    series of which all rows have the index, unless that is numbers in ascending order. A row that
    lacks a name has a gap there. Beside rows without names, a row with names becomes a dict.

    >>> by_name([{"a": 1, "b": 2}, {"b": 3}])["a"]
    [1, None]
    """
    own = [_names(row) or () for row in rows]
    named = [names for names in own if names]
    if not named or (any(map(is_series, rows)) and not _are_columns(named)):
        return rows
    if any(not names and row is not None for row, names in zip(rows, own, strict=True)):
        return [
            {name: _part(row, name) for name in names} if names else row
            for row, names in zip(rows, own, strict=True)
        ]
    twice = next((names for names in named if len(set(names)) < len(names)), None)
    if twice is not None:
        return Table(twice, {})
    known = [*dict.fromkeys(name for names in named for name in names)]
    each = list(zip(rows, map(set, own), strict=True))
    columns = {
        name: [_part(row, name) if name in names else None for row, names in each] for name in known
    }
    return Table(known, columns)


def _column_names(table: Any) -> list[Any]:
    if isinstance(table, np.ndarray):
        return list(table.dtype.names or ())
    found = getattr(table, "column_names", None)
    return list(table.columns if found is None else found)


def _names(row: Any) -> Sequence[Any] | None:
    """Return the names of the parts of a row; None where they have none."""
    if isinstance(row, Mapping):
        return [*row]
    if isinstance(row, np.void):
        return row.dtype.names
    if is_table(row):
        return _column_names(row)
    return list(row.index) if is_series(row) else fields_of(row)


def _are_columns(indexes: Sequence[Sequence[Any]]) -> bool:
    """Return whether the indexes of series are names of their parts, and not places of a frame."""
    first = indexes[0]
    if all(isinstance(name, str) for name in first):
        return True
    ascending = all(isinstance(name, (int, np.integer)) for name in first)
    ascending = ascending and [*first] == sorted(first)
    return not ascending and all(names == first for names in indexes)


def _part(row: Any, name: Any) -> Any:
    return getattr(row, name) if isinstance(row, tuple) else row[name]
