"""Pictures of survival: the labels' curve beside the mean of the predicted ones."""

from matplotlib.figure import Figure

from torch_heads.functional.survival import SurvivalCurves
from torch_heads.integrations.report.canvas import (
    BLACK,
    VERMILLION,
    frame,
    legend,
    new_figure,
    unit,
)


def survival_figure(title: str, curves: SurvivalCurves) -> Figure:
    """Draw the share that survives, at the end of each interval of time."""
    figure = new_figure(title, 8, 4.8)
    axes = figure.subplots()
    times = [0.0, *curves.times.tolist()]
    observed, predicted = ([1.0, *curve.tolist()] for curve in (curves.observed, curves.predicted))
    axes.plot(times, observed, "o-", color=BLACK, markersize=4, label="labels (Kaplan-Meier)")
    axes.plot(times, predicted, "D--", color=VERMILLION, markersize=4, label="mean prediction")
    unit(axes, x=False)
    frame(axes, "Survival (weighted)", "time, in units of the label", "share that survives")
    legend(figure, axes.lines)
    return figure
