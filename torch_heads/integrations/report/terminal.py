"""The report as tables for the terminal."""

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

from torch_heads.heads.base import Head
from torch_heads.integrations.report.canvas import ends, number
from torch_heads.integrations.report.evaluation import evaluation
from torch_heads.integrations.report.ranking import Ranking, ranking_of
from torch_heads.integrations.report.tasks import (
    COVERAGE,
    Task,
    by_kind,
    is_first_process,
    metric_keys,
    spread_of,
)
from torch_heads.metrics.collection import ReadingCollection

ACROSS = 4  # heads side by side
QUARTILES = {"lowest": 0, "25 %": 25, "median": 50, "75 %": 75, "highest": 100}
LISTED = 10  # heads of a ranking


def print_report(
    head: Head,
    metrics: ReadingCollection,
    console: Console | None = None,
    *,
    interval: float | None = None,
) -> None:
    """Print the metrics of an evaluation; of many heads of a kind, their spread and a ranking.

    Under several processes, all of them must call this; the first one prints.

    Args:
        head: the head, or one of the heads inside of a `MultiHead`.
        metrics: what `update_metrics` of the head, or of the `MultiHead`, has filled.
        console: where to; by default the standard output.
        interval: the level at which to tell where metrics lie, such as 0.95; None for not at all.

    Raises:
        TypeError: if these are not a head and metrics of a head.
        ValueError: if the metrics are not of this head, or have not seen a batch.

    >>> from torch_heads import RegressionHead
    >>> head = RegressionHead(name="ink")
    >>> metrics = head.update_metrics(logits=[[2.0], [4.0]], labels=[1, 5])
    >>> print_report(head, metrics)
    ┏━━━━━━━━━━━━━━━━━┳━━━━━━━┓
    ┃ metric          ┃   ink ┃
    ┡━━━━━━━━━━━━━━━━━╇━━━━━━━┩
    │ average_loss    │ 1.000 │
    │ prediction/mean │ 3.000 │
    │ label/mean      │ 3.000 │
    └─────────────────┴───────┘
    """
    tasks, others = evaluation(head, metrics, interval)
    few, many = by_kind(tasks)
    if not is_first_process():
        return
    console = console or Console()
    while few:
        across = fitting(few[:ACROSS], console)
        console.print(side_by_side(few[:across]))
        few = few[across:]
    for kind, alike in many.items():
        console.print(f"[bold]{len(alike):,} × {kind}")
        console.print(spread(alike))
        ranking = ranking_of(alike)
        if ranking.ranked:
            console.print(f"From the worst to the best {ranking.by}")
            console.print(worst_and_best(ranking))
    if others:
        table = _table("metric of several heads", "value")
        for key, value in others.items():
            table.add_row(Text(key), number(value))
        console.print(table)


def fitting(tasks: Sequence[Task], console: Console) -> int:
    """Return how many of the heads fit side by side, at least one."""
    wide = console.options.update(max_width=10**6)
    for count in range(len(tasks), 1, -1):
        if Measurement.get(console, wide, side_by_side(tasks[:count])).maximum <= console.width:
            return count
    return 1


def side_by_side(tasks: Sequence[Task]) -> Table:
    """Return a table with a column for each head."""
    table = _table("metric", *(task.name for task in tasks))
    for key in metric_keys(tasks):
        table.add_row(Text(key), *(task.written(key) for task in tasks))
    return table


def spread(tasks: Sequence[Task]) -> Table:
    """Return a table of how each metric spreads over the heads."""
    table = _table("metric", "heads", *QUARTILES)
    for key in metric_keys(tasks):
        values = spread_of(tasks, key)
        marks = np.percentile(values, [*QUARTILES.values()]) if values else [np.nan] * 5
        table.add_row(Text(key), str(len(values)), *map(number, marks))
    return table


def worst_and_best(ranking: Ranking) -> Table:
    """Return a table of the worst and the best heads."""
    ranked, known = ranking.ranked, metric_keys(ranking.ranked)
    shown = [key for key in dict.fromkeys([ranking.by, "average_loss", COVERAGE]) if key in known]
    table = _table("head", "place", *shown)
    rows = ends(len(ranked), LISTED)
    for row in rows:
        task = ranked[row]
        place = f"{len(ranked) - row:,}"
        gap = len(rows) < len(ranked) and row == LISTED // 2 - 1
        written = (task.written(key) for key in shown)
        table.add_row(Text(task.name), place, *written, end_section=gap)
    return table


def _table(first: str, *names: str) -> Table:
    # a cut number would be a wrong one, while a key can go on in the next line
    columns = (Column(Text(name), justify="right", no_wrap=True) for name in names)
    return Table(Column(first, overflow="fold"), *columns)
