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
    >>> [part.shape for part in groups.spread(torch.zeros(5, 9), fill=0.0)]
    [torch.Size([5, 2, 4]), torch.Size([5, 1, 2])]
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = list(widths)
        self.uniform = len(set(widths)) == 1
        self.buckets: list[tuple[int, int]] = []
        starts = list(accumulate(widths, initial=0))
        order: list[int] = []
        if not self.uniform:
            by_size: dict[int, list[int]] = {}
            for i, width in enumerate(widths):
                by_size.setdefault(1 << (width - 1).bit_length(), []).append(i)
            for size, members in by_size.items():
                padded = min(size, max(widths[i] for i in members))
                b = len(self.buckets)
                self.buckets.append((len(members), padded))
                order += members
                step = torch.arange(padded)
                own = torch.tensor([widths[i] for i in members]).unsqueeze(-1)
                start = torch.tensor([starts[i] for i in members]).unsqueeze(-1)
                index = start + torch.minimum(step, own - 1)
                self.constant(f"members_{b}", torch.tensor(members))
                self.constant(f"index_{b}", index.flatten())
                self.constant(f"padding_{b}", step >= own)
            self.constant("inverse", torch.tensor(order).argsort())

    def spread(self, values: Tensor, fill: float) -> list[Tensor]:
        """Return values ``[..., C]`` of each logit as ``[..., groups, width]`` per bucket."""
        if self.uniform:
            return [values.view(*values.shape[:-1], len(self.widths), self.widths[0])]
        parts = []
        for b, shape in enumerate(self.buckets):
            part = values.index_select(-1, self.get_buffer(f"index_{b}"))
            part = part.view(*values.shape[:-1], *shape)
            parts.append(part.masked_fill(self.get_buffer(f"padding_{b}"), fill))
        return parts

    def pick(self, values: Tensor) -> list[Tensor]:
        """Return values ``[..., groups]`` of each group as ``[..., groups]`` per bucket."""
        if self.uniform:
            return [values]
        return [
            values.index_select(-1, self.get_buffer(f"members_{b}"))
            for b in range(len(self.buckets))
        ]

    def gather(self, parts: Sequence[Tensor]) -> Tensor:
        """Return values per bucket as ``[..., groups]``, the inverse of `pick`."""
        if self.uniform:
            return parts[0]
        return torch.cat(list(parts), dim=-1).index_select(-1, self.get_buffer("inverse"))
