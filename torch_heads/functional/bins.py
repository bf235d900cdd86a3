"""The bin of each score, and of each residual: what a tally counts by.

The fine cut of scores is by the logit, so that the scores of rare events are told apart: at steps
of ``1 / 90`` up to 1.5 on either side of 0, of ``1 / 20`` up to 12, and of ``1 / 2`` up to 64: the
whole steps of a sum of three clamped slopes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.constants import Constants
from torch_heads.functional.residuals import FINE, LEAST, MANTISSA, SIDE

GRID = 199  # steps between tf.estimator's 200 thresholds; 0.5 is not one of them

SLOPES = ((64.0, 2.0), (12.0, 18.0), (1.5, 70.0))  # up to this logit on either side, the slope
STEPS = int(sum(limit * slope for limit, slope in SLOPES))  # on each side of 0
BOUNDARIES = 2 * STEPS  # from step -STEPS + 1 to STEPS

Limits = np.ndarray[Any, np.dtype[np.float64]]


def fine_steps(logits: Tensor) -> Tensor:
    """Return the step at which each logit stands, a whole number in float32. NaN is the lowest.

    >>> fine_steps(torch.tensor([-1e9, -1e-9, 0.0, 0.012, torch.nan]))
    tensor([-449.,   -1.,    0.,    1., -449.])
    """
    (limit, slope), *others = SLOPES
    logits = logits.float()
    steps = logits.clamp(-limit, limit).mul_(slope)
    for limit, slope in others:
        steps.add_(logits.clamp(-limit, limit), alpha=slope)
    return steps.floor_().nan_to_num_(-STEPS)


@cache
def fine_logits() -> Limits:
    """Return the logits at which another step begins, ascending.

    >>> (fine_logits()[[0, STEPS - 1, STEPS, -1]] * 90).round(6).tolist()
    [-5715.0, 0.0, 1.0, 5760.0]
    """
    ends = np.array([-64.0, -12.0, -1.5, 0.0, 1.5, 12.0, 64.0])
    steps = sum(slope * ends.clip(-limit, limit) for limit, slope in SLOPES)
    logits: Limits = np.interp(np.arange(-STEPS + 1, STEPS + 1), steps, ends)
    return logits


@cache
def fine_limits() -> Limits:
    """Return the largest float32 logit below each of `fine_logits`, as `fine_steps` rounds."""
    nearest = fine_logits().astype(np.float32)
    tiny = np.where(
        nearest == 0, np.finfo(np.float32).tiny, np.spacing(np.abs(nearest) * np.float32(0.99))
    )
    around = nearest[:, None] + tiny[:, None] * np.arange(-64, 65, dtype=np.float32)
    steps = fine_steps(torch.from_numpy(around)).numpy()
    below = steps < np.arange(-STEPS + 1, STEPS + 1)[:, None]
    limits: Limits = np.where(below, around, -np.inf).max(-1).astype(np.float64)
    return limits


def bin_residuals(predictions: Tensor, labels: Tensor) -> Tensor:
    """Return the bin of each residual, prediction minus label, in int32.

    >>> bin_residuals(torch.tensor([-3e19, 0.0, 1.0]), torch.zeros(3)) - SIDE
    tensor([-481,    0,  241], dtype=torch.int32)
    """
    bits = (predictions - labels).float().view(torch.int32)
    sign = bits >> 31  # -1 or 0
    # the leading bits of a float count its exponent, and so grow as its logarithm
    size = bits.bitwise_and_(0x7FFFFFFF).bitwise_right_shift_(MANTISSA - FINE)
    size.clamp_(LEAST, LEAST + SIDE).sub_(LEAST)
    return size.bitwise_xor_(sign).sub_(sign).add_(SIDE)  # with its sign, in two's complement


def size_of(thresholds: Sequence[float], fine: bool) -> int:
    """Return the number of bins of a column: the grid's, and one per further boundary."""
    return GRID + 1 + len(thresholds) + BOUNDARIES * fine


