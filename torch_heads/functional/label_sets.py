"""Labels of which an example has any number, in all forms, as multi-hot rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from torch_heads.functional.id_sets import IdSets, batch_shape, refuse_sets_within, rows_of_lists
from torch_heads.functional.labels import MISSING_NAME, class_ids
from torch_heads.functional.missing import each_missing
from torch_heads.functional.row_form import IDS, MULTI_HOT, RowForm, entries_of
from torch_heads.functional.tables import is_table, table_columns
from torch_heads.functional.tensors import to_tensor
from torch_heads.functional.values import check_columns, check_values


@dataclass(frozen=True)
class LabelSets:
    """How a head reads labels of which an example has any number.

    Attributes:
        who: the head, as errors say it.
        n_classes: how many classes there are.
        vocabulary: their names; None without.
        missing: what stands for a missing label.
        lists: what lists of rows of numbers are, and sparse and nested tensors; see `RowForm`.
    """

    who: str
    n_classes: int
    vocabulary: Sequence[str] | None = None
    missing: object = None
    lists: str | None = None

    @property
    def _form(self) -> RowForm:
        return RowForm(self.who, self.n_classes, self.missing, self.lists)

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
        elif is_text(labels) or self._form.are_sets(labels, len(leading), mask):
            sets = self._of_lists(labels, len(leading), device, mask)
        else:
            if isinstance(labels, Tensor) and labels.layout != torch.strided:
                expected = "to be dense, torch.sparse_coo or jagged"
                raise ValueError(unexpected(self.who, argument, expected, labels.layout))
            dense = self._dense(labels, leading, device, mask)
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

    def _dense(
        self, labels: Any, leading: Sequence[int], device: torch.device, mask: Tensor | None
    ) -> Tensor:
        """Return multi-hot rows as a tensor.

        Raises:
            ValueError: if lists hold what is no part of a multi-hot row, or there is an id in place
                of each row.
        """
        may_miss = self.missing is not None
        if not isinstance(labels, (list, tuple)):
            dense = to_tensor(self.who, "labels", labels, device, may_miss, mask)
            self._form.refuse_one_id(dense, leading)
            return dense
        labels = [[row] * self.n_classes if is_gap(row) else row for row in labels]
        # looked at where they are, since to read what has gone to a device would wait for it
        dense = to_tensor(self.who, "labels", labels, torch.device("cpu"), may_miss, mask)
        self._form.refuse_one_id(dense, leading)
        if self.lists is None:
            self._form.refuse_ids(dense, mask)
        return dense.to(device)

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
        self._form.refuse_multi_hot(labels, sets)
        return sets

    def _of_lists(
        self, labels: Any, depth: int, device: torch.device, mask: Tensor | None
    ) -> IdSets:
        """Return sets of ids or names."""
        rows = rows_of_lists(labels, depth)
        if rows is None:
            expected = "as a list of class names per row"
            hint = "" if self.vocabulary else "Class names need a label_vocabulary."
            raise ValueError(unexpected(self.who, "labels", expected, preview(labels), hint))
        sets = [[row] if is_gap(row) else entries_of(row) for row in rows]
        if mask is not None and mask.numel() == len(sets):
            steps = mask.flatten().tolist()
            sets = [entries if step else [] for entries, step in zip(sets, steps, strict=True)]
        gaps = self._gaps(sets)
        for i in gaps:
            sets[i] = []
        flat = [entry for entries in sets for entry in entries]
        refuse_sets_within(self.who, flat)
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
        if sets.ids.numel() == 0:
            sets = sets._replace(ids=sets.ids.to(torch.int64))  # sets of nothing have no type
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
