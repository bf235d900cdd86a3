"""Heads of one family inside a `MultiHead`, computed as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from torch_heads.functional.labels import check_values
from torch_heads.heads.base import Features
from torch_heads.heads.block import Batch, Block
from torch_heads.heads.tensor_head import TensorHead


class JoinedBlock(Block):
    """Heads of one family whose columns stand side by side: one kernel, one tally.

    Wherever the heads' labels and weights are alike, they are checked and encoded in one pass,
    too; else head by head, before they are joined.
    """

    owner: Tensor
    sizes: Tensor
    loss_elements: Tensor
    highest: Tensor

    def __init__(self, heads: Sequence[TensorHead]) -> None:
        super().__init__(heads)
        self.names = [head.name or "" for head in heads]
        self.logit_columns = slices([head.logits_dimension for head in heads])
        self.label_columns = slices([head.labels_dimension for head in heads])
        self._logit_widths = [head.logits_dimension for head in heads]
        widths = [head.labels_dimension for head in heads]
        self._label_width = widths[0] if len(set(widths)) == 1 else None
        self._named = any(head.label_vocabulary for head in heads)
        self._reductions = list(dict.fromkeys(head.loss_reduction for head in heads))
        ranges = [head.label_range for head in heads]
        self._range = ranges[0] if len(set(ranges)) == 1 else None
        self._constant("sizes", widths)
        self._constant("owner", [i for i, width in enumerate(widths) for _ in range(width)])
        self._constant("loss_elements", [head.loss_dimension for head in heads])
        self._constant("highest", [ranges[i][1] for i in self.owner.tolist()])
        for reduction in self._reductions:
            self._constant(
                f"uses_{reduction}", [head.loss_reduction is reduction for head in heads]
            )

    def _constant(self, name: str, values: Sequence[float]) -> None:
        self.register_buffer(name, torch.tensor(values), persistent=False)

    def encode(
        self,
        labels: Mapping[str, Any] | Tensor,
        logits: Mapping[str, Any] | Tensor,
        features: Features | None,
        weights: Mapping[str, Any],
    ) -> Batch:
        """Return the checked batch of all heads: dicts by head name, or columns side by side."""
        if isinstance(logits, Tensor):
            joined = logits
        else:
            each = [
                head.check_logits(logits[name])
                for head, name in zip(self.heads, self.names, strict=True)
            ]
            if any(one.shape[:-1] != each[0].shape[:-1] for one in each):
                return self._encode_ragged(labels, each, features, weights)
            joined = torch.cat(each, dim=-1)
        columns = self._encode_labels(labels, joined)
        low, high = self._range or (self.heads[0].label_range[0], self.highest)
        check_values(self._blame, "labels", columns, low, high)
        return Batch(joined, columns, self._encode_weights(features, weights, joined), None)

    def _encode_labels(self, labels: Mapping[str, Any] | Tensor, logits: Tensor) -> Tensor:
        dtype = self.heads[0].family.label_dtype(logits)
        if isinstance(labels, Tensor):
            return self.heads[0].stacked_labels(labels).to(dtype)
        leading, device = logits.shape[:-1], logits.device
        given = [labels[name] for name in self.names]
        if self._alike(given, dtype):
            if given[0].shape == (*leading, self._label_width):
                return torch.cat(given, dim=-1).to(dtype)
            if given[0].shape == leading and self._label_width == 1:
                return torch.stack(given, dim=-1).to(dtype)
        each = [
            head.label_columns(one, leading, device).to(dtype)
            for head, one in zip(self.heads, given, strict=True)
        ]
        return torch.cat(each, dim=-1)

    def _alike(self, given: Sequence[Any], dtype: torch.dtype) -> bool:
        """Return whether all labels are dense tensors that one concatenation encodes."""
        first = given[0]
        if self._named or self._label_width is None or not isinstance(first, Tensor):
            return False
        if first.layout != torch.strided or first.is_nested:
            return False
        if not dtype.is_floating_point and (first.dtype == torch.bool or first.is_floating_point()):
            return False
        return all(
            isinstance(one, Tensor)
            and one.shape == first.shape
            and one.dtype == first.dtype
            and one.device == first.device
            for one in given
        )

    def _encode_weights(
        self, features: Features | None, weights: Mapping[str, Any], logits: Tensor
    ) -> Tensor | None:
        own = [weights.get(name) for name in self.names] if weights else []
        column = self.heads[0].weight_column
        alike = all(head.weight_column == column for head in self.heads)
        if not own and alike and column is None:
            return None
        if not own and alike and all(head.loss_dimension == 1 for head in self.heads):
            return self.heads[0].encode_weights(
                features, None, logits[..., : self._logit_widths[0]]
            )
        found = []
        for i, head in enumerate(self.heads):
            part = logits[..., self.logit_columns[i]]
            one = head.encode_weights(features, own[i] if own else None, part)
            one = part.new_ones(()) if one is None else one
            found.append(one.expand(*logits.shape[:-1], head.labels_dimension))
        return torch.cat(found, dim=-1)

    def _encode_ragged(
        self,
        labels: Mapping[str, Any] | Tensor,
        logits: Sequence[Tensor],
        features: Features | None,
        weights: Mapping[str, Any],
    ) -> Batch:
        """Encode heads of different batch shapes: short ones are padded with rows that are not."""
        each = []
        for i, (head, name) in enumerate(zip(self.heads, self.names, strict=True)):
            one = labels[..., self.label_columns[i]] if isinstance(labels, Tensor) else labels[name]
            each += head.encode(one, logits[i], features, weights.get(name))
        rows = max(batch.logits[..., 0].numel() for batch in each)

        def joined(parts: Sequence[Tensor]) -> Tensor:
            flat = [part.flatten(0, -2) for part in parts]
            return torch.cat([pad(part, (0, 0, 0, rows - len(part))) for part in flat], dim=-1)

        ones = [torch.ones_like(batch.labels, dtype=torch.bool) for batch in each]
        return Batch(
            joined([batch.logits for batch in each]),
            joined([batch.labels for batch in each]),
            joined(
                [
                    torch.ones_like(batch.labels, dtype=batch.logits.dtype)
                    if batch.weights is None
                    else batch.weights.expand(batch.labels.shape)
                    for batch in each
                ]
            ),
            joined(ones),
        )

    def _blame(self, bad: Tensor) -> str:
        column = int(bad.flatten(0, -2).any(0).nonzero()[0])
        return self.heads[int(self.owner[column])].title

    # Reducing: one value per head.

    def _widths(self) -> Sequence[int]:
        return self._logit_widths

    def _normalize(
        self, mean: Tensor, rows: int, share: Tensor | None, loss_weights: Tensor | None
    ) -> Tensor:
        result = mean
        for i, reduction in enumerate(self._reductions):
            own = self._normalized(reduction, mean, self.loss_elements * rows, share, loss_weights)
            result = torch.where(self.get_buffer(f"uses_{reduction}"), own, result) if i else own
        return result

    def _per_head(self, values: Tensor) -> Tensor:
        heads = len(self.heads)
        columns = values.mean(0)
        if columns.numel() in (1, heads):
            return columns.expand(heads)
        return columns.new_zeros(heads).index_add(0, self.owner, columns) / self.sizes


class Part(nn.Module):
    """Some heads of a `MultiHead`: several that share a block, or one with blocks of its own.

    Args:
        positions: which heads.
        block: what they share.
        logits: where their logits stand among the stacked logits of all heads.
        labels: where their labels stand among the stacked labels of all heads.
    """

    def __init__(
        self,
        positions: Sequence[int],
        block: JoinedBlock | None,
        logits: Sequence[slice],
        labels: Sequence[slice],
    ) -> None:
        super().__init__()
        self.positions = list(positions)
        self.block = block
        self._take = {"logits": self._columns("logits", logits)}
        self._take["labels"] = self._columns("labels", labels)

    def _columns(self, name: str, parts: Sequence[slice]) -> slice | None:
        if all(left.stop == right.start for left, right in pairwise(parts)):
            return slice(parts[0].start, parts[-1].stop)  # a view
        index = [i for part in parts for i in range(part.start, part.stop)]
        self.register_buffer(f"{name}_index", torch.tensor(index), persistent=False)
        return None

    def take_logits(self, stacked: Tensor) -> Tensor:
        """Return the logits of these heads out of those of all heads."""
        columns = self._take["logits"]
        if columns is None:
            return stacked.index_select(-1, self.get_buffer("logits_index"))
        return stacked[..., columns]

    def take_labels(self, stacked: Tensor) -> Tensor:
        """Return the labels of these heads out of those of all heads."""
        columns = self._take["labels"]
        if columns is None:
            return stacked.index_select(-1, self.get_buffer("labels_index"))
        return stacked[..., columns]


def slices(widths: Sequence[int]) -> list[slice]:
    """Return the columns of each of several tensors that stand side by side."""
    return [slice(*pair) for pair in pairwise(accumulate(widths, initial=0))]
