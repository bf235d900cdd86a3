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


def coarse_bins(scores: Tensor, logits: Tensor, thresholds: Tensor) -> Tensor:
    """Return the bin of each score without the fine cut: how many boundaries it lies above.

    Args:
        scores: ``[N, U]`` float32 in [0, 1]. NaN counts as lowest.
        logits: ``[N, U]``, their log odds; above 0 is a positive decision.
        thresholds: ``[T, U]`` float32, padded with a value that no score exceeds.

    Returns:
        ``[N, U]``, whole numbers in float32, counted from 1.
    """
    above = torch.empty_like(scores)
    # the least number lifts a score of 0, and it alone, into the first bin
    least = scores.new_full((), torch.finfo(scores.dtype).tiny)
    bins = torch.add(least, scores, alpha=GRID).ceil_().nan_to_num_(1.0)
    bins += torch.gt(logits, 0.0, out=above)
    for threshold in thresholds.unbind():
        bins += torch.gt(scores, threshold, out=above)
    return bins


def label_kinds(labels: Tensor) -> Tensor:
    """Return 0 for label 0, 2 for label 1, and 1 for a soft label in between.

    >>> label_kinds(torch.tensor([0.0, 0.3, 1.0]))
    tensor([0., 1., 2.])
    """
    # a product with the next number after 1 is above 1 for the label 1 alone
    return (labels * (1 + torch.finfo(labels.dtype).eps)).ceil_()


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
            thresholds=thresholds.T,
            starts=first,
            fine=fine,
            half=size / 2,
            soft=1.5 * size - 1,
            hard=STEPS * fine - 1.5 * size,
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
        # whole numbers and halves in float32, exact up to 2**23, which no column's counts reach
        place = coarse_bins(scores.float(), log_odds, constants["thresholds"])
        kinds = label_kinds(labels).to(place.dtype)
        hard = torch.ne(kinds, 1.0, out=torch.empty_like(place))
        # labels 0 start at 0, labels 1 at the size, and soft ones, which have no steps, at twice it
        steps = constants["hard"]
        if self._all_fine:
            steps = fine_steps(log_odds).add_(steps)
        elif self._any_fine:
            steps = torch.addcmul(steps, fine_steps(log_odds), constants["fine"])
        place.addcmul_(hard, steps).addcmul_(kinds, constants["half"]).add_(constants["soft"])
        places = place.to(torch.int32).to(torch.int64)  # two casts are twice as fast as one
        return places if self._alike is not None else places.add_(constants["starts"])
