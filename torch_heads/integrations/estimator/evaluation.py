"""What an evaluation adds up over the specs of its batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from torch_heads.functional.errors import unexpected
from torch_heads.heads.spec import EstimatorSpec
from torch_heads.metrics.collection import ReadingCollection
from torch_heads.metrics.metric import ReadingMetric


class Evaluation:
    """The mean loss of the batches, and their metrics merged.

    A ``model_fn`` may keep its metrics from batch to batch, and from one evaluation to the next:
    each starts from none of what they have seen, and leaves nothing in them.

    Args:
        who: the estimator's class, as errors say it.
    """

    def __init__(self, who: str) -> None:
        self._who = who
        self._losses: list[Tensor] = []
        self._metrics: Mapping[str, Any] = {}
        self._parts: dict[str, Metric] = {}

    def over(self, runs: Iterable[Callable[[], EstimatorSpec]]) -> dict[str, Any]:
        """Return the values by key, from what returns the spec of each batch.

        Raises:
            TypeError: if ``eval_metric_ops`` are not torchmetrics metrics by name.
            ValueError: if there is no batch, or ``eval_metric_ops`` are not those of the first
                one, cannot be merged with them, or have one called ``loss``.
        """
        try:
            for run in runs:
                if self._losses:
                    self._add(run())
                else:
                    self._begin(run)
            if not self._losses:
                raise ValueError(unexpected(self._who, "input_fn", "to give batches", "none"))
            return self._compute()
        finally:
            self._reset()

    def _begin(self, run: Callable[[], EstimatorSpec]) -> None:
        self._take(run())
        if any(part.update_count > 1 for part in self._parts.values()):
            # they may have seen more than this batch: a training, or half an evaluation
            self._reset()
            self._take(run())

    def _take(self, spec: EstimatorSpec) -> None:
        self._parts = self._check(spec.eval_metric_ops)
        self._metrics = spec.eval_metric_ops or {}
        self._losses = [torch.as_tensor(spec.loss).detach()]

    def _add(self, spec: EstimatorSpec) -> None:
        parts = self._check(spec.eval_metric_ops)
        if parts.keys() != self._parts.keys():
            expected = f"with the keys {list(self._parts)} of the first batch"
            raise ValueError(unexpected(self._who, "eval_metric_ops", expected, list(parts)))
        # one metric may stand under several keys, and one that is kept adds up by itself
        totals = {id(total): key for key, total in self._parts.items() if parts[key] is not total}
        for key in totals.values():
            self._merge(key, self._parts[key], parts[key])
        self._losses.append(torch.as_tensor(spec.loss).detach())

    def _compute(self) -> dict[str, Any]:
        if isinstance(self._metrics, ReadingCollection):
            values = self._metrics.compute()
        else:
            values = {key: metric.compute() for key, metric in self._metrics.items()}
        values["loss"] = torch.stack(self._losses).double().mean()
        return {key: _plain(value) for key, value in values.items()}

    def _reset(self) -> None:
        for metric in self._parts.values():
            metric.reset()

    def _merge(self, key: str, total: Metric, one: Metric) -> None:
        try:
            total.merge_state(one)
        except RuntimeError:  # torchmetrics cannot merge those that see their whole past
            expected, given = "that can be merged", f"{type(one).__name__} for {key!r}"
            hint = "Return the same metric for every batch; it is reset after an evaluation."
            refusal = unexpected(self._who, "eval_metric_ops", expected, given, hint)
            raise ValueError(refusal) from None

    def _check(self, metrics: Any) -> dict[str, Metric]:
        """Return the metrics that hold the state of these."""
        argument = "eval_metric_ops"
        if metrics is None:
            return {}
        if not hasattr(metrics, "items"):
            expected = "as torchmetrics metrics by name"
            raise TypeError(unexpected(self._who, argument, expected, type(metrics).__name__))
        if "loss" in metrics:
            hint = "It is the mean loss of the batches."
            raise ValueError(unexpected(self._who, argument, "without the key 'loss'", "it", hint))
        held: Any = metrics
        if isinstance(metrics, ReadingCollection):
            held = {**metrics.tallies, **metrics.fed}
        parts: dict[str, Any] = dict(held.items())
        for key, part in parts.items():
            if not isinstance(part, Metric):
                given = f"{type(part).__name__} for {key!r}"
                raise TypeError(unexpected(self._who, argument, "as torchmetrics metrics", given))
        return {
            key: part.tally if isinstance(part, ReadingMetric) else part
            for key, part in parts.items()
        }


def _plain(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.item() if value.numel() == 1 else value.cpu().numpy()
