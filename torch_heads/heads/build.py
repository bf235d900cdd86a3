"""Heads from plain data: by an allow-list, importing nothing."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch_heads.families
import torch_heads.metrics
from torch_heads.functional.containers import listed
from torch_heads.functional.errors import preview, unexpected
from torch_heads.heads.base import Head
from torch_heads.heads.config import (
    ARGUMENTS,
    CLASS,
    FUNCTION,
    NUMBERS,
    TEXTS,
    Functions,
    class_path,
    named_functions,
)

WHO = "build_head"
LEVELS = 50  # of one in another: far more than a head needs, and what every thread has stack for


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
        TypeError: if it is no configuration, ``functions`` are no dict or ``classes`` no classes,
            or as the constructor of the head does.
        ValueError: if it names a class or a function that is not given, or an argument that a class
            does not take, or nests more than 50 of them; or as the head's constructor does.

    >>> build_head({"class_path": "torch_heads.MultiClassHead", "init_args": {"n_classes": 3}})
    MultiClassHead(logits_dimension=3)
    """
    try:
        head = _Reader(named_functions(WHO, functions), _own_classes(classes)).value(config)
    except RecursionError:
        raise ValueError(unexpected(WHO, "config", "with few levels", "too many")) from None
    if not isinstance(head, Head):
        given = preview(config) if isinstance(config, Mapping) else repr(config)
        raise TypeError(unexpected(WHO, "config", "with a head's class_path", given))
    return head


def _own_classes(classes: Any) -> list[type]:
    """Return the classes that a configuration may name beside those of the package."""
    expected = "as a list of classes"
    kinds = listed(WHO, "classes", expected, classes)
    for kind in kinds:
        if not isinstance(kind, type):
            raise TypeError(unexpected(WHO, "classes", expected, f"{kind!r} in it"))
    return kinds


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
