"""Groups of logits side by side, a softmax each, computed without a loop over the groups."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from torch_heads.functional.constants import Constants


class Groups(Constants):
    """Where each of several groups of logits stands, and how to compute all of them at once.

    Groups of one width are a view. Others are padded to the next power of two, so that there are
    few buckets of equal width, and at most twice the logits in memory.

    Args:
        widths: how many logits each group has, in order.

    >>> groups = Groups([3, 4, 2])
    >>> [part.shape for part in groups.spread(groups.pad(torch.zeros(5, 9), fill=0.0))]
    [torch.Size([5, 2, 4]), torch.Size([5, 1, 2])]
    """

    index: Tensor
    padding: Tensor | None
    members: Tensor
    inverse: Tensor

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = list(widths)
        self.uniform = len(set(widths)) == 1
        #: How many groups there are of each padded width.
        self.buckets = [(len(widths), widths[0])] if self.uniform else []
        starts = list(accumulate(widths, initial=0))
        order: list[int] = []
        if not self.uniform:
            by_size: dict[int, list[int]] = {}
            for i, width in enumerate(widths):
                by_size.setdefault(1 << (width - 1).bit_length(), []).append(i)
            index, padding = [], []
            for size, members in by_size.items():
                padded = min(size, max(widths[i] for i in members))
                self.buckets.append((len(members), padded))
                order += members
                step = torch.arange(padded)
                own = torch.tensor([widths[i] for i in members]).unsqueeze(-1)
                start = torch.tensor([starts[i] for i in members]).unsqueeze(-1)
                index.append((start + torch.minimum(step, own - 1)).flatten())
                padding.append((step >= own).flatten())
            self.constant("index", torch.cat(index))
            pads = torch.cat(padding)
            self.constant("padding", pads if pads.any() else None)
            self.constant("members", order)
            self.constant("inverse", torch.tensor(order).argsort())

    def pad(self, values: Tensor, fill: float) -> Tensor:
        """Return values ``[..., C]`` of each logit, bucket by bucket and padded."""
        if self.uniform:
            return values
        padded = values.index_select(-1, self.index)
        return padded if self.padding is None else padded.masked_fill_(self.padding, fill)

    def spread(self, padded: Tensor) -> list[Tensor]:
        """Return what `pad` returned as ``[..., groups, width]`` per bucket."""
        sizes = [count * width for count, width in self.buckets]
        # a split in one would copy the gradient
        parts = [padded] if self.uniform else torch.split(padded, sizes, dim=-1)
        leading = padded.shape[:-1]
        return [part.view(*leading, *size) for part, size in zip(parts, self.buckets, strict=True)]

    def pick(self, values: Tensor) -> list[Tensor]:
        """Return values ``[..., groups]`` of each group as ``[..., groups]`` per bucket."""
        if self.uniform:
            return [values]
        counts = [count for count, _ in self.buckets]
        return list(torch.split(values.index_select(-1, self.members), counts, dim=-1))

    def gather(self, parts: Sequence[Tensor]) -> Tensor:
        """Return values per bucket as ``[..., groups]``, the inverse of `pick`."""
        if self.uniform:
            return parts[0]
        return torch.cat(list(parts), dim=-1).index_select(-1, self.inverse)
