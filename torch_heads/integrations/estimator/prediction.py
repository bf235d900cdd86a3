"""The predictions of a batch, taken apart into those of its examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.errors import preview, unexpected


def by_example(who: str, predictions: Any, keys: Sequence[Any]) -> Iterator[dict[Any, Any]]:
    """Yield the predictions of each example, as NumPy arrays by key.

    Args:
        who: the estimator's class, as errors say it.
        predictions: those of a batch by key, each ``[B, ...]``.
        keys: the keys to yield; a tuple may be one key. None of them is all.

    Raises:
        TypeError: if the predictions are no dict of tensors and arrays.
        ValueError: if there are none, one is no key, or they differ in their number of examples.
    """
    if not isinstance(predictions, Mapping) or not predictions:
        expected = "as a dict of tensors or arrays by name"
        given = "an empty one" if isinstance(predictions, Mapping) else type(predictions).__name__
        raise TypeError(unexpected(who, "predictions", expected, given))
    wanted = [keys] if isinstance(keys, tuple) and keys in predictions else keys or predictions
    for key in wanted:
        if key not in predictions:
            allowed = f"among {preview(predictions, 20)}"
            raise ValueError(unexpected(who, "predict_keys", allowed, repr(key)))
    arrays = {key: _array(who, key, predictions[key]) for key in wanted}
    sizes = {key: len(array) for key, array in arrays.items()}
    if len({*sizes.values()}) > 1:
        raise ValueError(unexpected(who, "predictions", "with one entry per example", sizes))
    for i in range(next(iter(sizes.values()))):
        yield {key: array[i] for key, array in arrays.items()}


def _array(who: str, key: Any, values: Any) -> np.ndarray[Any, Any]:
    expected = "as dense tensors or arrays with one entry per example"
    given = type(values).__name__
    try:
        if isinstance(values, Tensor):
            given = f"a tensor of {list(values.shape)}" if values.layout is torch.strided else given
            # NumPy has no bfloat16
            values = values.float() if values.dtype == torch.bfloat16 else values
            values = values.detach().cpu().numpy()
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError):  # sparse, nested, or rows of different lengths
        array = None
    if array is None or array.ndim == 0:
        raise TypeError(unexpected(who, "predictions", expected, f"{given} for {key!r}"))
    return array
