"""The warning where tf.estimator's grid of 200 thresholds is too coarse for the scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torchmetrics.utilities import rank_zero_warn

from torch_heads.metrics.bound import BoundReading, Place
from torch_heads.metrics.readings.areas import AUC, AUCPrecisionRecall, AveragePrecision, RocAuc

MOST_APART = 0.02
AREAS = (AUC, AUCPrecisionRecall, RocAuc, AveragePrecision)


class CoarseAreaWarning(UserWarning):
    """Areas under one ROC curve differ by how finely its scores are cut."""


class CoarseAreas:
    """The areas under ROC curves that are kept both ways: over the grid, and from the fine cut.

    Args:
        readings: all of a collection, by key.
        places: where each head is counted, by name.
        warned: the names of the heads of which a warning was given, shared by the collections of a
            head.
    """

    def __init__(
        self,
        readings: Mapping[str, BoundReading],
        places: Mapping[str, Place],
        warned: set[str],
    ) -> None:
        found: dict[tuple[int, int | None], dict[type, str]] = {}
        for key, (reading, place) in readings.items():
            if isinstance(reading, AREAS) and getattr(reading, "average", None) is None:
                found.setdefault((id(place), reading.column), {}).setdefault(type(reading), key)
        names = {id(place): name for name, place in places.items()}
        #: The name of the head, and the keys of the areas of one column by the kind of area.
        self._columns = [
            (names[place], keys)
            for (place, _), keys in found.items()
            if AUC in keys and RocAuc in keys
        ]
        self.warned = warned

    def warn(self, values: Mapping[str, Tensor], full_key: Callable[[str], str]) -> None:
        """Warn, once for each head, where both differ much.

        Args:
            values: by key.
            full_key: returns a key as the user reads it.
        """
        if not self._columns or torch.compiler.is_compiling():
            return
        coarse, fine = (
            torch.stack([values[keys[kind]] for _, keys in self._columns]).tolist()
            for kind in (AUC, RocAuc)
        )
        for (head, keys), grid_value, value in zip(self._columns, coarse, fine, strict=True):
            if head in self.warned or not abs(grid_value - value) > MOST_APART:
                continue
            self.warned.add(head)
            named = {kind: repr(full_key(key)) for kind, key in keys.items()}
            instead = f"Read {named[RocAuc]}"
            if named.keys() >= {AUCPrecisionRecall, AveragePrecision}:
                old, new = named[AUCPrecisionRecall], named[AveragePrecision]
                instead += f", and {new} in place of {old}"
            rank_zero_warn(
                f"{named[AUC]} reads {grid_value:.3f}, {named[RocAuc]} {value:.3f}. The first is "
                "over tf.estimator's grid of 200 thresholds, and too many of these scores lie "
                f"between two of them, as those of rare events do. {instead}.",
                CoarseAreaWarning,
            )
