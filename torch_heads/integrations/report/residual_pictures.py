"""Pictures of residuals: how far predictions of numbers are off, and how often."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from torch_heads.functional.residuals import SIDE, Residuals
from torch_heads.integrations.report.canvas import (
    BLACK,
    BLUE,
    COLOURS,
    FAINT,
    STYLES,
    Floats,
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

TAIL = 0.005  # of the residuals, on either side of the histogram
STEPS = 40
RANGES = {0.9: ("middle 90 %", FAINT), 0.5: ("middle 50 %", BLUE)}


def residuals_figure(title: str, names: Sequence[str], residuals: Residuals) -> Figure:
    """Draw how the finite residuals spread, and the share of examples within each error.

    Each column must have some that are finite.
    """
    figure = new_figure(title, 10, 4.8)
    left, right = figure.subplots(1, 2)
    within = finite(residuals)
    if len(names) == 1:
        histogram(left, within)
    else:
        spread(left, names, within)
    left.axvline(0, color=BLACK, linewidth=1, linestyle=":")
    order = np.argsort(residuals.absolute_quantile(0.5).numpy(), kind="stable").tolist()
    shown = [order[i] for i in ends(len(order), len(COLOURS) - 1)]
    for i, colour, style in zip(shown, COLOURS, STYLES, strict=False):
        errors, shares = error_curve(residuals, i)
        middle = float(residuals.absolute_quantile(0.5)[i])
        label = f"{drawable(shorten(names[i], 24))}, median error {number(middle)}"
        right.plot(errors, shares, color=colour, linestyle=style, linewidth=1.6, label=label)
    right.set_xscale("log")
    unit(right, x=False)
    about = f": smallest and largest of {len(order):,} columns" if len(shown) < len(order) else ""
    share = "share with at most that error (weighted)"
    frame(right, f"Error{about}", "absolute error, in units of the label", share)
    legend(figure, right.lines)
    return figure


def finite(residuals: Residuals) -> Residuals:
    """Return the residuals without those that are larger than any bin, or no number."""
    counts = residuals.counts.clone()
    counts[:, [0, -1]] = 0
    return Residuals(counts)


def error_curve(residuals: Residuals, column: int) -> tuple[Floats, Floats]:
    """Return absolute errors, and the share of examples (weighted) with at most each of them."""
    counts, edges = residuals.counts[column].numpy(), residuals.edges.numpy()
    sizes = counts[SIDE + 1 :] + counts[:SIDE][::-1]
    shares = (np.concatenate([counts[SIDE : SIDE + 1], sizes]).cumsum() / counts.sum())[:-1]
    exact, most = shares[[0, -1]]
    first, last = np.searchsorted(shares, exact + (most - exact) * np.array([0.001, 0.999]))
    within = slice(max(first - 1, 0), max(last, 1) + 1)  # from the last edge below all of them
    return edges[SIDE + 1 : -1][within], shares[within]


def histogram(axes: Axes, residuals: Residuals) -> None:
    """Draw the residuals of one column on an even grid."""
    low, high = (float(residuals.quantile(q)) for q in (TAIL, 1 - TAIL))
    grid = np.linspace(low, high, STEPS + 1) if high > low else low + np.linspace(-1, 1, STEPS + 1)
    counts, edges = residuals.counts[0].numpy(), residuals.edges.numpy()
    below = np.concatenate([[0], counts.cumsum()]) / counts.sum()
    shares = np.diff(np.interp(grid, edges[1:-1], below[1:-1]))
    axes.stairs(shares, grid, fill=True, color=BLUE, alpha=0.35)
    axes.stairs(shares, grid, color=BLUE)
    axes.set_ylim(0, None)
    about = f"Residuals: the middle {1 - 2 * TAIL:.0%}"
    frame(axes, about, "prediction - label, in units of the label", "share of examples (weighted)")


def spread(axes: Axes, names: Sequence[str], residuals: Residuals) -> None:
    """Draw the middle of the residuals of each column, and their median."""
    shown = ends(len(names))
    places = row_places(len(shown), len(names) - len(shown))
    for share, (_, colour) in RANGES.items():
        low, high = (residuals.quantile(0.5 + sign * share / 2)[shown] for sign in (-1, 1))
        axes.hlines(places, low, high, color=colour, linewidth=6)
    axes.plot(residuals.quantile(0.5)[shown], places, "|", color=BLACK, markeredgewidth=2)
    about = f"Residuals: {RANGES[0.9][0]}, {RANGES[0.5][0]}, median"
    frame(axes, about, "prediction - label, in units of the label", "")
    name_rows(axes, [names[i] for i in shown], len(names) - len(shown), most=24)
