"""The canvas of every picture: colours, frames, and text that can be drawn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import LineStyleType
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Okabe and Ito (2008), for all kinds of colour vision; without the yellow, which is faint on white.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK = COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#000000",
)
STYLES: tuple[LineStyleType, ...] = (
    "-",
    "--",
    "-.",
    (0, (1, 1)),
    (0, (5, 1)),
    (0, (3, 1, 1, 1)),
    (0, (6, 2)),
)
GREY, FAINT = "0.45", "0.8"
SMALL = 8  # points
MOST_ROWS = 20  # of bars


def new_figure(title: str, width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, outside of pyplot."""
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    figure = Figure(figsize=(width, height), dpi=120, layout=layout)
    figure.suptitle(drawable(shorten(title, 80)), fontsize=13, fontweight="bold")
    return figure


def frame(axes: Axes, title: str, x: str, y: str) -> None:
    """Give axes their titles and a faint grid."""
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(which="both", labelsize=SMALL)
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_offset_text().set_fontsize(SMALL)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def unit(axes: Axes, x: bool = True, y: bool = True) -> None:
    """Let an axis span the shares from 0 to 1."""
    if x:
        axes.set_xlim(-0.02, 1.02)
    if y:
        axes.set_ylim(-0.02, 1.02)


def diagonal(axes: Axes, label: str, low: float = 0.0, high: float | None = None) -> Artist:
    """Draw where x is y; through two places, also where axes are not linear."""
    way: dict[str, Any] = {"slope": 1} if high is None else {"xy2": (high, high)}
    look: dict[str, Any] = {"color": GREY, "linewidth": 1, "linestyle": ":", "zorder": 1.9}
    return axes.axline((low, low), label=label, **way, **look)


def name_rows(axes: Axes, names: Sequence[str], left_out: int, most: int = 40) -> None:
    """Name rows from the top down, with a gap in the middle where some were left out."""
    places = row_places(len(names), left_out)
    axes.set_yticks(places, [drawable(shorten(name, most)) for name in names], fontsize=SMALL)
    axes.set_ylim(max(places, default=0) + 0.7, -0.7)
    axes.grid(visible=False, axis="y")
    if left_out:
        axes.text(
            0.5,
            len(names) / 2,
            f"{left_out:,} more lie in between",
            transform=axes.get_yaxis_transform(),
            ha="center",
            va="center",
            fontsize=SMALL,
            color=GREY,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )


def row_places(rows: int, left_out: int) -> list[int]:
    """Return the place of each row, counted from the top."""
    return [i + (left_out > 0 and i >= rows // 2) for i in range(rows)]


def ends(count: int, most: int = MOST_ROWS) -> list[int]:
    """Return the places of all, or of as many from both ends; a gap for one alone saves nothing.

    >>> ends(10, most=4)
    [0, 1, 8, 9]
    """
    if count <= most + 1:
        return list(range(count))
    return [*range(most // 2), *range(count - most // 2, count)]


def bars(
    axes: Axes,
    names: Sequence[str],
    values: Sequence[float],
    colour: str,
    left_out: int = 0,
    written: Sequence[str] | None = None,
) -> None:
    """Draw a bar for each name, from the top down, with its value written at the end of it."""
    drawn = axes.barh(row_places(len(names), left_out), values, color=colour, height=0.7)
    labels = [number(value) for value in values] if written is None else written
    axes.bar_label(drawn, labels, padding=3, fontsize=SMALL)
    axes.set_xlim(0, max([*values, 0]) * 1.18 or 1)  # room for the values
    name_rows(axes, names, left_out)


def shares_histogram(axes: Axes, shares: Sequence[float] | Floats, colour: str) -> None:
    """Draw how many of some things have which share."""
    bins = np.linspace(0, 1, 21).tolist()
    axes.hist(shares, bins=bins, color=colour, edgecolor="white", linewidth=0.5)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    unit(axes, y=False)


def rows_height(rows: int) -> float:
    """Return the inches that axes with so many named rows take."""
    return 1.6 + 0.22 * max(rows, 4)


def drawable(text: str) -> str:
    r"""Return text without mathematics, and without characters that no font here has.

    The fonts are those of ``matplotlib.rcParams["font.family"]``.

    >>> drawable("5 $")
    '5 \\$'
    """
    families = [FontProperties(family=[name]) for name in rcParams["font.family"]]
    fonts = [get_font(findfont(family)) for family in families]
    shown = (
        c if any(font.get_char_index(ord(c)) for font in fonts) else "\N{REPLACEMENT CHARACTER}"
        for c in text
    )
    return "".join(shown).replace("$", r"\$")


def shorten(text: str, most: int) -> str:
    """Return text on one line, without its middle where it is long.

    >>> shorten("abcdefgh", most=5)
    'ab…gh'
    """
    text = " ".join(text.split())
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - half]}…{text[-half:]}"


def number(value: float) -> str:
    """Return a number with the digits that count, and a dash for NaN.

    >>> [number(value) for value in (0.25, 12345.6, 0.0000123, float("nan"))]
    ['0.250', '1.23e+04', '1.23e-05', '-']
    """
    if np.isnan(value):
        return "-"
    plain = value == 0 or 1e-3 <= abs(value) < 1e4
    return f"{value:.3f}" if plain else f"{value:.3g}"


def legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """Put one legend for all axes below them, where it covers nothing."""
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles) if len(handles) <= 4 else 3,
        fontsize=SMALL,
        frameon=False,
    )
