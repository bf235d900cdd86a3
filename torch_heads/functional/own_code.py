"""Methods that are compiled for each object by itself."""

from __future__ import annotations

from collections.abc import Iterable
from functools import update_wrapper
from types import FunctionType, MethodType
from typing import Any


def give_own_code(owner: Any, methods: Iterable[str]) -> None:
    """Give an object copies of methods of its class, each with code of its own.

    `torch.compile` keeps what it has compiled by the code of a function, eight variants of each.
    Heads that differ and share one function would take them from each other. It cannot trace how
    such a copy is made: an object has its copies before it is called.
    """
    for name in methods:
        shared = getattr(type(owner), name)
        if isinstance(shared, FunctionType):  # and nothing else that a subclass may have there
            code, preset = shared.__code__.replace(), shared.__defaults__
            own = FunctionType(code, shared.__globals__, name, preset, shared.__closure__)
            own.__kwdefaults__ = shared.__kwdefaults__
            vars(owner)[name] = MethodType(update_wrapper(own, shared), owner)
