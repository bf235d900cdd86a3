"""Survival: what was seen of labels, beside what was predicted."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class SurvivalCurves(NamedTuple):
    """The shares that survive each interval of time, of the labels and as predicted.

    Attributes:
        times: ``[K]``, the ends of the intervals.
        observed: ``[K]``, of the labels (Kaplan & Meier, 1958), where those who were last seen in
            an interval count as having survived it; NaN from where on nobody was seen.
        predicted: ``[K]``, the mean of the predicted curves.
    """

    times: Tensor
    observed: Tensor
    predicted: Tensor


def survival_curves(times: Tensor, counts: Tensor, sums: Tensor) -> SurvivalCurves:
    """Return the curves of one column.

    Args:
        times: ``[K]``, the ends of the intervals.
        counts: ``[2, T, S]``, the weights of events and of censored labels by cell of time: equally
            many for each interval, and one for what is later; and by prediction.
        sums: ``[K]``, of the predicted curves.
    """
    by_cell = counts.sum(-1)
    events, censored = by_cell[:, :-1].unflatten(-1, (len(times), -1)).sum(-1)  # type: ignore
    observed = kaplan_meier(events, torch.cat([censored, by_cell[:, -1:].sum(0)]))
    return SurvivalCurves(times, observed, sums / counts.sum())


def kaplan_meier(events: Tensor, censored: Tensor) -> Tensor:
    """Return the share that survives each interval, ``[..., K]``.

    Args:
        events: ``[..., K]``, the weight of labels with the event in each interval.
        censored: ``[..., K + 1]``, of those last seen in each, and after the last.

    >>> kaplan_meier(torch.tensor([2.0, 1.0]), torch.tensor([1.0, 0.0, 4.0]))
    tensor([0.7500, 0.6000])
    """
    gone = events + censored[..., :-1]
    after = censored[..., -1:]
    at_risk = gone.flip(-1).cumsum(-1).flip(-1) + after
    return (1 - events / at_risk).cumprod(-1)
