"""The inputs of a model that is exported: their names, types and free axes, from an example."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torch_heads.functional.errors import preview, unexpected
from torch_heads.integrations.serving.signature import DTYPES, Input

WHO = "export_bundle"
BATCH = "batch"
HALF = (torch.float16, torch.bfloat16)  # which a bundle has as float32
UNORDERED = (str, bytes, set, frozenset)  # no lists; a set has another order in every process

Lookups = Mapping[str, Sequence[str] | Mapping[str | None, int]]


class Example:
    """An example of what a model takes, and how the model is called with it.

    Args:
        model: whose ``forward`` tells the names of the inputs, where these are no dict.
        example: a tensor, several in a tuple, or a dict of these by name.
        inputs: the names of the inputs, or a dict of names with the axes of each: a size, or a
            name where it is free. By default the first axis is free, and called ``batch``.
        lookups: of inputs that are strings, the known ones, which the model takes as 0, 1, ...; or
            a dict of the number of each, with None for all others.

    Raises:
        TypeError: if the example has no tensors.
        ValueError: if names or axes do not fit, or a string is not known.
    """

    def __init__(
        self,
        model: nn.Module,
        example: Any,
        inputs: Sequence[str] | Mapping[str, Sequence[int | str]] | None = None,
        lookups: Lookups | None = None,
    ) -> None:
        parameters = [
            name
            for name, parameter in inspect.signature(model.forward).parameters.items()
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        ]
        given = example if isinstance(example, (tuple, list)) else (example,)
        if isinstance(example, Mapping):
            named = dict(example)
            self._keywords = set(named) <= set(parameters)
        else:
            named = dict(zip(_names(inputs, parameters, len(given)), given, strict=True))
            self._keywords = False
        if not named or not all(isinstance(name, str) and name for name in named):
            expected = "with at least one, and strings as names"
            raise ValueError(unexpected(WHO, "inputs", expected, preview(named)))
        if inputs is not None and {*inputs} != {*named}:
            expected = f"with the names {preview(named)}"
            raise ValueError(unexpected(WHO, "inputs", expected, preview(inputs)))
        unknown = {*(lookups or {})} - {*named}
        if unknown:
            expected = f"for inputs among {preview(named)}"
            raise ValueError(unexpected(WHO, "lookups", expected, preview(unknown)))
        self._as_dict = isinstance(example, Mapping) and not self._keywords
        tables = {name: _table(name, one) for name, one in (lookups or {}).items()}
        #: The tensors of the example, by name.
        self.tensors = {
            name: _ids(name, one, tables[name]) if name in tables else _tensor(name, one)
            for name, one in named.items()
        }
        #: The same as a bundle takes it, strings as they are.
        self.arrays = {
            name: np.asarray(named[name], dtype=object) if name in tables else one.numpy()
            for name, one in self.tensors.items()
        }
        axes = inputs if isinstance(inputs, Mapping) else {}
        #: What a bundle takes, by name.
        self.inputs = {
            name: _input(name, one, axes.get(name), tables.get(name))
            for name, one in self.tensors.items()
        }
        #: The number that each string stands for, by input; None for all others.
        self.tables = tables

    def call(self, model: nn.Module, tensors: Sequence[Tensor]) -> Any:
        """Return what a model makes of the inputs, in their order."""
        if not (self._as_dict or self._keywords):
            return model(*tensors)
        named = dict(zip(self.tensors, tensors, strict=True))
        return model(**named) if self._keywords else model(named)

    def blank(self) -> tuple[Tensor, ...]:
        """Return zeros of the types and shapes of the inputs, so that nothing is given away."""
        sizes = dict(zip(self.free_axes, count(2), strict=False))  # none of them is 0 or 1
        shapes = {
            name: [sizes[size] if isinstance(size, str) else size for size in one.shape]
            for name, one in self.inputs.items()
        }
        return tuple(
            torch.zeros(shapes[name], dtype=one.dtype) for name, one in self.tensors.items()
        )

    @property
    def free_axes(self) -> list[str]:
        """The names of the free axes."""
        named = [
            size for one in self.inputs.values() for size in one.shape if isinstance(size, str)
        ]
        return list(dict.fromkeys(named))

    def dynamic_shapes(self) -> dict[str, Any]:
        """Return the free axes as torch.export takes them, for one argument ``*inputs``."""
        dims = {name: torch.export.Dim(name) for name in self.free_axes}
        return {
            "inputs": tuple(
                {axis: dims[size] for axis, size in enumerate(one.shape) if isinstance(size, str)}
                for one in self.inputs.values()
            )
        }


def _names(inputs: Any, parameters: Sequence[str], count: int) -> list[str]:
    if isinstance(inputs, UNORDERED):
        raise ValueError(unexpected(WHO, "inputs", "as a list of names", type(inputs).__name__))
    names = list(parameters if inputs is None else inputs)
    if len(names) < count or (inputs is not None and len(names) != count):
        hint = "Name them: inputs=['a', 'b']."
        raise ValueError(unexpected(WHO, "inputs", f"with {count} names", preview(names), hint))
    return names[:count]


def _tensor(name: str, given: Any) -> Tensor:
    if isinstance(given, np.ndarray) and given.dtype.kind in "OSUT":
        hint = f"Strings need a lookup: lookups={{{name!r}: ['a', 'b']}}."
        raise TypeError(unexpected(WHO, name, "as numbers", "strings", hint))
    if not isinstance(given, (Tensor, np.ndarray)):
        raise TypeError(unexpected(WHO, name, "as a tensor or an array", type(given).__name__))
    tensor = torch.as_tensor(given).detach().cpu()
    if tensor.dtype in HALF:
        tensor = tensor.float()
    if str(tensor.dtype).removeprefix("torch.") not in DTYPES or tensor.layout != torch.strided:
        given = f"{tensor.dtype} of {tensor.layout}"
        raise TypeError(unexpected(WHO, name, "as a dense tensor of numbers", given))
    return tensor


def _input(name: str, tensor: Tensor, axes: Any, table: Any) -> Input:
    shape = [BATCH, *tensor.shape[1:]] if axes is None else list(axes)
    fits = len(shape) == tensor.dim() > 0 and all(
        size.isidentifier() if isinstance(size, str) else type(size) is int and size == own
        for size, own in zip(shape, tensor.shape, strict=True)
    )
    if not fits:
        expected = f"with an axis for each of {list(tensor.shape)}, its size or a name for it"
        raise ValueError(unexpected(WHO, f"inputs[{name!r}]", expected, shape))
    if table is None:
        return Input(str(tensor.dtype).removeprefix("torch."), tuple(shape))
    known = tuple(one for one in table if one is not None)
    values = tuple(table[one] for one in known)
    numbers = None if values == tuple(range(len(known))) else values
    return Input("string", tuple(shape), known, numbers, table.get(None))


def _table(name: str, given: Any) -> dict[str | None, int]:
    argument = f"lookups[{name!r}]"
    expected = "as a list of different strings, or a dict of strings with a whole number each"
    if isinstance(given, UNORDERED):
        raise ValueError(unexpected(WHO, argument, expected, type(given).__name__))
    table = dict(given) if isinstance(given, Mapping) else {one: i for i, one in enumerate(given)}
    strings = all(isinstance(one, str | None) for one in table) and len(table) == len(given)
    if not strings or not all(type(number) is int for number in table.values()):
        raise ValueError(unexpected(WHO, argument, expected, preview(table.items())))
    return table


def _ids(name: str, given: Any, table: Mapping[str | None, int]) -> Tensor:
    strings = np.asarray(given, dtype=object)
    unknown = {str(one) for one in strings.flat} - {*table}
    if unknown and None not in table:
        expected = f"among {preview(one for one in table if one is not None)}"
        raise ValueError(unexpected(WHO, name, expected, preview(unknown)))
    numbers = [table[one] if one in table else table[None] for one in map(str, strings.flat)]
    return torch.tensor(numbers, dtype=torch.int64).reshape(strings.shape)
