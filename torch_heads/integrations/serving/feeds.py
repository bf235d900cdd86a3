"""Inputs of a bundle, as the arrays that its graph takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from torch_heads.functional.errors import preview, unexpected
from torch_heads.integrations.serving.signature import Input

Array = np.ndarray[Any, Any]

KINDS = {"U": "strings", "T": "strings", "S": "bytes", "O": "values of another kind"}  # by NumPy's


class Feeds:
    """Reads what a caller gives, and refuses what the model does not take.

    Args:
        who: the bundle, as errors say it.
        inputs: what it takes, by name.
    """

    def __init__(self, who: str, inputs: Mapping[str, Input]) -> None:
        self._who, self._inputs = who, inputs
        self._only = next(iter(inputs)) if len(inputs) == 1 else None
        self._dtypes = {
            name: np.dtype(object if one.dtype == "string" else one.dtype)
            for name, one in inputs.items()
        }
        self._known = {
            name: frozenset(one.lookup)
            for name, one in inputs.items()
            if one.lookup is not None and one.others is None
        }

    def __call__(self, given: Any) -> dict[str, Array]:
        """Return the inputs by name.

        Raises:
            ValueError: if a name, type or shape is another than the model's, if free axes of one
                name differ, or a string is not known.
        """
        if not isinstance(given, Mapping):
            if self._only is None:
                expected = f"as a dict of {preview(self._inputs)}"
                raise ValueError(unexpected(self._who, "inputs", expected, type(given).__name__))
            given = {self._only: given}
        if given.keys() != self._inputs.keys():
            expected = f"named {preview(self._inputs)}"
            raise ValueError(unexpected(self._who, "inputs", expected, preview(given)))
        sizes: dict[str, int] = {}
        return {name: self._array(name, given[name], sizes) for name in self._inputs}

    def _array(self, name: str, given: Any, sizes: dict[str, int]) -> Array:
        one, dtype = self._inputs[name], self._dtypes[name]
        array: Array = given
        if not isinstance(given, np.ndarray):
            if dtype.kind != "O" and isinstance(given, (list, tuple)) and mixes_bools(given):
                given_words = "numbers with true or false among them"
                raise ValueError(unexpected(self._who, name, f"of type {dtype}", given_words))
            try:
                # strings as they are: NumPy would make strings of numbers beside them
                array = np.asarray(given, object if dtype.kind == "O" else None)
            except (ValueError, TypeError, OverflowError) as error:
                expected = f"of shape {list(one.shape)}"
                raise ValueError(unexpected(self._who, name, expected, error)) from None
        if array.dtype != dtype:
            array = self._cast(name, array, dtype)
        shape = array.shape
        fits = len(shape) == len(one.shape)
        for size, own in zip(one.shape, shape, strict=False):
            fits = fits and own == (sizes.setdefault(size, own) if isinstance(size, str) else size)
        if not fits:
            expected = f"of shape {list(one.shape)}"
            raise ValueError(unexpected(self._who, name, expected, list(shape)))
        if dtype.kind == "O":
            self._check_strings(name, array)
        return array

    def _cast(self, name: str, array: Array, dtype: np.dtype[Any]) -> Array:
        """Return numbers in the model's type, if they are the same in it; floats are rounded."""
        kind, own = dtype.kind, array.dtype.kind
        if array.size == 0:
            return np.asarray(array, dtype)  # an empty list has no type
        if kind == "O":
            if own in "UST":
                return array.astype(object)
        elif kind == "f" and own in "fiu":
            with np.errstate(over="ignore"):  # what is too large is infinite
                return array.astype(dtype)
        elif (kind in "iu" and own in "iu") or (kind == "b" and own == "b"):
            cast: Array = array.astype(dtype)
            if bool((cast == array).all()):
                return cast
        expected = "as strings" if kind == "O" else f"of type {dtype}"
        raise ValueError(unexpected(self._who, name, expected, KINDS.get(own, array.dtype)))

    def _check_strings(self, name: str, array: Array) -> None:
        known = self._known.get(name)
        for one in array.flat:
            if not isinstance(one, str):
                raise ValueError(unexpected(self._who, name, "as strings", repr(one)))
            if known is not None and one not in known:
                expected = f"among {preview(self._inputs[name].lookup or ())}"
                raise ValueError(unexpected(self._who, name, expected, repr(one)))


def mixes_bools(given: Sequence[Any]) -> bool:
    """Return whether there are both bools and other values in lists, which NumPy takes for 0 and 1.

    >>> mixes_bools([[1, 2], [3, True]]), mixes_bools([True, False])
    (True, False)
    """
    kinds = _kinds(given)
    return len(kinds) > 1 and not kinds.isdisjoint((bool, np.bool_))


def _kinds(given: Sequence[Any]) -> set[type]:
    while given and isinstance(given[0], (list, tuple)):
        rows = (one for one in given if isinstance(one, (list, tuple)))
        given = list(chain.from_iterable(rows))
    return set(map(type, given))
