"""Scalars that users give in a list, such as regularization losses, and their sum."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.containers import has_mask, opened
from torch_heads.functional.errors import unexpected
from torch_heads.functional.forms import is_float8, is_real


def sum_scalars(who: str, losses: Any) -> Tensor | float:
    """Return the sum of a list of regularization losses, 0 where it is empty or None.

    Raises:
        TypeError: if it is not a list or tuple.
        ValueError: if an entry is not a scalar.
    """
    argument, expected = "regularization_losses", "as a list of scalars"
    if losses is None:
        return 0.0
    if not isinstance(losses, (list, tuple)):
        raise TypeError(unexpected(who, argument, expected, type(losses).__name__))
    total: Tensor | float = 0.0
    for loss in losses:
        try:
            scalar = _scalar(loss)
        except OverflowError:
            given = "an entry too large for a float"
            raise ValueError(unexpected(who, argument, expected, given)) from None
        if scalar is None:
            raise ValueError(unexpected(who, argument, expected, f"an entry {_in_words(loss)}"))
        total = total + scalar
    return total


def _scalar(loss: Any) -> Tensor | float | None:
    """Return one real number; None where it is anything else, or masked."""
    if isinstance(loss, Tensor):
        dense = loss.layout == torch.strided and not (loss.is_nested or loss.is_quantized)
        if not dense or loss.dim() or loss.is_complex() or has_mask(loss):
            return None
        return loss.float() if is_float8(loss) else loss
    held = opened(loss)
    if isinstance(held, np.ndarray) and held.ndim == 0:
        held = held.item()
    return float(held) if is_real(held) or isinstance(held, bool) else None


def _in_words(loss: Any) -> str:
    if not isinstance(loss, Tensor):
        return repr(loss)
    if loss.dim() and not loss.is_nested:
        return str(list(loss.shape))
    return f"that is a {type(loss).__name__} of {loss.dtype}, {loss.layout}"
