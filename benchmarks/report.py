"""The results as one table, on the terminal and in Markdown."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import torch
from rich.table import Column, Table

from benchmarks.timing import Spread

ABOUT = """\
Each row is timed in one process, the contestants in turns: the median, and in brackets the
quartiles of the rounds, which are spread over five passes through the table. A ratio is that of two
calls in the same round. B = 1,024 examples. The process has freed a large block before, as one with
a model has, so that glibc keeps its memory. Figures below the table are of such a process each.

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
    "ours",
    "by hand / ours",
    "Keras 3 / ours",
    "ours / bound",
    "compiled / ours",
    "peak memory",
]


class Cell(NamedTuple):
    """A figure, and in smaller print what belongs to it."""

    main: str = ""
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.main} ({self.detail})" if self.detail else self.main


class Row(NamedTuple):
    """A task with some heads; None where a contestant does not take part."""

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

    @property
    def cells(self) -> list[Cell]:
        return [
            Cell(self.work, self.labels),
            duration(self.seconds),
            times(self.by_hand),
            times(self.keras),
            times(self.bound),
            times(self.compiled),
            Cell(f"{self.peak / 2**20:.2f} MiB", f"{self.peak / self.peak_of_bound:.1f}×"),
        ]


def duration(seconds: Spread) -> Cell:
    unit, factor = ("ms", 1e3) if seconds.median >= 1e-3 else ("us", 1e6)
    return figure(Spread(*(value * factor for value in seconds)), f" {unit}")


def times(ratio: Spread | None) -> Cell:
    return Cell() if ratio is None else figure(ratio, "×")


def figure(spread: Spread, unit: str) -> Cell:
    low, median, high = map(digits, spread)
    return Cell(median + unit, "" if low == high else f"{low} to {high}")


def digits(value: float) -> str:
    """Return a number with two or three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 20 else f"{value:.1f}" if value >= 3 else f"{value:.2f}"


def verdict(reached: bool) -> str:
    return "reached:" if reached else "MISSED:"


def terminal_table(rows: Sequence[Row]) -> Table:
    table = Table(Column(min_width=24), *(Column(name, justify="right") for name in HEADER))
    for task, own in groupby(rows, key=lambda row: row.task):
        table.add_row(f"[bold]{task}")
        for row in own:
            table.add_row(*(f"{main}\n[dim]{detail}" for main, detail in row.cells))
        table.add_section()
    return table


def markdown_table(rows: Sequence[Row]) -> str:
    lines = [["", *HEADER], ["---", *["---:"] * len(HEADER)]]
    for task, own in groupby(rows, key=lambda row: row.task):
        lines.append([f"**{task}**", *[""] * len(HEADER)])
        lines += [list(map(str, row.cells)) for row in own]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def versions() -> str:
    """Return the versions of what takes part."""
    names = [name for name in ("torch", "torchmetrics", "keras") if find_spec(name)]
    return ", ".join(f"{name} {version(name)}" for name in names)


def machine(device: torch.device) -> str:
    """Describe what the timings depend on, but not whose machine it is."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = (models or [platform.processor() or platform.machine()])[0]
    gpu = [torch.cuda.get_device_name(device)] if device.type == "cuda" else []
    return ", ".join([*gpu, cpu, f"{os.cpu_count()} cores", f"{torch.get_num_threads()} threads"])
