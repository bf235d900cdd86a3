"""Pictures of many heads of one kind: how their metrics spread, which are best and worst."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from torch_heads.families.family import Counts
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
)
from torch_heads.integrations.report.mean_pictures import bias, number_columns
from torch_heads.integrations.report.ranking import Ranking
from torch_heads.integrations.report.tasks import Task, spread_of

SHARES = (
    "roc_auc",
    "average_precision",
    "auc",
    "auc_precision_recall",
    "accuracy",
    "precision",
    "recall",
    "concordance",
)
MOST_OWN = 6  # strips with an axis each
GOLDEN = (5**0.5 - 1) / 2  # spreads the dots of a strip without a random number


class Strips(NamedTuple):
    """Which metrics are drawn: those of `SHARES`, and what was asked for of all heads.

    Attributes:
        shares: between -1 and 1, on one axis.
        own: of any size, on an axis each.
        left_out: those for which there is no room.
    """

    shares: list[str]
    own: list[str]
    left_out: list[str]


def strips_of(tasks: Sequence[Task]) -> Strips:
    """Return what can be drawn of heads of one kind."""
    shares: list[str] = []
    own: list[str] = []
    asked = dict.fromkeys(key for task in tasks for key in task.asked)
    common = [key for key in asked if all(key in task.metrics for task in tasks)]
    for key in dict.fromkeys([*SHARES, *common]):
        values = spread_of(tasks, key)
        if values:
            alike = (shares or key in SHARES) and max(map(abs, values)) < 1.001  # rounded
            (shares if alike else own).append(key)
    left_out = [*shares[MOST_ROWS:], *own[MOST_OWN:]]
    return Strips(shares[:MOST_ROWS], own[:MOST_OWN], left_out)


def ranking_figure(title: str, ranking: Ranking, strips: Strips) -> Figure:
    """Draw the spread of the metrics on the left, the worst and the best heads on the right."""
    by, ranked, unranked = ranking
    tasks = [*ranked, *unranked]
    numbers = [task for task in tasks if task.form is Counts.NUMBERS and task.counted]
    first = len(strips.shares) or 10 * bool(numbers)  # rows that the upper axes are worth
    heights = [0.3 * first + 0.8] * bool(first) + [0.8] * len(strips.own)  # inches
    shown = [ranked[i] for i in ends(len(ranked))]
    figure = new_figure(title, 11, max(rows_height(len(shown)), sum(heights) + 0.6))
    halves = figure.add_gridspec(1, bool(heights) + bool(ranked))
    if heights:
        left = halves[0].subgridspec(len(heights), 1, height_ratios=heights)
        axes = [figure.add_subplot(left[row]) for row in range(len(heights))]
        for key in reversed(strips.own):
            draw_strips(axes.pop(), tasks, [key])
        if strips.shares:
            draw_strips(axes[0], tasks, strips.shares)
            lowest = min(min(spread_of(tasks, key)) for key in strips.shares)
            axes[0].set_xlim(min(lowest, 0) - 0.02, 1.02)
            frame(axes[0], "One dot per head; line: median", "value of the metric", "")
        elif numbers:
            bias(axes[0], [column for task in numbers for column in number_columns(task)])
    if ranked:
        right = figure.add_subplot(halves[-1])
        values = [task.value(by) for task in shown]
        bars(right, [task.name for task in shown], values, BLUE, len(ranked) - len(shown))
        frame(right, "From the worst to the best", by, "")
        right.grid(visible=False, axis="y")
    return figure


def draw_strips(axes: Axes, tasks: Sequence[Task], keys: Sequence[str]) -> None:
    """Draw a row for each metric: a dot per task of which it says something, and their median."""
    names = []
    for row, key in enumerate(keys):
        values = spread_of(tasks, key)
        names.append(key if len(values) == len(tasks) else f"{key} ({len(values):,} heads)")
        jitter = (np.arange(len(values)) * GOLDEN % 1 - 0.5) * 0.5
        axes.plot(values, row + jitter, "o", color=BLUE, alpha=0.4, markersize=4)
        median = np.median(values)
        axes.plot([median, median], [row - 0.38, row + 0.38], color=BLACK, linewidth=2)
    frame(axes, "", "", "")
    name_rows(axes, names, 0)


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
