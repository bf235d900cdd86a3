"""Tallies: the sums from which every metric is read.

All that an evaluation needs of a batch is additive, so a tally is one `torchmetrics.Metric` whose
states add up: over batches, over processes, over columns. It keeps no examples, and one update of
it serves every reading. What its states are is up to its counters.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from operator import call, length_hint, setitem
from threading import RLock
from typing import Any, Protocol

import torch
from torch import Tensor, distributed
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from torch_heads.functional.constants import move_constants
from torch_heads.functional.errors import unexpected
from torch_heads.metrics.agreement import Agreement
from torch_heads.metrics.counters.counter import Addition, Counter


class Lock:
    """A lock that a copy, or a pickle, has as a new one of its own."""

    def __init__(self) -> None:
        self._lock = RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[Lock], tuple[()]]:
        """Return what makes a new one."""
        return Lock, ()


class Change(Protocol):
    """What one batch changes of one state, where that is no addition."""

    @property
    def step(self) -> Callable[[], Any]:
        """What does it."""

    def take_back(self) -> None:
        """Undo it."""


class Accumulator(Protocol):
    """What a batch can be added to: a tally, or a metric of torchmetrics' own."""

    @property
    def update_count(self) -> int:
        """How many batches it has seen since the last reset."""

    def prepare(self, device: torch.device) -> None:
        """Move to the device of a batch."""

    def additions(self, taken: Any, /) -> Sequence[Change | Addition]:
        """Return what one batch changes; nothing is changed yet."""


def step(change: Change | Addition) -> Callable[[], Any]:
    """Return what makes a change."""
    if not isinstance(change, Addition):
        return change.step
    state, values, places = change
    if places is None:
        return partial(state.add_, values)
    return partial(state.scatter_add_, -1, places, values)


def take_back(change: Change | Addition) -> None:
    """Undo a change; of an addition, without memory for the opposite values."""
    if not isinstance(change, Addition):
        change.take_back()
        return
    change.state.neg_()
    step(change)()
    change.state.neg_()


def add_batch(batch: Sequence[tuple[Accumulator, Any]], device: torch.device, lock: Lock) -> None:
    """Add one batch to several tallies: to all of them or, whatever raises, to none.

    Args:
        batch: the tallies, and metrics of torchmetrics' own, each with what it takes.
        device: where the batch is; the tallies move there.
        lock: that of the tallies, so that no two threads add to them at once.
    """
    if torch.compiler.is_compiling():
        for tally, taken in batch:
            tally.prepare(device)
            for addition in tally.additions(taken):
                step(addition)()
        return
    with lock:
        for tally, _ in batch:
            tally.prepare(device)
        # all that takes memory, or may not fit together, comes before the first addition
        additions = [one for tally, taken in batch for one in tally.additions(taken)]
        # by the dict, since a step must be one call of C: to set an attribute of a module is none
        counts = [
            partial(setitem, vars(tally), "_update_count", tally.update_count + 1)
            for tally, _ in batch
        ]
        steps: list[Callable[[], Any]] = [*map(step, additions), *counts]
        steps.append(int)  # does nothing: where no step is left, all are done
        left = iter(steps)
        try:
            deque(map(call, left), maxlen=0)  # no signal is handled before all is done
        except BaseException:
            begun = len(steps) - length_hint(left)
            if begun < len(steps):
                # the last one begun is the one that raised; a signal may come before any has begun
                for one in additions[: max(begun - 1, 0)]:
                    take_back(one)
            raise


