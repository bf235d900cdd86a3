"""Labels of which an example has any number, in all forms, as multi-hot rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from math import nan, prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.containers import in_order, is_gap, opened
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.forms import is_text
from torch_heads.functional.gaps import gap
from torch_heads.functional.hints import SAME_BATCH
from torch_heads.functional.id_sets import IdSets, batch_shape, rows_of_lists
from torch_heads.functional.labels import MISSING_NAME, class_ids
from torch_heads.functional.missing import each_missing
from torch_heads.functional.tables import is_table, table_columns
from torch_heads.functional.tensors import to_tensor
from torch_heads.functional.values import check_columns, check_values

IDS, MULTI_HOT = "ids", "multi_hot"


@dataclass(frozen=True)
class LabelSets:
    """How a head reads labels of which an example has any number.

    Attributes:
        who: the head, as errors say it.
        n_classes: how many classes there are.
        vocabulary: their names; None without.
        missing: what stands for a missing label.
        lists: what lists of rows of numbers are, and sparse and nested tensors, ``"ids"`` or
            ``"multi_hot"``; None if that is not declared. Then lists are multi-hot where all rows
            have ``n_classes`` numbers, and sets of ids where none is as multi-hot rows are: of that
            many numbers, each 0 or 1, and some of these twice; tensors are sets of ids, unless they
            could be multi-hot. Of two classes, lists of nothing but 0 and 1 in each row, once each,
            are refused: one class of two, or the ids of both.
    """

    who: str
    n_classes: int
    vocabulary: Sequence[str] | None = None
    missing: object = None
    lists: str | None = None

    def multi_hot(
        self, labels: Any, leading: Sequence[int], device: torch.device, mask: Tensor | None = None
    ) -> Tensor:
        """Return labels as ``[D*, n_classes]``, one entry per class.

        Multi-hot labels are taken as they are, and by name out of a dict or a table with a column
        per class. Sets of classes may be given row-wise as ``torch.sparse_coo_tensor`` of ids
        (``[D*, ?]``), as a (jagged) nested tensor of ids, as Python sets or lists of rows of ids or
        names, in whatever holds these rows. A set of nothing but ``missing``, and a gap in place of
        a set, is a row without a label. Where ``mask`` ``[D*]`` is False (padding), any will do.

        Raises:
            ValueError: if an id is out of range, a name unknown, or the batch of another shape, or
                if lists could be both.
        """
        labels = self._held(labels, len(leading))
        if isinstance(labels, Mapping):
            return self._by_class(labels, leading, device, mask)
        argument = "labels"
        if self._is_sparse(labels) and self.lists == MULTI_HOT:
            labels = self._densified(labels)
        if self._is_sparse(labels):
            argument = "sparse labels"
            sets = self._of_sparse(labels, device)
        elif is_text(labels) or self._are_sets(labels, len(leading), mask):
            sets = self._of_lists(labels, len(leading), device, mask)
        else:
            if isinstance(labels, Tensor) and labels.layout != torch.strided:
                expected = "to be dense, torch.sparse_coo or jagged"
                raise ValueError(unexpected(self.who, argument, expected, labels.layout))
            dense = self._dense(labels, device, mask)
            return check_columns(self.who, argument, dense, leading, self.n_classes)
        if sets.leading != tuple(leading):
            expected = f"of batch shape {list(leading)}"
            raise ValueError(
                unexpected(self.who, argument, expected, list(sets.leading), SAME_BATCH)
            )
        return self._hot(argument, sets, mask)

    def _held(self, labels: Any, depth: int) -> Any:
        """Return columns by class, lists of rows, or an array or tensor of multi-hot rows."""
        if isinstance(labels, Tensor):
            return labels
        held = opened(labels)
        if is_table(held):
            columns = table_columns(self.who, "labels", held)
            if len(columns) != 1:
                return columns
            labels = next(iter(columns.values()))  # of sets, or of rows
            held = opened(labels)
        if isinstance(labels, np.ndarray) and labels.ndim > depth and not is_text(labels):
            return labels
        if not isinstance(held, np.ndarray):
            return held
        shape: Any = getattr(labels, "shape", held.shape)
        rows = held.ndim > len(shape) == 1  # in a series
        return held.tolist() if rows or held.dtype.kind == "O" else held

    def _is_sparse(self, labels: Any) -> bool:
        """Return whether labels are sets of ids in a sparse or nested tensor."""
        if not isinstance(labels, Tensor):
            return False
        return labels.layout == torch.sparse_coo or labels.is_nested

    def _densified(self, labels: Tensor) -> Tensor:
        """Return a sparse or nested tensor of multi-hot rows as a dense one.

        Raises:
            ValueError: if its rows are of other lengths.
        """
        if not labels.is_nested:
            return labels.to_dense()
        rows = labels.unbind()
        if any(row.shape != (self.n_classes,) for row in rows):
            expected, given = f"as multi-hot rows of {self.n_classes}", "rows of other lengths"
            hint = f"label_lists={IDS!r} tells that they hold class ids."
            raise ValueError(unexpected(self.who, "nested labels", expected, given, hint))
        return torch.stack(rows) if rows else torch.zeros(0, self.n_classes, device=labels.device)

    def _dense(self, labels: Any, device: torch.device, mask: Tensor | None) -> Tensor:
        """Return multi-hot rows as a tensor.

        Raises:
            ValueError: if lists hold what is no part of a multi-hot row.
        """
        may_miss = self.missing is not None
        if not isinstance(labels, (list, tuple)):
            return to_tensor(self.who, "labels", labels, device, may_miss, mask)
        labels = [[row] * self.n_classes if is_gap(row) else row for row in labels]
        # looked at where they are, since to read what has gone to a device would wait for it
        dense = to_tensor(self.who, "labels", labels, torch.device("cpu"), may_miss, mask)
        if self.lists is None:
            self._refuse_ids(dense, mask)
        return dense.to(device)

    def _refuse_ids(self, dense: Tensor, mask: Tensor | None) -> None:
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

    def _by_class(
        self,
        table: Mapping[Any, Any],
        leading: Sequence[int],
        device: torch.device,
        mask: Tensor | None,
    ) -> Tensor:
        """Return labels that come as a column for each class, by its name or id."""
        names = self.vocabulary or [str(i) for i in range(self.n_classes)]
        own = [(name, table[name]) for name in table if _names_class(name, names)]
        if len(own) < self.n_classes:
            own = [(name, table[name]) for name in table]
        may_miss = self.missing is not None
        each = [
            to_tensor(self.who, f"labels[{name!r}]", one, device, may_miss, mask)
            for name, one in zip(
                names, in_order(self.who, "labels", own, names, "class"), strict=True
            )
        ]
        columns = [check_columns(self.who, "labels of a class", one, leading, 1) for one in each]
        return torch.cat(columns, -1)

    def _of_sparse(self, labels: Tensor, device: torch.device) -> IdSets:
        """Return the sets of a sparse or nested tensor."""
        if labels.device != device:
            expected = f"on the logits' device {device}"
            raise ValueError(unexpected(self.who, "sparse labels", expected, labels.device))
        of = IdSets.of_nested if labels.is_nested else IdSets.of_sparse
        sets = of(self.who, labels)
        self._refuse_multi_hot(labels, sets)
        return sets

    def _refuse_multi_hot(self, labels: Tensor, sets: IdSets) -> None:
        """Refuse rows as wide as there are classes that could be sparse multi-hot ones.

        These have nothing but 1, jagged ones nothing but 0 and 1. On a device an assertion reports
        them, so that nothing waits.
        """
        ids, n_classes = sets.ids, self.n_classes
        if self.lists == IDS or ids.dtype == torch.bool or ids.is_floating_point() or not len(ids):
            return
        if labels.is_nested:
            if any(len(row) != n_classes for row in labels.unbind()):
                return
            binary = ((ids == 0) | (ids == 1)).all()
        else:
            if labels.shape[-1] != n_classes:
                return
            binary = torch.eq(ids, 1).all()
        if ids.is_cuda or torch.compiler.is_compiling():
            words = "sparse labels of 0 and 1 could be multi-hot: label_lists tells which they are"
            torch._assert_async(~binary, words)
        elif not ids.is_meta and bool(binary):
            expected, given = "as sets of ids", f"0 and 1 alone in rows of {n_classes}"
            hint = "Multi-hot rows are dense: labels.to_dense(); "
            hint += f"label_lists={IDS!r} or {MULTI_HOT!r} tells which these are."
            raise ValueError(unexpected(self.who, "sparse labels", expected, given, hint))

    def _are_sets(self, labels: Any, depth: int, mask: Tensor | None) -> bool:
        """Return whether lists are sets of ids, not multi-hot.

        Raises:
            ValueError: if they could be both.
        """
        if not isinstance(labels, (list, tuple)) or self.lists == MULTI_HOT:
            return False
        rows = rows_of_lists(labels, depth)
        if rows is None or self.lists == IDS:
            return rows is not None
        given = [row for row in rows if not is_gap(row)]
        full = [
            row
            for row in given
            if not isinstance(row, (set, frozenset)) and len(row) == self.n_classes
        ]
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
        given = f"the row {preview(_entries(row))} of {self.n_classes} numbers {beside}"
        hint = f"label_lists={IDS!r} or {MULTI_HOT!r} tells which; Python sets hold ids."
        raise ValueError(unexpected(self.who, "labels", expected, given, hint))

    def _of_lists(
        self, labels: Any, depth: int, device: torch.device, mask: Tensor | None
    ) -> IdSets:
        """Return sets of ids or names."""
        rows = rows_of_lists(labels, depth)
        if rows is None:
            expected = "as a list of class names per row"
            hint = "" if self.vocabulary else "Class names need a label_vocabulary."
            raise ValueError(unexpected(self.who, "labels", expected, preview(labels), hint))
        sets = [[row] if is_gap(row) else _entries(row) for row in rows]
        if mask is not None and mask.numel() == len(sets):
            steps = mask.flatten().tolist()
            sets = [entries if step else [] for entries, step in zip(sets, steps, strict=True)]
        gaps = self._gaps(sets)
        for i in gaps:
            sets[i] = []
        flat = [entry for entries in sets for entry in entries]
        places = [i for i, entries in enumerate(sets) for _ in entries]
        named = is_text(flat)
        if named:
            found = class_ids(self.who, flat, self.vocabulary, self.missing)
            ids = torch.from_numpy(found).to(device)
        else:
            numbers = flat or np.zeros(0, dtype=np.int64)
            ids = to_tensor(self.who, "labels", numbers, device, may_miss=False)
        at = torch.tensor(places, dtype=torch.int64, device=device)
        return IdSets(ids, at, batch_shape(self.who, labels, depth), named, gaps)

    def _gaps(self, sets: Sequence[Sequence[Any]]) -> list[int]:
        """Return which rows are gaps.

        Raises:
            ValueError: if none may be, or a gap stands among ids.
        """
        gaps = []
        for i, entries in enumerate(sets):
            if {*map(type, entries)} <= {str, int, bytes}:
                continue
            for entry in filter(is_gap, entries):
                if self.missing is None or len(entries) > 1:
                    raise ValueError(gap(self.who, "labels", repr(entry), [i]))
                gaps.append(i)
        return gaps

    def _hot(self, argument: str, sets: IdSets, mask: Tensor | None) -> Tensor:
        """Return sets as rows of 0 and 1, NaN where the label is missing."""
        ids, leading, n_classes = sets.ids, sets.leading, self.n_classes
        if ids.is_floating_point() or ids.dtype == torch.bool or ids.is_complex():
            raise ValueError(unexpected(self.who, argument, "to be integer class ids", ids.dtype))
        if mask is not None:
            sets = sets.without(mask.flatten())
        absent = None
        if self.missing is not None:
            absent = sets.are_nothing_but(
                {MISSING_NAME} if sets.named else {*each_missing(self.missing)}
            )
            sets = sets.without(~absent)
            if sets.gaps:
                at = torch.tensor(sets.gaps, device=ids.device)
                absent = absent.index_fill(0, at, True)
        check_values(self.who, argument, sets.ids, 0, n_classes - 1)
        hot = torch.zeros(prod(leading) * n_classes, dtype=torch.int64, device=ids.device)
        hot = hot.index_fill(0, sets.rows * n_classes + sets.ids, 1).view(-1, n_classes)
        if absent is not None:
            hot = hot.double().masked_fill(absent.unsqueeze(-1), nan)
        return hot.view(*leading, n_classes)


def _names_class(name: object, names: Sequence[str]) -> bool:
    """Return whether a column is a class by name; others may stand beside these."""
    return name in names or (isinstance(name, (int, np.integer)) and int(name) in range(len(names)))


def _where(rows: Sequence[Any], mask: Tensor | None) -> Sequence[Any]:
    """Return the rows that are no padding."""
    if mask is None or mask.numel() != len(rows):
        return rows
    return [*compress(rows, mask.flatten().tolist())]


def _is_pair(row: Any) -> bool:
    """Return whether a row is 0 and 1 as whole numbers: one of two classes, or the ids of both."""
    entries = _entries(row)
    whole = all(isinstance(entry, int) and not isinstance(entry, bool) for entry in entries)
    return whole and sorted(entries) == [0, 1]


def _entries(row: Any) -> list[Any]:
    """Return what stands in a row."""
    return row.tolist() if isinstance(row, (np.ndarray, Tensor)) else list(row)
