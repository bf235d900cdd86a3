"""The estimators that come with a model: a head on a deep or a linear network."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import Optimizer

from torch_heads.functional.arguments import check_count, check_flag
from torch_heads.functional.errors import class_of, unexpected
from torch_heads.functional.forms import is_real
from torch_heads.heads.base import Head
from torch_heads.heads.spec import EstimatorSpec, ModeKeys
from torch_heads.integrations.estimator.base import BaseEstimator
from torch_heads.integrations.estimator.categorical_columns import CategoricalColumn
from torch_heads.integrations.estimator.config import RunConfig
from torch_heads.integrations.estimator.dense_columns import (
    Combiner,
    DenseColumn,
    EmbeddingColumn,
    IndicatorColumn,
    NumericColumn,
    check_combiner,
)
from torch_heads.integrations.estimator.feature_column import check_columns
from torch_heads.integrations.estimator.inputs import InputBatch
from torch_heads.integrations.estimator.networks import Activation, LinearModel, deep_network
from torch_heads.integrations.estimator.serving import ColumnNetwork, Tables
from torch_heads.integrations.estimator.step_module import OptimizerFn


class HeadEstimator(BaseEstimator):
    """A head on a network that makes logits of a dict of features."""

    @abstractmethod  # which network, the kinds of it know
    def __init__(
        self,
        head: Head,
        network: nn.Module,
        optimizer: Optimizer | OptimizerFn,
        model_dir: str | Path | None,
        config: RunConfig | None,
        fit_prior: bool,
    ) -> None:
        fit_prior = check_flag(type(self).__name__, "fit_prior", fit_prior)
        self._head = head
        model = nn.ModuleDict({"network": network, "head": head})
        super().__init__(model, optimizer, model_dir, config, head if fit_prior else None)
        self._network = network

    @property
    def head(self) -> Head:
        """The head."""
        return self._head

    def _call(
        self, batch: InputBatch, mode: ModeKeys, optimizer: Optimizer | None
    ) -> EstimatorSpec:
        features, labels = batch
        if not isinstance(features, Mapping):
            given, hint = type(features).__name__, "For example: `({'x': features}, labels)`."
            raise ValueError(unexpected(self.title, "features", "as a dict by name", given, hint))
        logits = self._network(features)
        return self.head.create_estimator_spec(features, mode, logits, labels, optimizer)

    def _served(self) -> tuple[nn.Module, Head, Tables]:
        network = ColumnNetwork(self._network)
        return network, self.head, network.tables


class DNNEstimator(HeadEstimator):
    """A head on a deep network.

    The network is that of the original: per hidden layer, a linear layer with Glorot's uniform
    weights, the activation, dropout, and batch normalization; and a linear layer to the logits,
    which a `MultiHead` takes side by side.

    Args:
        head: the head.
        hidden_units: the width of each hidden layer.
        feature_columns: numeric, embedding and indicator columns.
        model_dir: where the checkpoints are; a temporary directory by default.
        optimizer: a callable that makes an optimizer of the parameters; by default the original's
            Adagrad, whose learning rate of 0.001 is a slow one.
        activation_fn: of the hidden layers; a function or a module; None for none.
        dropout: the probability to drop a hidden unit in training.
        batch_norm: whether to normalize each hidden layer over the batch.
        config: how to run.
        fit_prior: whether the first training takes a pass over its batches first, for
            `Head.fit_prior`.

    Raises:
        TypeError: if the head is no head, a width no whole number, a column of another kind, or
            ``batch_norm`` or ``fit_prior`` no truth value.
        ValueError: if there is no column, or a width or the probability out of range.

    >>> import tempfile, torch_heads as th
    >>> from torch_heads.integrations.estimator import numeric_column
    >>> head = th.MultiLabelHead(n_classes=2)
    >>> def input_fn():
    ...     yield {"x": torch.tensor([1.0, 2.0])}, torch.tensor([[0, 1], [1, 1]])
    >>> with tempfile.TemporaryDirectory() as model_dir:
    ...     estimator = DNNEstimator(head, [4], [numeric_column("x")], model_dir)
    ...     [first, second] = estimator.train(input_fn).predict(input_fn)
    >>> first["probabilities"].shape
    (2,)
    """

    def __init__(
        self,
        head: Head,
        hidden_units: Iterable[int],
        feature_columns: Iterable[DenseColumn] | DenseColumn,
        model_dir: str | Path | None = None,
        optimizer: Optimizer | OptimizerFn | None = None,
        activation_fn: Activation | None = F.relu,
        dropout: float | None = None,
        batch_norm: bool = False,
        config: RunConfig | None = None,
        *,
        fit_prior: bool = False,
    ) -> None:
        who = type(self).__name__
        _check_head(who, head)
        widths = _check_widths(who, hidden_units)
        if dropout is not None and not (is_real(dropout) and 0 <= dropout < 1):
            raise ValueError(unexpected(who, "dropout", "in [0, 1)", repr(dropout)))
        batch_norm = check_flag(who, "batch_norm", batch_norm)
        if activation_fn is not None and (
            isinstance(activation_fn, type) or not callable(activation_fn)
        ):
            expected, given = "as a function or module", repr(activation_fn)
            raise TypeError(unexpected(who, "activation_fn", expected, given))
        network = deep_network(
            feature_columns, widths, head.logits_dimension, activation_fn, dropout, batch_norm
        )
        make = optimizer or functools.partial(
            torch.optim.Adagrad, lr=0.001, initial_accumulator_value=0.1, eps=1e-7
        )
        super().__init__(head, network, make, model_dir, config, fit_prior)


class LinearEstimator(HeadEstimator):
    """A head on a linear model: a weight per number, a weight per category, and a bias.

    Args:
        head: the head.
        feature_columns: any columns; categorical ones have a weight per category and logit.
        model_dir: where the checkpoints are; a temporary directory by default.
        optimizer: a callable that makes an optimizer of the parameters. The original's default is
            Ftrl, which without its penalties is Adagrad (McMahan, 2011); here it is that, with the
            original's learning rate, ``min(0.2, 1 / sqrt(number of columns))``.
        config: how to run.
        sparse_combiner: what becomes of the weights of several categories in an example.
        fit_prior: whether the first training takes a pass over its batches first, for
            `Head.fit_prior`.

    Raises:
        TypeError: if the head is no head, a column no column, or ``fit_prior`` no truth value.
        ValueError: if there is no column, or the combiner unknown.
    """

    def __init__(
        self,
        head: Head,
        feature_columns: Iterable[DenseColumn | CategoricalColumn]
        | DenseColumn
        | CategoricalColumn,
        model_dir: str | Path | None = None,
        optimizer: Optimizer | OptimizerFn | None = None,
        config: RunConfig | None = None,
        sparse_combiner: Combiner = "sum",
        *,
        fit_prior: bool = False,
    ) -> None:
        who = type(self).__name__
        _check_head(who, head)
        check_combiner(who, "sparse_combiner", sparse_combiner)
        allowed = CategoricalColumn, NumericColumn, EmbeddingColumn, IndicatorColumn
        columns = check_columns(who, feature_columns, allowed)
        network = LinearModel(columns, head.logits_dimension, sparse_combiner)
        make = optimizer or functools.partial(
            torch.optim.Adagrad,
            lr=min(0.2, 1 / sqrt(len(columns))),
            initial_accumulator_value=0.1,
            eps=0,
        )
        super().__init__(head, network, make, model_dir, config, fit_prior)


def _check_widths(who: str, hidden_units: Any) -> list[int]:
    argument = "hidden_units"
    if not isinstance(hidden_units, Iterable):
        raise TypeError(unexpected(who, argument, "as a list of whole numbers", repr(hidden_units)))
    return [check_count(who, argument, width, 1) for width in hidden_units]


def _check_head(who: str, head: Any) -> None:
    if not isinstance(head, Head):
        raise TypeError(unexpected(who, "head", "as a head", class_of(head)))
