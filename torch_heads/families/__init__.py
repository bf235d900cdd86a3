"""Families: distributions of one label, each with its links, its loss and what metrics count."""

from torch_heads.families.bernoulli import Bernoulli
from torch_heads.families.categorical import Categorical
from torch_heads.families.distribution import Distribution
from torch_heads.families.event_times import EventTimes
from torch_heads.families.family import ClassBalance, Counts, Family, LabelPart
from torch_heads.families.gaussian import Gaussian
from torch_heads.families.negative_binomial import NegativeBinomial
from torch_heads.families.normal import Normal
from torch_heads.families.ordered_classes import OrderedClasses
from torch_heads.families.poisson import Poisson
from torch_heads.families.prior import Prior
from torch_heads.families.quantiles import Quantiles
from torch_heads.families.zero_inflated_log_normal import ZeroInflatedLogNormal

__all__ = [
    "Bernoulli",
    "Categorical",
    "ClassBalance",
    "Counts",
    "Distribution",
    "EventTimes",
    "Family",
    "Gaussian",
    "LabelPart",
    "NegativeBinomial",
    "Normal",
    "OrderedClasses",
    "Poisson",
    "Prior",
    "Quantiles",
    "ZeroInflatedLogNormal",
]
