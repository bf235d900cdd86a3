"""Training with Lightning: any backbone and any head as one module, from Python or a file."""

from torch_heads.integrations.lightning.module import HeadModule
from torch_heads.integrations.lightning.predictions import PredictionWriter
from torch_heads.integrations.lightning.resume import PlateauValues, RandomState

__all__ = ["HeadModule", "PlateauValues", "PredictionWriter", "RandomState"]
