"""What memory a call takes, and how the process keeps it."""

import os
from collections.abc import Callable
from itertools import accumulate

import torch
from torch.autograd.profiler import profile

os.environ["KINETO_LOG_LEVEL"] = "99"  # else each profile reports its start and its end


def peak_bytes(call: Callable[[], object], device: torch.device) -> int:
    """Return the most bytes that a call holds at a time, beyond those held before it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(profile_memory=True) as recorded:
        call()
    events = sorted(recorded.kineto_results.events(), key=lambda event: event.start_ns())
    steps = (event.nbytes() for event in events if event.name() == "[memory]")
    return max(accumulate(steps), default=0)


def settle() -> None:
    """Make and free a large block, as a process with a model has done.

    From then on glibc keeps freed memory; before, buffers of some 100 KiB may go back to the system
    with every call, and cost page faults with the next.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)  # glibc learns from blocks of up to 32 MiB
