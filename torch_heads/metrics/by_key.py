"""A collection as a dict: its metrics by key, and those of a head by its name."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn
from torchmetrics import Metric

from torch_heads.functional.errors import preview
from torch_heads.metrics.bound import BoundReading
from torch_heads.metrics.fed import FedMetric
from torch_heads.metrics.metric import ReadingMetric
from torch_heads.metrics.over_heads import MeanOverHeadsMetric
from torch_heads.metrics.saved import SavedCounts
from torch_heads.metrics.tally import Tally

MOST_LISTED = 256  # readings that take their place among the modules of a model


class MetricsByKey(SavedCounts):
    """A collection whose metrics are made as they are looked up.

    Attributes:
        tallies: the tallies by name.
        readings: the readings by key, without prefix and postfix.
        fed: the metrics of torchmetrics' own, likewise.
        means: what is a mean over heads: its key, and the keys that it is over.
    """

    tallies: Mapping[str, Tally]
    readings: Mapping[str, BoundReading]
    fed: Mapping[str, FedMetric]
    means: Mapping[str, Sequence[str]]
    _keys: Sequence[str]
    _names: Mapping[str, Sequence[str]]
    _views: dict[str, ReadingMetric]

    @abstractmethod
    def part(self, keys: Iterable[str]) -> MetricsByKey:
        """Return the metrics of some keys alone."""

    def keys(self, keep_base: bool = False) -> Iterable[str]:  # type: ignore[override]
        """Return the metric keys."""
        return [key if keep_base else self._set_name(key) for key in self._keys]

    def items(  # type: ignore[override]
        self, keep_base: bool = False, copy_state: bool = True
    ) -> Iterable[tuple[str, Metric]]:
        """Return each key with its metric."""
        return [(key if keep_base else self._set_name(key), self._view(key)) for key in self._keys]

    def values(self, copy_state: bool = True) -> Iterable[Metric]:  # type: ignore[override]
        """Return the metrics."""
        return [self._view(key) for key in self._keys]

    def __getitem__(self, key: str, copy_state: bool = True) -> Any:
        """Return one metric by its key, with prefix and postfix or without; or those of a head.

        >>> from torch_heads import BinaryClassHead, MultiHead, RegressionHead
        >>> heads = [BinaryClassHead(name="click"), RegressionHead(name="price")]
        >>> MultiHead(heads).metrics()["price"]
        ReadingCollection(['average_loss/price', 'prediction/mean/price', 'label/mean/price'])
        """
        base = self._base(key)
        if base is not None:
            return self._view(base)
        if isinstance(key, str) and key in self._names:
            return self.part(self._names[key])
        named = [*filter(None, self._names)]
        heads = f", and the heads {preview(named)}" if named else ""
        raise KeyError(f"No metric {key!r}; there are {preview(self.keys(), 20)}{heads}.")

    def __contains__(self, key: object) -> bool:
        """Return whether there is a metric of that key."""
        return self._base(key) is not None

    def __iter__(self) -> Iterator[str]:
        """Iterate over the metric keys."""
        return iter(self.keys())

    def __len__(self) -> int:
        """Return the number of metrics."""
        return len(self._keys)

    def _base(self, key: object) -> str | None:
        if not isinstance(key, str):
            return None
        bare = key.removeprefix(self.prefix or "").removesuffix(self.postfix or "")
        known = self.readings, self.fed, self.means
        return next((base for base in (bare, key) if any(base in one for one in known)), None)

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """Yield the readings too: Lightning logs a metric only where it finds it here.

        Of many readings, only those that were looked up before: every walk over the parameters of
        a model comes through here.
        """
        memo = set() if memo is None else memo
        yield from super().named_modules(memo, prefix, remove_duplicate)
        few = len(self._keys) <= MOST_LISTED
        views: Iterable[tuple[str, Metric]] = list(self._views.items())
        for key, metric in self.items(keep_base=True) if few else views:
            if metric not in memo or not remove_duplicate:
                memo.add(metric)
                yield f"{prefix}.{key}" if prefix else key, metric

    def _view(self, key: str) -> ReadingMetric | FedMetric:
        if key in self.fed:
            return self.fed[key]
        if key not in self._views:
            over = [self._reading_of(one) for one in self.means.get(key, ())]
            self._views[key] = MeanOverHeadsMetric(key, over) if over else self._reading_of(key)
        return self._views[key]

    def _reading_of(self, key: str) -> ReadingMetric:
        bound = self.readings[key]
        return ReadingMetric(key, bound, self.tallies[bound.place.tally])
