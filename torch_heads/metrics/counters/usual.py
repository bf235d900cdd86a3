"""The counters that most tallies have: totals, scores, residuals and confusions.

They stand in one file, since a batch of any head passes through them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from torch_heads.families.family import Counts
from torch_heads.functional.bins import Histogram, bin_residuals
from torch_heads.functional.constants import Constants
from torch_heads.functional.residuals import BINS
from torch_heads.functional.scores import ScoreBins
from torch_heads.functional.values import sum_rows
from torch_heads.metrics.counters.counter import Addition, Counter, Slot, TallyInput
from torch_heads.metrics.needs import Confusions, Need, ResidualCounts, ScoreCounts, Totals
from torch_heads.metrics.sums import Total


class TotalsCounter(Counter):
    """The sums of losses, predictions, labels and weights, ``[U, 8]`` in the order of `Total`.

    Args:
        columns: the label columns of each target.
        classes: whether predictions are class ids; then the right ones are counted.
    """

    name = "sums"

    def __init__(self, columns: Sequence[slice], classes: bool = False) -> None:
        self.shape = (columns[-1].stop, Total.ALL)
        self.slots = {
            (Totals(), i): Slot(run.start * Total.ALL, (run.stop - run.start, Total.ALL))
            for i, run in enumerate(columns)
        }
        self._classes = classes

    def additions(self, state: Tensor, seen: TallyInput) -> list[Addition]:
        """Return what one batch adds."""
        rows, columns = seen.labels.shape
        by, predictions, labels = seen.weights, seen.predictions, seen.labels
        if self._classes:
            predictions = (predictions == labels).to(seen.loss_sums.dtype)
        elif seen.family.counts is Counts.NUMBERS:
            # of numbers far from 0, sums in float32 would leave no digit of a variance or a bias
            predictions, labels = predictions.double(), labels.double()
        means = [
            total(values if by is None else values * by, by is not None)
            for values in (predictions, labels)
        ]
        sums, rest = state.split_with_sizes([1 + len(means), Total.ALL - 1 - len(means)], -1)
        added = [Addition(sums, torch.stack([seen.loss_sums, *means], dim=-1))]
        squares = None if by is None else by.double().square()
        given = seen.loss_weights, by, squares, seen.present, seen.valid
        if all(one is None for one in given):
            return [*added, Addition(rest, rows)]
        each = [rows if one is None else total(one, True).expand(columns) for one in given]
        return [*added, *(Addition(rest[:, i], one) for i, one in enumerate(each))]


class BatchMeans(Counter):
    """The sum of one number per update call, for several names, and how many calls gave it."""

    name = "sums"

    def __init__(self, names: int) -> None:
        self.shape = (names, 2)
        self.slots = {(Totals(), i): Slot(2 * i, (1, 2)) for i in range(names)}

    def additions(  # type: ignore[override]
        self, state: Tensor, seen: tuple[Tensor, Tensor | None]
    ) -> list[Addition]:
        """Return the values ``[names]`` of one call, and 0 or 1 for whether they count."""
        values, counted = seen
        sums, calls = state.unbind(-1)
        if counted is None:
            return [Addition(sums, values), Addition(calls, 1)]
        return [Addition(sums, values * counted), Addition(calls, counted)]


def total(values: Tensor, weighed: bool) -> Tensor:
    """Return the sum over rows, exact where the values are whole numbers."""
    # float32 is faster, and exact while a sum of ones is
    return sum_rows(values.double() if weighed or values.shape[0] > 2**20 else values)


class Selection:
    """Some of the label columns of a group.

    Args:
        columns: which; those that stand side by side are not copied.
        of: how many there are.
    """

    def __init__(self, columns: Sequence[int], of: int) -> None:
        self.columns = list(columns)
        first = columns[0] if columns else 0
        run = slice(first, first + len(columns))
        self._all = self.columns == list(range(of))
        self._chosen: slice | Constants = run
        if self.columns != list(range(run.start, run.stop)):
            self._chosen = Constants(columns=self.columns)

    def of(self, values: Tensor) -> Tensor:
        """Return the selected columns of ``[N, U, ...]``, or ``[N, 1]`` as it is."""
        if self._all or (values.dim() == 2 and values.shape[1] == 1):
            return values
        if isinstance(self._chosen, slice):
            return values[:, self._chosen]
        return values.index_select(1, self._chosen.on(values.device)["columns"])

    def weights(self, seen: TallyInput) -> Tensor | None:
        """Return the weights of the selected columns, ``[N, C]`` or ``[N, 1]``; None for ones."""
        if seen.weights is None:
            return None
        whole = seen.weights.shape[-1] == seen.labels.shape[-1]
        return self.of(seen.weights) if whole else seen.weights


def counts(state: Tensor, places: Tensor, weights: Tensor | None) -> Addition:
    """Return the addition of each weight, or of 1, at its place in the state.

    Args:
        state: flat, or ``[C, S]``, a row for each column, where columns are counted at once.
        places: ``[N, C]``, int64, in the state, or in its row.
        weights: ``[N, C]`` or ``[N, 1]``.
    """
    places = places.T  # column by column: what one adds to stays in the cache
    values = state.new_ones(()) if weights is None else weights.T.to(state.dtype)
    values = values.expand(places.shape)
    if state.dim() == 1:
        return Addition(state, values.flatten(), places.flatten())
    return Addition(state, values, places)


class ScoreCounter(Counter):
    """Scores, by bin and kind of label; the state is flat.

    Args:
        columns: the label columns of each target of the group.
        bins: those of the targets whose scores are counted, by their place.
    """

    name = "scores"

    def __init__(self, columns: Sequence[slice], bins: Mapping[int, ScoreBins]) -> None:
        runs = {i: range(columns[i].start, columns[i].stop) for i in bins}
        each = [column for run in runs.values() for column in run]
        self._histogram = Histogram(
            [(bins[i].thresholds, bins[i].fine) for i, run in runs.items() for _ in run]
        )
        self._columns = Selection(each, columns[-1].stop)
        self.shape = (self._histogram.size,)
        firsts = accumulate((len(run) for run in runs.values()), initial=0)
        self.slots = {
            (ScoreCounts(), i): Slot(self._histogram.starts[first], (len(runs[i]), bins[i].places))
            for i, first in zip(bins, firsts, strict=False)
        }

    def additions(self, state: Tensor, seen: TallyInput) -> list[Addition]:
        """Return what one batch adds, with one scatter for all columns."""
        own, log_odds = self._columns.of, seen.log_odds
        scores = own(seen.predictions)
        odds = torch.logit(scores) if log_odds is None else own(log_odds)
        places = self._histogram.places(scores, odds, own(seen.labels))
        return [counts(self._histogram.view(state), places, self._columns.weights(seen))]


class ColumnCounter(Counter):
    """What the counters share that keep the same of each column: ``[C, *shape]``, flat.

    Args:
        columns: the label columns of each target of the group.
        targets: the places of those that are counted.
        shape: what is kept of each column.
    """

    need: ClassVar[Need]

    def __init__(
        self, columns: Sequence[slice], targets: Iterable[int], shape: tuple[int, ...]
    ) -> None:
        runs = {i: range(columns[i].start, columns[i].stop) for i in targets}
        each = [column for run in runs.values() for column in run]
        self._columns = Selection(each, columns[-1].stop)
        self.shape = (len(each) * prod(shape),)
        firsts = accumulate((len(run) for run in runs.values()), initial=0)
        self.slots = {
            (self.need, i): Slot(first * prod(shape), (len(run), *shape))
            for (i, run), first in zip(runs.items(), firsts, strict=False)
        }


class ResidualCounter(ColumnCounter):
    """Residuals of numbers, by bin: `BINS` of each column."""

    name = "residuals"
    need = ResidualCounts()

    def additions(self, state: Tensor, seen: TallyInput) -> list[Addition]:
        """Return what one batch adds, with one scatter for all columns."""
        own = self._columns.of
        places = bin_residuals(own(seen.predictions), own(seen.labels)).to(torch.int64)
        return [counts(state.view(-1, BINS), places, self._columns.weights(seen))]


class ClassCounter(Counter):
    """What the counters of class ids share: some targets, of one label column each.

    Args:
        columns: the label columns of each target of the group.
        classes: the number of classes of the targets that are counted, by their place.
    """

    need: ClassVar[Need]

    def __init__(self, columns: Sequence[slice], classes: Mapping[int, int]) -> None:
        self._classes = [*classes.values()]
        self._columns = Selection([columns[i].start for i in classes], columns[-1].stop)
        shapes = [self._shape_of(count) for count in self._classes]
        slots = [Slot(0, shape) for shape in shapes]
        *starts, size = accumulate((slot.size for slot in slots), initial=0)
        self.shape = (size,)
        self.slots = {
            (self.need, i): Slot(start, shape)
            for i, start, shape in zip(classes, starts, shapes, strict=True)
        }
        self._constants = Constants(starts=starts, classes=self._classes)

    @abstractmethod
    def _shape_of(self, classes: int) -> tuple[int, ...]:
        """Return what is kept of a target of so many classes."""


class ConfusionCounter(ClassCounter):
    """The confusions of each label with each prediction, ``[K, 1 + K]`` one after the other.

    The first column of each counts the labels for which no class was predicted: -1, where a logit
    is NaN.
    """

    name = "confusion"
    need = Confusions()

    def _shape_of(self, classes: int) -> tuple[int, ...]:
        return classes, 1 + classes

    def additions(self, state: Tensor, seen: TallyInput) -> list[Addition]:
        """Return what one batch adds; its predictions are class ids, or -1 for none."""
        constants = self._constants.on(state.device)
        ids, labels = self._columns.of(seen.predictions), self._columns.of(seen.labels)
        first, width = constants["starts"] + 1, constants["classes"] + 1
        places = torch.addcmul(ids + first, labels, width)
        return [counts(state, places, self._columns.weights(seen))]
