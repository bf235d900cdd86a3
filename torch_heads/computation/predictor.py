"""The predictions of a group: each statistic once, split into views of each target."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torch_heads.computation.layout import Bucket, LogitLayout
from torch_heads.computation.target import Target
from torch_heads.families.family import Family, Statistic

Predicted = dict[str, Tensor]


class Predictor:
    """Computes what the targets of a group predict."""

    def __init__(self, targets: Sequence[Target], layout: LogitLayout) -> None:
        self._targets = targets
        self._layout = layout
        self._family = targets[0].family

    def predict(
        self,
        parts: Tensor | Sequence[Tensor],
        own: Sequence[Tensor],
        keys: Sequence[Sequence[str]],
    ) -> list[Predicted]:
        """Return the predictions of each target, by key.

        Args:
            parts: the logits of all targets, as `LogitLayout.blocks` takes them.
            own: those of each target, ``[D*, C]``.
            keys: which predictions of each target.
        """
        blocks = self._layout.fill(self._layout.blocks(parts))
        predicted: list[Predicted] = []
        for bucket, block in zip(self._layout.buckets, blocks, strict=True):
            found: dict[Statistic, Sequence[Tensor]] = {}
            for i in range(bucket.targets.start, bucket.targets.stop):
                statistics = self._targets[i].predicted
                values = {}
                for key in keys[i]:
                    statistic = statistics[key]
                    if statistic is Family.logits:
                        values[key] = own[i]
                        continue
                    if statistic not in found:
                        values_of_all = statistic(self._family, block)
                        found[statistic] = self._split(values_of_all, bucket, own[0].dim())
                    values[key] = found[statistic][i - bucket.targets.start]
                predicted.append(values)
        return predicted

    def _split(self, values: Tensor, bucket: Bucket, dims: int) -> Sequence[Tensor]:
        """Return ``[D*, U]`` or ``[D*, U, k]`` as views of each target."""
        targets = self._targets[bucket.targets]
        sizes = [target.columns for target in targets]
        if values.dim() == dims:
            return torch.split(values, sizes, dim=-1)
        if all(
            size == 1 and not own.has_column_axis for own, size in zip(targets, sizes, strict=True)
        ):
            views: Sequence[Tensor] = torch.unbind(values, dim=-2)
        else:
            views = [
                view if target.has_column_axis else view.squeeze(-2)
                for view, target in zip(torch.split(values, sizes, dim=-2), targets, strict=True)
            ]
        if not self._layout.padded or values.shape[-1:] != bucket.shape[1:]:
            return views
        return [
            view[..., : target.family.logits_per_label]
            for view, target in zip(views, targets, strict=True)
        ]
