"""What an ``input_fn`` may give, read as batches of features and labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, repeat
from typing import Any, NamedTuple

import numpy as np
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from torch_heads.functional.errors import unexpected
from torch_heads.functional.tensors import to_tensor
from torch_heads.heads.spec import ModeKeys
from torch_heads.integrations.estimator.config import InputFn


class InputBatch(NamedTuple):
    """Features and labels, the numbers in them as tensors; labels None where there are none."""

    features: Any
    labels: Any = None


class Batches:
    """The batches that an ``input_fn`` gives, at most ``steps`` of them.

    ``input_fn()`` is an iterable of batches: a generator, a list, a ``DataLoader``, or a
    ``Dataset`` whose items are batches. A batch is ``(features, labels)``, or the features alone.
    A tuple ``(features, labels)`` in place of an iterable is one batch, at every step of training;
    so is a list of a dict of features and labels.

    Raises:
        TypeError: if ``input_fn`` is not callable, or gives no batches.
        ValueError: if it gives single examples, or training on one batch has no end, since there
            is no number of steps.
    """

    def __init__(self, who: str, input_fn: InputFn, mode: ModeKeys, steps: int | None) -> None:
        check_input_fn(who, input_fn)
        self._who, self._steps, self.mode = who, steps, mode
        source = input_fn()
        if isinstance(source, (tuple, Mapping, Tensor, np.ndarray)) or _is_pair(source):
            batch = self._batch(source)
            if mode is ModeKeys.TRAIN and steps is None:
                expected, given = "to be given for an input_fn of one batch", "neither"
                raise ValueError(unexpected(who, "steps or max_steps", expected, given))
            source = repeat(batch) if mode is ModeKeys.TRAIN else [batch]
        elif _is_of_examples(source):
            expected, given = "to give batches", "single examples of a TensorDataset"
            hint = "Batch it: `DataLoader(dataset, batch_size=32)`."
            raise ValueError(unexpected(who, "input_fn", expected, given, hint))
        elif isinstance(source, Dataset):
            source = DataLoader(source, batch_size=None)
        elif not isinstance(source, Iterable) or _is_text(source):
            expected, given = "to give batches", type(source).__name__
            raise TypeError(unexpected(who, "input_fn", expected, given))
        self._source: Iterable[Any] = source

    def __iter__(self) -> Iterator[InputBatch]:
        """Yield the batches."""
        return map(self._batch, islice(self._source, self._steps))

    def _batch(self, given: Any) -> InputBatch:
        parts = given if isinstance(given, (tuple, list)) else [given]
        if len(parts) not in (1, 2):
            expected = "to give batches (features, labels)"
            raise ValueError(unexpected(self._who, "input_fn", expected, f"{len(parts)} parts"))
        return InputBatch(*(apply_to_collection(part, np.ndarray, self._tensor) for part in parts))

    def _tensor(self, values: np.ndarray[Any, Any]) -> Any:
        # what is masked is a missing label, or a gap that the head refuses by its name
        numeric = values.dtype.kind in "biuf" and not isinstance(values, np.ma.MaskedArray)
        return to_tensor(self._who, "a batch", values) if numeric else values


def check_input_fn(who: str, input_fn: Any) -> None:
    """Refuse batches in place of what gives them.

    Raises:
        TypeError: if it is not callable.
    """
    if not callable(input_fn):
        hint = "Wrap it: `lambda: batches`."
        given = type(input_fn).__name__
        raise TypeError(unexpected(who, "input_fn", "to be callable", given, hint))


def _is_text(source: Any) -> bool:
    """Return whether a source is of strings itself; batches in it may hold some."""
    parts = source if isinstance(source, list) else [source]
    return any(isinstance(part, (str, bytes)) for part in parts)


def _is_of_examples(source: Any) -> bool:
    while isinstance(source, Subset):
        source = source.dataset
    return isinstance(source, TensorDataset)


def _is_pair(source: Any) -> bool:
    """Return whether a list is ``[features, labels]``, and not two batches of features alone."""
    if not isinstance(source, list) or len(source) != 2 or not isinstance(source[0], Mapping):
        return False
    features, labels = source
    return not isinstance(labels, Mapping) or labels.keys() != features.keys()
