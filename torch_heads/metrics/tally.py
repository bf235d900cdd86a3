"""Tallies: the sums from which every metric is read.

All that an evaluation needs of a batch is additive, so a tally is one `torchmetrics.Metric` whose
one state adds up: over batches, over processes, over columns. It keeps no examples, and one
update of it serves every reading.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import inf
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from torch_heads.functional.residuals import BINS
from torch_heads.functional.scores import ScoreBins
from torch_heads.metrics.sums import Observed, Total, add_residuals, add_scores, add_totals

MOST_CONFUSIONS = 2**22  # entries of all confusion matrices of a tally: 32 MiB


class Tally(Metric):
    """A metric whose states are sums in float64: ``sums`` ``[columns, width]``, a row per column.

    Updates are in place, so that they can be compiled, and captured in a CUDA graph. Nothing is
    cached, since such updates leave no trace in Python.
    """

    full_state_update = False
    sums: Tensor

    def __init__(self, columns: int, width: int) -> None:
        super().__init__(compute_with_cache=False)
        # float64 counts stay exact up to 2**53; float32 would stop counting at 2**24
        self.add_state("sums", torch.zeros(columns, width, dtype=torch.float64), "sum")

    @property
    def update_called(self) -> bool:
        """Whether there was a batch since the last reset."""
        return self._update_count > 0 or bool(self.sums.any())

    def add(self, observed: Any) -> None:
        """Add one batch in place; `update`, without torchmetrics' bookkeeping."""
        raise NotImplementedError

    def update(self, observed: Any) -> None:
        """Add one batch."""
        self.add(observed)

    def compute(self) -> Tensor:
        """Return the sums, added over all processes."""
        return self.sums

    def part(self, name: str, rows: slice) -> Tensor:
        """Return a copy of some rows of a state, added over all processes."""
        with self.sync_context(should_sync=self._to_sync, should_unsync=self._should_unsync):
            state: Tensor = getattr(self, name)
            return state[rows].clone()

    def counts(self, columns: slice) -> Tensor | None:
        """Return the counts of residuals of some columns, over all processes; None for none."""
        return None

    def prepare(self, device: torch.device) -> None:
        """Move to the device of a batch, and out of an inference mode that has ended."""
        if self.sums.device != device:
            self.to(device)
        if torch.compiler.is_compiling():
            return
        self.__dict__["_update_count"] += 1  # not by setattr, which is slow for modules
        if self.sums.is_inference() and not torch.is_inference_mode_enabled():
            for name in self._defaults:
                setattr(self, name, getattr(self, name).clone())

    def reset(self) -> None:
        """Set the states to 0, in place."""
        if self._is_synced:
            self.unsync()
        states = {name: getattr(self, name) for name in self._defaults}
        super().reset()
        for name, state in states.items():
            if torch.is_inference_mode_enabled() or not state.is_inference():
                setattr(self, name, state.zero_())

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Add up the states of all processes, until `unsync` gives back these very tensors."""
        states = {name: getattr(self, name) for name in self._defaults}
        super().sync(*args, **kwargs)
        if self._is_synced:
            self._cache = states

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Any:
        # `module.to(torch.bfloat16)` reaches metric states too, and would round counts past 256
        def keep_dtype(state: Tensor) -> Tensor:
            probe = fn(state.new_empty(0))
            same = probe.dtype == state.dtype or self._dtype_convert
            return fn(state) if same else state.to(probe.device)

        return super()._apply(keep_dtype, exclude_state)

    def _sync_dist(
        self, dist_sync_fn: Callable[..., Any] = gather_all_tensors, process_group: Any = None
    ) -> None:
        if dist_sync_fn is not gather_all_tensors:
            super()._sync_dist(dist_sync_fn, process_group)
            return
        # one all-reduce for all states, where torchmetrics gathers every rank's copy of each
        states = [getattr(self, name) for name in self._defaults]
        joined = torch.cat([state.flatten() for state in states])
        torch.distributed.all_reduce(joined, group=process_group or self.process_group)
        parts = torch.split(joined, [state.numel() for state in states])
        for name, state, part in zip(self._defaults, states, parts, strict=True):
            setattr(self, name, part.view(state.shape))


class NumberTally(Tally):
    """The weighted sums of losses, predictions and labels, and the residuals counted by bin.

    ``residuals`` is ``[columns, bins]``.
    """

    residuals: Tensor

    def __init__(self, columns: int) -> None:
        super().__init__(columns, Total.ALL)
        self.add_state("residuals", torch.zeros(columns, BINS, dtype=torch.float64), "sum")

    def add(self, observed: Observed) -> None:
        """Add one batch in place, with one scatter for all columns."""
        add_totals(self.sums, observed)
        add_residuals(self.residuals, observed)

    def counts(self, columns: slice) -> Tensor:
        """Return the counts of residuals of some columns, over all processes."""
        return self.part("residuals", columns)


class ScoreTally(Tally):
    """The weighted sums, and the scores counted by bin and kind of label.

    Columns without bins are of numbers: their ``residuals`` ``[numbers, bins]`` are counted, too.

    Args:
        columns: the bins of each column, or None.
    """

    residuals: Tensor
    thresholds: Tensor
    numbers: Tensor

    def __init__(self, columns: Sequence[ScoreBins | None]) -> None:
        bins = [own or ScoreBins() for own in columns]
        size = max(column.size for column in bins)
        width = Total.ALL + 3 * size
        super().__init__(len(bins), width)
        self.size = size
        most = max(len(column.thresholds) for column in bins)
        padded = [[*column.thresholds, *[inf] * (most - len(column.thresholds))] for column in bins]
        thresholds = torch.tensor(padded, dtype=torch.float32).view(len(bins), most)
        self.register_buffer("thresholds", thresholds.T.contiguous(), persistent=False)
        self._numbers = [i for i, own in enumerate(columns) if own is None]
        numbers = torch.tensor(self._numbers, dtype=torch.int64)
        self.register_buffer("numbers", numbers, persistent=False)
        if self._numbers:
            zeros = torch.zeros(len(self._numbers), BINS, dtype=torch.float64)
            self.add_state("residuals", zeros, "sum")

    def add(self, observed: Observed) -> None:
        """Add one batch in place, with one scatter for all columns."""
        add_scores(self.sums, observed, self.thresholds, self.size)
        if self._numbers:
            add_residuals(self.residuals, observed.columns(self.numbers))

    def counts(self, columns: slice) -> Tensor | None:
        """Return the counts of residuals of some columns, over all processes; None of classes."""
        if columns.start not in self._numbers:
            return None
        first = self._numbers.index(columns.start)
        return self.part("residuals", slice(first, first + columns.stop - columns.start))


class ClassTally(Tally):
    """The sums of class ids, and the confusions of each label with each prediction.

    ``confusion`` holds the ``[K, K]`` matrices of the heads one after the other, the smallest ones
    if all would have more than `MOST_CONFUSIONS` entries.

    Args:
        widths: the number of classes of each column.
    """

    confusion: Tensor
    starts: Tensor
    widths: Tensor
    kept: Tensor | None

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__(len(widths), Total.ALL)
        #: The number of classes of each column.
        self.classes = list(widths)
        ascending = sorted(range(len(widths)), key=widths.__getitem__)
        ends = list(accumulate(widths[column] ** 2 for column in ascending))
        kept = sorted(ascending[: bisect_right(ends, MOST_CONFUSIONS)])
        *starts, size = accumulate((widths[column] ** 2 for column in kept), initial=0)
        self._starts = dict(zip(kept, starts, strict=True))
        self.add_state("confusion", torch.zeros(size, dtype=torch.float64), "sum")
        own = {"starts": starts, "widths": [widths[column] for column in kept], "kept": kept}
        for name, values in own.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.int64), persistent=False)
        if len(kept) == len(widths):
            self.kept = None

    def keeps(self, column: int) -> bool:
        """Return whether the confusions of a column are kept."""
        return column in self._starts

    def matrix(self, column: int) -> Tensor:
        """Return the confusions of one column, ``[labels, predictions]``, over all processes.

        Raises:
            ValueError: if there are too many to be kept.
        """
        width = self.classes[column]
        if not self.keeps(column):
            raise ValueError(
                f"Confusions are kept up to {MOST_CONFUSIONS} entries in all, the smallest "
                f"matrices first; here are {width**2}."
            )
        start = self._starts[column]
        return self.part("confusion", slice(start, start + width**2)).view(width, width)

    def add(self, observed: Observed) -> None:
        """Add one batch in place; its predictions are class ids."""
        ids, labels, weights = observed.predictions, observed.labels, observed.weights
        correct = (ids == labels).to(observed.loss_sums.dtype)
        add_totals(self.sums, observed._replace(predictions=correct))
        if not self._starts:
            return
        ones = self.sums.new_ones(()) if weights is None else weights.double()
        ones = ones.expand(ids.shape)
        if self.kept is not None:
            ids, labels, ones = (one.index_select(1, self.kept) for one in (ids, labels, ones))
        place = torch.addcmul(ids + self.starts, labels, self.widths)
        self.confusion.scatter_add_(0, place.flatten(), ones.flatten())


class CallTally(Tally):
    """The sum of one number per update call, for several names, and how many calls gave it."""

    def __init__(self, columns: int) -> None:
        super().__init__(columns, 2)

    def add(self, observed: tuple[Tensor, Tensor | None]) -> None:
        """Add the values ``[columns]`` of one call, and 0 or 1 for whether they count."""
        values, counted = observed
        self.sums[:, 0].add_(values if counted is None else values * counted)
        self.sums[:, 1].add_(1 if counted is None else counted)
