"""The peak of memory that a call takes."""

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
