"""Features by name: out of a dict, or a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.tables import is_table, table_columns


def find_feature(who: str, features: Any, key: str, expected: str = "") -> Any:
    """Return one of the features.

    Args:
        who: the head, as errors say it.
        features: a dict or a table of them by name, or what is none.
        key: the name.
        expected: the words for that, by default "with 'key'".

    Raises:
        ValueError: if it is not there, or the features have no names.

    >>> find_feature("head", {"w": [1.0, 2.0]}, "w")
    [1.0, 2.0]
    """
    named = table_columns(who, "features", features) if is_table(features) else features
    if isinstance(named, Mapping) and key in named:
        return named[key]
    expected = expected or f"with {key!r}"
    if isinstance(named, Mapping):
        raise ValueError(unexpected(who, "features", expected, preview(named, 20)))
    hint = "" if features is None else "Features are a dict by name, or a table."
    given = "no features" if features is None else type(features).__name__
    raise ValueError(unexpected(who, "features", expected, given, hint))
