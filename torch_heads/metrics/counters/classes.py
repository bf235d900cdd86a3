"""Class ids, counted by label, prediction and rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from torch_heads.functional.constants import Constants
from torch_heads.metrics.counters.counter import (
    Addition,
    Counter,
    Selection,
    Slot,
    TallyInput,
    counts,
)
from torch_heads.metrics.counters.scores import block_column
from torch_heads.metrics.needs import ClassCounts, Confusions, RankCounts


class ClassCounter(Counter):
    """What the counters of class ids share: some targets, of one label column each.

    Args:
        columns: the label columns of each target of the group.
        classes: the number of classes of the targets that are counted, by their place.
    """

    def __init__(self, columns: Sequence[slice], classes: Mapping[int, int]) -> None:
        self._classes = [*classes.values()]
        self._columns = Selection([columns[i].start for i in classes], columns[-1].stop)
        shapes = [self._shape_of(count) for count in self._classes]
        slots = [Slot(0, shape) for shape in shapes]
        *starts, size = accumulate((slot.size for slot in slots), initial=0)
        self.shape = (size,)
        self.slots = {
            (self._need(), i): Slot(start, shape)
            for i, start, shape in zip(classes, starts, shapes, strict=True)
        }
        self._constants = Constants(
            starts=torch.tensor(starts), classes=torch.tensor(self._classes)
        )

    def _shape_of(self, classes: int) -> tuple[int, ...]:
        raise NotImplementedError

    def _need(self) -> ClassCounts | Confusions | RankCounts:
        raise NotImplementedError


class ConfusionCounter(ClassCounter):
    """The confusions of each label with each prediction, ``[K, 1 + K]`` one after the other.

    The first column of each counts the labels for which no class was predicted: -1, where a logit
    is NaN.
    """

    name = "confusion"

    def _shape_of(self, classes: int) -> tuple[int, ...]:
        return classes, 1 + classes

    def _need(self) -> Confusions:
        return Confusions()

    def additions(self, state: Tensor, seen: TallyInput) -> list[Addition]:
        """Return what one batch adds; its predictions are class ids, or -1 for none."""
        constants = self._constants.on(state.device)
        ids, labels = self._columns.of(seen.predictions), self._columns.of(seen.labels)
        first, width = constants["starts"] + 1, constants["classes"] + 1
        places = torch.addcmul(ids + first, labels, width)
        return [counts(state, places, self._columns.weights(seen))]


class RightCounter(ClassCounter):
    """What was predicted right, predicted, and labelled, of each class: ``[3, K]`` each."""

    name = "classes"

    def _shape_of(self, classes: int) -> tuple[int, ...]:
        return 3, classes

    def _need(self) -> ClassCounts:
        return ClassCounts()

    def additions(self, state: Tensor, seen: TallyInput) -> list[Addition]:
        """Return what one batch adds."""
        constants = self._constants.on(state.device)
        starts, classes = constants["starts"], constants["classes"]
        ids, labels = self._columns.of(seen.predictions), self._columns.of(seen.labels)
        weights = self._columns.weights(seen)
        ones = state.new_ones(()) if weights is None else weights.to(state.dtype)
        right, some = (ids == labels) * ones, (ids >= 0) * ones
        return [
            counts(state, starts + labels, right),
            counts(state, starts + classes + ids.clamp(min=0), some),
            counts(state, starts + 2 * classes + labels, weights),
        ]


class RankCounter(ClassCounter):
    """The rank of the label's class by its logit, from 0; of equals, the first is the higher.

    Beside a logit that is NaN, no class is the highest.
    """

    name = "ranks"

    def _shape_of(self, classes: int) -> tuple[int, ...]:
        return (classes,)

    def _need(self) -> RankCounts:
        return RankCounts()

    def additions(self, state: Tensor, seen: TallyInput) -> list[Addition]:
        """Return what one batch adds."""
        starts = self._constants.on(state.device)["starts"]
        labels = self._columns.of(seen.labels)
        ranks = []
        for i, (column, classes) in enumerate(
            zip(self._columns.columns, self._classes, strict=True)
        ):
            logits, label = block_column(seen.blocks, column)[:, :classes], labels[:, i, None]
            own = logits.gather(-1, label)
            before = torch.arange(classes, device=logits.device) < label
            higher = ~(logits <= own) | ((logits == own) & before)
            ranks.append(higher.sum(-1).clamp(max=classes - 1))
        places = torch.stack(ranks, dim=-1) + starts
        return [counts(state, places, self._columns.weights(seen))]
