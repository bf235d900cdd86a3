"""What counts hold beside single numbers: intervals, curves, confusions, residuals."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from torch_heads.families.event_times import event_times
from torch_heads.families.family import Counts
from torch_heads.functional.arguments import check_count, check_share
from torch_heads.functional.curves import ScoreCurves
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.residuals import Residuals
from torch_heads.functional.scores import ScoreBins
from torch_heads.functional.survival import SurvivalCurves, survival_curves
from torch_heads.metrics.bound import AlikeColumns, Place
from torch_heads.metrics.by_key import MetricsByKey
from torch_heads.metrics.interval import Interval, interval_of, is_of_counts, why_not
from torch_heads.metrics.needs import Confusions, ResidualCounts, SurvivalSums, TimeCounts
from torch_heads.metrics.readable import MOST_CONFUSIONS
from torch_heads.metrics.sums import Total

OF_MANY = "The labels of several heads may be of the same rows, which counts do not tell."
NO_COUNTS = "What torchmetrics' own keep need not be counts: see its BootStrapper."


class Evidence(MetricsByKey):
    """A collection whose tallies tell more than its metrics.

    Attributes:
        places: where each head of a single target is counted, by name.
    """

    places: Mapping[str, Place]

    def interval(
        self, key: str, level: float = 0.95, samples: int = 1000, *, seed: int = 0
    ) -> Interval:
        """Return where a metric lies at a level of confidence, by the bootstrap.

        It draws examples again from the counts alone, which takes no data: see `interval`. Rows
        are taken to be independent.

        Args:
            key: of a metric that is read from counts.
            level: in (0, 1), the share of such intervals that hold the true value.
            samples: how many times to draw.
            seed: of the draws.

        Raises:
            KeyError: if there is no such metric.
            TypeError: if an argument is of another type.
            ValueError: if it is not read from counts, or an argument is out of range.

        >>> from torch_heads import BinaryClassHead
        >>> head = BinaryClassHead()
        >>> logits, labels = torch.linspace(-2, 2, 100).view(-1, 1), [0, 0, 1, 0, 1] * 20
        >>> metrics = head.update_metrics(logits=logits, labels=labels)
        >>> low, high = metrics.interval("accuracy")
        >>> low < metrics["accuracy"].compute() < high
        tensor(True)
        """
        base = self._base(key)
        if base is None:
            raise KeyError(f"No metric {key!r}; there are {preview(self.keys(), 20)}.")
        title = type(self).__name__
        level = check_share(title, "level", level)
        samples = check_count(title, "samples", samples, 1)
        seed = check_count(title, "seed", seed, 0)
        if not self.has_interval(base):
            known = preview([own for own in self.readings if self.has_interval(own)], 40)
            hint = why_not(self.readings[base]) if base in self.readings else NO_COUNTS
            hint = OF_MANY if base in self.means else hint
            raise ValueError(unexpected(title, "key", f"of counts, among {known}", repr(key), hint))
        bound = self.readings[base]
        return interval_of(bound, self.tallies[bound.place.tally].flat(), level, samples, seed)

    def has_interval(self, key: str) -> bool:
        """Return whether a metric is read from counts, and so has an interval."""
        return key in self.readings and is_of_counts(self.readings[key])

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
        if not isinstance(head, str | None):
            raise KeyError(f"No {what} of {head!r}; the heads are {preview(self.places, 20)}.")
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
