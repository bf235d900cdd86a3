"""The parts of a `MultiHead`: heads that are computed as one, and heads that stand alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torch_heads.heads.base import Head
from torch_heads.heads.batch import Batch
from torch_heads.heads.block import Block, Measured
from torch_heads.heads.encoder import JoinedEncoder
from torch_heads.heads.evaluated import ABSENT, Features, Stacked
from torch_heads.heads.joined import JoinedBlock, slices
from torch_heads.heads.tensor_head import TensorHead
from torch_heads.metrics.bound import Bound

Given = Mapping[str, Any] | Tensor  # by head name, or of all heads side by side


class Part(nn.Module, ABC):
    """One or more heads, at some ``positions`` in the `MultiHead`, and their ``blocks``."""

    positions: list[int]
    blocks: Sequence[Block]

    @abstractmethod
    def encode(
        self,
        labels: Given,
        logits: Given,
        features: Features | None,
        weights: Mapping[str, Any],
        mask: Tensor | None,
    ) -> Sequence[Batch]:
        """Return one checked batch per block."""

    @abstractmethod
    def combine(self, losses: Sequence[Tensor]) -> Tensor:
        """Return one loss per head, ``[H]``, from the losses of each block."""

    @abstractmethod
    def calls(self, measured: Sequence[Measured]) -> tuple[Measured, list[Measured]]:
        """Return each head's loss and whether it counts, and the heads' own call values."""

    @abstractmethod
    def bind(self, tallies: Sequence[str]) -> list[dict[str, Bound]]:
        """Return the metrics of each head, bound to the tallies of each block."""


class Alone(Part):
    """A head with blocks of its own."""

    def __init__(self, position: int, head: Head, logits: slice, labels: slice) -> None:
        super().__init__()
        self.positions = [position]
        self.blocks = head.blocks()
        self._head = (head,)  # in a tuple, it does not become a child module
        self._logits, self._labels = logits, labels

    def encode(
        self,
        labels: Given,
        logits: Given,
        features: Features | None,
        weights: Mapping[str, Any],
        mask: Tensor | None,
    ) -> Sequence[Batch]:
        """Return the head's batches."""
        (head,) = self._head
        name = head.name or ""
        return head.encode(
            Stacked(labels[..., self._labels])
            if isinstance(labels, Tensor)
            else labels.get(name, ABSENT),
            logits[..., self._logits] if isinstance(logits, Tensor) else logits[name],
            features,
            weights.get(name),
            mask,
        )

    def combine(self, losses: Sequence[Tensor]) -> Tensor:
        """Return the head's loss, ``[1]``."""
        return self._head[0].combine(losses).reshape(1)

    def calls(self, measured: Sequence[Measured]) -> tuple[Measured, list[Measured]]:
        """Return the head's loss and call values."""
        counted = [one.counted.any() for one in measured if one.counted is not None]
        if len(counted) < len(measured):
            counted = []  # some part of the head always counts
        own = Measured(
            self.combine([one.losses for one in measured]),
            counted=torch.stack(counted).any().reshape(1) if counted else None,
        )
        return own, self._head[0].call_values(measured)

    def bind(self, tallies: Sequence[str]) -> list[dict[str, Bound]]:
        """Return the head's metrics."""
        return [self._head[0].bound_readings(tallies)]


class Together(Part):
    """Heads of one family that share a block."""

    def __init__(
        self,
        positions: Sequence[int],
        heads: Sequence[TensorHead],
        logits: Sequence[int],
        labels: Sequence[int],
    ) -> None:
        super().__init__()
        self.positions = list(positions)
        self.block = JoinedBlock(heads)
        self.encoder = JoinedEncoder(heads, self.block.groups, logits, labels)
        self.blocks = (self.block,)

    def encode(
        self,
        labels: Given,
        logits: Given,
        features: Features | None,
        weights: Mapping[str, Any],
        mask: Tensor | None,
    ) -> Sequence[Batch]:
        """Return the batch of the block."""
        return (self.encoder.encode(labels, logits, features, weights),)

    def combine(self, losses: Sequence[Tensor]) -> Tensor:
        """Return the losses of the heads."""
        return losses[0]

    def calls(self, measured: Sequence[Measured]) -> tuple[Measured, list[Measured]]:
        """Return the losses of the heads."""
        return Measured(measured[0].losses, counted=measured[0].counted), []

    def bind(self, tallies: Sequence[str]) -> list[dict[str, Bound]]:
        """Return the metrics of each head."""
        return [
            head.bind(tallies[0], columns)
            for head, columns in zip(self.block.heads, self.block.columns, strict=True)
        ]


def make_parts(heads: Sequence[Head]) -> list[Part]:
    """Return the parts of a `MultiHead`: heads of equal families together, the others alone."""
    groups: dict[Any, list[int]] = {}
    for i, head in enumerate(heads):
        alike = isinstance(head, TensorHead) and head.fusable
        groups.setdefault(head.family if alike else i, []).append(i)
    logits = slices([head.logits_dimension for head in heads])
    labels = slices([head.labels_dimension for head in heads])
    parts: list[Part] = []
    for group in groups.values():
        members = [head for i in group if isinstance(head := heads[i], TensorHead)]
        if len(members) > 1:
            own = [_flat([places[i] for i in group]) for places in (logits, labels)]
            parts.append(Together(group, members, *own))
        else:
            (i,) = group
            parts.append(Alone(i, heads[i], logits[i], labels[i]))
    return parts


def _flat(runs: Sequence[slice]) -> list[int]:
    return [place for run in runs for place in range(run.start, run.stop)]
