"""Timings as ratios of contestants that take turns, so that what slows one slows all."""

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import NamedTuple

import torch

SAMPLE = 0.003  # seconds; short, so that few samples see an interruption
SLOW = 1.0  # seconds; a call that takes longer is not repeated
FEWEST = 5  # samples of each other contestant


class Spread(NamedTuple):
    """The median and the quartiles of samples."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Spread":
        return cls(*torch.tensor(samples).quantile(torch.tensor([0.25, 0.5, 0.75])).tolist())


def ratio(first: Sequence[float], second: Sequence[float]) -> Spread:
    """Return the ratio of samples that were taken in the same rounds."""
    return Spread.of([one / other for one, other in zip(first, second, strict=False)])


def difference(first: Sequence[float], second: Sequence[float]) -> Spread:
    """Return the difference of samples that were taken in the same rounds."""
    return Spread.of([one - other for one, other in zip(first, second, strict=False)])


def take_turns(
    contestants: Mapping[str, Callable[[], object]], device: torch.device, seconds: float = 1.0
) -> dict[str, list[float]]:
    """Return samples of the seconds per call, taken in rounds.

    Args:
        contestants: calls by name.
        device: what they run on.
        seconds: how long to sample each of them; a slow one takes longer, for a few samples.
    """

    def sample(call: Callable[[], object], times: int) -> float:
        synchronize(device)
        start = perf_counter()
        for _ in range(times):
            call()
        synchronize(device)
        return (perf_counter() - start) / times

    samples: dict[str, list[float]] = {name: [] for name in contestants}
    times: dict[str, int] = {}
    for name, call in contestants.items():
        once = sample(call, 1)  # warms up, too
        if once > SLOW:
            samples[name].append(once)
        else:
            times[name] = max(1, int(SAMPLE / min(sample(call, 1) for _ in range(3))))
    spent = dict.fromkeys(times, 0.0)
    while times:
        for name in list(times):
            samples[name].append(sample(contestants[name], times[name]))
            spent[name] += samples[name][-1] * times[name]
            if spent[name] > seconds and len(samples[name]) >= FEWEST:
                del times[name]
    return samples


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
