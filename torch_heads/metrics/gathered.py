"""The states of a metric of torchmetrics' own over all processes.

torchmetrics gathers state by state, and hangs or aborts where a process has seen nothing: its
states have another number, shape or dtype. Here each process first says what it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from torch_heads.metrics.agreement import Agreement

States = list[list[Tensor]]  # of each state of each metric, one tensor or those of a list


def metrics_in(metric: nn.Module) -> list[Metric]:
    """Return a metric and those inside of it."""
    return [one for one in metric.modules() if isinstance(one, Metric)]


@contextmanager
def over_processes(metric: Metric, rows: Tensor, agreement: Agreement) -> Iterator[int]:
    """Let a metric have the states of all processes; yield how many rows these have seen.

    Args:
        metric: whose states are its own again afterwards.
        rows: how many rows this process has seen.
        agreement: reached before.
    """
    parts = metrics_in(metric)
    before = [(one, one.metric_state, one._update_count, one._to_sync) for one in parts]
    group = metric.process_group
    shared = metric._to_sync and metric.distributed_available_fn()
    try:
        counts = [int(rows)]
        if shared:
            agreement.reach(rows.device, group)
            counts = _counts(rows, group)
            if any(counts):
                seen = [rank for rank, count in enumerate(counts) if count]
                _take(parts, [_told(parts, rank, rows.device, group) for rank in seen])
        for one in parts:
            # what was computed may be of other processes, or from before a state was loaded
            one._to_sync, one._update_count = False, max(one._update_count, 1)
            one._computed = None
        yield sum(counts)
    finally:
        for one, states, updates, to_sync in before:
            for name, state in states.items():
                setattr(one, name, state)
            one._update_count, one._to_sync = updates, to_sync
            one._computed = None


def _counts(rows: Tensor, group: Any) -> list[int]:
    """Return how many rows each process has seen."""
    counts = [torch.zeros_like(rows) for _ in range(distributed.get_world_size(group))]
    distributed.all_gather(counts, rows, group=group)
    return [int(count) for count in counts]


def _told(parts: Sequence[Metric], rank: int, device: torch.device, group: Any) -> States:
    """Return the states of one process, which tells them to all."""
    tells = distributed.get_rank(group) == rank
    own: States = []
    if tells:
        for one in parts:
            for name, state in one.metric_state.items():
                whole = [state] if isinstance(state, Tensor) else list(state)
                # how a state is reduced, a metric tells in no public place
                if len(whole) > 1 and one._reductions[name] is dim_zero_cat:
                    whole = [dim_zero_cat(whole)]
                own.append([tensor.detach().to(device).contiguous() for tensor in whole])
    shapes: list[Any] = [[[(tensor.dtype, tensor.shape) for tensor in state] for state in own]]
    distributed.broadcast_object_list(shapes, group=group, group_src=rank)
    if not tells:
        own = [
            [torch.empty(shape, dtype=dtype, device=device) for dtype, shape in state]
            for state in shapes[0]
        ]
    for state in own:
        for tensor in state:
            distributed.broadcast(tensor, group=group, group_src=rank)
    return own


def _take(parts: Sequence[Metric], told: Sequence[States]) -> None:
    """Set the states to those of the processes, reduced as each metric says."""
    each = iter(range(len(told[0])))
    for one in parts:
        for name, default in one._defaults.items():
            place, reduction = next(each), one._reductions[name]
            found = [states[place] for states in told]
            value: Any
            if isinstance(default, Tensor):
                if len(found) == 1:  # what one process alone has seen is as it is
                    setattr(one, name, found[0][0])
                    continue
                value = torch.stack([state[0] for state in found])
            else:
                value = [tensor for state in found for tensor in state]
            reduced = reduction(value) if callable(reduction) and len(value) else value
            setattr(one, name, reduced)
