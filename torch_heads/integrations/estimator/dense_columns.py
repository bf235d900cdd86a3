"""Columns that are numbers: given, or made of categories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from torch_heads.functional.arguments import check_count, check_flag
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.tensors import to_tensor
from torch_heads.integrations.estimator.categorical_columns import CategoricalColumn
from torch_heads.integrations.estimator.feature_column import (
    FeatureColumn,
    Features,
    check_key,
    find_feature,
)

Combiner = Literal["mean", "sqrtn", "sum"]

COMBINERS = get_args(Combiner)


@dataclass(frozen=True)
class NumericColumn(FeatureColumn):
    """Numbers, as `numeric_column` makes it; a callable of the features."""

    key: str
    shape: tuple[int, ...]
    default_value: Any
    dtype: torch.dtype
    normalizer_fn: Callable[[Tensor], Tensor] | None

    @property
    def name(self) -> str:
        """The feature's key."""
        return self.key

    @property
    def width(self) -> int:
        """How many numbers an example has."""
        return prod(self.shape)

    def __call__(self, features: Features) -> Tensor:
        """Return the numbers of each example, ``[B, width]``."""
        who = f"numeric_column {self.key!r}"
        values = to_tensor(who, "the feature", find_feature(who, features, self.key)).to(self.dtype)
        if self.shape == (1,) and values.dim() == 1:
            values = values.unsqueeze(-1)
        if values.dim() == 0 or values.shape[1:] != self.shape:
            expected, given = f"of shape {['B', *self.shape]}", list(values.shape)
            raise ValueError(unexpected(who, "the feature", expected, given))
        if self.default_value is not None:
            default = torch.as_tensor(self.default_value, dtype=self.dtype, device=values.device)
            values = torch.where(values.isnan(), default, values)
        if self.normalizer_fn is not None:
            values = _normalized(who, self.normalizer_fn(values), values)
        return values.reshape(values.shape[0], self.width).to(torch.get_default_dtype())


@dataclass(frozen=True)
class EmbeddingColumn(FeatureColumn):
    """A learned vector per category, as `embedding_column` makes it."""

    categorical_column: CategoricalColumn
    dimension: int
    combiner: Combiner
    initializer: Callable[[Tensor], object] | None
    trainable: bool

    @property
    def name(self) -> str:
        """The feature's key with ``_embedding``."""
        return f"{self.categorical_column.name}_embedding"

    @property
    def width(self) -> int:
        """The ``dimension``."""
        return self.dimension


@dataclass(frozen=True)
class IndicatorColumn(FeatureColumn):
    """One count per category, as `indicator_column` makes it."""

    categorical_column: CategoricalColumn

    @property
    def name(self) -> str:
        """The feature's key with ``_indicator``."""
        return f"{self.categorical_column.name}_indicator"

    @property
    def width(self) -> int:
        """The number of categories."""
        return self.categorical_column.num_buckets

    def __call__(self, features: Features) -> Tensor:
        """Return how often an example has each category, ``[B, width]``."""
        ids = self.categorical_column.ids(features)
        # ids of nothing, -1, are counted in a column of their own, which is dropped
        counts = torch.zeros(ids.shape[0], 1 + self.width, device=ids.device)
        return counts.scatter_add_(1, ids + 1, torch.ones_like(ids, dtype=counts.dtype))[:, 1:]


DenseColumn = NumericColumn | EmbeddingColumn | IndicatorColumn


