"""The labels of all micro-batches and processes that make one optimizer step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.computation.inputs import Inputs
from torch_heads.functional.errors import unexpected
from torch_heads.heads.base import Head
from torch_heads.integrations.lightning.batch import Batch


def count_labels(
    head: Head, batches: Sequence[Batch], logits: Callable[[Any], Any], device: torch.device
) -> Tensor:
    """Return the sum of the `Head.divisors` of some batches, ``[H]``, before their forward pass.

    Args:
        head: the head.
        batches: the batches.
        logits: makes the logits from the inputs; called only for a batch that is refused, so that
            the head says itself what is wrong with it.
        device: where the logits will be.

    Raises:
        ValueError: if the number of examples does not show in the labels, or these are not what
            the head takes.
    """
    return torch.stack([_count(head, batch, logits, device) for batch in batches]).sum(0)


def _count(head: Head, batch: Batch, logits: Callable[[Any], Any], device: torch.device) -> Tensor:
    # the head says itself which shape fits its labels, features and weights together
    for shape in dict.fromkeys(_leading_shapes(batch)):
        try:
            empty = torch.zeros((), device=device).expand(*shape, head.logits_dimension)
            return batch_divisors(head, batch, empty)
        except ValueError:
            continue
    with torch.no_grad():
        batch_divisors(head, batch, logits(batch.inputs))
    expected = "of which the number of examples shows before the forward pass"
    hint = "global_normalization counts labels in tensors, arrays, and lists of one per example."
    raise ValueError(unexpected(head.title, "labels", expected, type(batch.labels).__name__, hint))


def _leading_shapes(batch: Batch) -> Iterator[tuple[int, ...]]:
    """Yield what the logits' shape may be, but for its last dimension."""
    for values in (batch.labels, batch.weights, batch.features):
        for value in values.values() if isinstance(values, Mapping) else [values]:
            if isinstance(value, (list, tuple)):
                value = np.array(value, dtype=object)  # which ends where lists differ in length
            shape = tuple(getattr(value, "shape", ()))
            if shape:
                yield from (shape[:-1], shape)
    yield (0,)  # no labels at all


def batch_divisors(head: Head, batch: Batch, logits: Any) -> Tensor:
    """Return the `Head.divisors` of a batch."""
    return head.divisors(batch.labels, logits, batch.features, weights=batch.weights)


def target_losses(head: Head, batch: Batch, logits: Any, divisors: Tensor | None = None) -> Tensor:
    """Return the loss of each target of a head, ``[T]``."""
    inputs = Inputs(batch.labels, logits, batch.features, batch.weights)
    return head.computation.measure(inputs, divisors=divisors).losses
