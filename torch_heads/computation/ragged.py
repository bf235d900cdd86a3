"""Targets of different batch shapes, which only logits by name can have."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from torch_heads.computation.inputs import EncodedBatch, probabilities_of


def join_ragged(batches: Sequence[EncodedBatch]) -> EncodedBatch:
    """Return batches of single targets as one; short ones are padded by rows that do not count."""
    length = max(batch.labels[..., 0].numel() for batch in batches)

    def join(parts: Sequence[Tensor]) -> Tensor:
        flat = [part.flatten(0, -2) for part in parts]
        return torch.cat([pad(part, (0, 0, 0, length - len(part))) for part in flat], dim=-1)

    def filled(values: Tensor | None, like: Tensor, dtype: torch.dtype) -> Tensor:
        if values is None:
            return torch.ones_like(like, dtype=dtype)
        return values.expand(like.shape)

    probabilities = None
    if any(one.probabilities is not None for one in batches):
        probabilities = join([probabilities_of(one) for one in batches])
    return EncodedBatch(
        join([one.logits for one in batches]),
        join([one.labels for one in batches]),
        join([filled(one.weights, one.labels, one.logits.dtype) for one in batches]),
        join([filled(one.present, one.labels, torch.bool) for one in batches]),
        join([filled(one.valid, one.labels, torch.bool) for one in batches]),
        probabilities,
    )