class Tally(Metric):
    """A metric whose states are sums in float64: one of each counter, ``sums`` among them.

    Updates are in place, so that they can be compiled, and captured in a CUDA graph. Nothing is
    cached, since such updates leave no trace in Python.

    Args:
        counters: what it adds up; the first is named ``sums``.
    """

    full_state_update = False
    sums: Tensor

    def __init__(self, counters: Sequence[Counter]) -> None:
        super().__init__(compute_with_cache=False)
        #: What all processes must have in common; None where that is not asked.
        self.agreement: Agreement | None = None
        self.counters = tuple(counters)
        #: Where its states hold what belongs to a target: a state's name, and a slot.
        self.slots = {
            key: (counter.name, slot) for counter in counters for key, slot in counter.slots.items()
        }
        for counter in counters:
            # float64 counts stay exact up to 2**53; float32 would stop counting at 2**24
            self.add_zeros(counter.name, *counter.shape)

    def add_zeros(self, name: str, *shape: int) -> None:
        """Add a state, which takes no memory before the first update; nor does its default."""
        # where a model is built on the meta device, too: a state there would lose its zeros
        zero = torch.zeros((), dtype=torch.float64, device="cpu")
        self.add_state(name, zero, "sum")
        kept: list[dict[str, Any]] = [self.__dict__, self._defaults]
        for states in kept:
            states[name] = states[name].expand(shape)

    @property
    def update_called(self) -> bool:
        """Whether there was a batch since the last reset."""
        return self._update_count > 0 or bool(self.sums.any())

    def additions(self, observed: Any) -> list[Addition]:
        """Return what one batch adds to the states; nothing is added yet."""
        return [
            addition
            for counter in self.counters
            for addition in counter.additions(getattr(self, counter.name), observed)
        ]

    def update(self, observed: Any) -> None:
        """Add one batch."""
        for addition in self.additions(observed):
            step(addition)()

    def compute(self) -> dict[str, Tensor]:
        """Return the states by name, added over all processes."""
        return {counter.name: getattr(self, counter.name) for counter in self.counters}

    def flat(self) -> dict[str, Tensor]:
        """Return the states by name, added over all processes, each with one axis."""
        return {name: state.flatten() for name, state in self.compute().items()}

    def summed(self, name: str) -> Tensor:
        """Return a copy of one state, added over all processes."""
        with self.sync_context(should_sync=self._to_sync, should_unsync=self._should_unsync):
            state: Tensor = getattr(self, name)
            return state.clone()

    def take(self, other: Tally) -> None:
        """Go on with what another tally, of the same counters, has summed; it has no use then."""
        for name in self._defaults:
            setattr(self, name, getattr(other, name))
        self._update_count, self._persistent = other.update_count, other._persistent

    def prepare(self, device: torch.device) -> None:
        """Move to the device of a batch, to memory of its own, and out of a past inference mode."""
        thaw = not (torch.compiler.is_compiling() or torch.is_inference_mode_enabled())
        ready = True
        for name in self._defaults:
            state = getattr(self, name)
            if state.device != device:
                self.to(device)
                state = getattr(self, name)
            ready = ready and state.is_contiguous() and not (thaw and state.is_inference())
        if not ready:
            self.allocate()

    def allocate(self) -> None:
        """Give the states memory of their own."""
        for name in self._defaults:
            setattr(self, name, getattr(self, name).clone(memory_format=torch.contiguous_format))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in self._defaults:  # or what is loaded would be counted in, where it stands
            if prefix + name in state_dict:
                state_dict[prefix + name] = state_dict[prefix + name].clone()
        super()._load_from_state_dict(state_dict, prefix, *args)

    def persistent(self, mode: bool = False) -> None:
        """Set whether the states stand in a ``state_dict``: then they are there to be loaded."""
        super().persistent(mode)
        if mode:
            self.allocate()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out states that are 0, so that a copy or a pickle has no memory for them."""
        kept = super().__getstate__()
        if self.update_called or self._is_synced:
            return kept
        return {**kept, **{name: _one_zero(getattr(self, name)) for name in self._defaults}}

    def reset(self) -> None:
        """Set the states to 0, in place."""
        if self._is_synced:
            self.unsync()
        self._update_count, self._cache = 0, None
        for name in self._defaults:
            state = getattr(self, name)
            if not state.is_contiguous():
                continue
            if torch.is_inference_mode_enabled() or not state.is_inference():
                state.zero_()
            else:
                setattr(self, name, torch.zeros_like(state))

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Add up the states of all processes, until `unsync` gives back these very tensors."""
        states = {name: getattr(self, name) for name in self._defaults}
        super().sync(*args, **kwargs)
        if self._is_synced:
            self._cache = states

    def set_dtype(self, dst_type: str | torch.dtype) -> Tally:
        """Cast the states, and nothing else: what cuts the scores stays exact.

        Raises:
            ValueError: if that is no floating type: weights need not be whole.
        """
        dtype = torch.empty(0).type(dst_type).dtype
        if not dtype.is_floating_point:
            raise ValueError(unexpected(type(self).__name__, "dtype", "to be floating", dtype))
        kept: list[dict[str, Any]] = [self.__dict__, self._defaults]
        for states in kept:
            states |= {
                name: on_memory(states[name], lambda one: one.to(dtype)) for name in self._defaults
            }
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Any:
        # `module.to(torch.bfloat16)` reaches metric states too, and would round counts past 256
        # and `module.to_empty` leaves nothing of them; from the meta device they come back as 0
        move = keeping_dtype(fn)
        # here, or the first batch would wait for them
        move_constants([*self.counters], fn(torch.empty(0, device="cpu")).device)
        return super()._apply(lambda state: on_memory(state, move), exclude_state)

    def _sync_dist(
        self, dist_sync_fn: Callable[..., Any] = gather_all_tensors, process_group: Any = None
    ) -> None:
        if dist_sync_fn is not gather_all_tensors:
            super()._sync_dist(dist_sync_fn, process_group)
            return
        group = process_group or self.process_group
        if self.agreement is not None:
            self.agreement.reach(self.sums.device, group)
        # one all-reduce for all states, where torchmetrics gathers every rank's copy of each
        states = [getattr(self, name) for name in self._defaults]
        joined = torch.cat([state.flatten() for state in states])
        distributed.all_reduce(joined, group=group)
        parts = torch.split(joined, [state.numel() for state in states])
        for name, state, part in zip(self._defaults, states, parts, strict=True):
            setattr(self, name, part.view(state.shape))


def _one_zero(like: Tensor) -> Tensor:
    return like.new_zeros(()).expand(like.shape)


def keeping_dtype(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a function that moves a tensor as another one does, and casts none.

    What comes from the meta device is 0.
    """

    def move(state: Tensor) -> Tensor:
        device = fn(state.new_empty(0)).device
        if state.is_meta and device.type != "meta":
            return torch.zeros_like(state, device=device)
        return state.to(device)

    return move


def on_memory(state: Tensor, fn: Callable[[Tensor], Tensor]) -> Tensor:
    """Return a function of a state; of the one number of a state that has no other memory."""
    if state.is_contiguous():
        return fn(state)
    return fn(state[(0,) * state.dim()].clone()).expand(state.shape)
