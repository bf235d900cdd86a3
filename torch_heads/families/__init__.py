"""Families: distributions of one label, each with its links, its loss and what metrics count."""

from torch_heads.families.bernoulli import Bernoulli
from torch_heads.families.categorical import Categorical
from torch_heads.families.family import ClassBalance, Counts, Family
from torch_heads.families.normal import Normal
from torch_heads.families.poisson import Poisson

__all__ = [
    "Bernoulli",
    "Categorical",
    "ClassBalance",
    "Counts",
    "Family",
    "Normal",
    "Poisson",
]
