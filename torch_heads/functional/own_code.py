"""Methods that are compiled for each object by itself."""

from __future__ import annotations

from types import FunctionType, MethodType
from typing import Any, TypeVar, cast

F = TypeVar("F")


class OwnCode:
    """A method of which each object gets a copy, made when it is first looked up.

    `torch.compile` keeps what it has compiled by the code of a function, eight variants of each.
    Heads that differ and share one function would take them from each other.
    """

    def __init__(self, function: FunctionType) -> None:
        self._function = function

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        """Return the function of a class, the method of an object."""
        if owner is None:
            return self._function
        shared = self._function
        code, name = shared.__code__.replace(), shared.__name__
        own = FunctionType(code, shared.__globals__, name, shared.__defaults__, shared.__closure__)
        own.__kwdefaults__, own.__doc__ = shared.__kwdefaults__, shared.__doc__
        method = MethodType(own, owner)
        vars(owner)[name] = method
        return method


def own_code(function: F) -> F:
    """Let each object have the code of a method for itself."""
    return cast(F, OwnCode(cast(FunctionType, function)))
