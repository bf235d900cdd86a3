"""The warning where tf.estimator's grid of 200 thresholds is too coarse for the scores."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics.utilities import rank_zero_warn

from torch_heads.metrics.bound import BoundReading
from torch_heads.metrics.readings.ranking import AUC, RocAuc

MOST_APART = 0.02


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
        self.warned = warned

    def warn(self, values: Mapping[str, Tensor]) -> None:
        """Warn, once for each head, where both differ much."""
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
            self.warned.add(grid_key)
            rank_zero_warn(
                f"{grid_key!r} reads {grid_value:.3f}, {key!r} {value:.3f}. The first is over "
                "tf.estimator's grid of 200 thresholds, and too many of these scores lie between "
                f"two of them, as those of rare events do. Read {key!r}, and 'average_precision' "
                "in place of 'auc_precision_recall'.",
                CoarseAreaWarning,
            )
