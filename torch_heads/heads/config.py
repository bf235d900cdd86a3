"""Heads as plain data, and heads from plain data: by an allow-list, importing nothing."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from math import inf, isfinite, nan
from typing import Any

import numpy as np
from torch import Tensor, nn

import torch_heads.families
import torch_heads.metrics
from torch_heads.functional.errors import preview, unexpected
from torch_heads.heads.base import Head

WHO = "build_head"
CLASS, ARGUMENTS, FUNCTION = "class_path", "init_args", "function"
NUMBERS = {".nan": nan, ".inf": inf, "-.inf": -inf}  # as YAML writes them; JSON has none
TEXTS = ("name", "label_vocabulary")  # arguments that are never numbers
LEVELS = 50  # of one in another: far more than a head needs, and what every thread has stack for
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
        TypeError: if ``head`` is no head, or an argument is no plain data.
        ValueError: if two functions have one path.

    >>> from torch_heads import BinaryClassHead
    >>> head_config(BinaryClassHead(missing_label=float("nan")))
    {'class_path': 'torch_heads.BinaryClassHead', 'init_args': {'missing_label': '.nan'}}
    """
    if not isinstance(head, Head):
        raise TypeError(unexpected("head_config", "head", "as a head", type(head).__name__))
    return _Writer(functions or {}).head(head)


def build_head(
    config: Mapping[str, Any],
    functions: Functions | None = None,
    classes: Iterable[type] = (),
) -> Head:
    """Return the head that `head_config` describes.

    Nothing is imported and nothing is run but constructors of this package and of ``classes``, so
    that a configuration may come from anyone.

    Args:
        config: what `head_config` returned, maybe by way of JSON or YAML.
        functions: those that the configuration names.
        classes: heads, families and readings of one's own that it may name.

    Raises:
        TypeError: if it is no configuration, or as the head's constructor does.
        ValueError: if it names a class or a function that is not given, or an argument that a class
            does not take, or nests more than 50 of them; or as the head's constructor does.

    >>> build_head({"class_path": "torch_heads.MultiClassHead", "init_args": {"n_classes": 3}})
    MultiClassHead(logits_dimension=3)
    """
    try:
        head = _Reader(functions or {}, classes).value(config)
    except RecursionError:
        raise ValueError(unexpected(WHO, "config", "with few levels", "too many")) from None
    if not isinstance(head, Head):
        given = preview(config) if isinstance(config, Mapping) else repr(config)
        raise TypeError(unexpected(WHO, "config", "with a head's class_path", given))
    return head


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
        return bool(written == self.value(WHO, "a default", default)) or (
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


class _Reader:
    """Makes heads, families and readings of plain data."""

    def __init__(self, functions: Functions, classes: Iterable[type]) -> None:
        self._functions = functions
        self._classes = {class_path(kind): kind for kind in [*_known(), *classes]}
        self._level = 0

    def value(self, given: Any, name: str | None = None) -> Any:
        if isinstance(given, Mapping):
            if CLASS in given:
                self._level += 1
                if self._level > LEVELS:
                    expected = f"of at most {LEVELS} levels"
                    raise ValueError(unexpected(WHO, "config", expected, "more"))
                made = self._made(given)
                self._level -= 1
                return made
            if FUNCTION in given:
                return self._function(given[FUNCTION])
            return {key: self.value(own, name) for key, own in given.items()}
        if isinstance(given, (list, tuple)):
            return [self.value(own, name) for own in given]
        if name in TEXTS or not isinstance(given, str):
            return given
        escaped = given.startswith("\\") and given.lstrip("\\") in NUMBERS
        return given[1:] if escaped else NUMBERS.get(given, given)

    def _function(self, name: Any) -> Any:
        if not isinstance(name, str) or name not in self._functions:
            hint = "build_head(config, functions={'path': function}) gives them."
            expected = f"for {name!r}, which the configuration names"
            raise ValueError(unexpected(WHO, "functions", expected, preview(self._functions), hint))
        return self._functions[name]

    def _made(self, given: Mapping[str, Any]) -> Any:
        path, arguments = given[CLASS], given.get(ARGUMENTS, {})
        if not isinstance(path, str) or path not in self._classes:
            hint = "build_head(config, classes=[...]) takes a class of your own."
            expected = f"among {preview(self._classes, 20)}"
            raise ValueError(unexpected(WHO, CLASS, expected, repr(path), hint))
        if not isinstance(arguments, Mapping) or given.keys() - {CLASS, ARGUMENTS}:
            expected = f"with {CLASS} and a dict of {ARGUMENTS}"
            raise TypeError(unexpected(WHO, path, expected, preview(given)))
        kind = self._classes[path]
        made: dict[str, Any] = {}
        for name, own in arguments.items():
            if not isinstance(name, str):
                raise TypeError(unexpected(path, ARGUMENTS, "by name", repr(name)))
            function = name.endswith("_fn") and isinstance(own, str)
            made[name] = self._function(own) if function else self.value(own, name)
        if dataclasses.is_dataclass(kind):
            made = {name: _frozen(own) for name, own in made.items()}
        try:
            inspect.signature(kind).bind(**made)
        except TypeError as error:
            raise ValueError(unexpected(path, ARGUMENTS, "that it takes", error)) from None
        return kind(**made)


def _number_name(value: float) -> str:
    return ".nan" if value != value else ".inf" if value > 0 else "-.inf"


def _frozen(value: Any) -> Any:
    """Return lists as tuples, which a frozen dataclass can compare and hash."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _known() -> Iterator[type]:
    """Yield the concrete heads, families and readings of this package."""
    rest: list[type] = [Head]
    while rest:
        kind = rest.pop()
        rest += kind.__subclasses__()
        # torch.export makes further classes of the same name and module
        own = getattr(sys.modules.get(kind.__module__), kind.__name__, None) is kind
        if kind.__module__.startswith("torch_heads.") and own and not inspect.isabstract(kind):
            yield kind
    for namespace in (torch_heads.families, torch_heads.metrics):
        public = (getattr(namespace, name) for name in namespace.__all__)
        kinds = (one for one in public if hasattr(one, "__dataclass_fields__"))
        yield from (one for one in kinds if not inspect.isabstract(one))
