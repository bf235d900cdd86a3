"""Heads as plain data."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from math import inf, isfinite, nan
from typing import Any

import numpy as np
from torch import Tensor, nn

from torch_heads.functional.errors import class_of, unexpected
from torch_heads.heads.base import Head

CLASS, ARGUMENTS, FUNCTION = "class_path", "init_args", "function"
NUMBERS = {".nan": nan, ".inf": inf, "-.inf": -inf}  # as YAML writes them; JSON has none
TEXTS = ("name", "label_vocabulary")  # arguments that are never numbers
NAMESPACES = {"families": "families.", "metrics": "metrics."}
PLAIN = "Plain data are numbers, strings, lists, dicts, heads, and dataclasses such as readings."

Functions = Mapping[str, Callable[..., Any]]


def head_config(head: Head, functions: Functions | None = None) -> dict[str, Any]:
    """Return what makes an equal head, as plain data: ``{"class_path": ..., "init_args": ...}``.

    It is strict JSON, and stands in a configuration file of the command line as it is. NaN is
    ``".nan"``; a string that reads so has a backslash before it, but for names of heads and
    classes. It holds what a constructor was given, and not what was learned: that is in the
    ``state_dict``. Of arguments that are attributes, it holds the present values.

    A function is recorded by its import path, and so is whatever else can be called, such as a
    module or a metric of torchmetrics: as a string where the argument's name ends in ``_fn``, else
    as ``{"function": path}``, since a string may be the name of a feature or of a metric.

    Args:
        head: any head, of one's own too.
        functions: names for functions, as `build_head` will get them, instead of their paths.

    Raises:
        TypeError: if ``head`` is no head, ``functions`` no dict, or an argument no plain data.
        ValueError: if two functions have one path.

    >>> from torch_heads import BinaryClassHead
    >>> head_config(BinaryClassHead(missing_label=float("nan")))
    {'class_path': 'torch_heads.BinaryClassHead', 'init_args': {'missing_label': '.nan'}}
    """
    if not isinstance(head, Head):
        raise TypeError(unexpected("head_config", "head", "as a head", class_of(head)))
    return _Writer(named_functions("head_config", functions)).head(head)


def named_functions(who: str, functions: Any) -> Functions:
    """Return functions by name."""
    if functions is not None and not isinstance(functions, Mapping):
        given = type(functions).__name__
        raise TypeError(unexpected(who, "functions", "as a dict of them by name", given))
    return functions or {}


def class_path(kind: type) -> str:
    """Return the name of a class in a configuration: where a user imports it from."""
    package, *inner = kind.__module__.split(".")
    if package != "torch_heads":
        return f"{kind.__module__}.{kind.__qualname__}"
    return f"{package}.{NAMESPACES.get(inner[0], '')}{kind.__qualname__}"


def function_path(function: Any) -> str:
    """Return the import path of a function, or of the class of what else can be called."""
    named = function if hasattr(function, "__qualname__") else type(function)
    # the functions of torch say that they are methods, but are found in their module
    found = getattr(sys.modules.get(named.__module__), named.__name__, None) is named
    return f"{named.__module__}.{named.__name__ if found else named.__qualname__}"


class _Writer:
    """Makes plain data; knows which function has which name."""

    def __init__(self, functions: Functions) -> None:
        self._names = {id(function): name for name, function in functions.items()}
        self._named: dict[str, Any] = dict(functions)

    def head(self, head: Head) -> dict[str, Any]:
        own = inspect.signature(type(head)).parameters
        arguments: dict[str, Any] = {}
        for name, value in head.arguments.items():
            written = self.argument(head.title, name, value)
            if name not in own or not self._is_default(own[name].default, written):
                arguments[name] = written
        return {CLASS: class_path(type(head)), ARGUMENTS: arguments}

    def _is_default(self, default: Any, written: Any) -> bool:
        if default is inspect.Parameter.empty:
            return False
        # heads keep "none of them", which is None to their constructors, as an empty list
        return bool(written == self.value("head_config", "a default", default)) or (
            default is None and written == []
        )

    def argument(self, who: str, name: str, value: Any) -> Any:
        if name.endswith("_fn") and callable(value):
            return self.function(who, value)
        return self.value(who, name, value)

    def function(self, who: str, function: Any) -> str:
        name = self._names.get(id(function)) or function_path(function)
        if self._named.setdefault(name, function) is not function:
            hint = "Name them: head_config(head, functions={'a name': function})."
            expected, given = "with different import paths", f"{name!r} twice"
            raise ValueError(unexpected(who, "functions", expected, given, hint))
        return name

    def value(self, who: str, name: str, value: Any) -> Any:
        if isinstance(value, Head):
            return self.head(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            written: dict[str, Any] = {}
            for key, one in inspect.signature(type(value)).parameters.items():
                own = getattr(value, key)
                if one.kind is one.VAR_KEYWORD:
                    written |= {more: self.argument(who, more, own[more]) for more in own}
                elif one.default is one.empty or own != one.default:
                    written[key] = self.argument(who, key, own)
            return {CLASS: class_path(type(value)), ARGUMENTS: written}
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, (Tensor, np.ndarray, np.generic)):
            return self.value(who, name, value.tolist())
        if value is None or isinstance(value, (bool, int)):
            return value
        if isinstance(value, float):
            return value if isfinite(value) else _number_name(value)
        if isinstance(value, str):
            escaped = name not in TEXTS and value.lstrip("\\") in NUMBERS
            return f"\\{value}" if escaped else value
        if isinstance(value, Mapping) and not {CLASS, FUNCTION} & set(value):
            if all(isinstance(key, str) for key in value):
                return {key: self.value(who, name, own) for key, own in value.items()}
        elif isinstance(value, (Sequence, nn.ModuleList)) and not isinstance(value, (str, bytes)):
            return [self.value(who, name, own) for own in value]
        elif callable(value):
            return {FUNCTION: self.function(who, value)}
        raise TypeError(unexpected(who, name, "as plain data", repr(value), PLAIN))


def _number_name(value: float) -> str:
    return ".nan" if value != value else ".inf" if value > 0 else "-.inf"
