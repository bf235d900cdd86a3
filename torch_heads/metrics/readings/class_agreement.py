"""Readings of how predicted and given classes agree, beyond chance."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from torch_heads.families.family import Counts
from torch_heads.metrics.needs import Confusions, Need
from torch_heads.metrics.readings.outcomes import ThresholdReading
from torch_heads.metrics.readings.reading import check_choice, ratio
from torch_heads.metrics.sums import Sums, Total

Weights = Literal["linear", "quadratic"]


@dataclass(frozen=True)
class MatthewsCorrcoef(ThresholdReading):
    """The correlation of predicted and given classes (Matthews, 1975; Gorodkin, 2004)."""

    def read(self, sums: Sums) -> Tensor:
        """Return ``(c s - sum(p t)) / sqrt((s^2 - sum(p^2)) (s^2 - sum(t^2)))``.

        With the weights ``s`` of all labels, ``c`` of the right ones, and of each class ``p`` as
        predicted and ``t`` as given.
        """
        right, predicted, given = class_totals(sums)
        total = sums.total(Total.WEIGHT)
        above = right.sum(-1) * total - (predicted * given).sum(-1)
        spreads = [total**2 - (one**2).sum(-1) for one in (predicted, given)]
        return ratio(above, spreads[0].clamp(min=0).sqrt() * spreads[1].clamp(min=0).sqrt())


@dataclass(frozen=True)
class CohenKappa(ThresholdReading):
    """The agreement of predicted and given classes beyond chance (Cohen, 1960; 1968).

    With ``weights``, classes whose ids differ more disagree more: by the difference of the ids, or
    by its square. No prediction has no such difference: with one, it is NaN.
    """

    weights: Weights | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "weights", get_args(Weights))

    def needs(self, counts: Counts) -> Iterable[Need]:
        """Return the confusions, where they weigh differently."""
        if counts is Counts.CLASSES and self.weights is not None:
            return (Confusions(),)
        return super().needs(counts)

    def read(self, sums: Sums) -> Tensor:
        """Return ``1 - observed / expected`` disagreement."""
        if self.weights is None or not sums.of_ids:  # of two classes, all weights are the same
            right, predicted, given = class_totals(sums)
            total = sums.total(Total.WEIGHT)
            chance = (predicted * given).sum(-1)
            return ratio(total * right.sum(-1) - chance, total**2 - chance)
        confusions = sums.confusions
        ids = torch.arange(confusions.shape[-1], device=confusions.device, dtype=torch.float64)
        distance = (ids[:, None] - ids).abs()
        if self.weights == "quadratic":
            distance = distance**2
        chance = confusions.sum(-1, keepdim=True) * confusions.sum(-2, keepdim=True)
        chance = chance / confusions.sum((-2, -1), keepdim=True)
        observed, expected = ((distance * one).sum((-2, -1)) for one in (confusions, chance))
        known = sums.unpredicted.sum(-1) == 0
        return torch.where(known, 1 - ratio(observed, expected), torch.nan)


def class_totals(sums: Sums) -> tuple[Tensor, Tensor, Tensor]:
    """Return what is right, predicted and given of each class, ``[..., K]``; of scores, two."""
    if sums.of_ids:
        right, predicted, given = sums.class_counts.unbind(-2)
        return right, predicted, given
    right, false_positives, false_negatives, true_negatives = sums.outcomes()
    pairs = [
        (true_negatives, right),
        (true_negatives + false_negatives, right + false_positives),
        (true_negatives + false_positives, right + false_negatives),
    ]
    no_yes = [torch.stack(pair, dim=-1) for pair in pairs]
    return no_yes[0], no_yes[1], no_yes[2]
