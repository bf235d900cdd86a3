"""What users may pass where a tensor is due, and how it becomes one."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.errors import preview, unexpected


def is_text(values: Any) -> bool:
    """Return whether the values are strings: a NumPy array or (nested) list of them, or one.

    >>> is_text([["zero"], ["one"]]), is_text([[], [3]])
    (True, False)
    """
    if isinstance(values, Tensor):
        return False
    if isinstance(values, np.ndarray):
        return values.dtype.kind in "SU" or (
            values.dtype.kind == "O" and is_text(values.ravel().tolist())
        )
    if isinstance(values, (list, tuple)):
        return any(is_text(value) for value in values)
    return isinstance(values, (str, bytes))


def is_empty(values: Any) -> bool:
    """Return whether a NumPy array or (nested) list holds no value.

    >>> is_empty([[], []]), is_empty([[], [3]])
    (True, False)
    """
    if isinstance(values, np.ndarray):
        return values.size == 0
    return isinstance(values, (list, tuple)) and all(is_empty(value) for value in values)


def kind_of(values: Any) -> str:
    """Return what kind of values these are, in a word or two.

    >>> kind_of([1, 2]), kind_of(["a"]), kind_of({"even": [1]})
    ('numbers', 'strings', "a dict of ['even']")
    """
    if isinstance(values, Mapping):
        return f"a dict of {preview(values)}"
    if isinstance(values, Tensor):
        return f"a tensor of {values.dtype}"
    if is_text(values):
        return "strings"
    entries = np.asarray(values, dtype=object).ravel()
    if entries.size == 0 or isinstance(entries[0], Real):
        return "numbers" if entries.size else "nothing"
    return f"{type(entries[0]).__name__} values"


def to_tensor(who: str, argument: str, values: Any, device: torch.device | None = None) -> Tensor:
    """Return numbers as a tensor; NumPy arrays and nested lists go to ``device``.

    A dense tensor is returned as it is. Python floats get torch's default dtype.

    Raises:
        ValueError: if the values are missing, ragged, sparse, not real, or on another device.
    """
    if isinstance(values, Tensor):
        if values.layout != torch.strided or values.is_nested:
            kind = "a nested tensor" if values.is_nested else values.layout
            raise ValueError(unexpected(who, argument, "to be dense", kind))
        if values.is_complex():
            raise ValueError(unexpected(who, argument, "to be real", values.dtype))
        if device is not None and values.device != device:
            raise ValueError(
                unexpected(who, argument, f"on the logits' device {device}", values.device)
            )
        return values
    if values is None:
        raise ValueError(unexpected(who, argument, "to be given", None))
    if isinstance(values, Mapping):
        raise ValueError(unexpected(who, argument, "as one tensor", kind_of(values)))
    try:
        array = np.asarray(values)
    except ValueError:
        raise ValueError(
            unexpected(who, argument, "to be rectangular", "rows of different lengths")
        ) from None
    except (RuntimeError, TypeError):  # NumPy has no tensors with a gradient, or of other devices
        hint = "Stack them: torch.stack(...)."
        raise ValueError(
            unexpected(who, argument, "as one tensor", "a list of tensors", hint)
        ) from None
    if array.dtype.kind not in "biuf":
        raise ValueError(unexpected(who, argument, "to be numeric", kind_of(array)))
    if array.dtype.kind == "u":
        if array.size and array.max() > np.iinfo(np.int64).max:
            raise ValueError(unexpected(who, argument, "to fit into int64", array.max()))
        array = array.astype(np.int64)
    if array.dtype.kind == "f" and not isinstance(values, np.ndarray):
        return torch.tensor(array, dtype=torch.get_default_dtype(), device=device)
    # a copy: the caller's array may be read-only, reversed, or of the other byte order
    return torch.tensor(array.astype(array.dtype.newbyteorder("=")), device=device)


def sum_scalars(who: str, losses: Any) -> Tensor | float:
    """Return the sum of a list of regularization losses, 0 where it is empty or None.

    Raises:
        TypeError: if it is not a list or tuple.
        ValueError: if an entry is not a scalar.
    """
    argument = "regularization_losses"
    if losses is None:
        return 0.0
    if not isinstance(losses, (list, tuple)):
        raise TypeError(unexpected(who, argument, "as a list of scalars", type(losses).__name__))
    total: Tensor | float = 0.0
    for loss in losses:
        if isinstance(loss, Tensor):
            scalar = loss.dim() == 0 and not loss.is_complex()
        else:
            scalar = np.ndim(loss) == 0 and isinstance(np.asarray(loss).item(), Real)
        if not scalar:
            given = list(loss.shape) if isinstance(loss, Tensor) else repr(loss)
            raise ValueError(unexpected(who, argument, "as a list of scalars", f"an entry {given}"))
        total = total + loss
    return total
