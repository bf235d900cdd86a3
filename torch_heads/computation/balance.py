"""The corrections of class imbalance of a group, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torch_heads.computation.layout import LogitLayout
from torch_heads.computation.target import Target
from torch_heads.families.family import ClassBalance
from torch_heads.functional.constants import Constants

META = torch.device("meta")  # where it is enough to ask which weights there are


class GroupBalance:
    """Joins what the targets of a group correct, as the losses of its buckets take it."""

    def __init__(self, targets: Sequence[Target], layout: LogitLayout) -> None:
        self._targets = targets
        self._layout = layout
        smoothing = [target.label_smoothing for target in targets for _ in range(target.columns)]
        classes = [t.family.logits_per_label for t in targets for _ in range(t.columns)]
        self._smooths = any(smoothing)
        self._widths = {target.logits for target in targets}
        self._constants = Constants(label_smoothing=smoothing, n_classes=classes)
        #: Whether any target corrects anything.
        self.any = self._smooths or any(
            weight is not None for target in targets for weight in target.class_balance(META)
        )

    def buckets(self, device: torch.device) -> list[ClassBalance]:
        """Return the corrections of each bucket of the layout.

        Weights are read anew each time, since a head may have been given others.
        """
        constants = self._constants.on(device)
        smoothing = constants["label_smoothing"] if self._smooths else None
        each = [target.class_balance(device) for target in self._targets]
        class_weight = self._join([one.class_weight for one in each], device)
        pos_weight = self._join([one.pos_weight for one in each], device)
        if not self._layout.buckets[0].shape[1:]:
            return [ClassBalance(class_weight, pos_weight, smoothing)]
        if class_weight is None and self._layout.padded:  # of which padding has none
            sizes = [target.logits for target in self._targets]
            class_weight = torch.ones(sum(sizes), device=device)
        blocks: Sequence[Tensor | None] = [None] * len(self._layout.buckets)
        if class_weight is not None:
            blocks = self._layout.fill(self._layout.blocks(class_weight), 0.0)
        return [
            ClassBalance(
                block,
                None,
                None if smoothing is None else smoothing[bucket.columns],
                constants["n_classes"][bucket.columns],
            )
            for block, bucket in zip(blocks, self._layout.buckets, strict=True)
        ]

    def _join(self, weights: Sequence[Tensor | None], device: torch.device) -> Tensor | None:
        given = [weight for weight in weights if weight is not None]
        if not given:
            return None
        dtype = given[0].dtype
        ones = {width: torch.ones(width, dtype=dtype, device=device) for width in self._widths}
        return torch.cat(
            [
                ones[target.logits] if weight is None else weight
                for weight, target in zip(weights, self._targets, strict=True)
            ]
        )
