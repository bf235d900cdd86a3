"""What keeps weights and the feature columns that they belong to together."""

from __future__ import annotations

from torch import nn

from torch_heads.functional.errors import unexpected


class ColumnSizes(nn.Module):
    """The size of each column by name, which a ``state_dict`` holds: weights tell only places.

    Args:
        sizes: by the column's name.

    >>> ColumnSizes({"age": 1}).load_state_dict(ColumnSizes({"bmi": 1}).state_dict())
    Traceback (most recent call last):
        ...
    ValueError: state_dict: expected weights of the feature columns {'age': 1}, got {'bmi': 1}.
    """

    def __init__(self, sizes: dict[str, int]) -> None:
        super().__init__()
        self._sizes = sizes

    def get_extra_state(self) -> dict[str, int]:
        """Return the sizes."""
        return self._sizes

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Refuse the weights of other columns.

        Raises:
            ValueError: if a name or a size differs.
        """
        if state != self._sizes:
            expected = f"of the feature columns {self._sizes}"
            raise ValueError(unexpected("state_dict", "weights", expected, state))
