"""Timings as ratios of contestants that take turns, so that what slows one slows all."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import NamedTuple

import torch

Call = Callable[[], object]

Turns = Mapping[str, Sequence[float]]  # samples of the seconds per call, by name, one per round

SAMPLE = 0.01  # seconds


class Spread(NamedTuple):
    """The median of samples, between their quartiles."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Spread":
        quantiles = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
        return cls(*torch.tensor(samples, dtype=torch.float64).quantile(quantiles).tolist())


def ratio(turns: Sequence[Turns], first: str, second: str) -> Spread:
    """Return the ratio of samples of the same rounds."""
    return Spread.of([one / other for one, other in pairs(turns, first, second)])


def difference(turns: Sequence[Turns], first: str, second: str) -> Spread:
    """Return the difference of samples of the same rounds."""
    return Spread.of([one - other for one, other in pairs(turns, first, second)])


def pairs(turns: Sequence[Turns], first: str, second: str) -> Iterator[tuple[float, float]]:
    for samples in turns:
        yield from zip(samples[first], samples[second], strict=False)


def take_turns(calls: Mapping[str, Call], device: torch.device, seconds: float = 0.3) -> Turns:
    """Return samples of each call, of which a fast one has more.

    Args:
        calls: what to time.
        device: what it runs on.
        seconds: how long each is sampled.
    """
    samples: dict[str, list[float]] = {name: [] for name in calls}
    times: dict[str, int] = {}
    for name, call in calls.items():
        once = sample(call, 1, device)  # the first call compiles and allocates
        if once < seconds:
            once = min(once, *(sample(call, 1, device) for _ in range(3)))
        times[name] = max(1, int(SAMPLE / once))
    spent = dict.fromkeys(times, 0.0)
    while times:
        for name in list(times):
            samples[name].append(sample(calls[name], times[name], device))
            spent[name] += samples[name][-1] * times[name]
            if spent[name] > seconds:
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
