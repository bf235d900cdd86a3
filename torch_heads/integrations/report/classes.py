"""Pictures of confusions: which class is taken for which."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from torch_heads.integrations.report.canvas import (
    BLUE,
    SMALL,
    VERMILLION,
    Floats,
    bars,
    drawable,
    frame,
    legend,
    name_rows,
    new_figure,
    rows_height,
    shares_histogram,
    shorten,
    unit,
)

MOST_CELLS = 30  # classes whose matrix can be drawn
MOST_WRITTEN = 12  # classes whose cells hold their numbers
TOP = 15  # pairs, and classes


def confusion_figure(title: str, names: Sequence[str], confusion: Floats) -> Figure:
    """Draw the matrix of few classes, with the precision and recall of each."""
    count = len(names)
    side = max(4.5, 0.3 * count + 1.5)
    figure = new_figure(title, side + 5.5, side + 0.5)
    left, right = figure.subplots(1, 2, width_ratios=[side, 4])
    shares = row_shares(confusion)
    colours = matplotlib.colormaps["cividis"].with_extremes(bad="0.85")
    image = left.imshow(shares, cmap=colours, vmin=0, vmax=1)
    unseen = " (grey: no labels)" if np.isnan(shares).any() else ""
    frame(left, f"Confusions{unseen}", "predicted class", "true class")
    left.grid(visible=False)
    short = [drawable(shorten(name, 24)) for name in names]
    turned = 90 if sum(map(len, short)) > 30 else 0
    left.set_xticks(range(count), short, rotation=turned, fontsize=SMALL)
    left.set_yticks(range(count), short, fontsize=SMALL)
    bar = figure.colorbar(image, ax=left, shrink=0.8)
    bar.set_label("share of the true class (weighted)", fontsize=9)
    bar.ax.tick_params(labelsize=SMALL)
    if count <= MOST_WRITTEN:
        for (row, column), share in np.ndenumerate(shares):
            if share > 0:
                ink = "white" if share < 0.5 else "black"
                text = f"{share:.0%}" if share >= 0.01 else "<1%"
                left.text(column, row, text, color=ink, fontsize=7, ha="center", va="center")
    per_class(right, names, confusion)
    right.set_ylim(left.get_ylim())  # so that a class has one height in both
    legend(figure, right.lines)
    return figure


def per_class(axes: Axes, names: Sequence[str], confusion: Floats) -> None:
    """Draw the precision and the recall of each class."""
    correct = confusion.diagonal()
    for axis, (label, marker, colour) in {
        1: ("recall", "o", BLUE),
        0: ("precision", "D", VERMILLION),
    }.items():
        total = confusion.sum(axis)
        values = np.divide(correct, total, out=np.full(len(names), np.nan), where=total > 0)
        axes.plot(values, range(len(names)), marker, color=colour, alpha=0.8, label=label)
    frame(axes, "Each class", "share (weighted)", "")
    name_rows(axes, names, 0)
    axes.grid(visible=True, axis="y")
    unit(axes, y=False)


def pairs_figure(title: str, names: Sequence[str], confusion: Floats) -> Figure:
    """Draw the most confused pairs, the worst classes, and how recall spreads over the classes."""
    pairs = most_confused(confusion, TOP)
    recall, examples = row_shares(confusion).diagonal(), confusion.sum(1)
    seen = np.flatnonzero(examples)
    worst = seen[np.lexsort((-examples[seen], recall[seen]))][:TOP]  # of equals, the larger first
    figure = new_figure(title, 12, rows_height(TOP))
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.2, 1, 1])
    named = [f"{shorten(names[i], 16)} → {shorten(names[j], 16)}" for i, j in pairs]
    times = [float(confusion[pair]) for pair in pairs]
    bars(left, named, times, VERMILLION, written=[f"{value:,.5g}" for value in times])
    most = "Most confused: true → predicted" if pairs else "No class was confused"
    frame(left, most, "examples (weighted)", "")
    named = [f"{shorten(names[i], 20)} ({examples[i]:,.5g})" for i in worst]
    bars(middle, named, recall[worst].tolist(), BLUE)
    middle.set_xlim(0, 1.15)
    title = "Classes with the lowest recall (and examples)"
    frame(middle, title, "recall (share of the class, weighted)", "")
    shares_histogram(right, recall[seen], BLUE)
    frame(right, f"Recall of all {len(seen):,} classes seen", "recall", "classes")
    return figure


def most_confused(confusion: Floats, most: int) -> list[tuple[int, int]]:
    """Return the pairs of a label and another prediction that came most often.

    >>> most_confused(np.array([[9, 2, 0], [0, 9, 3], [0, 0, 9]]), most=5)
    [(1, 2), (0, 1)]
    """
    wrong = confusion * (1 - np.eye(len(confusion)))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    rows, columns = np.unravel_index(order, wrong.shape)
    found = zip(rows.tolist(), columns.tolist(), strict=True)
    return [pair for pair in found if wrong[pair] > 0]


def row_shares(confusion: Floats) -> Floats:
    """Return each row over its sum, NaN where that is 0."""
    total = confusion.sum(1, keepdims=True)
    shares: Floats = np.divide(
        confusion, total, out=np.full_like(confusion, np.nan), where=total > 0
    )
    return shares
