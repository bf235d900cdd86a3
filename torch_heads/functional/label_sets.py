"""Labels of which an example has any number, in all forms, as multi-hot rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan, prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.containers import in_order, is_gap, is_table, opened, table_columns
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.hints import SAME_BATCH
from torch_heads.functional.id_sets import IdSets, batch_shape, rows_of_lists
from torch_heads.functional.labels import MISSING_NAME, class_ids
from torch_heads.functional.missing import each_missing
from torch_heads.functional.tensors import gap, is_text, to_tensor
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
        lists: what nested lists of numbers are, ``"ids"`` or ``"multi_hot"``; None if that is not
            declared. Then they are multi-hot where all rows have ``n_classes`` numbers, and sets of
            ids where none is as multi-hot rows are: of that many numbers, each 0 or 1, and some of
            these twice.
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
        (``[D*, ?]``), as a (jagged) nested tensor of ids, as Python sets or nested lists of ids or
        names. A set of nothing but ``missing``, and a gap in place of a set, is a row without a
        label. Where ``mask`` ``[D*]`` is False (padding), any set will do.

        Raises:
            ValueError: if an id is out of range, a name unknown, or the batch of another shape, or
                if lists could be both.
        """
        if is_table(labels):
            labels = table_columns(self.who, "labels", labels)
            if len(labels) == 1:  # of sets
                (labels,) = labels.values()
        if isinstance(labels, Mapping):
            return self._by_class(labels, leading, device, mask)
        if not isinstance(labels, Tensor):
            labels = _listed(opened(labels))
        argument = "labels"
        if isinstance(labels, Tensor) and (labels.layout == torch.sparse_coo or labels.is_nested):
            argument = "sparse labels"
            sets = self._of_sparse(labels, device)
        elif is_text(labels) or self._are_sets(labels, len(leading)):
            sets = self._of_lists(labels, len(leading), device, mask)
        else:
            if isinstance(labels, Tensor) and labels.layout != torch.strided:
                expected = "to be dense, torch.sparse_coo or jagged"
                raise ValueError(unexpected(self.who, argument, expected, labels.layout))
            if isinstance(labels, (list, tuple)):
                labels = [[row] * self.n_classes if is_gap(row) else row for row in labels]
            dense = to_tensor(self.who, argument, labels, device, self.missing is not None, mask)
            return check_columns(self.who, argument, dense, leading, self.n_classes)
        if sets.leading != tuple(leading):
            expected = f"of batch shape {list(leading)}"
            raise ValueError(
                unexpected(self.who, argument, expected, list(sets.leading), SAME_BATCH)
            )
        return self._hot(argument, sets, mask)

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
        """Refuse rows as wide as there are classes that are no sets of ids, but could be multi-hot.

        They have nothing but 0 and 1, and some of these twice. On a device an assertion reports
        them, so that nothing waits.
        """
        ids, n_classes = sets.ids, self.n_classes
        if ids.dtype == torch.bool or ids.is_floating_point() or not len(ids):
            return
        if labels.is_nested:
            if n_classes == 2 or any(len(row) != n_classes for row in labels.unbind()):
                return
            binary = ((ids == 0) | (ids == 1)).all()
        else:
            if labels.shape[-1] != n_classes:
                return
            # a set of one id stands in the first place
            binary = torch.eq(ids, 1).all() & labels._indices()[-1].any()
        if ids.is_cuda or torch.compiler.is_compiling():
            words = "sparse labels of 0 and 1 could be multi-hot: make them dense"
            torch._assert_async(~binary, words)
        elif not ids.is_meta and bool(binary):
            expected, given = "as sets of ids", f"0 and 1 alone in rows of {n_classes}"
            hint = "Multi-hot rows are dense: labels.to_dense(); sets of ids have another width."
            raise ValueError(unexpected(self.who, "sparse labels", expected, given, hint))

    def _are_sets(self, labels: Any, depth: int) -> bool:
        """Return whether lists are sets of ids, not multi-hot.

        Raises:
            ValueError: if they could be both.
        """
        if not isinstance(labels, (list, tuple)) or self.lists == MULTI_HOT:
            return False
        rows = rows_of_lists(labels, depth)
        if rows is None or self.lists == IDS:
            return rows is not None
        rows = [row for row in rows if not is_gap(row)]
        full = [
            row for row in rows if isinstance(row, (list, tuple)) and len(row) == self.n_classes
        ]
        if not full or len(full) < len(rows):
            for row in full:
                # that of two classes may be a set of both, and beside other sets it is one
                both = sorted(row, key=str) == [0, 1]
                if not both and all(self._may_be_multi_hot(entry) for entry in row):
                    self._refuse_both(row)
            return True
        return False

    def _may_be_multi_hot(self, entry: Any) -> bool:
        if is_gap(entry):
            return True
        try:
            number = float(entry)
        except (TypeError, ValueError):  # of what is no number
            return False
        return 0 <= number <= 1 or number in each_missing(self.missing)

    def _refuse_both(self, row: Sequence[Any]) -> None:
        expected = "as sets of ids or as multi-hot rows"
        given = f"the row {preview(row)} of {self.n_classes} numbers beside rows of other lengths"
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
        sets = [[row] if is_gap(row) else list(row) for row in rows]
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


def _listed(labels: Any) -> Any:
    """Return lists for an array of objects such as lists, and all else as it is."""
    if isinstance(labels, np.ndarray) and labels.dtype.kind == "O":
        return [_listed(opened(label)) for label in labels.tolist()]
    if isinstance(labels, list):
        return [_listed(label) for label in labels]
    return labels
