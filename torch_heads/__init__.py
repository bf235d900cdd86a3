"""The output heads of PyTorch models: losses, predictions, metrics and exports, as one module."""

from torch_heads import families, metrics
from torch_heads.families.family import Family
from torch_heads.functional.reductions import Reduction
from torch_heads.heads.base import Head
from torch_heads.heads.binary import BinaryClassHead
from torch_heads.heads.build import build_head
from torch_heads.heads.config import head_config
from torch_heads.heads.gaussian import GaussianRegressionHead
from torch_heads.heads.logistic import LogisticRegressionHead
from torch_heads.heads.multi import MultiHead
from torch_heads.heads.multi_class import MultiClassHead
from torch_heads.heads.multi_label import MultiLabelHead
from torch_heads.heads.negative_binomial import NegativeBinomialRegressionHead
from torch_heads.heads.ordinal import OrdinalClassHead
from torch_heads.heads.poisson import PoissonRegressionHead
from torch_heads.heads.quantile import QuantileRegressionHead
from torch_heads.heads.regression import RegressionHead
from torch_heads.heads.sequential import SequentialHeadWrapper
from torch_heads.heads.spec import (
    ClassificationOutput,
    EstimatorSpec,
    ModeKeys,
    PredictOutput,
    RegressionOutput,
)
from torch_heads.heads.survival import SurvivalHead
from torch_heads.heads.tensor_head import TensorHead
from torch_heads.heads.transfer import transfer
from torch_heads.heads.zero_inflated_log_normal import ZeroInflatedLogNormalHead

__all__ = [
    "BinaryClassHead",
    "ClassificationOutput",
    "EstimatorSpec",
    "Family",
    "GaussianRegressionHead",
    "Head",
    "LogisticRegressionHead",
    "ModeKeys",
    "MultiClassHead",
    "MultiHead",
    "MultiLabelHead",
    "NegativeBinomialRegressionHead",
    "OrdinalClassHead",
    "PoissonRegressionHead",
    "PredictOutput",
    "QuantileRegressionHead",
    "Reduction",
    "RegressionHead",
    "RegressionOutput",
    "SequentialHeadWrapper",
    "SurvivalHead",
    "TensorHead",
    "ZeroInflatedLogNormalHead",
    "build_head",
    "families",
    "head_config",
    "metrics",
    "transfer",
]
