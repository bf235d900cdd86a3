"""The axis of scores: from 0 to 1; or by the logit, where nearly all lie close to an end."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import MaxNLocator, NullLocator

from torch_heads.functional.scores import expit
from torch_heads.integrations.report.canvas import Floats, unit

FARTHEST = 27.0  # the largest logit that is drawn: scores above are 1 to twelve digits
ROOM = 0.5  # beside the lowest and the highest logit
LEADING = (1,), (1, 3), (1, 2, 5), tuple(range(1, 10))  # digits of ticks, the first that are enough
FEWEST = 3  # ticks


class ScoreAxis(NamedTuple):
    """The scores that an axis spans."""

    low: float = 0.0
    high: float = 1.0

    @classmethod
    def around(cls, scores: Iterable[float]) -> ScoreAxis:
        """Return the axis by the logit around some scores."""
        logits = logits_of(np.array([*scores])).clip(-FARTHEST, FARTHEST)
        low, high = expit(np.array([logits.min() - ROOM, logits.max() + ROOM]))
        return cls(float(low), float(high))

    @property
    def by_logit(self) -> bool:
        """Whether equal steps of the logit are equally long, and not those of the score."""
        return self.low > 0

    def grid(self, steps: int) -> Floats:
        """Return the scores that bound some steps of equal length."""
        if not self.by_logit:
            return np.linspace(0, 1, steps + 1)
        low, high = logits_of(np.array(self))
        return expit(np.linspace(low, high, steps + 1))

    def ticks(self, most: int = 6) -> list[float]:
        """Return some round scores on an axis by the logit, about as far from each other.

        >>> ScoreAxis(0.0005, 0.2).ticks()
        [0.001, 0.01, 0.1]
        """
        for digits in LEADING:
            below = [float(f"{digit}e{power}") for power in range(-13, 0) for digit in digits]
            rare = [score for score in below if score < 0.5]
            every = [*rare, 0.5, *(1 - score for score in reversed(rare))]
            found = [score for score in every if self.low <= score <= self.high]
            if len(found) >= FEWEST:
                break
        return found[:: ceil(len(found) / most)]

    def put_on(self, axes: Axes, x: bool = True, y: bool = True) -> None:
        """Let one axis or both of a picture span these scores."""
        if not self.by_logit:
            unit(axes, x, y)
            return
        if x:
            axes.set_xscale("logit")
            axes.set_xlim(self.low, self.high)
            self.mark(axes.xaxis)
        if y:
            axes.set_yscale("logit")
            axes.set_ylim(self.low, self.high)
            self.mark(axes.yaxis)

    def mark(self, axis: Axis, most: int = 6) -> None:
        """Write some scores at an axis that spans these."""
        if self.by_logit:
            axis.set_minor_locator(NullLocator())
            ticks = self.ticks(most)
            axis.set_ticks(ticks, [f"{score:.12g}" for score in ticks])
        else:
            axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))


def logits_of(scores: Floats) -> Floats:
    """Return the logits of scores, none farther from 0 than can be counted."""
    with np.errstate(divide="ignore"):
        logits: Floats = np.log(scores) - np.log1p(-scores)
    return logits.clip(-64, 64)
