"""Labels that are missing: the numbers that stand for them, and how to find them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan, nan
from typing import Any

import torch
from torch import Tensor

from torch_heads.functional.constants import Constants
from torch_heads.functional.containers import by_key
from torch_heads.functional.forms import is_float8

#: Whole numbers that PyTorch compares as they are.
WHOLE = {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8}


def each_missing(missing: Any) -> tuple[Any, ...]:
    """Return the values of a ``missing_label``, which may be none, one or several."""
    if missing is None:
        return ()
    return missing if isinstance(missing, tuple) else (missing,)


def rounded_fractions(values: Sequence[float]) -> list[float]:
    """Return what numbers are in float32, of those that are fractions there.

    No label is one of these by chance, as it could be a whole number: 99999999 is 100000000 there.

    >>> rounded_fractions([0.1, 99999999.0])
    [0.10000000149011612]
    """
    rounded = torch.tensor(values, dtype=torch.float32, device="cpu").tolist()
    return [value for value in rounded if value % 1 > 0]


class Missing:
    """The numbers that stand for a missing label, NaN included; none where no label may miss.

    >>> Missing(-1.0).present(torch.tensor([[0], [-1]]))
    tensor([[ True],
            [False]])
    """

    def __init__(self, *values: float) -> None:
        self.values = values
        # told apart here: compiled code may take numbers for symbols
        self.has_nan = any(map(isnan, values))
        self.exact = tuple(value for value in values if not isnan(value))
        #: These, and what fractions among them are in float32: the labels may have been that once.
        self.written = (*self.exact, *rounded_fractions(self.exact))
        self._whole = tuple(int(value) for value in self.exact if float(value).is_integer())

    def __bool__(self) -> bool:
        """Return whether a label may be missing."""
        return bool(self.values)

    def present(self, columns: Tensor) -> Tensor:
        """Return where labels are not missing."""
        floating = columns.is_floating_point()
        there = ~columns.isnan() if floating and self.has_nan else None
        written, values = columns, self.written
        if columns.dtype in WHOLE:
            # where -1 would be 255 among bytes, it is none of them
            limits = torch.iinfo(columns.dtype)
            values = tuple(one for one in self._whole if limits.min <= one <= limits.max)
        elif not floating:
            written, values = columns.double(), self.exact
        # in the labels' own dtype, in which the missing one was written
        for value in values:
            differs = written != value
            there = differs if there is None else there & differs
        return torch.ones_like(columns, dtype=torch.bool) if there is None else there

    def widened(self, labels: Any) -> Any:
        """Return labels in float8 as float32, in which the missing ones are what they should be.

        >>> labels = torch.tensor([-0.1, 0.5]).to(torch.float8_e5m2)
        >>> labels.float(), Missing(-0.1).widened(labels)
        (tensor([-0.0938,  0.5000]), tensor([-0.1000,  0.5000]))
        """
        if isinstance(labels, Mapping):
            held = by_key(labels)
            if isinstance(held, Mapping) and any(map(is_float8, held.values())):
                return {name: self.widened(own) for name, own in held.items()}
            return held
        if not is_float8(labels):
            return labels
        wide = labels.float()
        for value in self.exact:
            written = torch.tensor(value, device=labels.device).to(labels.dtype).float()
            wide = torch.where(wide == written, value, wide)
        return wide


class MissingColumns:
    """What stands for a missing label in each column of ``[..., U]``.

    >>> MissingColumns([Missing(-1.0), Missing()]).present(torch.tensor([[-1.0, -1.0]]))
    tensor([[False,  True]])
    """

    def __init__(self, columns: Sequence[Missing]) -> None:
        #: Whether a label may be missing in any column.
        self.any = any(columns)
        alike = len({str(own.values) for own in columns}) == 1  # as text, in which NaN equals NaN
        self._uniform = columns[0] if alike else None
        self._rows: list[Constants] = []
        if self.any and not alike:
            self._has_nan = Constants(has_nan=[own.has_nan for own in columns])
            for i in range(max(len(own.written) for own in columns)):
                # NaN equals no label, so it stands for "none may miss"
                values = [own.written[i] if i < len(own.written) else nan for own in columns]
                made = torch.tensor(values, dtype=torch.float64, device="cpu")
                self._rows.append(Constants(values=made))

    def present(self, columns: Tensor, index: Tensor | None = None) -> Tensor | None:
        """Return where labels are not missing, as `Missing.present` does; None for everywhere.

        Args:
            columns: ``[..., K]``, of any dtype.
            index: which of the columns these are; by default all.
        """
        if not self.any:
            return None
        if self._uniform is not None:
            return self._uniform.present(columns)
        there = None
        floating = columns.is_floating_point()
        if floating:
            has_nan = self._has_nan.on(columns.device)["has_nan"]
            there = ~(columns.isnan() & (has_nan if index is None else has_nan[index]))
        for row in self._rows:
            values = row.on(columns.device)["values"]
            if index is not None:
                values = values[index]
            differs = columns != values.to(columns.dtype if floating else torch.float64)
            there = differs if there is None else there & differs
        return torch.ones_like(columns, dtype=torch.bool) if there is None else there
