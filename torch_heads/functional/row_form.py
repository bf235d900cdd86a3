"""What rows of numbers are, sets of class ids or multi-hot: as declared, or as nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.containers import is_gap
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.id_sets import IdSets, rows_of_lists
from torch_heads.functional.missing import each_missing

IDS, MULTI_HOT = "ids", "multi_hot"


@dataclass(frozen=True)
class RowForm:
    """How rows of numbers are told apart: as sets of class ids, or as multi-hot.

    Rows that are all of one form are never read as the other: what could be both is refused.

    Attributes:
        who: the head, as errors say it.
        n_classes: how many classes there are.
        missing: what stands for a missing label.
        declared: what lists of rows are, and sparse and nested tensors, ``"ids"`` or
            ``"multi_hot"``; None if that is not declared. Then lists are multi-hot where all rows
            have ``n_classes`` numbers, and sets of ids where none is as multi-hot rows are: of that
            many numbers, each 0 or 1, and some of these twice; tensors are sets of ids, unless they
            could be multi-hot. Of two classes, lists of nothing but 0 and 1 in each row, once each,
            are refused: one class of two, or the ids of both.
    """

    who: str
    n_classes: int
    missing: object = None
    declared: str | None = None

    def are_sets(self, labels: Any, depth: int, mask: Tensor | None) -> bool:
        """Return whether lists are sets of ids, not multi-hot.

        Raises:
            ValueError: if they could be both.
        """
        if not isinstance(labels, (list, tuple)) or self.declared == MULTI_HOT:
            return False
        rows = rows_of_lists(labels, depth)
        if rows is None or self.declared == IDS:
            return rows is not None
        given = [row for row in rows if not is_gap(row)]
        lists = [row for row in given if not isinstance(row, (set, frozenset))]
        full = [row for row in lists if len(row) == self.n_classes]
        if not full or len(full) < len(given):
            for row in full:
                # beside other sets, 0 and 1 are that of both of two classes
                if not _is_pair(row) and all(self._may_be_multi_hot(entry) for entry in row):
                    self._refuse_both(row, "beside rows of other lengths")
            return True
        if self.n_classes == 2:
            counted = [row for row in _where(rows, mask) if not is_gap(row)]
            if counted and all(map(_is_pair, counted)):
                self._refuse_both(counted[0], "alone: one class of two, or the set of both")
        return False

    def _may_be_multi_hot(self, entry: Any) -> bool:
        if is_gap(entry):
            return True
        try:
            number = float(entry)
        except (TypeError, ValueError):  # of what is no number
            return False
        return 0 <= number <= 1 or number in each_missing(self.missing)

    def _refuse_both(self, row: Any, beside: str) -> None:
        expected = "as sets of ids or as multi-hot rows"
        given = f"the row {preview(entries_of(row))} of {self.n_classes} numbers {beside}"
        hint = f"label_lists={IDS!r} or {MULTI_HOT!r} tells which; Python sets hold ids."
        raise ValueError(unexpected(self.who, "labels", expected, given, hint))

    def refuse_one_id(self, labels: Tensor, leading: Sequence[int]) -> None:
        """Refuse whole numbers ``[D*]`` or ``[D*, 1]``, which are ids of one class per row.

        Raises:
            ValueError: with what makes rows of them.
        """
        whole = not (labels.is_floating_point() or labels.dtype == torch.bool)
        if whole and labels.numel() and labels.shape in ((*leading,), (*leading, 1)):
            code = f"one_hot(torch.as_tensor(labels), {self.n_classes})"
            code += "" if labels.shape == (*leading,) else ".squeeze(-2)"
            hint = f"Rows of one class id each are multi-hot by torch.nn.functional.{code}."
            expected, given = f"of shape {[*leading, self.n_classes]}", [*labels.shape]
            raise ValueError(unexpected(self.who, "labels", expected, given, hint))

    def refuse_ids(self, dense: Tensor, mask: Tensor | None) -> None:
        """Refuse rows out of lists that could be nothing but ids, though all have ``n_classes``."""
        numbers = [one for one in each_missing(self.missing) if not isinstance(one, str)]
        ids = (dense > 1) | (dense < 0)
        for number in numbers:
            ids = ids & (dense != number)
        if mask is not None and mask.shape == dense.shape[:-1]:
            ids = ids & mask.cpu().unsqueeze(-1)
        if ids.any():
            hint = f"label_lists={IDS!r} tells that lists hold class ids."
            given = f"{dense[ids][0].item():g}"
            raise ValueError(unexpected(self.who, "labels", "in [0, 1]", given, hint))

    def refuse_multi_hot(self, labels: Tensor, sets: IdSets) -> None:
        """Refuse rows as wide as there are classes that could be sparse multi-hot ones.

        These have nothing but 1, jagged ones nothing but 0 and 1. On a device an assertion reports
        them, so that nothing waits.
        """
        ids, n_classes = sets.ids, self.n_classes
        if self.declared == IDS or not len(ids):
            return
        if labels.is_nested:
            if any(len(row) != n_classes for row in labels.unbind()):
                return
            binary = ((ids == 0) | (ids == 1)).all()
        else:
            if labels.shape[-1] != n_classes:
                return
            binary = torch.eq(ids, 1).all()
        dense = "torch.stack(labels.unbind())" if labels.is_nested else "labels.to_dense()"
        hint = f"Multi-hot rows are dense: {dense}; "
        hint += f"label_lists={IDS!r} or {MULTI_HOT!r} tells which these are."
        if ids.dtype == torch.bool or ids.is_floating_point():
            expected = "to be integer class ids"
            raise ValueError(unexpected(self.who, "sparse labels", expected, ids.dtype, hint))
        if ids.is_cuda or torch.compiler.is_compiling():
            words = "sparse labels of 0 and 1 could be multi-hot: label_lists tells which they are"
            torch._assert_async(~binary, words)
        elif not ids.is_meta and bool(binary):
            expected, given = "as sets of ids", f"0 and 1 alone in rows of {n_classes}"
            raise ValueError(unexpected(self.who, "sparse labels", expected, given, hint))


def _where(rows: Sequence[Any], mask: Tensor | None) -> Sequence[Any]:
    """Return the rows that are no padding."""
    if mask is None or mask.numel() != len(rows):
        return rows
    return [*compress(rows, mask.flatten().tolist())]


def _is_pair(row: Any) -> bool:
    """Return whether a row is 0 and 1 as whole numbers: one of two classes, or the ids of both."""
    entries = entries_of(row)
    whole = (isinstance(one, (int, np.integer)) and not isinstance(one, bool) for one in entries)
    return all(whole) and sorted(entries) == [0, 1]


def entries_of(row: Any) -> list[Any]:
    """Return what stands in a row."""
    return row.tolist() if isinstance(row, (np.ndarray, Tensor)) else list(row)
