"""Estimators: train, evaluate and predict by an ``input_fn``, as `tf.estimator` does."""

from torch_heads.integrations.estimator.base import BaseEstimator
from torch_heads.integrations.estimator.canned import DNNEstimator, LinearEstimator
from torch_heads.integrations.estimator.categorical_columns import (
    CategoricalColumn,
    categorical_column_with_identity,
    categorical_column_with_vocabulary_list,
)
from torch_heads.integrations.estimator.config import EvalSpec, RunConfig, TrainSpec
from torch_heads.integrations.estimator.custom import Estimator
from torch_heads.integrations.estimator.dense_columns import (
    EmbeddingColumn,
    IndicatorColumn,
    NumericColumn,
    embedding_column,
    indicator_column,
    numeric_column,
)
from torch_heads.integrations.estimator.dense_features import DenseFeatures
from torch_heads.integrations.estimator.exporters import BestExporter, FinalExporter

__all__ = [
    "BaseEstimator",
    "BestExporter",
    "CategoricalColumn",
    "DNNEstimator",
    "DenseFeatures",
    "EmbeddingColumn",
    "Estimator",
    "EvalSpec",
    "FinalExporter",
    "IndicatorColumn",
    "LinearEstimator",
    "NumericColumn",
    "RunConfig",
    "TrainSpec",
    "categorical_column_with_identity",
    "categorical_column_with_vocabulary_list",
    "embedding_column",
    "indicator_column",
    "numeric_column",
]
