"""A reading bound to some columns of a tally, and the same as a `torchmetrics.Metric`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities.plot import plot_single_or_multi_val

from torch_heads.families.family import Counts, Family
from torch_heads.functional.constants import Constants
from torch_heads.functional.scores import ScoreBins
from torch_heads.metrics.readings import Reading
from torch_heads.metrics.sums import Sums
from torch_heads.metrics.tally import Tally

UPDATE_BY_HEAD = "Update it by head.update_metrics(metrics, features, logits, labels)."
MERGE_TALLIES = "Merge each of metrics.tallies, by its merge_state."


class Place(NamedTuple):
    """Where the metrics keep what they have seen of one target.

    Attributes:
        tally: the name of the tally.
        columns: its label columns there.
        family: the family of the target; None for means over batches.
        counts: what is counted of it.
        bins: where scores are cut; None where no scores are counted.
        may_miss: whether labels may be missing; what never had a label then reads as NaN, not 0.
    """

    tally: str
    columns: slice
    family: Family | None = None
    counts: Counts | None = None
    bins: ScoreBins | None = None
    may_miss: bool = False


class BoundReading(NamedTuple):
    """A reading, and the place where it reads."""

    reading: Reading
    place: Place

    @property
    def rows(self) -> range:
        """The rows of the tally's state that the reading reads."""
        columns, column = self.place.columns, self.reading.column
        if column is None:
            return range(columns.start, columns.stop)
        return range(columns.start + column, columns.start + column + 1)

    @property
    def alike(self) -> Hashable:
        """What readings have in common that one formula reads at once: a thousand AUCs, say."""
        reading, place = self
        # not by `replace`, which is slow, and wide heads have thousands of readings
        own = [
            getattr(reading, field)
            for field in reading.__dataclass_fields__
            if field not in ("column", "threshold")
        ]
        cuts = place.bins is None, getattr(reading, "threshold", None) is None
        return type(reading), *own, place.tally, len(self.rows), place.may_miss, *cuts


class AlikeReadings:
    """Readings that are `BoundReading.alike`, read by one formula.

    Args:
        bound: at least one, of one tally.
    """

    def __init__(self, bound: Sequence[BoundReading]) -> None:
        self._reading, self._place = bound[0]
        self._starts = [one.rows.start for one in bound]
        self._columns = len(bound[0].rows)
        constants: dict[str, Any] = {"starts": self._starts}
        if hasattr(self._reading, "threshold"):
            constants["cut"] = [
                bins_of(one).positions[one.reading.threshold]  # type: ignore[attr-defined]
                for one in bound
            ]
        if self._place.bins is not None:
            several = len({one.place.bins for one in bound}) > 1
            grids = [bins_of(one).grid for one in (bound if several else bound[:1])]
            constants["grid"] = torch.from_numpy(np.stack(grids))
        self._constants = Constants(**constants)

    def read(self, state: Tensor) -> Tensor:
        """Return the metrics ``[K]`` from the state of their tally."""
        constants = self._constants.on(state.device)
        first, count = self._starts[0], len(self._starts) * self._columns
        if self._starts == [*range(first, first + count, self._columns)]:
            rows = state[first : first + count].view(-1, self._columns, state.shape[-1])
        else:
            columns = torch.arange(self._columns, device=state.device)
            rows = state[constants["starts"].unsqueeze(-1) + columns]
        sums = Sums.of(rows, constants.get("cut"), constants.get("grid"))
        values = self._reading.read(sums).to(torch.get_default_dtype())
        if not self._place.may_miss:
            return values
        return torch.where(self._reading.present(sums), values, torch.nan)


def bins_of(bound: BoundReading) -> ScoreBins:
    """Return where the scores of a reading are cut, by default where no threshold is."""
    return bound.place.bins or ScoreBins()


class ReadingMetric(Metric):
    """One reading as a `torchmetrics.Metric`. Its states are its tally's, shared with the others.

    To reset it resets the tally, and with it every reading of that tally.
    """

    full_state_update = False
    name: str
    bound: BoundReading
    tally: Tally

    def __init__(self, name: str, bound: BoundReading, tally: Tally) -> None:
        nn.Module.__init__(self)
        # not by setattr, which is slow, and wide heads have thousands of readings
        self.__dict__ |= _metric_attributes() | {"name": name, "bound": bound}
        self._modules["tally"] = tally

    @property
    def higher_is_better(self) -> bool | None:  # type: ignore[override]
        """Whether more is better, None where neither is."""
        return self.bound.reading.higher_is_better

    @property
    def update_count(self) -> int:
        """How many batches the tally has seen since the last reset."""
        return self.tally.update_count

    @property
    def update_called(self) -> bool:
        """Whether the tally has seen a batch since the last reset."""
        return self.tally.update_called

    @property
    def device(self) -> torch.device:
        """The device of the tally."""
        return self.tally.device

    def update(self, *_: Any, **__: Any) -> None:
        """Refuse: only a head can update its metrics."""
        raise TypeError(f"{self.name!r} is read from a tally. {UPDATE_BY_HEAD}")

    def forward(self, *_: Any, **__: Any) -> Any:
        """Refuse: only a head can update its metrics."""
        self.update()

    def compute(self) -> Tensor:
        """Return the metric over all batches since the last reset."""
        return AlikeReadings([self.bound]).read(self.tally.compute())[0]

    def reset(self) -> None:
        """Reset the tally."""
        self.tally.reset()

    def persistent(self, mode: bool = False) -> None:
        """Set whether the tally, and with it every reading of it, stands in a ``state_dict``."""
        self.tally.persistent(mode)

    def merge_state(self, *_: Any, **__: Any) -> None:
        """Refuse: the other readings of the tally would change, too."""
        raise TypeError(f"{self.name!r} is read from a tally. {MERGE_TALLIES}")

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Plot one or several values of this metric, as torchmetrics does."""
        return plot_single_or_multi_val(
            self.compute() if val is None else val,
            ax=ax,
            higher_is_better=self.higher_is_better,
            name=self.name,
        )


@cache
def _metric_attributes() -> dict[str, Any]:
    """Return what torchmetrics' constructor sets; kept, since to make it is slow."""
    metric = object.__new__(ReadingMetric)
    # a reading has no state to sync or to cache; its tally syncs
    Metric.__init__(metric, sync_on_compute=False, compute_with_cache=False)
    wrapped = {"update", "compute", "_update_signature"}
    plain = vars(metric).keys() - vars(nn.Module()).keys() - wrapped
    return {name: vars(metric)[name] for name in plain}
