"""Keras 3 on the torch backend, for where it is installed."""

import os
from collections.abc import Callable

os.environ["KERAS_BACKEND"] = "torch"

import keras
import torch
from torch import Tensor

import torch_heads as th
from benchmarks.contestants import GRID, Task, mean_of


class Keras(Task):
    """A loss of `keras.losses` and metrics of `keras.metrics`."""

    def __init__(self, head: th.Head, device: torch.device) -> None:
        super().__init__(head, device)
        self.loss = loss_fn(head)
        self.metrics = metrics_of(head)
        self.loss_mean, self.prediction_mean, self.label_mean = (
            keras.metrics.Mean() for _ in range(3)
        )

    def update(self, logits: Tensor, labels: Tensor) -> None:
        self.loss_mean.update_state(self.loss(logits, labels), len(logits))
        classes = isinstance(self.head, th.MultiClassHead)
        mean = logits if classes else mean_of(self.head, logits)
        for metric in self.metrics:
            metric.update_state(labels, mean)
        if not classes and not isinstance(self.head, th.MultiLabelHead):
            self.prediction_mean.update_state(mean)
            self.label_mean.update_state(labels)


def loss_fn(head: th.Head) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the mean loss of a head's kind, of logits and labels."""
    match head:
        case th.MultiClassHead():
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        case th.RegressionHead():
            loss = keras.losses.MeanSquaredError()
        case th.PoissonRegressionHead():
            poisson = keras.losses.Poisson()
            return lambda logits, labels: poisson(labels, logits.exp())
        case _:
            loss = keras.losses.BinaryCrossentropy(from_logits=True)
    return lambda logits, labels: loss(labels, logits)


def metrics_of(head: th.Head) -> list[keras.metrics.Metric]:
    """Return the metrics of a head's kind, but for the means."""
    curves = [keras.metrics.AUC(GRID + 1), keras.metrics.AUC(GRID + 1, curve="PR")]
    match head:
        case th.BinaryClassHead():
            shares = keras.metrics.BinaryAccuracy, keras.metrics.Precision, keras.metrics.Recall
            return [*curves, *(share() for share in shares)]
        case th.MultiLabelHead():
            return curves
        case th.MultiClassHead():
            return [keras.metrics.SparseCategoricalAccuracy()]
    return []
