"""Pictures of many heads of one kind: how their metrics spread, which are best and worst."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from torch_heads.integrations.report.canvas import (
    BLACK,
    BLUE,
    GREEN,
    MOST_ROWS,
    bars,
    ends,
    frame,
    name_rows,
    new_figure,
    rows_height,
    shares_histogram,
    unit,
)
from torch_heads.integrations.report.mean_pictures import bias, number_columns
from torch_heads.integrations.report.tasks import HEADLINES, Task

SHARES = (
    "roc_auc",
    "average_precision",
    "auc",
    "auc_precision_recall",
    "accuracy",
    "precision",
    "recall",
)
GOLDEN = (5**0.5 - 1) / 2  # spreads the dots of a strip without a random number


def worst_first(tasks: Sequence[Task]) -> list[Task]:
    """Return the tasks that can be ranked, by their headline metric."""
    ranked = [task for task in tasks if not np.isnan(task.rank)]
    return sorted(ranked, key=lambda task: task.rank if HEADLINES[task.headline] else -task.rank)


def ranking_figure(title: str, ranked: Sequence[Task]) -> Figure:
    """Draw the spread of the metrics on the left, the worst and the best tasks on the right."""
    shown = [ranked[i] for i in ends(len(ranked))]
    figure = new_figure(title, 11, rows_height(len(shown)))
    left, right = figure.subplots(1, 2)
    keys = [key for key in SHARES if key in ranked[0].metrics]
    if keys:
        strips(left, ranked, keys)
    else:
        bias(left, [column for task in ranked for column in number_columns(task)])
    values = [task.rank for task in shown]
    bars(right, [task.name for task in shown], values, BLUE, len(ranked) - len(shown))
    frame(right, "From the worst to the best", ranked[0].headline, "")
    right.grid(visible=False, axis="y")
    return figure


def strips(axes: Axes, tasks: Sequence[Task], keys: Sequence[str]) -> None:
    """Draw a row for each metric: a dot per task, and a line at the median."""
    for row, key in enumerate(keys):
        values = np.array([task.metrics[key] for task in tasks])
        jitter = (np.arange(len(values)) * GOLDEN % 1 - 0.5) * 0.5
        axes.plot(values, row + jitter, "o", color=BLUE, alpha=0.4, markersize=4)
        median = np.median(values)
        axes.plot([median, median], [row - 0.38, row + 0.38], color=BLACK, linewidth=2)
    frame(axes, "One dot per head; line: median", "value of the metric", "")
    name_rows(axes, keys, 0)
    unit(axes, y=False)


def coverage_figure(title: str, names: Sequence[str], coverage: Sequence[float]) -> Figure:
    """Draw the share of labels that were there, the lowest on top; for many heads, its spread."""
    order = np.argsort(coverage, kind="stable").tolist()
    rows = [order[i] for i in ends(len(order))]
    many = len(order) > MOST_ROWS
    figure = new_figure(title, 11 if many else 8, rows_height(len(rows)))
    axes = figure.subplots(1, 2 if many else 1, squeeze=False)[0]
    values = [coverage[i] for i in rows]
    bars(axes[0], [names[i] for i in rows], values, GREEN, len(order) - len(rows))
    axes[0].set_xlim(0, 1.15)
    title = "From the lowest to the highest" if len(order) > 1 else ""
    frame(axes[0], title, "share of rows with a label", "")
    axes[0].grid(visible=False, axis="y")
    if many:
        shares_histogram(axes[1], coverage, GREEN)
        frame(axes[1], f"All {len(order):,} heads", "share of rows with a label", "heads")
    return figure
