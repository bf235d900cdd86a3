"""The head of one yes-or-no target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torch_heads.computation.encoder import leaves_dense
from torch_heads.computation.loss_fn import LossFn
from torch_heads.families.bernoulli import Bernoulli
from torch_heads.families.family import Statistic
from torch_heads.functional.arguments import MissingLabel
from torch_heads.functional.errors import unexpected
from torch_heads.functional.tensors import to_tensor
from torch_heads.functional.values import check_columns
from torch_heads.functional.weights import WeightColumn
from torch_heads.heads.class_head import ClassHead
from torch_heads.heads.metric_owner import Labels
from torch_heads.heads.spec import ExportOutput, RegressionOutput
from torch_heads.metrics.asked import Asked
from torch_heads.metrics.readings.areas import AUC, AUCPrecisionRecall
from torch_heads.metrics.readings.means import AccuracyBaseline, AverageLoss, Mean
from torch_heads.metrics.readings.outcomes import Accuracy, Precision, Recall
from torch_heads.metrics.readings.reading import Reading
from torch_heads.metrics.readings.usual import fine_readings, threshold_readings
from torch_heads.metrics.sums import Total


class BinaryClassHead(ClassHead):
    """Two exclusive classes from one logit, by the sigmoid cross entropy.

    Shapes: logits ``[D0, ..., DN, 1]``; labels the same, or without the last dimension. Labels are
    numbers in [0, 1] (soft ones too); with a ``label_vocabulary`` also class names.

    Predictions: ``logits``, ``logistic`` and ``class_ids`` ``[D*, 1]``, ``probabilities`` and
    ``all_class_ids`` ``[D*, 2]``, and the strings ``classes`` and ``all_classes``.

    Args:
        weight_column: the key of the example weights in ``features``, or a callable of them.
        thresholds: scores in (0, 1) at which to keep accuracy, precision and recall.
        label_vocabulary: the names of class 0 and class 1.
        loss_reduction: see `Reduction`.
        loss_fn: a loss ``[D*, 1]`` of ``labels``, ``logits`` and, if wanted, ``features`` and
            ``loss_reduction``. It gets no rows that are missing or padded, and all of weight 0.
        name: the suffix of the metric keys; required under a `MultiHead`.
        missing_label: the label that means "not labelled": NaN, a number outside [0, 1], a string
            with a ``label_vocabulary``, or a list of these. With it, None, NaN and what is masked
            are missing, too.
        pos_weight: a factor of the positive labels' loss; metrics stay unweighted by it.
        label_smoothing: how far labels move to a half in the loss; metrics keep the labels.
        metrics: which to keep beside the usual ones; see `TensorHead`.
        fine: whether scores are also cut finely by their logit; see `TensorHead`.

    Raises:
        ValueError: if an argument's value is not allowed.
        TypeError: if its type is not.

    >>> head = BinaryClassHead()
    >>> head.loss(labels=[[1], [1]], logits=[[45.0], [-41.0]])
    tensor(20.5000)
    """

    string_keys = ("classes", "all_classes")
    _regularized_after = "auc_precision_recall"

    def __init__(
        self,
        weight_column: WeightColumn = None,
        thresholds: Sequence[float] | None = None,
        label_vocabulary: Sequence[str] | None = None,
        loss_reduction: str = "sum_over_batch_size",
        loss_fn: LossFn | None = None,
        name: str | None = None,
        *,
        missing_label: MissingLabel = None,
        pos_weight: float | None = None,
        label_smoothing: float = 0.0,
        metrics: Asked = None,
        fine: bool = True,
    ) -> None:
        super().__init__(
            Bernoulli(),
            weight_column=weight_column,
            thresholds=thresholds,
            label_vocabulary=label_vocabulary,
            loss_reduction=loss_reduction,
            loss_fn=loss_fn,
            name=name,
            missing_label=missing_label,
            pos_weight=pos_weight,
            label_smoothing=label_smoothing,
            metrics=metrics,
            fine=fine,
        )

    @property
    def predicted(self) -> Mapping[str, Statistic]:
        """What is predicted, by key."""
        return {
            "logits": Bernoulli.logits,
            "logistic": Bernoulli.mean,
            "probabilities": Bernoulli.class_probabilities,
            "class_ids": Bernoulli.class_ids,
            "all_class_ids": Bernoulli.all_class_ids,
        }

    @leaves_dense
    def encode_labels(
        self, labels: Labels, leading: torch.Size, device: torch.device, mask: Tensor | None = None
    ) -> Tensor:
        """Return labels ``[D*, 1]``, class names as ids."""
        labels = self._numbers(labels, device, mask)
        if labels.shape == (*leading, 2):
            hint = "One-hot labels are ids by labels.argmax(-1), probabilities by labels[..., 1]."
            expected, given = "as one column", f"two, of shape {[*labels.shape]}"
            raise ValueError(unexpected(self.title, "labels", expected, given, hint))
        return check_columns(self.title, "labels", labels, leading, 1)

    def readings(self) -> Iterator[tuple[str, Reading]]:
        """Yield the metrics by key."""
        yield "average_loss", AverageLoss()
        yield "accuracy", Accuracy()
        yield "precision", Precision()
        yield "recall", Recall()
        yield "prediction/mean", Mean(of=Total.PREDICTION)
        yield "label/mean", Mean(of=Total.LABEL)
        yield "accuracy_baseline", AccuracyBaseline()
        yield "auc", AUC()
        yield "auc_precision_recall", AUCPrecisionRecall()
        yield from threshold_readings(self.thresholds)
        if self.fine:
            yield from fine_readings()

    def to_logits(self, predictions: Any) -> Tensor:
        """Return the log odds of ``logistic``, or of the last of two ``probabilities``."""
        if isinstance(predictions, Mapping) and "logistic" not in predictions:
            both = predictions.get("probabilities")
            if both is not None:
                argument = "predictions['probabilities']"
                both = to_tensor(self.title, argument, both)
                if both.shape[-1:] != (2,):
                    expected = "of shape [D0, ..., DN, 2]"
                    raise ValueError(unexpected(self.title, argument, expected, [*both.shape]))
                predictions = {"logistic": both[..., 1:]}
        return super().to_logits(predictions)

    def export_outputs(self, predictions: Mapping[str, Any]) -> dict[str, ExportOutput]:
        """Return the classification, the probability as a regression, and all predictions."""
        outputs = super().export_outputs(predictions)
        return outputs | {"regression": RegressionOutput(predictions["logistic"])}

    def _number_of_names(self) -> int:
        return 2

    def _metric_class_names(self) -> Sequence[str]:
        return ()  # both classes have one column
