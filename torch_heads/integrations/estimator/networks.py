"""The networks of the estimators that come with one, from features to logits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torch_heads.integrations.estimator.categorical_columns import CategoricalColumn
from torch_heads.integrations.estimator.dense_columns import Combiner, DenseColumn
from torch_heads.integrations.estimator.dense_features import CategoryEmbedding, DenseFeatures
from torch_heads.integrations.estimator.feature_column import check_rows
from torch_heads.integrations.estimator.known_columns import KnownColumns

Activation = Callable[[Tensor], Tensor]


def deep_network(
    columns: Iterable[DenseColumn] | DenseColumn,
    hidden_units: Sequence[int],
    units: int,
    activation_fn: Activation | None,
    dropout: float | None,
    batch_norm: bool,
) -> nn.Sequential:
    """Return the original's network from a dict of features to ``units`` logits."""
    inputs = DenseFeatures(columns)
    layers: list[nn.Module] = [inputs]
    width = inputs.width
    for hidden in hidden_units:
        layers.append(_glorot(width, hidden))
        if activation_fn is not None:
            layers.append(Apply(activation_fn))
        if dropout is not None:
            layers.append(nn.Dropout(dropout))
        if batch_norm:
            layers.append(BatchNorm(hidden, eps=1e-3, momentum=1e-3))
        width = hidden
    return nn.Sequential(*layers, _glorot(width, units))


class LinearModel(nn.Module):
    """The logits of a linear model, which start at 0.

    Args:
        columns: feature columns, by name.
        units: the number of logits.
        combiner: what becomes of the weights of several categories in an example.
    """

    def __init__(self, columns: Sequence[Any], units: int, combiner: Combiner) -> None:
        super().__init__()
        categorical = [column for column in columns if isinstance(column, CategoricalColumn)]
        dense = [column for column in columns if not isinstance(column, CategoricalColumn)]
        self.columns = KnownColumns(categorical)
        self.bias = nn.Parameter(torch.zeros(units))
        self.terms = nn.ModuleList(
            CategoryEmbedding(column, units, combiner, nn.init.zeros_) for column in categorical
        )
        if dense:
            inputs = DenseFeatures(dense)
            linear = nn.Linear(inputs.width, units, bias=False)
            nn.init.zeros_(linear.weight)
            self.terms.append(nn.Sequential(inputs, linear))

    def forward(self, features: Mapping[str, Any]) -> Tensor:
        """Return the logits, ``[B, units]``."""
        terms = [term(features) for term in self.terms]
        names = [*(column.name for column in self.columns.columns), "the others"]
        check_rows({name: own.shape[0] for name, own in zip(names, terms, strict=False)})
        return sum(terms, self.bias)


class BatchNorm(nn.BatchNorm1d):
    """Batch normalization that takes a batch of one row in training, too, as the original's."""

    def forward(self, values: Tensor) -> Tensor:
        """Return the values without their mean, over their deviation; one row has none."""
        if self.training and values.shape[0] == 1:
            return (values - values.mean(0)) * self.weight + self.bias
        return super().forward(values)


class Apply(nn.Module):
    """A function, or a module, as a layer."""

    def __init__(self, function: Activation) -> None:
        super().__init__()
        self.function = function

    def forward(self, values: Tensor) -> Tensor:
        """Return what the function makes of the values."""
        return self.function(values)


def _glorot(width: int, units: int) -> nn.Linear:
    layer = nn.Linear(width, units)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
