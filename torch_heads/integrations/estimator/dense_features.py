"""The first layers of a network, which read the features by their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torch_heads.integrations.estimator.categorical_columns import CategoricalColumn
from torch_heads.integrations.estimator.dense_columns import (
    Combiner,
    DenseColumn,
    EmbeddingColumn,
    IndicatorColumn,
    NumericColumn,
)
from torch_heads.integrations.estimator.feature_column import check_columns, check_rows
from torch_heads.integrations.estimator.known_columns import KnownColumns


class DenseFeatures(nn.Module):
    """The first layer of a model: a dict of features, as its columns read it, side by side.

    The columns stand in the order of their names, whatever order they come in. A ``state_dict``
    holds the names, widths and vocabularies, and those of other columns are refused.

    Shapes: features by name, each with one entry per example; returns ``[B, width]``.

    Args:
        feature_columns: numeric, embedding and indicator columns.

    Raises:
        TypeError: if one is of another kind.
        ValueError: if there is none, or two have the same name.

    >>> from torch_heads.integrations.estimator import numeric_column
    >>> layer = DenseFeatures([numeric_column("age"), numeric_column("eyes", shape=2)])
    >>> layer({"eyes": [[1.0, 2.0]], "age": [30.0]})
    tensor([[30.,  1.,  2.]])
    """

    _where: Tensor

    def __init__(self, feature_columns: Iterable[DenseColumn] | DenseColumn) -> None:
        super().__init__()
        allowed = NumericColumn, EmbeddingColumn, IndicatorColumn
        columns = check_columns(type(self).__name__, feature_columns, allowed)
        #: The number of values per example.
        self.width = sum(column.width for column in columns)
        self.columns = KnownColumns(columns)
        embedded = [column for column in columns if isinstance(column, EmbeddingColumn)]
        self.embeddings = nn.ModuleList(map(_embedding, embedded))
        layers = iter(self.embeddings)
        self._read: list[Callable[[Mapping[str, Any]], Tensor]] = [
            next(layers) if isinstance(column, EmbeddingColumn) else column for column in columns
        ]
        self.register_buffer("_where", torch.empty(0), persistent=False)

    def forward(self, features: Mapping[str, Any]) -> Tensor:
        """Return the values of each example, ``[B, width]``.

        Raises:
            ValueError: if features are missing, of another form, or differ in their examples.
        """
        values = [read(features).to(self._where) for read in self._read]
        names = (column.name for column in self.columns.columns)
        check_rows({name: own.shape[0] for name, own in zip(names, values, strict=True)})
        return torch.cat(values, dim=-1)


class CategoryEmbedding(nn.Module):
    """A vector per category, combined over the categories of an example.

    Args:
        column: the categories.
        dimension: the length of the vectors.
        combiner: how several are combined.
        initializer: fills the vectors in place.
    """

    def __init__(
        self,
        column: CategoricalColumn,
        dimension: int,
        combiner: Combiner,
        initializer: Callable[[Tensor], object],
    ) -> None:
        super().__init__()
        self._column, self._combiner = column, combiner
        self.weight = nn.Parameter(torch.empty(column.num_buckets, dimension))
        with torch.no_grad():
            initializer(self.weight)

    def forward(self, features: Mapping[str, Any]) -> Tensor:
        """Return the combined vector of each example, ``[B, dimension]``; 0 without a category."""
        ids = self._column.ids(features).to(self.weight.device)
        there = (ids >= 0).unsqueeze(-1)
        total = (F.embedding(ids.clamp(min=0), self.weight) * there).sum(1)
        count = there.sum(1).clamp(min=1)
        if self._combiner == "sum":
            return total
        return total / (count if self._combiner == "mean" else count.sqrt())


def _embedding(column: EmbeddingColumn) -> CategoryEmbedding:
    deviation = 1 / sqrt(column.dimension)

    def cut_normal(weight: Tensor) -> Tensor:
        return nn.init.trunc_normal_(weight, 0.0, deviation, -2 * deviation, 2 * deviation)

    fill = column.initializer or cut_normal
    layer = CategoryEmbedding(column.categorical_column, column.dimension, column.combiner, fill)
    return layer.requires_grad_(column.trainable)
