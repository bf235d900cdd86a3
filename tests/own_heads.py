"""Heads as users write them, with families of two and of three logits per label."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

import torch_heads as th


@dataclass(frozen=True)
class Laplace(th.Family):
    """A number around a location, by its absolute distance: location and log scale."""

    logits_shape: ClassVar[tuple[int, ...]] = (2,)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        location, log_scale = logits.unbind(-1)
        return (labels - location).abs() * torch.exp(-log_scale) + log_scale + math.log(2)

    def mean(self, logits: Tensor) -> Tensor:
        return logits[..., 0]

    def scale(self, logits: Tensor) -> Tensor:
        return logits[..., 1].exp()


class LaplaceHead(th.TensorHead):
    def __init__(self, label_dimension: int = 1, **options: Any) -> None:
        super().__init__(Laplace(), label_dimension, **options)

    @property
    def predicted(self) -> Mapping[str, Any]:
        return {**super().predicted, "scale": Laplace.scale}


@dataclass(frozen=True)
class Quantiles(th.Family):
    """Quantiles of a number, by the mean of their pinball losses."""

    levels: tuple[float, ...] = (0.25, 0.5, 0.75)

    @property
    def logits_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return (len(self.levels),)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        levels = torch.tensor(self.levels, dtype=logits.dtype, device=logits.device)
        error = labels.unsqueeze(-1) - logits
        return torch.maximum(levels * error, (levels - 1) * error).mean(-1)

    def mean(self, logits: Tensor) -> Tensor:
        return logits[..., len(self.levels) // 2]


class QuartilesHead(th.TensorHead):
    def __init__(self, label_dimension: int = 1, **options: Any) -> None:
        super().__init__(Quantiles(), label_dimension, **options)

    @property
    def predicted(self) -> Mapping[str, Any]:
        return {**super().predicted, "quantiles": Quantiles.logits}
