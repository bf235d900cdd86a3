"""Labels in the forms that users have them, made into numbers.

Class names become ids by a vocabulary, and every value is checked before it is used.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from torch import Tensor

from torch_heads.functional.containers import is_gap, opened
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.gap_rows import filled_rows
from torch_heads.functional.gaps import gap
from torch_heads.functional.missing import each_missing
from torch_heads.functional.name_search import UNKNOWN, Ids, ids_of_array, ids_of_list
from torch_heads.functional.tables import columns_in_order, is_table

MISSING_NAME = -(2**53)  # the id of a name that means "not labelled", exact in a float


def class_ids(
    who: str,
    names: Any,
    vocabulary: Sequence[str] | None,
    missing: object = None,
    mask: Tensor | None = None,
) -> Ids:
    """Return the int64 index of each class name in the vocabulary, in the names' shape.

    The names that mean "not labelled" become `MISSING_NAME`, and so do None, NaN and NA if any may
    be ``missing``; where ``mask`` is False (padding), any name does.

    Raises:
        ValueError: if there is no vocabulary, or a name is not in it.
    """
    if vocabulary is None:
        hint = "Class names need a label_vocabulary."
        raise ValueError(unexpected(who, "labels", "to be numeric", "strings", hint))
    index = {name: i for i, name in enumerate(vocabulary)}
    values = each_missing(missing)
    index |= {value: MISSING_NAME for value in values if isinstance(value, str)}
    ids = ids_of_list(names, index) if isinstance(names, (list, tuple)) else None
    if ids is not None:
        return ids
    array = _column_of_names(who, names)
    if array.dtype.kind in "SU" and array.size:
        ids = ids_of_array(array.ravel(), index)
    else:
        ids = _ids_of_objects(array.ravel().tolist(), index, values)
    if ids.size and ids.min() == UNKNOWN:
        unknown = ids == UNKNOWN
        ids[unknown] = MISSING_NAME
        if mask is not None and mask.numel() == ids.size:
            unknown &= mask.cpu().numpy().ravel()
        _refuse_unknown(who, array, unknown, vocabulary)
    return ids.reshape(array.shape)


def _column_of_names(who: str, names: Any) -> np.ndarray[Any, Any]:
    """Return names out of whatever holds them.

    Raises:
        ValueError: if that is a table of several columns, or ragged.
    """
    names = opened(names)
    if is_table(names):
        columns = columns_in_order(who, "labels", names)
        if len(columns) > 1:
            given = f"a table of {len(columns)}"
            raise ValueError(unexpected(who, "labels", "as one column of names", given))
        names = opened(columns[0])
    array = _array_of_names(names)
    if array is None:
        given = "rows of different lengths, or sets"
        raise ValueError(unexpected(who, "labels", "to be rectangular", given))
    return array


def _ids_of_objects(names: list[Any], index: Mapping[str, int], missing: Sequence[Any]) -> Ids:
    """Return the ids of names among which there may be numbers and gaps."""
    ids = ids_of_list(names, index)
    if ids is not None:
        return ids
    found = [_id(_text(name), index) for name in names]
    if missing:
        pairs = zip(names, found, strict=True)
        found = [
            MISSING_NAME if i == UNKNOWN and _is_missing(name, missing) else i for name, i in pairs
        ]
    return np.array(found, dtype=np.int64)


def _refuse_unknown(
    who: str, names: np.ndarray[Any, Any], unknown: Any, vocabulary: Sequence[str]
) -> None:
    for place in np.flatnonzero(unknown)[:1]:
        name = _text(names.ravel().tolist()[place])
        if is_gap(name):
            where = [int(i) for i in np.unravel_index(place, names.shape)]
            raise ValueError(gap(who, "labels", repr(name), where))
        expected = f"from label_vocabulary {preview(vocabulary)}"
        raise ValueError(unexpected(who, "labels", expected, repr(name)))


def _id(name: Any, index: Mapping[str, int]) -> int:
    return index.get(name, UNKNOWN) if isinstance(name, str) else UNKNOWN


def _is_missing(entry: Any, values: Sequence[Any]) -> bool:
    return is_gap(entry) or (not isinstance(entry, (str, bytes)) and entry in values)


def _array_of_names(names: Any) -> np.ndarray[Any, Any] | None:
    """Return names in an array, with rows of gaps in place of rows that are None; None if ragged.

    Of lists it is one of objects, since beside strings NumPy spells out None and numbers.
    """
    with suppress(ValueError):
        array = np.asarray(names, dtype=None if isinstance(names, np.ndarray) else object)
        if array.dtype.kind != "O" or not any(map(_holds_names, array.flat)):
            return array
    rows = filled_rows(names) if isinstance(names, (list, tuple)) else None
    array = np.asarray([] if rows is None else rows, dtype=object)
    return None if rows is None or any(map(_holds_names, array.flat)) else array


def _holds_names(entry: Any) -> bool:
    return isinstance(entry, (list, tuple, set, frozenset, np.ndarray))


def _text(name: Any) -> Any:
    return name.decode(errors="replace") if isinstance(name, bytes) else name
