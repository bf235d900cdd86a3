"""The warning where tf.estimator's grid of 200 thresholds is too coarse for the scores."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics.utilities import rank_zero_warn

from torch_heads.metrics.bound import BoundReading
from torch_heads.metrics.needs import Totals
from torch_heads.metrics.readings.ranking import AUC, RocAuc
from torch_heads.metrics.sums import Total
from torch_heads.metrics.tally import Tally

MOST_APART = 0.02
FEWEST = 100  # labels: of fewer, a single pair of scores in one bin may move an area as far


class CoarseAreaWarning(UserWarning):
    """Areas under one ROC curve differ by how finely its scores are cut."""


class CoarseAreas:
    """The areas under ROC curves that are kept both ways: over the grid, and from the fine cut.

    Args:
        readings: all of a collection, by key.
        warned: the keys of the areas of which a warning was given, shared by the collections of a
            head.
    """

    def __init__(self, readings: Mapping[str, BoundReading], warned: set[str]) -> None:
        fine = {
            (id(bound.place), bound.reading.column): key
            for key, bound in readings.items()
            if isinstance(bound.reading, RocAuc) and bound.reading.average is None
        }
        self._pairs = [
            (key, fine[id(bound.place), bound.reading.column])
            for key, bound in readings.items()
            if isinstance(bound.reading, AUC) and (id(bound.place), bound.reading.column) in fine
        ]
        self._places = {key: readings[key].place for key, _ in self._pairs}
        self.warned = warned

    def warn(self, values: Mapping[str, Tensor], tallies: Mapping[str, Tally]) -> None:
        """Warn, once for each head, where both differ much, and there are labels enough to tell."""
        if not self._pairs or torch.compiler.is_compiling():
            return
        coarse, fine = (
            torch.stack([values[pair[i]] for pair in self._pairs]).tolist() for i in (0, 1)
        )
        apart = [
            (*keys, *both)
            for keys, both in zip(self._pairs, zip(coarse, fine, strict=True), strict=True)
            if abs(both[0] - both[1]) > MOST_APART and keys[0] not in self.warned
        ]
        for grid_key, key, grid_value, value in apart:
            place = self._places[grid_key]
            if place.views(tallies[place.tally])[Totals()][:, Total.PRESENT].sum() < FEWEST:
                continue
            self.warned.add(grid_key)
            rank_zero_warn(
                f"{grid_key!r} reads {grid_value:.3f}, {key!r} {value:.3f}. The first is over "
                "tf.estimator's grid of 200 thresholds, and many of these scores lie between two "
                f"of them, as those of rare events do. Read {key!r}, and 'average_precision' in "
                "place of 'auc_precision_recall'.",
                CoarseAreaWarning,
            )
