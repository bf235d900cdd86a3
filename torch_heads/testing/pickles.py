"""A head out of its pickle, whatever of it no module has."""

from __future__ import annotations

import io
import pickle
from types import FunctionType
from typing import Any

from torch_heads.heads.base import Head


def pickled(head: Head) -> Any:
    """Return what the pickle of a head holds.

    What is no fault of the head stays as it is: classes that are defined inside of a function, and
    functions that the head was given.

    Raises:
        AssertionError: if something else cannot be pickled.
    """
    heads = [module for module in head.modules() if isinstance(module, Head)]
    arguments = [one for own in heads for one in own.arguments.values()]
    given = [id(one) for one in arguments if isinstance(one, FunctionType)]
    kept: dict[int, Any] = {}

    class Writer(pickle.Pickler):
        def persistent_id(self, one: Any) -> int | None:
            if id(one) not in given and not _is_nowhere(one):
                return None
            kept[id(one)] = one
            return id(one)

    class Reader(pickle.Unpickler):
        def persistent_load(self, key: int) -> Any:
            return kept[key]

    file = io.BytesIO()
    try:
        Writer(file).dump(head)
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise AssertionError(f"it cannot be pickled: {error}") from error
    file.seek(0)
    return Reader(file).load()


def _is_nowhere(one: Any) -> bool:
    """Return whether something is a class, or a method of one, that cannot be imported."""
    if not isinstance(one, (type, FunctionType)):
        return False
    if isinstance(one, FunctionType) and f"<locals>.{one.__name__}" in one.__qualname__:
        return False
    try:
        pickle.dumps(one)
    except (AttributeError, pickle.PicklingError):
        return True
    return False
