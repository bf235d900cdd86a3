"""Pictures of scores: ROC, precision-recall and calibration curves, and histograms by label."""

from collections.abc import Iterator, Sequence
from math import ceil
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.typing import LineStyleType

from torch_heads.functional.scores import NEGATIVE, POSITIVE, SOFT
from torch_heads.integrations.report.canvas import (
    BLUE,
    COLOURS,
    FAINT,
    GREEN,
    GREY,
    ORANGE,
    SKY,
    STYLES,
    VERMILLION,
    Floats,
    diagonal,
    drawable,
    ends,
    frame,
    legend,
    name_rows,
    new_figure,
    number,
    row_places,
    shorten,
    unit,
)
from torch_heads.integrations.report.score_axis import ScoreAxis
from torch_heads.integrations.report.score_columns import KIND_NAMES, ScoreColumn

HISTOGRAM = 20  # bins
MOST_FAINT = 100  # curves in between
NAMED = 3  # of the best and of the worst, where there are too many columns to name all
SHARE_OF_LABEL = "share of the label's examples (weighted)"
CURVES = (
    ("false_positive_rate", "true_positive_rate"),
    ("true_positive_rate", "precision"),
    ("mean_score", "positive_share"),
)
KIND_COLOURS = SKY, ORANGE


def curves_figure(title: str, columns: Sequence[ScoreColumn]) -> Figure:
    """Draw the curves of one or more columns, and how their scores spread by label."""
    figure = new_figure(title, 10, 8.6)
    (roc, recall), (calibration, spread) = figure.subplots(2, 2)
    panels = roc, recall, calibration
    axis = calibration_axis(columns)
    ranked = sorted((within(column, axis) for column in columns), key=lambda column: column.auc)
    about = error = ""
    if len(ranked) == 1:
        (column,) = ranked
        curves(panels, column, BLUE, "-")
        recall.axhline(column.base_rate, color=GREY, linewidth=1, linestyle=":", zorder=1)
        handles = histogram(spread, column)
        frame(spread, "Scores by label", "score", SHARE_OF_LABEL)
        about = f": area {number(column.auc)}"
        error = f": expected error {number(column.calibration_error)}"
    elif len(ranked) <= len(COLOURS):
        looks = zip(ranked, COLOURS, STYLES, strict=False)
        handles = [*(curves(panels, *look) for look in looks), *quartiles(spread, ranked)]
    else:
        others = ranked[NAMED:-NAMED]
        others = others[:: ceil(len(others) / MOST_FAINT)]
        handles = [*best_and_worst(panels, ranked, others), *quartiles(spread, ranked)]
        about = f"; grey: {len(others):,} in between, evenly by rank"
    handles.append(diagonal(roc, "chance; perfect calibration"))
    diagonal(calibration, "", *axis)
    legend(figure, handles)
    frame(roc, f"ROC{about}", "false positive rate", "true positive rate")
    frame(recall, "Precision and recall", "recall (true positive rate)", "precision")
    if any(column.counts[SOFT].any() for column in columns):
        error += " (labels in between as 1)"
    mean = "mean score of a bin (size of the dot: its share of examples)"
    share = "share of positives in the bin" + " (at an end: 0, or 1)" * axis.by_logit
    frame(calibration, f"Calibration{error}", mean, share)
    unit(roc)
    unit(recall)
    axis.put_on(calibration)
    return figure


def curves(
    panels: Sequence[Axes], column: ScoreColumn, colour: str, style: LineStyleType, side: str = ""
) -> Artist:
    """Draw the ROC, precision-recall and calibration curves of one column."""
    name = drawable(shorten(column.name, 24))
    look: dict[str, Any] = {"color": colour, "linestyle": style, "linewidth": 1.6}
    look["label"] = f"{side}{name}, AUC {number(column.auc)}"
    for axes, (x, y) in zip(panels, CURVES, strict=True):
        line = points(column, x, y).T
        drawn = axes.plot(*line, **look)
    share = column.weight / column.weight.sum()
    panels[-1].scatter(line[0], line[1], s=12 + 200 * share[share > 0], color=colour, clip_on=False)
    return drawn[0]


def best_and_worst(
    panels: Sequence[Axes], ranked: Sequence[ScoreColumn], others: Sequence[ScoreColumn]
) -> Iterator[Artist]:
    """Draw the worst and the best columns, and faintly some others."""
    for axes, (x, y) in zip(panels, CURVES, strict=True):
        lines = [points(column, x, y) for column in others]
        axes.add_collection(LineCollection(lines, colors=FAINT, linewidths=0.5))
    for side, colour, named in [
        ("worst", VERMILLION, ranked[:NAMED]),
        ("best", BLUE, ranked[-NAMED:]),
    ]:
        for column, style in zip(named, STYLES, strict=False):
            yield curves(panels, column, colour, style, f"{side}: ")


