"""Targets of different batch shapes, which only logits by name can have."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from torch_heads.computation.encoder import Labels, filled, one_hot
from torch_heads.functional.values import both, zero_where_false


def join_ragged(
    logits: Sequence[Tensor], encoded: Sequence[tuple[Labels, Tensor | None]]
) -> tuple[Tensor, Labels, Tensor]:
    """Return logits, labels and weights of targets side by side, as of one batch.

    Short ones are padded by rows that do not count.
    """
    rows = [own.shape[:-1].numel() for own in logits]
    labels = [own for own, _ in encoded]
    shapes, device = [own.values.shape for own in labels], logits[0].device

    def join(parts: Sequence[Tensor]) -> Tensor:
        flat = [part.flatten(0, -2) for part in parts]
        return torch.cat([pad(part, (0, 0, 0, max(rows) - len(part))) for part in flat], dim=-1)

    present = [both(own.present, own.valid) for own in labels]
    where, valid = (
        join(filled(masks, shapes, device)) for masks in (present, [own.valid for own in labels])
    )
    weights = [
        torch.ones(shape, dtype=own.dtype, device=device) if given is None else given.expand(shape)
        for own, (_, given), shape in zip(logits, encoded, shapes, strict=True)
    ]
    joined = Labels(
        join([own.values for own in labels]), where, valid, _probabilities(logits, labels, join)
    )
    return join(logits), joined, zero_where_false(join(weights), where)


def _probabilities(
    logits: Sequence[Tensor], labels: Sequence[Labels], join: Callable[[Sequence[Tensor]], Tensor]
) -> Tensor | None:
    """Return the probabilities of all classes, 1 for a class id; None where all are ids."""
    if all(own.probabilities is None for own in labels):
        return None
    return join(
        [
            one_hot(own.values.squeeze(-1), each.shape[-1], each)
            if own.probabilities is None
            else own.probabilities
            for each, own in zip(logits, labels, strict=True)
        ]
    )
