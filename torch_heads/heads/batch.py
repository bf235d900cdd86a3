"""One batch of a block, checked and encoded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """One batch of a block, checked and encoded.

    ``logits`` are ``[D*, C]`` and ``labels`` ``[D*, U]``. The masks and ``weights`` are ``[D*, U]``
    or ``[D*, 1]``, or None where all are 1: ``labelled`` is False where there is no label, ``rows``
    where there could not be one. What stands in the logits and labels there is 0.
    """

    logits: Tensor
    labels: Tensor
    weights: Tensor | None = None
    labelled: Tensor | None = None
    rows: Tensor | None = None
    features: Mapping[str, Any] | None = None


def counting(weights: Tensor | None, labelled: Tensor | None) -> Tensor | None:
    """Return where a label counts, ``[D*, U]`` or ``[D*, 1]``; None for everywhere."""
    # a weight that is learned needs the loss where it is 0
    if weights is None or weights.requires_grad:
        return labelled
    return weights != 0


def rows_of(values: Tensor) -> Tensor:
    """Return values ``[D*, U]`` as ``[N, U]``."""
    return values if values.dim() == 2 else values.flatten(0, -2)
