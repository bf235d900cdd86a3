"""What keeps weights and the feature columns that they belong to together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from torch_heads.functional.errors import preview, unexpected
from torch_heads.integrations.estimator.categorical_columns import CategoricalColumn
from torch_heads.integrations.estimator.feature_column import FeatureColumn


class KnownColumns(nn.Module):
    """The size and the vocabulary of each column by name, which a ``state_dict`` holds.

    Weights tell only places: those of other columns would fit as well.

    Args:
        columns: feature columns.

    >>> from torch_heads.integrations.estimator import numeric_column
    >>> age, bmi = (KnownColumns([numeric_column(key)]) for key in ("age", "bmi"))
    >>> age.load_state_dict(bmi.state_dict())
    Traceback (most recent call last):
        ...
    ValueError: state_dict: expected weights of the feature columns {'age': 1}, got {'bmi': 1}.
    """

    def __init__(self, columns: Sequence[FeatureColumn]) -> None:
        super().__init__()
        #: The columns.
        self.columns = tuple(columns)
        self._sizes = {column.name: column.width for column in columns}
        own = {column.name: _vocabulary(column) for column in columns}
        self._vocabularies = {name: names for name, names in own.items() if names is not None}

    def get_extra_state(self) -> dict[str, Any]:
        """Return the sizes and the vocabularies."""
        return {"sizes": self._sizes, "vocabularies": self._vocabularies}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Refuse the weights of other columns.

        Raises:
            ValueError: if a name, a size or a vocabulary differs.
        """
        if state["sizes"] != self._sizes:
            expected = f"of the feature columns {self._sizes}"
            raise ValueError(unexpected("state_dict", "weights", expected, state["sizes"]))
        for name, names in self._vocabularies.items():
            given = state["vocabularies"].get(name)
            if given != names:
                expected = f"of {name!r} with the vocabulary {preview(names)}"
                raise ValueError(
                    unexpected("state_dict", "weights", expected, given and preview(given))
                )


def _vocabulary(column: FeatureColumn) -> list[Any] | None:
    categorical = getattr(column, "categorical_column", column)
    names = categorical.vocabulary if isinstance(categorical, CategoricalColumn) else None
    return None if names is None else list(names)
