"""The abstract feature column, and what all kinds of them check."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch_heads.functional.errors import preview, unexpected

Features = Mapping[str, Any]


@dataclass(frozen=True)
class FeatureColumn(ABC):
    """How a feature is read."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What tells this column from the others of a model."""

    @property
    @abstractmethod
    def width(self) -> int:
        """How many numbers an example has, or how many categories there are."""


def find_feature(who: str, features: Any, key: str) -> Any:
    """Return a feature.

    Raises:
        ValueError: if ``features`` are no dict, or lack it.
    """
    if not isinstance(features, Mapping):
        given = type(features).__name__
        raise ValueError(unexpected(who, "features", "as a dict by name", given))
    if key not in features:
        raise ValueError(unexpected(who, "features", f"with {key!r}", preview(features, 20)))
    return features[key]


def check_key(key: Any) -> str:
    """Return the name of a feature.

    Raises:
        TypeError: if it is no string.
    """
    if not isinstance(key, str):
        raise TypeError(unexpected("feature column", "key", "as a string", type(key).__name__))
    return str(key)  # NumPy's strings are strings, too, but checkpoints do not hold them


def check_rows(rows: Mapping[str, int]) -> None:
    """Refuse columns whose features differ in their number of examples; none is broadcast.

    Raises:
        ValueError: if they do.
    """
    counts = list(rows.values())
    if any(count != counts[0] for count in counts):
        expected = "with as many examples of each"
        raise ValueError(unexpected("feature columns", "features", expected, dict(rows)))


def check_columns(who: str, columns: Any, allowed: tuple[type, ...]) -> list[Any]:
    """Return feature columns by name, as the originals sort them, so that any order is the same.

    Raises:
        TypeError: if one is no column, or of a kind that is not allowed.
        ValueError: if there is none, or two have the same name.
    """
    argument = "feature_columns"
    found = [columns] if isinstance(columns, FeatureColumn) else list(columns or ())
    if not found:
        raise ValueError(unexpected(who, argument, "to be given", columns))
    for column in found:
        if not isinstance(column, allowed):
            bare = isinstance(column, FeatureColumn)  # all others are dense
            hint = "Wrap it in embedding_column or indicator_column." if bare else ""
            expected = f"among {preview(kind.__name__ for kind in allowed)}"
            raise TypeError(unexpected(who, argument, expected, type(column).__name__, hint))
    names = [column.name for column in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(unexpected(who, argument, "of different names", f"{name!r} twice"))
    return sorted(found, key=lambda column: column.name)
