"""The collection that a head wraps: readings on the outside, a few tallies on the inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from torch_heads.functional.errors import preview, unexpected
from torch_heads.metrics.bound import BoundReading, Place
from torch_heads.metrics.coarse import CoarseAreas
from torch_heads.metrics.evidence import Evidence
from torch_heads.metrics.fed import FedMetric
from torch_heads.metrics.metric import UPDATE_BY_HEAD
from torch_heads.metrics.over_heads import mean_of
from torch_heads.metrics.reader import Reader
from torch_heads.metrics.saved import CountsMeaning
from torch_heads.metrics.tally import Lock, Tally

GIVE_HEAD = "Metrics are given to a head when it is made: BinaryClassHead(metrics=[...])."

BATCHES, REGULARIZATION = "calls", "regularization"  # the tallies of means over batches

FED = "metric/"  # before the names of torchmetrics' own, which no attribute has

Layout = tuple[tuple[str, ...], tuple[Any, ...], str]  # keys, what holds state, what that means


class ReadingCollection(Evidence):
    """A `torchmetrics.MetricCollection` of readings, keyed by tf.estimator's metric keys.

    Only a few tallies hold state: `reset`, `to`, `state_dict` and the sync between processes act
    on each of them once. A head updates it (`Head.update_metrics`); keys with a dot are keys.
    Metrics of torchmetrics' own that were asked for stand among the readings, with their own state.

    Args:
        tallies: the tallies by name.
        metrics: the readings, and the metrics of torchmetrics' own, by metric key.
        means: what is a mean over heads: its key, and the keys that it is over.
        places: where each head of a single target is counted, by name.
        names: the metric keys of each head, by name.
        layout: what a head compares to tell its own collections from others'.
        warned: of what was warned, shared by the collections of a head.
        meaning: what the counts mean, which stands beside them in a ``state_dict``.
    """

    def __init__(
        self,
        tallies: Mapping[str, Tally],
        metrics: Mapping[str, BoundReading | FedMetric],
        means: Mapping[str, Sequence[str]],
        places: Mapping[str, Place],
        names: Mapping[str, Sequence[str]],
        layout: Layout,
        warned: set[str],
        meaning: CountsMeaning,
    ) -> None:
        super().__init__()
        self.layout = layout
        self.meaning = meaning
        #: Held while a batch is added.
        self.lock = Lock()
        self.tallies = dict(tallies)
        for name, tally in tallies.items():
            self.add_module(name, tally)
        #: Whether these are some readings of another collection, with which they share tallies.
        self.is_part = not layout[1]
        self.readings = {key: one for key, one in metrics.items() if isinstance(one, BoundReading)}
        self.means = dict(means)
        self._keys = [*metrics, *means]
        #: The metrics of torchmetrics' own by key.
        self.fed = {key: one for key, one in metrics.items() if isinstance(one, FedMetric)}
        for key, metric in self.fed.items():
            # a name that no attribute has; a dot would be none of a module
            self.add_module(f"{FED}{key}".replace("%", "%25").replace(".", "%2E"), metric)
        self.places = dict(places)
        self._names = dict(names)
        #: Warns of areas that tf.estimator's grid misreads.
        self.coarse = CoarseAreas(self.readings, places, warned)
        self._views = {}

    def part(self, keys: Iterable[str]) -> ReadingCollection:
        """Return the metrics of some keys alone; they share their tallies with these.

        To reset it resets these tallies, and with them every reading of them.
        """
        every = dict.fromkeys(keys)
        means = {key: self.means[key] for key in every if key in self.means}
        members = [*(key for key in every if key not in means), *chain(*means.values())]
        kept = {key: self.fed.get(key) or self.readings[key] for key in members}
        bound = [one for one in kept.values() if isinstance(one, BoundReading)]
        tallies = {one.place.tally for one in bound}
        places = {id(one.place) for one in bound}
        part = ReadingCollection(
            {name: tally for name, tally in self.tallies.items() if name in tallies},
            kept,
            means,
            {name: place for name, place in self.places.items() if id(place) in places},
            {name: own for name, own in self._names.items() if every.keys() >= {*own}},
            ((*kept, *means), (), ""),
            self.coarse.warned,
            self.meaning,
        )
        part._keys = [*every]  # and not what means are over alone
        return part

    def add_metrics(self, metrics: Any, *additional_metrics: Any) -> None:
        """Refuse: metrics are given to the head, when it is made."""
        if metrics or additional_metrics:
            raise TypeError(f"Only its head feeds a metric, and so none can be added. {GIVE_HEAD}")

    def __setitem__(self, key: str, metric: Any) -> None:
        """Refuse, as `add_metrics` does."""
        self.add_metrics(metric)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made again when it is looked up."""
        state = {**self.__dict__, "_views": {}}
        state.pop("_reader", None)
        return state

    def update(self, *_: Any, **__: Any) -> None:
        """Refuse: only the head can update its metrics."""
        raise TypeError(f"The metrics of a head need its labels and logits. {UPDATE_BY_HEAD}")

    def forward(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Refuse: only the head can update its metrics."""
        raise TypeError(f"The metrics of a head need its labels and logits. {UPDATE_BY_HEAD}")

    def compute(self) -> dict[str, Any]:
        """Return every metric, synced over processes once per tally.

        A metric of torchmetrics' own that is a vector or a dict has a key for each of its numbers.

        Raises:
            TypeError: if one of torchmetrics' own is something else.
            ValueError: if such a key is that of another metric.
        """
        values = self.read()
        self.coarse.warn(values, self._set_name)
        fed = self.read_fed()
        each = (fed[key] if key in fed else {key: values[key]} for key in self._keys)
        pairs = [pair for own in each for pair in own.items()]
        found = dict(pairs)
        if len(found) < len(pairs):
            twice, _ = next((key, value) for key, value in pairs if value is not found[key])
            expected = "with keys that none of several numbers of another has"
            raise ValueError(unexpected(type(self).__name__, "metrics", expected, repr(twice)))
        return {self._set_name(key): value for key, value in found.items()}

    def read_fed(self) -> dict[str, dict[str, Tensor]]:
        """Return, by key, the numbers of each metric of torchmetrics' own by theirs."""
        return {key: metric.read() for key, metric in self.fed.items()}

    def read(self, strict: bool = False) -> dict[str, Tensor]:
        """Return every reading by its key, without prefix and postfix.

        Args:
            strict: whether what is undefined is NaN in any case; else tf.estimator's own metrics
                are 0 or 1 then, as there.
        """
        states = {name: tally.flat() for name, tally in self.tallies.items()}
        found = self._reader.read(states, strict)
        if self.means:
            defined = found if strict else self._reader.read(states, strict=True)
            found |= {
                key: mean_of([defined[one] for one in own]) for key, own in self.means.items()
            }
        return found

    @cached_property
    def _reader(self) -> Reader:
        """What reads them, made when it is first needed."""
        return Reader(self.readings)

    def take(self, other: ReadingCollection) -> None:
        """Go on with what another collection of the same tallies has counted, which is given up."""
        for name, tally in self.tallies.items():
            tally.take(other.tallies[name])
        self.prefix, self.postfix = other.prefix, other.postfix

    def reset(self) -> None:
        """Forget all batches."""
        for one in self._holders:
            one.reset()

    @property
    def _holders(self) -> list[Tally | FedMetric]:
        """What holds state."""
        return [*self.tallies.values(), *self.fed.values()]

    def persistent(self, mode: bool = True) -> None:
        """Choose whether `state_dict` holds the states."""
        for one in self._holders:
            one.persistent(mode)

    def set_dtype(self, dst_type: str | torch.dtype) -> ReadingCollection:
        """Cast the states; below float64, counts stop growing at some point."""
        for one in self._holders:
            one.set_dtype(dst_type)
        return self

    def plot(self, val: Any = None, ax: Any = None, together: bool = False) -> Any:
        """Plot each metric, or all in one figure, as torchmetrics does.

        A metric of torchmetrics' own that is several numbers has all of them in one figure.
        """
        values = val or self.compute()
        if not together:
            one = isinstance(values, Mapping)
            values = self._by_metric(values) if one else [*map(self._by_metric, values)]
        return super().plot(values, ax, together)

    def _by_metric(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what `compute` returned by metric, with several numbers of one as a dict."""
        found = {
            key.removeprefix(self.prefix or "").removesuffix(self.postfix or ""): value
            for key, value in values.items()
        }
        numbers = [key for key in found if key not in self._keys]
        for key in sorted(self.fed, key=len, reverse=True):  # "a/b" before "a"
            parts = self.fed[key].parts(numbers)
            if parts and key not in found:
                found[key] = {part: found.pop(number) for number, part in parts.items()}
                numbers = [number for number in numbers if number not in parts]
        return {self._set_name(key): value for key, value in found.items()}

    def __repr__(self) -> str:
        """Return the metric keys."""
        return f"{type(self).__name__}({preview(self.keys(), 40)})"
