"""The results as one table, on the terminal and in Markdown."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from rich.table import Table

from benchmarks.timing import Spread

ABOUT = """\
Each row is timed in one process, the contestants in turns: the median, and in brackets the
quartiles of the rounds. A ratio is that of two calls in the same round.

- **by hand**: a loop over the heads, with a loss of `torch.nn.functional`, and for the metrics a
  torchmetrics `MetricCollection` for each (AUROC and average precision at 200 thresholds, accuracy,
  precision, recall) and a `MeanMetric` of losses, predictions and labels.
- **Keras 3**: the same loop, with `keras.losses` and `keras.metrics`, on the torch backend.
- **bound**: one bare fused loss per family; for the metrics, that and one bare histogram of the
  scores (sigmoid, bucket, `scatter_add_` into float64). It checks, weighs and keeps nothing.
- **compiled**: ours under `torch.compile(fullgraph=True)`.
- **peak memory**: the most that a call of ours takes beyond logits, labels and metrics, and its
  ratio to the bound's."""

HEADER = [
    "",
    "ours",
    "by hand / ours",
    "Keras 3 / ours",
    "ours / bound",
    "compiled / ours",
    "peak memory, / bound",
]


class Row(NamedTuple):
    """One task of one workload; None where a contestant does not take part."""

    task: str
    work: str
    labels: str
    seconds: Spread
    by_hand: Spread
    keras: Spread | None
    bound: Spread
    compiled: Spread | None
    peak: int
    peak_of_bound: int

    def cells(self) -> list[str]:
        return [
            ", ".join(filter(None, [self.task, self.work, self.labels])),
            duration(self.seconds),
            times(self.by_hand),
            times(self.keras, "not installed"),
            times(self.bound),
            times(self.compiled),
            f"{self.peak / 2**20:.2f} MiB, {self.peak / self.peak_of_bound:.1f}×",
        ]


def duration(seconds: Spread) -> str:
    unit, factor = ("ms", 1e3) if seconds.median >= 1e-3 else ("us", 1e6)
    return brackets(Spread(*(value * factor for value in seconds)), f" {unit}")


def times(ratio: Spread | None, otherwise: str = "") -> str:
    return otherwise if ratio is None else brackets(ratio, "×")


def brackets(spread: Spread, unit: str) -> str:
    low, median, high = map(digits, spread)
    return f"{median}{unit}" if low == high else f"{median}{unit} ({low} to {high})"


def digits(value: float) -> str:
    """Return a number with two or three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 20 else f"{value:.1f}" if value >= 3 else f"{value:.2f}"


def verdict(reached: bool) -> str:
    return "reached:" if reached else "MISSED:"


def versions() -> str:
    """Return the versions of what takes part."""
    names = ["torch", "torchmetrics", *(["keras"] if find_spec("keras") else [])]
    return ", ".join(f"{name} {version(name)}" for name in names)


def rich_table(rows: Sequence[Row]) -> Table:
    table = Table(*HEADER)
    for row in rows:
        table.add_row(*row.cells())
    return table


def markdown_table(rows: Sequence[Row]) -> str:
    lines = [HEADER, ["---", *["---:"] * (len(HEADER) - 1)], *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine(device: torch.device) -> str:
    """Describe what the timings depend on, but not whose machine it is."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    parts = [
        (models or [platform.processor() or platform.machine()])[0],
        f"{os.cpu_count()} cores",
        f"{torch.get_num_threads()} threads",
    ]
    if device.type == "cuda":
        parts.insert(0, torch.cuda.get_device_name(device))
    return ", ".join(parts)
