"""What the heads of classes share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from torch_heads.families.family import ClassBalance, Family
from torch_heads.functional.arguments import (
    check_class_weights,
    check_share,
    check_unbalanced,
)
from torch_heads.functional.constants import Setting, value_of
from torch_heads.functional.errors import unexpected
from torch_heads.functional.values import check_columns
from torch_heads.heads.spec import ClassificationOutput, ExportOutput, PredictOutput
from torch_heads.heads.tensor_head import TensorHead


class ClassHead(TensorHead):
    """What the heads of classes share: names for the classes, and corrections of imbalance."""

    class_weight: Tensor | None
    pos_weight: Tensor | None
    _has_column_axis = False

    @abstractmethod
    def __init__(
        self,
        family: Family,
        label_dimension: int = 1,
        *,
        label_vocabulary: Sequence[str] | None = None,
        class_weight: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(family, label_dimension, label_vocabulary=label_vocabulary, **options)
        weights = {"class_weight": class_weight, "pos_weight": pos_weight}
        smoothing = check_share(self.title, "label_smoothing", label_smoothing, bounds=True)
        smooth = smoothing or None
        check_unbalanced(self.title, self.loss_fn, **weights, label_smoothing=smooth)
        self._balance: dict[str, Setting] = {}
        for argument, given in weights.items():
            self._set_weights(argument, given)
        self.label_smoothing = smoothing

    def _set_weights(self, argument: str, given: Any) -> None:
        count = self.label_dimension * self.family.logits_per_label
        weight = check_class_weights(self.title, argument, given, count, self.label_vocabulary)
        if weight is not None:
            setting = self._balance[argument] = Setting(weight)
            weight = setting.value
        self.__dict__[argument] = weight  # on the CPU, and no buffer: no checkpoint changes it

    def _smoothing(self) -> float:
        return self.label_smoothing

    def _class_balance(self, device: torch.device) -> ClassBalance:
        """Return the corrections of class imbalance, one per logit, on a device."""
        return ClassBalance(
            **{
                argument: value_of(self.title, argument, setting, device)
                for argument, setting in self._balance.items()
            }
        )

    @property
    def _takes_names(self) -> bool:
        """Yes: those of classes."""
        return True

    def _checked_ids(self, ids: Tensor, leading: Sequence[int], hint: str) -> Tensor:
        """Return class ids as ``[D*, 1]``.

        Args:
            ids: as they came.
            leading: ``D*``, the shape of the batch.
            hint: at what was perhaps meant, where their type is another one.

        Raises:
            ValueError: if their shape is another one, or they are no whole numbers by their type.
        """
        if ids.numel() == 0:
            ids = ids.to(torch.int64)  # an empty list has no type
        gaps_allowed = ids.is_floating_point() and self.missing_label is not None
        if not gaps_allowed and (ids.is_floating_point() or ids.dtype == torch.bool):
            raise ValueError(
                unexpected(self.title, "labels", "to be integer class ids", ids.dtype, hint)
            )
        return check_columns(self.title, "labels", ids, leading, 1)

    def _metric_class_names(self) -> Sequence[str]:
        """Return the names of the classes in metric keys."""
        return self.label_vocabulary or [f"class{i}" for i in range(self._number_of_names())]

    def class_names(self) -> list[str]:
        """Return the names of the classes: the vocabulary, or the ids as strings."""
        return list(self.label_vocabulary or map(str, range(self._number_of_names())))

    def __setattr__(self, name: str, value: Any) -> None:
        """Check other weights of the classes, where there were some."""
        if name in self.__dict__.get("_balance", ()) and value is not None:
            self._set_weights(name, value)
        else:
            super().__setattr__(name, value)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        for setting in self._balance.values():
            if not setting.value.is_meta:
                setting.on(fn(torch.empty(0, device="cpu")).device)
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for argument in ("class_weight", "pos_weight"):  # which earlier versions saved
            state_dict.pop(f"{prefix}{argument}", None)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def string_predictions(self, predictions: Mapping[str, Tensor]) -> Mapping[str, Any]:
        """Return the class of each row, and all classes."""
        names = np.array(self.class_names())
        ids = predictions["class_ids"]
        if ids.is_meta:
            expected, given = "with values, which tell the class names", "a meta tensor"
            hint = "The head itself, head(logits), returns the tensors."
            raise ValueError(unexpected(self.title, "logits", expected, given, hint))
        return {
            "classes": names[ids.cpu().numpy()],
            "all_classes": np.broadcast_to(names, (*ids.shape[:-1], len(names))),
        }

    def export_outputs(self, predictions: Mapping[str, Any]) -> dict[str, ExportOutput]:
        """Return the classification, and all predictions."""
        classes = ClassificationOutput(predictions["probabilities"], predictions["all_classes"])
        return {
            "serving_default": classes,
            "classification": classes,
            "predict": PredictOutput(predictions),
        }
