"""A metric of torchmetrics' own that a head feeds, as one of the head's collection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import partial
from operator import setitem
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.plot import plot_single_or_multi_val

from torch_heads.metrics.agreement import Agreement
from torch_heads.metrics.gathered import metrics_in, over_processes
from torch_heads.metrics.metric import UPDATE_BY_HEAD
from torch_heads.metrics.several import refuse_several
from torch_heads.metrics.tally import keeping_dtype
from torch_heads.metrics.torchmetric import Torchmetric
from torch_heads.metrics.update_signature import UpdateCall


class Replacement(NamedTuple):
    """A new value of a name."""

    held: dict[str, Any]
    name: str
    value: Any
    before: Any

    @property
    def step(self) -> Callable[[], Any]:
        """What puts it there."""
        return partial(setitem, self.held, self.name, self.value)

    def take_back(self) -> None:
        """Put back the value before."""
        self.held[self.name] = self.before


class FedMetric(Metric):
    """A `torchmetrics.Metric` that a head feeds; NaN where no row was ever there.

    Processes tell each other what those with rows have seen; one without takes no part.

    Args:
        declared: the metric, of which this holds a copy, and what it is fed.
        key: its metric key, without the head's name.
        head: the head's name.
        names: the names of the classes.
        agreement: what processes agree on before they add up anything.

    Attributes:
        metric: the metric itself; each update puts another object in its place.
        rows: how many rows it has been fed.
    """

    full_state_update = False
    rows: Tensor
    metric: Metric

    def __init__(
        self,
        declared: Torchmetric,
        key: str,
        head: str | None,
        names: Sequence[str],
        agreement: Agreement,
    ) -> None:
        super().__init__()
        self.key, self.head, self.names, self.agreement = key, head, tuple(names), agreement
        self.metric = deepcopy(declared.metric)
        self.add_state("rows", torch.zeros((), dtype=torch.int64), "sum")

    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]
        """Whether more is better; no where the metric does not say.

        Raises:
            ValueError: if the metric is several numbers, each of which torchmetrics'
                ``MetricTracker`` would need a direction of, or if that cannot be told.
        """
        refuse_several(self.full_key, self.metric)
        return bool(self.metric.higher_is_better)

    @property
    def full_key(self) -> str:
        """Its metric key, with the head's name."""
        return f"{self.key}/{self.head}" if self.head else self.key

    def update(self, *_: Any, **__: Any) -> None:
        """Refuse: only a head can update its metrics."""
        raise TypeError(f"{self.full_key!r} is fed by its head. {UPDATE_BY_HEAD}")

    def forward(self, *_: Any, **__: Any) -> Any:
        """Refuse: only a head can update its metrics."""
        self.update()

    def compute(self) -> Any:
        """Return what the metric says of all rows since the last reset, NaN of none."""
        with over_processes(self.metric, self.rows, self.agreement) as rows:
            return self.metric.compute() if rows else torch.tensor(torch.nan, device=self.device)

    def read(self) -> dict[str, Tensor]:
        """Return the numbers of `compute` by metric key: one of each class, say, or of each pair.

        Raises:
            TypeError: if the metric is no number, tensor, or dict of these.
        """
        ending = f"/{self.head}" if self.head else ""
        dtype = torch.get_default_dtype()
        return {
            f"{self.key}{part}{ending}": torch.as_tensor(value).to(self.device, dtype)
            for part, value in self._numbers(self.compute())
        }

    def _numbers(self, value: Any) -> Iterator[tuple[str, Any]]:
        """Yield numbers, with what each adds to the key."""
        if isinstance(value, Mapping):
            for name, own in value.items():
                yield from ((f"/{name}{rest}", number) for rest, number in self._numbers(own))
        elif isinstance(value, (int, float)) or (isinstance(value, Tensor) and value.dim() == 0):
            yield "", value
        elif isinstance(value, Tensor):
            names = self.names if len(self.names) == len(value) else range(len(value))
            yield from self._numbers(dict(zip(names, value, strict=True)))
        else:
            raise TypeError(
                f"{self.full_key!r} is a {type(value).__name__}, and no number, tensor, or dict of "
                f"these. Read it by metrics[{self.full_key!r}].compute()."
            )

    def additions(self, call: UpdateCall) -> list[Replacement]:
        """Return what an update changes; nothing is changed yet, since a copy is updated."""
        from torch_heads.metrics.untraced import untraced

        changes: list[Replacement] = untraced(self._additions, call)
        return changes

    def _additions(self, call: UpdateCall) -> list[Replacement]:
        metric = _copied(self.metric)
        try:
            metric.update(*call.positional, **call.named)
        except Exception as error:
            error.add_note(f"This was the metric {self.key!r} of the head {self.head!r}.")
            raise
        rows = self.rows + call.rows
        # by the dicts, since a step must be one call of C: to set an attribute of a module is none
        return [
            Replacement(vars(self), "rows", rows, self.rows),
            Replacement(vars(self)["_modules"], "metric", metric, self.metric),
        ]

    def prepare(self, device: torch.device) -> None:
        """Move to the device of a batch."""
        states = [self.rows]
        for one in metrics_in(self.metric):
            for state in one.metric_state.values():
                if isinstance(state, Tensor):
                    states.append(state)
                elif not one.compute_on_cpu:
                    states += state
        if any(state.device != device for state in states):
            self.to(device)

    def reset(self) -> None:
        """Forget all rows."""
        super().reset()
        self.metric.reset()

    def persistent(self, mode: bool = False) -> None:
        """Set whether the states stand in a ``state_dict``."""
        super().persistent(mode)
        for one in metrics_in(self.metric):
            one.persistent(mode)

    def set_dtype(self, dst_type: str | torch.dtype) -> FedMetric:
        """Cast the states of the metric."""
        for one in metrics_in(self.metric):
            one.set_dtype(dst_type)
        return self

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add what another one of this kind has seen.

        Raises:
            TypeError: if it is none.
            RuntimeError: if torchmetrics cannot merge such metrics.
        """
        if not isinstance(incoming_state, FedMetric):
            raise TypeError(f"{self.full_key!r} merges with another one alone, not its states.")
        if len(metrics_in(self.metric)) > 1:
            raise RuntimeError(f"{self.full_key!r} has metrics in it, which cannot be merged.")
        if self.rows and incoming_state.rows:
            merged = _copied(self.metric)
            merged.merge_state(incoming_state.metric)
            self.metric = merged
        elif incoming_state.rows:
            self.metric = deepcopy(incoming_state.metric)
        self.rows = self.rows + incoming_state.rows

    def parts(self, keys: Iterable[str]) -> dict[str, str]:
        """Return which keys are those of its several numbers, with what each adds to its own."""
        start, ending = f"{self.key}/", f"/{self.head}" if self.head else ""
        return {
            key: key.removeprefix(start).removesuffix(ending)
            for key in keys
            if key.startswith(start) and key.endswith(ending)
        }

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Plot one or several values of this metric, as torchmetrics does."""
        values = self.compute() if val is None else val
        try:
            return self.metric.plot(values, ax)
        except NotImplementedError:  # of a metric of the user's own
            better = self.metric.higher_is_better
            return plot_single_or_multi_val(
                values, ax=ax, higher_is_better=better, name=self.full_key
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Any:
        # `module.to(torch.bfloat16)` reaches metric states too, and would round them
        return super()._apply(keeping_dtype(fn), exclude_state)

    # the metric has torchmetrics' wrappers; here they would sync, cache and warn once more
    def _wrap_update(self, update: Callable[..., Any]) -> Callable[..., Any]:
        return update

    def _wrap_compute(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        return compute


def _copied(metric: Metric) -> Metric:
    """Return a copy that can be updated; what no update changes, it shares."""
    memo: dict[int, Any] = {id(one): one for one in metric.parameters()}
    for part in metrics_in(metric):
        for name, default in part._defaults.items():
            state = getattr(part, name)
            if isinstance(state, Tensor):
                memo |= {id(default): default, id(state): state.clone()}
            else:
                memo |= {id(one): one for one in state}
    return deepcopy(metric, memo)
