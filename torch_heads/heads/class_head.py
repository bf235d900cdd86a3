"""What the heads of classes share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torch_heads.functional.errors import unexpected
from torch_heads.functional.families import Balance
from torch_heads.functional.labels import class_ids
from torch_heads.functional.tensors import is_empty, is_text, kind_of, to_tensor
from torch_heads.heads.arguments import check_class_weights, check_smoothing, check_unbalanced
from torch_heads.heads.evaluated import Labels
from torch_heads.heads.tensor_head import TensorHead


class ClassHead(TensorHead):
    """What the heads of classes share: names for the classes, and corrections of imbalance."""

    def configure_balance(
        self,
        class_weight: Any = None,
        pos_weight: Any = None,
        label_smoothing: float = 0.0,
    ) -> None:
        """Check and keep the corrections of class imbalance, after `configure`."""
        weights = {"class_weight": class_weight, "pos_weight": pos_weight}
        smooth = label_smoothing or None
        check_unbalanced(self.title, self.loss_fn, **weights, label_smoothing=smooth)
        for argument, given in weights.items():
            weight = check_class_weights(self.title, argument, given, self.logits_dimension)
            self.register_buffer(argument, weight)
        self.label_smoothing = check_smoothing(self.title, label_smoothing)

    @property
    def balance(self) -> Balance | None:
        """The corrections of class imbalance, None for none."""
        class_weight, pos_weight = map(self._buffers.get, ("class_weight", "pos_weight"))
        if class_weight is None and pos_weight is None and not self.label_smoothing:
            return None
        return Balance(class_weight, pos_weight, self.label_smoothing or None)

    def numbers(self, labels: Labels, device: torch.device, mask: Tensor | None) -> Tensor:
        """Return labels as a tensor; class names, if the head takes them, as ids."""
        if is_text(labels) or (self.takes_names and is_empty(labels)):
            names, missing = self.label_vocabulary, self.missing_label
            labels = class_ids(self.title, labels, names, missing, mask)
        elif self.takes_names and labels is not None:
            expected = "as names of the label_vocabulary"
            raise ValueError(unexpected(self.title, "labels", expected, kind_of(labels)))
        return to_tensor(self.title, "labels", labels, device)

    def class_names(self) -> list[str]:
        """Return the names of the classes: the vocabulary, or the ids as strings."""
        return list(self.label_vocabulary or map(str, range(self.number_of_classes)))
