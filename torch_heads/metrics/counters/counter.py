"""A counter: one state of a tally, and what of a batch is added to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from math import prod
from typing import Any, NamedTuple

from torch import Tensor

from torch_heads.families.family import Family
from torch_heads.metrics.needs import Need


class TallyInput(NamedTuple):
    """One batch as a tally sees it: a row per example, a column per label column.

    ``labels`` and ``predictions`` are ``[N, U]``; ``loss_sums`` ``[U]`` are the weighted sums of
    the losses. The others broadcast to ``[N, U]``; None stands for ones. Where a label is missing,
    its ``loss_weights``, ``weights`` and ``present`` are 0; where there is no row at all, ``valid``
    is 0, too. ``log_odds`` ``[N, U]`` are those of predictions that are scores. ``blocks`` are the
    logits ``[N, B, *logits_shape]`` of the family, of some columns after the others.
    """

    labels: Tensor
    predictions: Tensor
    loss_sums: Tensor
    family: Family
    blocks: Sequence[Tensor]
    loss_weights: Tensor | None = None
    weights: Tensor | None = None
    present: Tensor | None = None
    valid: Tensor | None = None
    log_odds: Tensor | None = None


class Addition(NamedTuple):
    """Values that are to be added to a state in place, or at ``places`` along its last axis."""

    state: Tensor
    values: Any
    places: Tensor | None = None


class Slot(NamedTuple):
    """Where a state holds what belongs to one head: from ``start`` on, once it is flat."""

    start: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return prod(self.shape)


class Counter(ABC):
    """One state of a tally.

    Attributes:
        name: the name of the state.
        shape: its shape.
        slots: what it keeps, by need and by the place of a target in the group.
    """

    name: str
    shape: tuple[int, ...]
    slots: dict[tuple[Need, int], Slot]

    @abstractmethod
    def additions(self, state: Tensor, seen: TallyInput) -> Iterable[Addition]:
        """Return what one batch adds to the state; nothing is added yet."""
