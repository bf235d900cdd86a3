"""Declarations: objects without state, which are equal if they were made alike."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

PLAIN = (bool, int, float, str)


class Declaration:
    """What is equal to another of its class that has the same attributes.

    `dataclass` would compare fields alone, of which a subclass without the decorator has too few.
    Fields with ``compare=False`` are left out, as is what a `cached_property` keeps.
    """

    def __init_subclass__(cls) -> None:
        """Keep the decorator from comparing otherwise, where the class does not do so itself."""
        super().__init_subclass__()
        if cls.__eq__ is Declaration.__eq__ and cls.__hash__ is Declaration.__hash__:
            for name in ("__eq__", "__hash__"):
                setattr(cls, name, getattr(Declaration, name))

    def __eq__(self, other: object) -> bool:
        """Return whether another one is of the same class, and says the same."""
        if self is other:
            return True
        if type(self) is not type(other):
            return NotImplemented
        return same(declared(self), declared(other))

    def __hash__(self) -> int:
        """Return a hash of what is plain."""
        plain = [pair for pair in declared(self).items() if isinstance(pair[1], PLAIN)]
        return hash((type(self), *sorted(plain)))


def declared(one: object) -> dict[str, Any]:
    """Return the attributes of a declaration that tell it from others, by name."""
    kind: type = type(one)
    compared, left_out = _names(kind)
    found = {name: getattr(one, name, None) for name in compared}
    return found | {name: value for name, value in vars(one).items() if name not in left_out}


@cache
def _names(kind: type) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the names of the fields that are compared, and those of what is not."""
    own = fields(kind) if is_dataclass(kind) else ()
    kept = {
        name
        for base in kind.__mro__
        for name, value in vars(base).items()
        if isinstance(value, cached_property)
    }
    return (
        tuple(field.name for field in own if field.compare),
        frozenset(kept.union(field.name for field in own if not field.compare)),
    )


def same(first: Any, second: Any) -> bool:
    """Return whether two attributes are the same; of tensors and arrays, each number.

    >>> same([torch.ones(2), {"a": np.zeros(2)}], [torch.ones(2), {"a": np.zeros(2)}])
    True
    """
    if first is second:
        return True
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        alike = (first.dtype, first.device) == (second.dtype, second.device)
        return alike and not first.is_meta and torch.equal(first, second)
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second)
    if isinstance(first, (list, tuple)) and type(first) is type(second):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        keys = first.keys()
        return keys == second.keys() and all(same(first[key], second[key]) for key in keys)
    return bool(first == second)
