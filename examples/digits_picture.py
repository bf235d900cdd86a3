"""The picture that `digits.py` draws."""

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

STARTS = [(0, 2), (1, 2), (1, 1), (1, 0), (0, 0), (0, 1), (0, 1)]  # of the seven bars
ENDS = [(1, 2), (1, 1), (1, 0), (0, 0), (0, 1), (0, 2), (1, 1)]


def picture(scans, predicted, truth):
    """Draw each scan above what is predicted of it and what is true."""
    figure = Figure(figsize=(14, 4), dpi=120, layout="constrained")
    figure.suptitle("The held-out scans it was least sure of: predicted in blue, true in black")
    for n, (above, below) in enumerate(figure.subplots(2, len(scans)).T):
        above.imshow(scans[n, 0].numpy(), cmap="gray_r")
        for x, colour, of in (0, "#0072b2", predicted), (2, "black", truth):
            bars = np.stack([STARTS, ENDS], axis=1) + np.array([x, 0])
            lit = of["segments"][n].tolist()
            below.add_collection(LineCollection(bars, linewidth=5, color="0.93"))
            below.add_collection(LineCollection(bars, linewidth=5, color=colour, alpha=lit))
            digit, even, ink, dark = (of[k][n].item() for k in ("digit", "even", "ink", "dark"))
            text = f"{digit}\n{even:.2f}\n{ink:.1f}\n{dark:.0f}"
            below.text(x + 0.5, -0.5, text, color=colour, ha="center", va="top")
        if n == 0:
            below.text(-0.8, -0.5, "digit\neven\nink\ndark", ha="right", va="top")
        below.set(xlim=(-0.5, 3.5), ylim=(-3, 2.2), aspect="equal")
        above.set_axis_off()
        below.set_axis_off()
    return figure
