"""Timings as ratios of contestants that take turns, so that what slows one slows all."""

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import NamedTuple

import torch

Call = Callable[[], object]

SAMPLE = 0.01  # seconds
SLOW = 3.0  # seconds; a call that takes longer is timed once
FEWEST = 5  # samples of every other call


class Spread(NamedTuple):
    """The median of samples, between their quartiles."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Spread":
        quantiles = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
        return cls(*torch.tensor(samples, dtype=torch.float64).quantile(quantiles).tolist())


def ratio(first: Sequence[float], second: Sequence[float]) -> Spread:
    """Return the ratio of samples of the same rounds."""
    return Spread.of([one / other for one, other in zip(first, second, strict=False)])


def difference(first: Sequence[float], second: Sequence[float]) -> Spread:
    """Return the difference of samples of the same rounds."""
    return Spread.of([one - other for one, other in zip(first, second, strict=False)])


def take_turns(
    calls: Mapping[str, Call], device: torch.device, seconds: float = 1.0
) -> dict[str, list[float]]:
    """Return samples of the seconds per call, by name, one per round.

    Args:
        calls: what to time.
        device: what it runs on.
        seconds: how long each is sampled; a slow one longer, for the `FEWEST` samples.
    """
    samples: dict[str, list[float]] = {name: [] for name in calls}
    times: dict[str, int] = {}
    for name, call in calls.items():
        call()  # the first call compiles and allocates
        once = sample(call, 1, device)
        if once > SLOW:
            samples[name].append(once)
        else:
            once = min(once, *(sample(call, 1, device) for _ in range(3)))
            times[name] = max(1, int(SAMPLE / once))
    spent = dict.fromkeys(times, 0.0)
    while times:
        for name in list(times):
            samples[name].append(sample(calls[name], times[name], device))
            spent[name] += samples[name][-1] * times[name]
            if spent[name] > seconds and len(samples[name]) >= FEWEST:
                del times[name]
    return samples


def sample(call: Call, times: int, device: torch.device) -> float:
    """Return the seconds that a call takes, as the mean of several."""
    synchronize(device)
    start = perf_counter()
    for _ in range(times):
        call()
    synchronize(device)
    return (perf_counter() - start) / times


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
