"""Very many values for callbacks and loggers, at the cost of a few."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor


class CallbackMetrics(UserDict[str, Tensor]):
    """What callbacks see, of which a stack of values is taken apart when something is read.

    A thousand losses that nobody asks for then cost a step nothing. Made from values, as Lightning
    does to move them, it is a plain dict of them.
    """

    _stack: tuple[Sequence[str], Tensor] | None

    def __new__(cls, values: Mapping[str, Tensor] | None = None) -> Any:
        """Return an empty one, or a dict of values."""
        return super().__new__(cls) if values is None else dict(values)

    def stack(self, names: Sequence[str], values: Tensor) -> None:
        """Set the values ``[K]`` of some keys."""
        if self._stack is not None and self._stack[0] is not names:
            self.data  # noqa: B018  other keys, which stay
        self._stack = names, values

    @property
    def data(self) -> dict[str, Tensor]:
        """All values by key."""
        held: dict[str, Tensor] = self.__dict__["data"]
        if self._stack is not None:
            (names, values), self._stack = self._stack, None
            held.update(zip(names, values.unbind(), strict=True))
        return held

    @data.setter
    def data(self, values: dict[str, Tensor]) -> None:
        self.__dict__["data"] = values
        self._stack = None

    def __setitem__(self, key: str, value: Tensor) -> None:
        """Set one value, whatever else is in the stack."""
        self.__dict__["data"][key] = value


def on_cpu(names: Sequence[str], values: Tensor) -> dict[str, Tensor]:
    """Return values ``[K]`` by name, for which the device is waited for once."""
    return dict(zip(names, values.cpu().unbind(), strict=True))
