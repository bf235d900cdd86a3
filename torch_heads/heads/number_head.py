"""What the heads of real numbers share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from torch_heads.functional.tensors import check_columns, to_tensor
from torch_heads.heads.arguments import check_count
from torch_heads.heads.custom import custom_predictions
from torch_heads.heads.evaluated import Labels
from torch_heads.heads.spec import ExportOutput, PredictOutput, RegressionOutput
from torch_heads.heads.tensor_head import TensorHead
from torch_heads.metrics.readings import AverageLoss, Mean, Reading
from torch_heads.metrics.sums import Total


class NumberHead(TensorHead):
    """What the heads of real numbers share: float labels, means as metrics, one kind of export."""

    def __init__(self, name: str | None, label_dimension: int = 1) -> None:
        super().__init__(name)
        self.label_dimension = check_count(self.title, "label_dimension", label_dimension, 1)

    @property
    def logits_dimension(self) -> int:
        """The number of label columns."""
        return self.label_dimension

    @property
    def labels_dimension(self) -> int:
        """The number of label columns."""
        return self.label_dimension

    @property
    def loss_dimension(self) -> int:
        """The number of loss elements per example: every column counts."""
        return self.label_dimension

    @property
    def links(self) -> bool:
        """Whether predictions differ from logits."""
        return True

    @property
    def tensor_keys(self) -> tuple[str, ...]:  # type: ignore[override]
        """The prediction keys: the logits, too, where they differ from the predictions."""
        return ("predictions", "logits") if self.links else ("predictions",)

    def label_columns(
        self, labels: Labels, leading: torch.Size, device: torch.device, mask: Tensor | None = None
    ) -> Tensor:
        """Return labels ``[D*, label_dimension]``."""
        labels = to_tensor(self.title, "labels", labels, device)
        return check_columns(self.title, "labels", labels, leading, self.label_dimension)

    @property
    def regularized_after(self) -> str:
        """The metric key after which the regularization loss stands."""
        return "label/mean"

    def readings(self) -> Iterator[tuple[str, Reading]]:
        """Yield the metrics by key."""
        yield "average_loss", AverageLoss()
        yield "prediction/mean", Mean(of=Total.PREDICTION)
        yield "label/mean", Mean(of=Total.LABEL)

    def tensor_predictions(self, logits: Tensor) -> dict[str, Tensor]:
        """Return the predictions, and the logits where they differ."""
        logits = self.check_logits(logits)
        custom = self.inverse_link_fn is not None
        predictions = custom_predictions(self, logits) if custom else self.family.mean(logits)
        return {"predictions": predictions, **({"logits": logits} if self.links else {})}

    def export_outputs(self, predictions: Mapping[str, Any]) -> dict[str, ExportOutput]:
        """Return the regression, and all predictions."""
        value = RegressionOutput(predictions["predictions"])
        return {
            "serving_default": value,
            "regression": value,
            "predict": PredictOutput(predictions),
        }