class Histogram:
    """The places of scores in flat counts, one column after the other.

    Of each column, first come labels 0 by bin, then labels 1, and then soft labels by coarse bin.

    Args:
        columns: of each column the user's thresholds, and whether scores are cut finely.
    """

    def __init__(self, columns: Sequence[tuple[Sequence[float], bool]]) -> None:
        sizes = [size_of(*column) for column in columns]
        coarse = [size_of(thresholds, fine=False) for thresholds, _ in columns]
        places = [2 * size + own for size, own in zip(sizes, coarse, strict=True)]
        *starts, self.size = accumulate(places, initial=0)
        self.starts = starts  # of each column
        most = max(len(own) for own, _ in columns)
        padded = [[*own, *[inf] * (most - len(own))] for own, _ in columns]
        thresholds = torch.tensor(padded, dtype=torch.float32, device="cpu").view(
            len(columns), most
        )
        self._thresholds = [f"threshold_{i}" for i in range(most)]
        self._any_fine = any(fine for _, fine in columns)
        self._all_fine = all(fine for _, fine in columns)
        #: The counts of each column, where all have as many.
        self._alike = places[0] if len({*places}) == 1 else None
        # a number is faster than a row of equal ones
        told = slice(None) if self._alike is None else 0
        size, fine, first = (
            torch.tensor(values[told], dtype=dtype, device="cpu")
            for values, dtype in (
                (sizes, torch.float32),
                ([fine for _, fine in columns], torch.float32),
                (starts, torch.int64),
            )
        )
        self._constants = Constants(
            # lifts a score of 0, and it alone, into the first bin
            least=torch.tensor(torch.finfo(torch.float32).tiny, device="cpu"),
            zero=torch.tensor(0.0, device="cpu"),
            starts=first,
            fine=fine,
            size=size,
            rest=size - 1,
            hard=STEPS * fine - size,
            **dict(zip(self._thresholds, thresholds.unbind(-1), strict=True)),
        )

    def view(self, counts: Tensor) -> Tensor:
        """Return flat counts as what `places` are in: a row for each column, if all are alike."""
        return counts if self._alike is None else counts.view(-1, self._alike)

    def places(self, scores: Tensor, log_odds: Tensor, labels: Tensor) -> Tensor:
        """Return where each label counts, ``[N, C]``, int64, in the `view` of the counts.

        Args:
            scores: ``[N, C]`` in [0, 1].
            log_odds: ``[N, C]``, theirs.
            labels: ``[N, C]`` in [0, 1].
        """
        constants = self._constants.on(scores.device)
        # whole numbers in float32, exact up to 2**24, which no column's counts reach
        place, flags = self._coarse_bins(scores.float(), log_odds, constants)
        # labels 0 start at 0, labels 1 at the size, and soft ones, which have no steps, at twice it
        positive = labels.ceil()
        hard = torch.eq(labels, positive, out=flags)
        steps = constants["hard"]
        if self._all_fine:
            steps = fine_steps(log_odds).add_(steps)
        elif self._any_fine:
            steps = torch.addcmul(steps, fine_steps(log_odds), constants["fine"])
        place.addcmul_(hard, steps)
        place.addcmul_(positive.to(place.dtype), constants["size"]).add_(constants["rest"])
        places = place.to(torch.int32).to(torch.int64)  # two casts are twice as fast as one
        return places if self._alike is not None else places.add_(constants["starts"])

    def _coarse_bins(
        self, scores: Tensor, log_odds: Tensor, constants: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return how many boundaries but the fine ones each score lies above, counted from 1.

        NaN counts as lowest. After it comes memory of the same size that is free.
        """
        bins = torch.add(constants["least"], scores, alpha=GRID).ceil_().nan_to_num_(1.0)
        flags = torch.empty_like(bins)
        bins += torch.gt(log_odds, constants["zero"], out=flags)
        for name in self._thresholds:
            bins += torch.gt(scores, constants[name], out=flags)
        return bins, flags
