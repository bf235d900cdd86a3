"""Tallies: the sums from which every metric is read.

All that an evaluation needs of a batch is additive, so a tally is one `torchmetrics.Metric` whose
one state adds up: over batches, over processes, over columns. It keeps no examples, and one
update of it serves every reading.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors


class Tally(Metric):
    """A metric whose states are sums in float64: ``sums`` ``[columns, width]``, a row per column.

    Updates are in place, so that they can be compiled, and captured in a CUDA graph. Nothing is
    cached, since such updates leave no trace in Python.
    """

    full_state_update = False
    #: Tensors that move with the states. As buffers they would be exported with predictions.
    fixed: ClassVar[tuple[str, ...]] = ()
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

    def residual_counts(self, columns: slice) -> Tensor | None:
        """Return the counts of residuals of some columns, over all processes; None for none."""
        return None

    def confusion_of(self, column: int) -> Tensor | None:
        """Return the confusions of one column, over all processes; None where none are kept."""
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

        for name in self.fixed:
            value = getattr(self, name)
            device = fn(value.new_empty(0)).device
            setattr(self, name, fn(value) if value.is_meta else value.to(device))
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


class BatchMeanTally(Tally):
    """The sum of one number per update call, for several names, and how many calls gave it."""

    def __init__(self, columns: int) -> None:
        super().__init__(columns, 2)

    def add(self, observed: tuple[Tensor, Tensor | None]) -> None:
        """Add the values ``[columns]`` of one call, and 0 or 1 for whether they count."""
        values, counted = observed
        self.sums[:, 0].add_(values if counted is None else values * counted)
        self.sums[:, 1].add_(1 if counted is None else counted)
