"""Pictures of scores: ROC, precision-recall and calibration curves, and histograms by label."""

from collections.abc import Iterator, Sequence
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.typing import LineStyleType

from torch_heads.functional.curves import ScoreCurves
from torch_heads.functional.scores import (
    NEGATIVE,
    POSITIVE,
    SOFT,
    ScoreBins,
    counts_above,
    roc_auc,
)
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
from torch_heads.integrations.report.tasks import Task
from torch_heads.metrics.sums import Total

HISTOGRAM = 20  # bins
MOST_FAINT = 100  # curves in between
NAMED = 3  # of the best and of the worst, where there are too many columns to name all
SHARE_OF_LABEL = "share of the label's examples (weighted)"
CURVES = (
    ("false_positive_rate", "true_positive_rate"),
    ("true_positive_rate", "precision"),
    ("mean_score", "positive_share"),
)
KINDS = {NEGATIVE: ("labels 0", SKY), POSITIVE: ("labels 1", ORANGE)}


class ScoreColumn(NamedTuple):
    """What is known of the scores of one label column.

    ``counts`` and ``histogram`` are by kind of label and bin; curves are by ascending threshold.
    """

    name: str
    kinds: Sequence[str]
    auc: float
    calibration_error: float
    false_positive_rate: Floats
    true_positive_rate: Floats
    precision: Floats
    mean_score: Floats
    positive_share: Floats
    weight: Floats
    counts: Floats
    edges: Floats
    histogram: Floats

    @property
    def base_rate(self) -> float:
        """The share of positives."""
        return float(self.counts[SOFT:].sum() / self.counts.sum())


def score_columns(task: Task) -> Iterator[ScoreColumn]:
    """Yield what can be drawn of a task: its columns with labels of both kinds."""
    if task.scores is None:
        return
    bins, counts = task.place.bins or ScoreBins(), task.scores
    score_sums = torch.from_numpy(task.totals[:, Total.PREDICTION]).to(counts.device)
    curves = ScoreCurves(counts, bins, score_sums)
    roc, precision = curves.roc(), curves.precision_recall().precision
    calibration, error = curves.calibration(), curves.expected_calibration_error()
    areas = roc_auc(*counts_above(counts))
    edges = bins.edges
    place = torch.tensor((edges[:-1] + edges[1:]) / 2 * HISTOGRAM).long().clamp(max=HISTOGRAM - 1)
    histogram = counts.new_zeros(*counts.shape[:2], HISTOGRAM).index_add(2, place, counts)
    by_kind = counts.sum(-1)
    both = (by_kind[:, NEGATIVE] > 0) & (by_kind[:, SOFT:].sum(-1) > 0)
    kinds = [label for label, _ in KINDS.values()]
    if task.target.label_vocabulary is not None and len(task.columns) == 1:
        kinds = [f"label {shorten(name, 24)}" for name in task.target.label_vocabulary]
    for i in both.nonzero().flatten().tolist():
        yield ScoreColumn(
            name=task.columns[i],
            kinds=kinds,
            auc=float(areas[i]),
            calibration_error=float(error[i]),
            false_positive_rate=roc.false_positive_rate[i].numpy(),
            true_positive_rate=roc.true_positive_rate[i].numpy(),
            precision=precision[i].numpy(),
            mean_score=calibration.mean_score[i].numpy(),
            positive_share=calibration.positive_share[i].numpy(),
            weight=calibration.weight[i].numpy(),
            counts=counts[i].numpy(),
            edges=edges,
            histogram=histogram[i].numpy(),
        )


def curves_figure(title: str, columns: Sequence[ScoreColumn]) -> Figure:
    """Draw the curves of one or more columns, and how their scores spread by label."""
    figure = new_figure(title, 10, 8.6)
    (roc, recall), (calibration, spread) = figure.subplots(2, 2)
    panels = roc, recall, calibration
    ranked = sorted(columns, key=lambda column: column.auc)
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
    diagonal(calibration, "")
    legend(figure, handles)
    frame(roc, f"ROC{about}", "false positive rate", "true positive rate")
    frame(recall, "Precision and recall", "recall (true positive rate)", "precision")
    if any(column.counts[SOFT].any() for column in columns):
        error += " (labels in between as 1)"
    mean = "mean score of a bin (size of the dot: its share of examples)"
    frame(calibration, f"Calibration{error}", mean, "share of positives in the bin")
    for axes in panels:
        unit(axes)
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
        axes.locator_params(nbins=4)
    for axes in grid.flat[len(columns) :]:
        axes.set_axis_off()
    figure.supylabel(SHARE_OF_LABEL, fontsize=9)
    legend(figure, list(handles.values()))
    return figure


def histogram(axes: Axes, column: ScoreColumn) -> list[Artist]:
    """Draw the scores of each kind of label, and return what a legend names."""
    edges = np.linspace(0, 1, HISTOGRAM + 1)
    hard, soft = column.histogram[[NEGATIVE, POSITIVE]], column.histogram[SOFT]
    kinds = [*zip(hard, column.kinds, [SKY, ORANGE], strict=True)]
    if soft.any():
        kinds.append((soft, "labels in between", GREEN))
    drawn: list[Artist] = []
    for counts, label, colour in kinds:
        share = counts / max(counts.sum(), np.finfo(float).tiny)
        drawn.append(
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.35, label=drawable(label))
        )
        axes.stairs(share, edges, color=colour, linewidth=1.2)
    unit(axes, y=False)
    axes.set_ylim(0, None)
    return drawn


def quartiles(axes: Axes, ranked: Sequence[ScoreColumn]) -> list[Artist]:
    """Draw the middle half and the median of each column's scores by label, the worst on top."""
    shown = [ranked[i] for i in ends(len(ranked))]
    left_out = len(ranked) - len(shown)
    places = np.array(row_places(len(shown), left_out))
    drawn: list[Artist] = []
    for (kind, (label, colour)), shift in zip(KINDS.items(), (0.18, -0.18), strict=True):
        by_kind = [
            column.counts[NEGATIVE] if kind == NEGATIVE else column.counts[SOFT:].sum(0)
            for column in shown
        ]
        low, middle, high = (
            np.array(
                [_quantile(c, column.edges, q) for c, column in zip(by_kind, shown, strict=True)]
            )
            for q in (0.25, 0.5, 0.75)
        )
        look: dict[str, Any] = {"color": colour, "label": f"scores of {label}"}
        drawn.append(axes.hlines(places + shift, low, high, linewidth=3, alpha=0.5, **look))
        axes.plot(middle, places + shift, "|", color=colour, markersize=6, markeredgewidth=2)
    frame(axes, "Scores by label: middle half and median", "score", "")
    name_rows(axes, [column.name for column in shown], left_out, most=24)
    unit(axes, y=False)
    return drawn


def points(column: ScoreColumn, x: str, y: str) -> Floats:
    """Return the points of a curve, ``[T, 2]``; of a calibration, only bins that hold anything."""
    line = np.stack([getattr(column, x), getattr(column, y)], axis=1)
    return line[column.weight > 0] if x == "mean_score" else line


def _quantile(counts: Floats, edges: Floats, q: float) -> float:
    above = np.concatenate([[0], counts.cumsum()])
    return float(np.interp(q * above[-1], above, edges))