def histograms_figure(title: str, columns: Sequence[ScoreColumn]) -> Figure:
    """Draw the histogram of each of several columns, in small."""
    across = min(4, len(columns))
    down = ceil(len(columns) / across)
    figure = new_figure(title, 10, 1.2 + 2.4 * down)
    grid = figure.subplots(down, across, squeeze=False)
    handles: dict[object, Artist] = {}
    for i, (axes, column) in enumerate(zip(grid.flat, columns, strict=False)):
        handles |= {handle.get_label(): handle for handle in histogram(axes, column)}
        lowest = i + across >= len(columns)
        frame(axes, drawable(shorten(column.name, 24)), "score" if lowest else "", "")
        axes.locator_params("y", nbins=4)
        column.axis.mark(axes.xaxis, most=4)
    for axes in grid.flat[len(columns) :]:
        axes.set_axis_off()
    figure.supylabel(SHARE_OF_LABEL, fontsize=9)
    legend(figure, list(handles.values()))
    return figure


def histogram(axes: Axes, column: ScoreColumn) -> list[Artist]:
    """Draw the scores of each kind of label, and return what a legend names."""
    edges = column.axis.grid(HISTOGRAM)
    weights = column.histogram(edges)
    hard, soft = weights[[NEGATIVE, POSITIVE]], weights[SOFT]
    kinds = [*zip(hard, column.kinds, KIND_COLOURS, strict=True)]
    if soft.any():
        kinds.append((soft, "labels in between", GREEN))
    drawn: list[Artist] = []
    for counts, label, colour in kinds:
        share = counts / max(counts.sum(), np.finfo(float).tiny)
        drawn.append(
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.35, label=drawable(label))
        )
        axes.stairs(share, edges, color=colour, linewidth=1.2)
    column.axis.put_on(axes, y=False)
    axes.set_ylim(0, None)
    return drawn


def quartiles(axes: Axes, ranked: Sequence[ScoreColumn]) -> list[Artist]:
    """Draw the middle half and the median of each column's scores by label, the worst on top."""
    shown = [ranked[i] for i in ends(len(ranked))]
    left_out = len(ranked) - len(shown)
    places = np.array(row_places(len(shown), left_out))
    drawn: list[Artist] = []
    quarters = np.array(
        [
            [[column.quantile(kind, q) for q in (0.25, 0.5, 0.75)] for kind in column.by_label]
            for column in shown
        ]
    )
    axis = ScoreAxis()
    if any(column.narrow for column in ranked):
        axis = ScoreAxis.around(quarters.flat)
    for kind, (label, colour, shift) in enumerate(
        zip(KIND_NAMES, KIND_COLOURS, (0.18, -0.18), strict=True)
    ):
        low, middle, high = quarters[:, kind].clip(axis.low, axis.high).T
        look: dict[str, Any] = {"color": colour, "label": f"scores of {label}"}
        drawn.append(axes.hlines(places + shift, low, high, linewidth=3, alpha=0.5, **look))
        axes.plot(middle, places + shift, "|", color=colour, markersize=6, markeredgewidth=2)
    frame(axes, "Scores by label: middle half and median", "score", "")
    name_rows(axes, [column.name for column in shown], left_out, most=24)
    axis.put_on(axes, y=False)
    return drawn


def calibration_axis(columns: Sequence[ScoreColumn]) -> ScoreAxis:
    """Return the axis of the scores, and of the shares of positives other than 0 and 1."""
    if not any(column.narrow for column in columns):
        return ScoreAxis()
    scores, shares = np.concatenate([points(column, *CURVES[-1]) for column in columns]).T
    return ScoreAxis.around([*scores, *shares[(shares > 0) & (shares < 1)]])


def within(column: ScoreColumn, axis: ScoreAxis) -> ScoreColumn:
    """Return a column whose calibration lies on an axis, at its end where it is beyond that."""
    mean_score, positive_share = column.mean_score.clip(*axis), column.positive_share.clip(*axis)
    return column._replace(mean_score=mean_score, positive_share=positive_share)


def points(column: ScoreColumn, x: str, y: str) -> Floats:
    """Return the points of a curve, ``[T, 2]``; of a calibration, only bins that hold anything."""
    line = np.stack([getattr(column, x), getattr(column, y)], axis=1)
    return line[column.weight > 0] if x == "mean_score" else line
