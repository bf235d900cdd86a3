"""The computation of many heads of one family inside a `MultiHead`, as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from torch_heads.functional.constants import Constants
from torch_heads.functional.families import Balance
from torch_heads.functional.reductions import Reduction, safe_divide
from torch_heads.heads.block import Block
from torch_heads.heads.tensor_head import TensorHead


class JoinedBlock(Block, Constants):
    """Heads of one family whose columns stand side by side: one kernel, one tally."""

    owner: Tensor
    sizes: Tensor
    loss_elements: Tensor
    ones: Tensor
    never_miss: Tensor
    label_smoothing: Tensor | None

    def __init__(self, heads: Sequence[TensorHead]) -> None:
        super().__init__(heads)
        sizes = [head.labels_dimension for head in heads]
        self.columns = slices(sizes)
        self._averages = any(head.labels_dimension > head.loss_dimension for head in heads)
        self._balanced = any(head.balance is not None for head in heads)
        self._reductions = list(dict.fromkeys(head.loss_reduction for head in heads))
        owner = [i for i, size in enumerate(sizes) for _ in range(size)]
        self.constant("owner", owner)
        self.constant("sizes", sizes)
        self.constant("loss_elements", [head.loss_dimension for head in heads])
        self.constant("never_miss", [not head.may_miss for head in heads])
        self.constant("ones", [1.0] * max(self.widths))
        smoothing = [heads[i].label_smoothing for i in owner]
        self.constant("label_smoothing", smoothing if any(smoothing) else None)
        for reduction in self._reductions:
            uses = [head.loss_reduction is reduction for head in heads]
            self.constant(f"uses_{reduction}", uses)

    def balance(self) -> Balance | None:
        """Return the corrections of class imbalance of all heads, side by side."""
        if not self._balanced:
            return None
        return Balance(
            self._side_by_side("class_weight"),
            self._side_by_side("pos_weight"),
            self.label_smoothing,
        )

    def _side_by_side(self, name: str) -> Tensor | None:
        # read anew each time: the heads' buffers may have been loaded or edited
        weights = [head._buffers.get(name) for head in self.heads]
        if all(weight is None for weight in weights):
            return None
        ones = {width: self.ones[:width] for width in set(self.widths)}
        return torch.cat(
            [
                ones[width] if weight is None else weight
                for weight, width in zip(weights, self.widths, strict=True)
            ]
        )

    def counted(self, any_label: Tensor) -> Tensor | None:
        """Return for which heads the batch counts: those with a label, or that never miss one."""
        return any_label | self.never_miss

    def share(self, labelled: Tensor) -> Tensor:
        """Return what each label counts in its example's loss: 1 on average where all are there."""
        if not self._averages or labelled.shape[-1] == 1:
            return labelled
        # the mean over the labels that are there, in heads whose loss averages over columns
        heads = labelled.new_zeros(len(labelled), len(self.heads))
        present = heads.index_add(1, self.owner, labelled) / self.sizes
        averaged = (self.loss_elements < self.sizes).index_select(0, self.owner)
        shares = safe_divide(labelled, present.index_select(1, self.owner))
        return torch.where(averaged, shares, labelled)

    def by_reduction(self, values: Callable[[Reduction], Tensor]) -> Tensor:
        """Return each head's value under its own reduction."""
        result = values(self._reductions[0])
        for reduction in self._reductions[1:]:
            uses = self.get_buffer(f"uses_{reduction}")
            result = torch.where(uses, values(reduction), result)
        return result

    def elements(self, rows: int) -> int | Tensor:
        """Return how many loss elements each head has in so many rows."""
        return self.loss_elements * rows

    def from_columns(self, columns: Tensor) -> Tensor:
        """Return the mean over each head's columns."""
        heads = len(self.heads)
        if columns.numel() in (1, heads):
            return columns.expand(heads)
        return columns.new_zeros(heads).index_add(0, self.owner, columns) / self.sizes


def slices(widths: Sequence[int]) -> list[slice]:
    """Return the columns of each of several tensors that stand side by side."""
    return [slice(*pair) for pair in pairwise(accumulate(widths, initial=0))]
