"""The predictions of a group: each statistic once, split into views of each target."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_heads.computation.layout import Bucket, LogitLayout
from torch_heads.computation.prior import GroupPrior
from torch_heads.computation.target import Target
from torch_heads.families.family import Family, Statistic

Predicted = Sequence[Tensor]  # of one target, in the order of the keys that were asked for


class Part(NamedTuple):
    """Where the prediction of one target stands in a stacked one.

    ``values[..., start:stop]`` where ``width`` is None, else ``values[..., start:stop, :width]``,
    with these two axes as one where it is ``flat``.
    """

    target: int
    start: int
    stop: int
    width: int | None
    flat: bool


class Stacked(NamedTuple):
    """A prediction of many targets, side by side.

    Attributes:
        key: the key that it has in each of them.
        values: ``[D*, U]``, or ``[D*, U, k]`` for several numbers per label.
        parts: where that of each target stands.
    """

    key: str
    values: Tensor
    parts: list[Part]


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
        #: Of each bucket, whether every target has one column, which is no axis of its predictions.
        self._plain = [
            all(target.columns == 1 and not target.has_column_axis for target in targets[run])
            for run in (bucket.targets for bucket in layout.buckets)
        ]

    def predict(
        self,
        parts: Tensor | Sequence[Tensor],
        own: Callable[[], Sequence[Tensor]],
        keys: Sequence[Iterable[str]],
    ) -> list[Predicted]:
        """Return the predictions of each target, in the order of its keys.

        Args:
            parts: the logits of all targets, as `LogitLayout.blocks` takes them.
            own: returns those of each target, ``[D*, C]``.
            keys: which predictions of each target.
        """
        blocks = self.blocks(parts)
        predicted: list[Predicted] = [()] * len(self._targets)
        for bucket, block, plain in zip(self._layout.buckets, blocks, self._plain, strict=True):
            first, count = bucket.targets.start, bucket.targets.stop - bucket.targets.start
            dims = block.dim() - len(bucket.shape) + 1
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
                        found[statistic] = self._split(values, bucket, dims, plain)
                    each = found[statistic]
                    every = len(members) == count
                    views.append(each if every else [each[i - first] for i in members])
                for i, row in zip(members, zip(*views, strict=True), strict=False):
                    predicted[i] = row
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

    def _split(self, values: Tensor, bucket: Bucket, dims: int, plain: bool) -> Sequence[Tensor]:
        """Return ``[D*, U]`` or ``[D*, U, k]`` as views of each target."""
        targets, sizes = self._targets[bucket.targets], self._sizes[bucket.targets]
        if values.dim() == dims:
            return torch.split(values, sizes, dim=-1)
        if plain:
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

    def stack(self, logits: Tensor | Sequence[Tensor]) -> Iterator[Stacked]:
        """Yield each statistic of each bucket once, whole; ``logits`` are as for `predict`."""
        blocks = self.blocks(logits)
        for bucket, block in zip(self._layout.buckets, blocks, strict=True):
            flat_dims = block.dim() - len(bucket.shape) + 1
            members: dict[tuple[str, Statistic], list[int]] = {}
            for i in range(bucket.targets.start, bucket.targets.stop):
                for item in self._targets[i].predicted.items():
                    members.setdefault(item, []).append(i)
            starts = list(accumulate(self._sizes[bucket.targets], initial=0))
            for (key, statistic), own in members.items():
                values = statistic(self._family, block)
                parts = []
                for i in own:
                    target, start = self._targets[i], starts[i - bucket.targets.start]
                    width = None if values.dim() == flat_dims else values.shape[-1]
                    if width is not None and values.shape[-1:] == bucket.shape[1:]:
                        width = target.family.logits_per_label
                    flat = statistic is Family.logits or not target.has_column_axis
                    parts.append(Part(i, start, start + target.columns, width, flat))
                yield Stacked(key, values, parts)
