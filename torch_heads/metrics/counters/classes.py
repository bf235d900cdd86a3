"""What is counted of class ids where it is asked for: by class, by rank, by score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from torch_heads.functional.bins import Histogram
from torch_heads.functional.scores import ScoreBins
from torch_heads.metrics.counters.counter import Addition, Counter, Slot, TallyInput
from torch_heads.metrics.counters.usual import ClassCounter, Selection, counts
from torch_heads.metrics.needs import ClassCounts, ClassScoreCounts, RankCounts


class RightCounter(ClassCounter):
    """What was predicted right, predicted, and labelled, of each class: ``[3, K]`` each."""

    name = "classes"
    need = ClassCounts()

    def _shape_of(self, classes: int) -> tuple[int, ...]:
        return 3, classes

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

    Args:
        columns: the label columns of each target of the group.
        classes: the number of classes of the targets that are counted, by their place.
        blocks: how many columns stand in each block of logits.
    """

    name = "ranks"
    need = RankCounts()

    def __init__(
        self, columns: Sequence[slice], classes: Mapping[int, int], blocks: Sequence[int]
    ) -> None:
        super().__init__(columns, classes)
        ends = accumulate(blocks)
        runs = [(end - count, count) for end, count in zip(ends, blocks, strict=True)]
        #: Of each block, those of its columns that are counted.
        self._inside = [
            Selection(
                [own - first for own in self._columns.columns if first <= own < first + count],
                count,
            )
            for first, count in runs
        ]

    def _shape_of(self, classes: int) -> tuple[int, ...]:
        return (classes,)

    def additions(self, state: Tensor, seen: TallyInput) -> list[Addition]:
        """Return what one batch adds."""
        constants = self._constants.on(state.device)
        labels = self._columns.of(seen.labels)
        sizes = [len(inside.columns) for inside in self._inside]
        each = zip(seen.blocks, self._inside, torch.split(labels, sizes, dim=1), strict=True)
        ranks = [
            ranks_of(seen.family.class_logits(inside.of(block)), own)
            for block, inside, own in each
            if inside.columns
        ]
        places = torch.cat(ranks, dim=1).minimum(constants["classes"] - 1) + constants["starts"]
        return [counts(state, places, self._columns.weights(seen))]


def ranks_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how many classes are higher than the label's, ``[N, C]``; padded ones are -inf.

    Args:
        logits: ``[N, C, K]``.
        labels: ``[N, C]``, class ids.

    >>> ranks_of(torch.tensor([[[2.0, 2.0, 3.0]]]), torch.tensor([[1]]))
    tensor([[2]])
    """
    label = labels.unsqueeze(-1)
    own = logits.gather(-1, label)
    before = torch.arange(logits.shape[-1], device=logits.device) < label
    return (~(logits <= own) | ((logits == own) & before)).sum(-1)


class ClassScoreCounter(Counter):
    """The probability of each class of some targets, against all others; the state is flat.

    Args:
        columns: the label columns of each target of the group.
        classes: the number of classes of the targets whose classes are counted, by their place.
    """

    name = "class_scores"

    def __init__(self, columns: Sequence[slice], classes: Mapping[int, int]) -> None:
        bins = ScoreBins()
        own = bins.thresholds, bins.fine
        self._column = {i: columns[i].start for i in classes}
        self._histograms = {i: Histogram([own] * count) for i, count in classes.items()}
        sizes = (one.size for one in self._histograms.values())
        *starts, size = accumulate(sizes, initial=0)
        self.shape = (size,)
        self.slots = {
            (ClassScoreCounts(), i): Slot(start, (classes[i], bins.places))
            for i, start in zip(classes, starts, strict=True)
        }

    def additions(self, state: Tensor, seen: TallyInput) -> list[Addition]:
        """Return what one batch adds."""
        added = []
        for (_, i), slot in self.slots.items():
            column = self._column[i]
            logits = seen.family.class_logits(block_column(seen.blocks, column))
            logits = logits[:, : slot.shape[0]]
            log_scores = torch.log_softmax(logits, -1)
            odds = log_scores - torch.log1p(-log_scores.exp())
            classes = torch.arange(slot.shape[0], device=logits.device)
            labels = (seen.labels[:, column, None] == classes).to(logits.dtype)
            histogram = self._histograms[i]
            places = histogram.places(log_scores.exp(), odds, labels)
            weights = seen.weights
            if weights is not None:
                weights = weights.expand(seen.labels.shape)[:, column, None]
            own = histogram.view(state[slot.start : slot.start + slot.size])
            added.append(counts(own, places, weights))
        return added


def block_column(blocks: Sequence[Tensor], column: int) -> Tensor:
    """Return the logits of one label column, ``[N, *logits_shape]``, padded ones behind."""
    for block in blocks:
        if column < block.shape[1]:
            return block[:, column]
        column -= block.shape[1]
    raise IndexError(column)
