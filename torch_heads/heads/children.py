"""The heads of a `MultiHead`: checked, and then fixed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from torch_heads.functional.containers import listed
from torch_heads.functional.errors import class_of, unexpected
from torch_heads.heads.base import Head

FIXED = "The heads are computed as one; make a MultiHead of copies of the others instead."


class FixedHeads(nn.ModuleList):
    """The heads of a `MultiHead`: a list of modules that refuses to be changed.

    Args:
        heads: what is in it.
        title: the title of the head that they are computed in; None for a slice, which is free.
    """

    def __init__(self, heads: Iterable[Head], title: str | None = None) -> None:
        super().__init__(heads)
        self.title = title

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Refuse another head, however it comes."""
        self._refuse_change()
        super().add_module(name, module)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse another head; take what is none."""
        if name in self.__dict__.get("_modules", ()):
            self._refuse_change()
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        """Refuse to lose a head."""
        self._refuse_change()
        super().__delattr__(name)

    def insert(self, index: int, module: nn.Module) -> None:
        """Refuse another head."""
        self._refuse_change()
        super().insert(index, module)

    def _refuse_change(self) -> None:
        title = self.__dict__.get("title")
        if title is not None:
            expected, given = "as they were when it was made", "a change"
            raise TypeError(unexpected(title, "heads", expected, given, FIXED))


def check_heads(who: str, heads: Any) -> list[Head]:
    """Return heads with names that differ.

    Raises:
        TypeError: if they are not heads.
        ValueError: if there is none, or a name is missing or used twice.
    """
    if heads is None:
        raise ValueError(unexpected(who, "heads", "with at least one head", heads))
    if isinstance(heads, (Head, Mapping)) or not isinstance(heads, Iterable):
        raise TypeError(unexpected(who, "heads", "as a list of heads", class_of(heads)))
    children = listed(who, "heads", "as a list of heads", heads)
    if not children:
        raise ValueError(unexpected(who, "heads", "with at least one head", children))
    for head in children:
        if not isinstance(head, Head):
            given = f"{class_of(head)} in it"
            raise TypeError(unexpected(who, "heads", "as a list of heads", given))
        if not head.name:
            given = f"a {type(head).__name__} without"
            raise ValueError(unexpected(who, "heads", "with a name each", given))
    for name, times in Counter(head.name for head in children).items():
        if times > 1:
            raise ValueError(unexpected(who, "heads", "with different names", f"{name!r} twice"))
    return children
