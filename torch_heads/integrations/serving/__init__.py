"""Serving: a model with its head as one folder that answers without the model's code."""

from torch_heads.integrations.serving.bundle import Bundle
from torch_heads.integrations.serving.export import export_bundle

__all__ = ["Bundle", "export_bundle"]
