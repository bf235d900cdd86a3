"""The layer that makes the logits from the features of a backbone."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from torch_heads.functional.errors import unexpected


def make_projection(who: str, in_features: Any, out_features: int) -> nn.Module:
    """Return a linear layer; of any width with ``"lazy"``; with None, what changes nothing.

    Raises:
        ValueError: if ``in_features`` is anything else but a positive integer.
    """
    if in_features is None:
        return nn.Identity()
    if isinstance(in_features, str) and in_features == "lazy":
        return nn.LazyLinear(out_features)
    if isinstance(in_features, bool) or not isinstance(in_features, int) or in_features < 1:
        expected = "as a positive integer, 'lazy' or None"
        raise ValueError(unexpected(who, "in_features", expected, repr(in_features)))
    return nn.Linear(in_features, out_features)


def project(projection: nn.Module, features: Any) -> Any:
    """Return the logits of some features; a lazy layer takes its width from the first of them."""
    if isinstance(projection, nn.LazyLinear):  # which the first call makes an ordinary one
        # parameters that are made in the inference mode of an evaluation could not be trained
        with torch.inference_mode(False):
            projection.initialize_parameters(features)
    width = getattr(projection, "in_features", None)
    if width is not None:
        tensor = isinstance(features, torch.Tensor)
        given = f"shape {list(features.shape)}" if tensor else type(features).__name__
        if not tensor or features.dim() < 1 or features.shape[-1] != width:
            expected = f"to return features [..., in_features = {width}]"
            raise ValueError(unexpected("HeadModule", "backbone", expected, given))
    return projection(features)
