"""A counter: one state of a tally, and what of a batch is added to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_heads.families.family import Family
from torch_heads.functional.constants import Constants
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

    @property
    def step(self) -> Callable[[], Any]:
        """What adds them."""
        if self.places is None:
            return partial(self.state.add_, self.values)
        return partial(self.state.scatter_add_, -1, self.places, self.values)

    def take_back(self) -> None:
        """Take them away again, without memory for the opposite values."""
        self.state.neg_()
        self.step()
        self.state.neg_()


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


class Selection:
    """Some of the label columns of a group.

    Args:
        columns: which; all of them are not copied.
        of: how many there are.
    """

    def __init__(self, columns: Sequence[int], of: int) -> None:
        self.columns = list(columns)
        self._index: Constants | None = None
        if self.columns != list(range(of)):
            self._index = Constants(columns=torch.tensor(self.columns, dtype=torch.int64))

    def of(self, values: Tensor) -> Tensor:
        """Return the selected columns of ``[N, U, ...]``, or ``[N, 1]`` as it is."""
        if self._index is None or (values.dim() == 2 and values.shape[1] == 1):
            return values
        return values.index_select(1, self._index.on(values.device)["columns"])

    def weights(self, seen: TallyInput) -> Tensor | None:
        """Return the weights of the selected columns, ``[N, C]`` or ``[N, 1]``; None for ones."""
        if seen.weights is None:
            return None
        whole = seen.weights.shape[-1] == seen.labels.shape[-1]
        return self.of(seen.weights) if whole else seen.weights


def counts(state: Tensor, places: Tensor, weights: Tensor | None) -> Addition:
    """Return the addition of each weight, or of 1, at its place in a flat state.

    Args:
        state: ``[S]``.
        places: ``[N, C]``, int64.
        weights: ``[N, C]`` or ``[N, 1]``.
    """
    if weights is None:
        return Addition(state, state.new_ones(()).expand(places.numel()), places.flatten())
    each = weights.to(state.dtype).expand(places.shape)
    return Addition(state, each.reshape(-1), places.flatten())
