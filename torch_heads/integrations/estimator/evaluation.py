"""What an evaluation adds up over the specs of its batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from torch_heads.functional.errors import unexpected
from torch_heads.heads.spec import EstimatorSpec
from torch_heads.metrics.collection import ReadingCollection


class Evaluation:
    """The mean loss of the batches, and their metrics merged."""

    def __init__(self, who: str) -> None:
        self._who = who
        self._losses: list[Tensor] = []
        self._metrics: Mapping[str, Any] = {}
        self._parts: dict[str, Metric] = {}

    def add(self, spec: EstimatorSpec) -> None:
        """Add a batch, whose metrics have seen it and no other, or all since the first.

        Raises:
            TypeError: if ``eval_metric_ops`` are not torchmetrics metrics by name.
            ValueError: if they are not those of the first batch, or cannot be merged with them,
                or one is called ``loss``.
        """
        metrics = spec.eval_metric_ops
        parts = self._check(metrics)
        if not self._losses:
            self._metrics, self._parts = metrics, parts
        if parts.keys() != self._parts.keys():
            expected = f"with the keys {list(self._parts)} of the first batch"
            raise ValueError(unexpected(self._who, "eval_metric_ops", expected, list(parts)))
        for key, total in self._parts.items():
            if parts[key] is not total:  # a metric that model_fn keeps adds up by itself
                self._merge(key, total, parts[key])
        if spec.loss is not None:
            self._losses.append(spec.loss.detach())

    def compute(self) -> dict[str, Any]:
        """Return the values by key, and reset the metrics, which ``model_fn`` may have kept.

        Raises:
            ValueError: if there was no batch.
        """
        if not self._losses:
            raise ValueError(unexpected(self._who, "input_fn", "to give batches", "none"))
        if isinstance(self._metrics, ReadingCollection):
            values = self._metrics.compute()
        else:
            values = {key: metric.compute() for key, metric in self._metrics.items()}
        for metric in self._parts.values():
            metric.reset()
        values["loss"] = torch.stack(self._losses).double().mean()
        return {key: _plain(value) for key, value in values.items()}

    def _merge(self, key: str, total: Metric, one: Metric) -> None:
        try:
            total.merge_state(one)
        except RuntimeError:  # torchmetrics cannot merge those that see their whole past
            expected, given = "that can be merged", f"{type(one).__name__} for {key!r}"
            hint = "Return the same metric for every batch; it is reset after an evaluation."
            refusal = unexpected(self._who, "eval_metric_ops", expected, given, hint)
            raise ValueError(refusal) from None

    def _check(self, metrics: Any) -> dict[str, Metric]:
        argument = "eval_metric_ops"
        if not hasattr(metrics, "items"):
            expected = "as torchmetrics metrics by name"
            raise TypeError(unexpected(self._who, argument, expected, type(metrics).__name__))
        held = metrics.tallies if isinstance(metrics, ReadingCollection) else metrics
        parts: dict[str, Any] = dict(held.items())
        for key, part in parts.items():
            if not isinstance(part, Metric):
                given = f"{type(part).__name__} for {key!r}"
                raise TypeError(unexpected(self._who, argument, "as torchmetrics metrics", given))
        if "loss" in metrics:
            hint = "It is the mean loss of the batches."
            raise ValueError(unexpected(self._who, argument, "without the key 'loss'", "it", hint))
        return parts


def _plain(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.item() if value.numel() == 1 else value.cpu().numpy()
