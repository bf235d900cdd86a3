"""Targets of different batch shapes, which only logits by name can have."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from torch_heads.computation.encoder import Labels, one_hot
from torch_heads.functional.values import both, zero_where_false


def join_ragged(
    logits: Sequence[Tensor], encoded: Sequence[tuple[Labels, Tensor | None]]
) -> tuple[Tensor, Labels, Tensor]:
    """Return logits, labels and weights of targets side by side, as of one batch.

    Short ones are padded by rows that do not count.
    """
    rows = [own.shape[:-1].numel() for own in logits]

    def join(parts: Sequence[Tensor]) -> Tensor:
        flat = [part.flatten(0, -2) for part in parts]
        return torch.cat([pad(part, (0, 0, 0, max(rows) - len(part))) for part in flat], dim=-1)

    def masks(given: Sequence[Tensor | None]) -> Tensor:
        return join(
            [
                torch.ones_like(labels.values, dtype=torch.bool)
                if mask is None
                else mask.expand(labels.values.shape)
                for mask, (labels, _) in zip(given, encoded, strict=True)
            ]
        )

    probabilities = None
    if any(labels.probabilities is not None for labels, _ in encoded):
        probabilities = join(
            [
                one_hot(labels.values.squeeze(-1), own.shape[-1], own)
                if labels.probabilities is None
                else labels.probabilities
                for own, (labels, _) in zip(logits, encoded, strict=True)
            ]
        )
    weights = [
        labels.values.new_ones((), dtype=own.dtype) if given is None else given
        for own, (labels, given) in zip(logits, encoded, strict=True)
    ]
    expanded = [
        given.expand(labels.values.shape)
        for given, (labels, _) in zip(weights, encoded, strict=True)
    ]
    present = masks([both(labels.present, labels.valid) for labels, _ in encoded])
    labels = Labels(
        join([labels.values for labels, _ in encoded]),
        present,
        masks([labels.valid for labels, _ in encoded]),
        probabilities,
    )
    return join(logits), labels, zero_where_false(join(expanded), present)
