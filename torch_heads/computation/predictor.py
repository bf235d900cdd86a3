"""The predictions of a group: each statistic once, split into views of each target."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from torch_heads.computation.layout import Bucket, LogitLayout
from torch_heads.computation.prior import GroupPrior
from torch_heads.computation.target import Target
from torch_heads.families.family import Family, Statistic

Predicted = dict[str, Tensor]


class Predictor:
    """Computes what the targets of a group predict."""

    def __init__(self, targets: Sequence[Target], layout: LogitLayout, prior: GroupPrior) -> None:
        self._targets = targets
        self._layout = layout
        self._prior = prior
        self._family = targets[0].family
        self._sizes = [target.columns for target in targets]
        kinds: dict[Hashable, int] = {}
        #: Targets of one kind predict the same.
        self._kinds = [
            kinds.setdefault(tuple(target.predicted.items()), len(kinds)) for target in targets
        ]

    def predict(
        self,
        parts: Tensor | Sequence[Tensor],
        own: Callable[[], Sequence[Tensor]],
        keys: Sequence[Iterable[str]],
    ) -> list[Predicted]:
        """Return the predictions of each target, by key.

        Args:
            parts: the logits of all targets, as `LogitLayout.blocks` takes them.
            own: returns those of each target, ``[D*, C]``.
            keys: which predictions of each target.
        """
        blocks = self.blocks(parts)
        predicted: list[Predicted] = [{} for _ in self._targets]
        for bucket, block in zip(self._layout.buckets, blocks, strict=True):
            first, dims = bucket.targets.start, block.dim() - len(bucket.shape) + 1
            found: dict[Statistic, Sequence[Tensor]] = {}
            alike: dict[tuple[Any, ...], list[int]] = {}  # by their kind, and what is asked of them
            for i in range(first, bucket.targets.stop):
                alike.setdefault((self._kinds[i], *keys[i]), []).append(i)
            for (_, *asked), members in alike.items():
                views = []
                for key in asked:
                    statistic = self._targets[members[0]].predicted[key]
                    if statistic not in found and statistic is Family.logits:
                        found[statistic] = (
                            self._logits(block, bucket)
                            if self._prior.known
                            else own()[bucket.targets]
                        )
                    elif statistic not in found:
                        values = statistic(self._family, block)
                        found[statistic] = self._split(values, bucket, dims)
                    views.append([found[statistic][i - first] for i in members])
                for i, row in zip(members, zip(*views, strict=True), strict=False):
                    predicted[i] = dict(zip(asked, row, strict=True))
        return predicted

    def blocks(self, parts: Tensor | Sequence[Tensor]) -> list[Tensor]:
        """Return logits ``[D*, U, *logits_shape]`` of each bucket, as `LogitLayout.blocks` does.

        They are what they mean: with a prior, ``offset + scale * z``.
        """
        return self._layout.fill(self._prior.apply(self._layout.blocks(parts)))

    def _logits(self, block: Tensor, bucket: Bucket) -> Sequence[Tensor]:
        """Return the logits ``[D*, C]`` of each target."""
        targets, sizes = self._targets[bucket.targets], self._sizes[bucket.targets]
        if not bucket.shape[1:]:
            return torch.split(block, sizes, dim=-1)
        return [
            own[..., : target.family.logits_per_label].flatten(-2)
            for own, target in zip(torch.split(block, sizes, dim=-2), targets, strict=True)
        ]

    def _split(self, values: Tensor, bucket: Bucket, dims: int) -> Sequence[Tensor]:
        """Return ``[D*, U]`` or ``[D*, U, k]`` as views of each target."""
        targets, sizes = self._targets[bucket.targets], self._sizes[bucket.targets]
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
