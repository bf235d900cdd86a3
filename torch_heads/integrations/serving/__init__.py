"""Serving: a model with its head as one folder that answers without the model's code."""

from torch_heads.integrations.serving.bundle import Bundle
from torch_heads.integrations.serving.export import export_bundle
from torch_heads.integrations.serving.server import serving_app

__all__ = ["Bundle", "export_bundle", "serving_app"]
