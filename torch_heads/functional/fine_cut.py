"""The fine cut of scores: by the logit, so that the scores of rare events are told apart.

The logit is cut at steps of ``1 / 90`` up to 1.5 on either side of 0, of ``1 / 20`` up to 12, and
of ``1 / 2`` up to 64: the whole steps of a sum of three clamped slopes.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