def numeric_column(
    key: str,
    shape: int | Sequence[int] = (1,),
    default_value: Any = None,
    dtype: torch.dtype = torch.float32,
    normalizer_fn: Callable[[Tensor], Tensor] | None = None,
) -> NumericColumn:
    """Return a column of numbers.

    Args:
        key: the feature's name.
        shape: what an example's numbers look like; the feature is ``[B, *shape]``, and with the
            default may be ``[B]``.
        default_value: stands for NaN; a number, or numbers of the ``shape``.
        dtype: what the feature is read as.
        normalizer_fn: applied to the tensor ``[B, *shape]``.

    Raises:
        TypeError: if the key is not a string, ``dtype`` no dtype, or ``normalizer_fn`` not
            callable.
        ValueError: if a size is not positive, or the default of another shape.

    >>> age = numeric_column("age", default_value=40.0, normalizer_fn=lambda x: x / 100)
    >>> age({"age": [20.0, float("nan")]})
    tensor([[0.2000],
            [0.4000]])
    """
    key = check_key(key)
    who = f"numeric_column {key!r}"
    given_sizes: Sequence[int] = shape if isinstance(shape, Sequence) else [shape]
    sizes = tuple(check_count(who, "shape", size, 1) for size in given_sizes)
    if not isinstance(dtype, torch.dtype):
        raise TypeError(unexpected(who, "dtype", "as a torch.dtype", repr(dtype)))
    if normalizer_fn is not None and not callable(normalizer_fn):
        given = type(normalizer_fn).__name__
        raise TypeError(unexpected(who, "normalizer_fn", "to be callable", given))
    if default_value is not None:
        given = list(to_tensor(who, "default_value", default_value).shape)
        if given not in ([], list(sizes)):
            expected = f"as a number or of shape {list(sizes)}"
            raise ValueError(unexpected(who, "default_value", expected, f"shape {given}"))
    return NumericColumn(key, sizes, default_value, dtype, normalizer_fn)


def embedding_column(
    categorical_column: CategoricalColumn,
    dimension: int,
    combiner: Combiner = "mean",
    initializer: Callable[[Tensor], object] | None = None,
    trainable: bool = True,
) -> EmbeddingColumn:
    """Return a column of learned vectors, one per category.

    Args:
        categorical_column: the categories.
        dimension: the length of the vectors.
        combiner: what becomes of several categories in an example; ``"sqrtn"`` is their sum over
            the root of their number. No category is a vector of 0.
        initializer: fills the tensor ``[num_buckets, dimension]`` in place; by default with a
            normal distribution of standard deviation ``1 / sqrt(dimension)``, cut at two of them.
        trainable: whether the vectors are learned.

    Raises:
        TypeError: if the column is not categorical, the dimension no whole number, the initializer
            not callable, or ``trainable`` no truth value.
        ValueError: if the dimension is not positive, or the combiner unknown.
    """
    who = "embedding_column"
    _check_categorical(who, categorical_column)
    dimension = check_count(who, "dimension", dimension, 1)
    check_combiner(who, "combiner", combiner)
    if initializer is not None and not callable(initializer):
        given = type(initializer).__name__
        raise TypeError(unexpected(who, "initializer", "to be callable", given))
    trainable = check_flag(who, "trainable", trainable)
    return EmbeddingColumn(categorical_column, dimension, combiner, initializer, trainable)


def indicator_column(categorical_column: CategoricalColumn) -> IndicatorColumn:
    """Return a column of one number per category: how often an example has it.

    Raises:
        TypeError: if the column is not categorical.

    >>> from torch_heads.integrations import estimator
    >>> colour = estimator.categorical_column_with_vocabulary_list("colour", ["red", "blue"])
    >>> indicator_column(colour)({"colour": [["blue", "blue"], ["red", "blue"], ["", ""]]})
    tensor([[0., 2.],
            [1., 1.],
            [0., 0.]])
    """
    _check_categorical("indicator_column", categorical_column)
    return IndicatorColumn(categorical_column)


def check_combiner(who: str, argument: str, combiner: str) -> None:
    """Refuse unknown combiners.

    Raises:
        ValueError: if there is no such combiner.
    """
    if combiner not in COMBINERS:
        raise ValueError(unexpected(who, argument, f"among {preview(COMBINERS)}", repr(combiner)))


def _normalized(who: str, found: Any, values: Tensor) -> Tensor:
    """Return what a ``normalizer_fn`` has made of values, if these are as many of each example."""
    expected = f"to return a tensor of shape {list(values.shape)}"
    if not isinstance(found, Tensor):
        raise TypeError(unexpected(who, "normalizer_fn", expected, type(found).__name__))
    alike = found.shape[:1] == values.shape[:1] and prod(found.shape[1:]) == prod(values.shape[1:])
    if not alike:
        raise ValueError(unexpected(who, "normalizer_fn", expected, list(found.shape)))
    return found


def _check_categorical(who: str, column: Any) -> None:
    if not isinstance(column, CategoricalColumn):
        expected, given = "as a CategoricalColumn", type(column).__name__
        raise TypeError(unexpected(who, "categorical_column", expected, given))
