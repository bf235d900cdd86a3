"""A reading as a `torchmetrics.Metric`."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities.plot import plot_single_or_multi_val

from torch_heads.metrics.bound import BoundReading, read_one
from torch_heads.metrics.tally import Tally

UPDATE_BY_HEAD = "Update it by head.update_metrics(metrics, features, logits, labels)."
MERGE_TALLIES = "Merge each of metrics.tallies, by its merge_state."


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
    def higher_is_better(self) -> bool:  # type: ignore[override]
        """Whether more is better; no for what has no direction, such as means.

        The reading says None there, of which torchmetrics' ``MetricTracker`` can make nothing.
        """
        return bool(self.bound.reading.higher_is_better)

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

    def _filter_kwargs(self, **kwargs: Any) -> dict[str, Any]:
        """Take what another collection, in which this stands, gives it to be refused."""
        return kwargs

    def compute(self) -> Tensor:
        """Return the metric over all batches since the last reset."""
        return read_one(self.bound, self.tally.compute())

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
            higher_is_better=self.bound.reading.higher_is_better,
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
