"""Pictures of the means of a regression's labels and predictions, and its RMSE."""

from collections.abc import Sequence
from math import nan, sqrt
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from torch_heads.families.normal import Normal
from torch_heads.integrations.report.canvas import (
    BLACK,
    BLUE,
    FAINT,
    VERMILLION,
    diagonal,
    ends,
    frame,
    legend,
    name_rows,
    new_figure,
    row_places,
    rows_height,
)
from torch_heads.integrations.report.tasks import Task
from torch_heads.metrics.sums import Total


class NumberColumn(NamedTuple):
    """The weighted means of one label column, and the root mean squared error where known."""

    name: str
    label: float
    prediction: float
    error: float


def number_columns(task: Task) -> list[NumberColumn]:
    """Return the columns of a regression that have any label."""
    plain = task.target.fuses and task.target.family == Normal()
    columns = []
    for name, row in zip(task.columns, task.totals, strict=True):
        weight = row[Total.WEIGHT]
        if weight > 0:
            label, prediction = row[Total.LABEL] / weight, row[Total.PREDICTION] / weight
            error = sqrt(row[Total.LOSS] / row[Total.LOSS_WEIGHT]) if plain else nan
            columns.append(NumberColumn(name, label, prediction, error))
    return columns


def means_figure(title: str, columns: Sequence[NumberColumn]) -> Figure:
    """Draw the mean label and the mean prediction of each column."""
    biases = [abs(column.prediction - column.label) for column in columns]
    order = np.argsort(np.negative(biases), kind="stable")  # NaN comes last
    shown = [columns[order[i]] for i in ends(len(order))]
    left_out = len(order) - len(shown)
    figure = new_figure(title, 8, rows_height(len(shown)))
    axes = figure.subplots()
    rows = row_places(len(shown), left_out)
    label, prediction, error = np.array([column[1:] for column in shown]).T
    if np.isnan(error).all():
        axes.axvline(0, color=FAINT, zorder=1)  # what the difference of the means is small against
    else:
        axes.hlines(rows, label - error, label + error, color=FAINT, linewidth=8, label="± RMSE")
    axes.plot(label, rows, "o", color=BLACK, markersize=8, fillstyle="none", label="mean label")
    axes.plot(prediction, rows, "D", color=VERMILLION, markersize=5, label="mean prediction")
    ranked = ", the most biased on top" if len(columns) > 1 else ""
    frame(axes, f"Means (weighted){ranked}", "in units of the label", "")
    name_rows(axes, [column.name for column in shown], left_out)
    legend(figure, axes.get_legend_handles_labels()[0])
    return figure


def bias(axes: Axes, columns: Sequence[NumberColumn]) -> None:
    """Draw the mean prediction of many columns against their mean label."""
    labels, predictions = np.array([column[1:3] for column in columns]).T
    diagonal(axes, "unbiased")
    axes.plot(labels, predictions, "o", color=BLUE, alpha=0.5)
    frame(axes, "One dot per column; dotted: no bias", "mean label", "mean prediction")
