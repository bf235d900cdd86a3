"""What the counts of a collection hold beside single numbers: curves, confusions, residuals."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from torch_heads.families.event_times import event_times
from torch_heads.families.family import Counts
from torch_heads.functional.curves import ScoreCurves
from torch_heads.functional.errors import preview
from torch_heads.functional.residuals import Residuals
from torch_heads.functional.scores import ScoreBins
from torch_heads.functional.survival import SurvivalCurves, survival_curves
from torch_heads.metrics.bound import AlikeColumns, Place
from torch_heads.metrics.needs import Confusions, ResidualCounts, SurvivalSums, TimeCounts
from torch_heads.metrics.readable import MOST_CONFUSIONS
from torch_heads.metrics.saved import SavedCounts
from torch_heads.metrics.sums import Total
from torch_heads.metrics.tally import Tally


class Evidence(SavedCounts):
    """A collection whose tallies tell more than its metrics, for each head.

    Attributes:
        tallies: the tallies by name.
        places: where each head of a single target is counted, by name.
    """

    tallies: Mapping[str, Tally]
    places: Mapping[str, Place]

    def curves(self, head: str | None = None) -> ScoreCurves:
        """Return the curves of a head with classes: ROC, precision-recall, calibration.

        Args:
            head: the head's name; None where the collection is of a single head.

        Raises:
            KeyError: if there is no such head, or its scores are not counted.

        >>> from torch_heads import BinaryClassHead
        >>> head = BinaryClassHead()
        >>> metrics = head.update_metrics(logits=[[2.0], [-1.0], [0.5]], labels=[1, 0, 1])
        >>> metrics.curves().best_threshold().f_score
        tensor([1.], dtype=torch.float64)
        """
        place = self._place(head, Counts.SCORES, "counted scores")
        states = self.tallies[place.tally].flat()
        sums = AlikeColumns([(place, None)]).sums(states)
        totals, counts = sums.totals[0], sums.scores[0]
        if place.may_miss:
            never = totals[:, Total.PRESENT] == 0
            counts = counts.masked_fill(never[:, None, None], torch.nan)
        return ScoreCurves(counts, place.bins or ScoreBins(), totals[:, Total.PREDICTION])

    def confusion_matrix(self, head: str | None = None) -> Tensor:
        """Return the weights ``[n_classes, n_classes]`` of labels (rows) and predictions (columns).

        Where a logit is NaN no class is predicted: the label stands in no column.

        Args:
            head: the head's name; None where the collection is of a single head.

        Raises:
            KeyError: if there is no such head, or it is not multi-class.
            ValueError: if there are too many classes for confusions to be kept.
        """
        place = self._place(head, Counts.CLASSES, "confusions")
        if Confusions() not in place.slots:
            family = place.family
            size = 0 if family is None else int(family.highest + 1) ** 2
            raise ValueError(
                f"Confusions are kept up to {MOST_CONFUSIONS} entries in all, the smallest "
                f"matrices first; here are {size}."
            )
        return place.kept(self.tallies[place.tally], Confusions())[:, 1:]

    def residuals(self, head: str | None = None) -> Residuals:
        """Return how the predictions of a regression differ from its labels, for each column.

        Args:
            head: the head's name; None where the collection is of a single head.

        Raises:
            KeyError: if there is no such head, or its residuals are not counted.

        >>> from torch_heads import RegressionHead
        >>> head = RegressionHead()
        >>> metrics = head.update_metrics(logits=[[2.0], [4.0], [7.0]], labels=[1, 5, 4])
        >>> metrics.residuals().quantile(1.0)
        tensor([3.5000], dtype=torch.float64)
        """
        place = self._place(head, Counts.NUMBERS, "residuals")
        return Residuals(place.kept(self.tallies[place.tally], ResidualCounts()))

    def survival(self, head: str | None = None) -> SurvivalCurves:
        """Return the Kaplan-Meier curve of the labels of a `SurvivalHead`, and the mean prediction.

        Args:
            head: the head's name; None where the collection is of a single head.

        Raises:
            KeyError: if there is no such head, or it is not of times.

        >>> from torch_heads import SurvivalHead
        >>> head = SurvivalHead([1.0, 2.0])
        >>> labels = [[0.5, 1], [1.5, 0], [1.5, 1], [9.0, 0]]
        >>> metrics = head.update_metrics(logits=[[0.0, 0.0]] * 4, labels=labels)
        >>> metrics.survival().observed
        tensor([0.7500, 0.5000], dtype=torch.float64)
        """
        place = self._place(head, Counts.TIMES, "survival curves")
        tally = self.tallies[place.tally]
        counts, sums = place.kept(tally, TimeCounts()), place.kept(tally, SurvivalSums())
        times = counts.new_tensor(event_times(place.family).cut_points)
        return survival_curves(times, counts[0], sums[0])

    def _place(self, head: str | None, counts: Counts, what: str) -> Place:
        found = {name: place for name, place in self.places.items() if place.counts is counts}
        if head is None and len(found) == 1:
            return next(iter(found.values()))
        wanted = head or ""
        if wanted in found:
            return found[wanted]
        if not found:
            raise KeyError(f"No head has {what} here; the heads are {preview(self.places, 20)}.")
        if head is None:
            raise KeyError(f"Several heads have {what}: name one of {preview(found, 20)}.")
        if wanted in self.places:
            raise KeyError(f"{wanted!r} has no {what}; those that have are {preview(found, 20)}.")
        raise KeyError(f"No {what} of {head!r}; the heads are {preview(found, 20)}.")
