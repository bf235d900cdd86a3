"""The keys of predictions: those of each target, below the names that lead to it."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from itertools import chain
from typing import Any

from torch_heads.functional.containers import listed
from torch_heads.functional.errors import preview, unexpected

Name = Callable[[Sequence[str], str], Any]


class PredictionKeys:
    """The full key of each prediction, and which predictions a user's keys ask for.

    Args:
        title: the head's class and name, as errors say it.
        paths: the names that lead to each target.
        keys: what each target predicts.
        name: returns the full key, from the path to a target and a key of its own.
    """

    def __init__(
        self,
        title: str,
        paths: Sequence[tuple[str, ...]],
        keys: Sequence[Sequence[str]],
        name: Name,
    ) -> None:
        self._title = title
        #: The full keys of each target, by its own.
        self.full = [
            {key: name(path, key) for key in own} for path, own in zip(paths, keys, strict=True)
        ]
        #: The own keys of each target, which are all that may be wanted of it.
        self.own = [(*full,) for full in self.full]
        self._owners = {
            name: (i, key) for i, own in enumerate(self.full) for key, name in own.items()
        }

    def wanted(self, keys: Any) -> list[list[str]]:
        """Return which keys are asked for of each target, by full or by plain ones.

        Raises:
            ValueError: if no target has a key.
            TypeError: if they are no list.
        """
        argument = "prediction keys"
        if isinstance(keys, str):
            raise ValueError(unexpected(self._title, argument, "as a list", repr(keys)))
        wanted: list[list[str]] = [[] for _ in self.full]
        for asked in listed(self._title, argument, "as a list", keys):
            if not _is_key(asked):
                expected = "as strings, or tuples of them"
                raise ValueError(unexpected(self._title, argument, expected, repr(asked)))
            if asked in self._owners:
                i, key = self._owners[asked]
                wanted[i].append(key)
                continue
            owners = [i for i, own in enumerate(self.full) if asked in own]
            if not owners:
                expected = f"among {preview(self._owners, 20)}"
                raise ValueError(unexpected(self._title, argument, expected, repr(asked)))
            for i in owners:
                wanted[i].append(asked)
        return wanted

    def name(
        self, wanted: Sequence[Iterable[str]], values: Sequence[Sequence[Any]]
    ) -> dict[Any, Any]:
        """Return the values of each target, in the order of what is wanted of it, by full key."""
        if wanted is self.own:
            return dict(zip(self._owners, chain.from_iterable(values), strict=True))
        return {
            full[key]: value
            for full, own, row in zip(self.full, wanted, values, strict=True)
            for key, value in zip(own, row, strict=True)
        }


def _is_key(asked: Any) -> bool:
    """Return whether this may be a key: a string, or a tuple of them, of any depth."""
    if isinstance(asked, tuple):
        return all(map(_is_key, asked))
    return issubclass(type(asked), str)


def flat_key(path: Sequence[str], key: str) -> str:
    """Return a prediction key with the names that lead to its head.

    >>> flat_key(("outer", "inner"), "logits")
    'outer/inner/logits'
    """
    return "/".join((*path, key))


def nested_key(path: Sequence[str], key: Any) -> Any:
    """Return a prediction key below the names that lead to its head.

    >>> nested_key(("outer", "inner"), "logits")
    ('outer', ('inner', 'logits'))
    """
    for name in reversed(path):
        key = name, key
    return key


def split_key(key: Any, names: Container[str]) -> tuple[str, Any] | None:
    """Return the head's name in a full key, the longest that fits, and the key below it.

    >>> split_key("a/b/logits", {"a", "a/b"}), split_key(("a", "logits"), {"a"})
    (('a/b', 'logits'), ('a', 'logits'))
    """
    if not isinstance(key, str):
        return key if isinstance(key, tuple) and len(key) == 2 and key[0] in names else None
    parts = key.split("/")
    for i in reversed(range(1, len(parts))):
        name = "/".join(parts[:i])
        if name in names:
            return name, "/".join(parts[i:])
    return None
