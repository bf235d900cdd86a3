"""Labels that are missing: the number that stands for them, and how to find it."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan, nan

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.constants import Constants


class Missing:
    """The number that stands for a missing label, NaN included.

    >>> Missing(-1.0).present(torch.tensor([[0], [-1]]))
    tensor([[ True],
            [False]])
    """

    def __init__(self, value: float) -> None:
        self.value = value
        # told apart here: compiled code may take numbers for symbols
        self.is_nan = isnan(value)
        self._rounded = float(np.float32(value))
        #: Whether it is another number in float32.
        self.rounds = not self.is_nan and self._rounded != value

    def present(self, columns: Tensor) -> Tensor:
        """Return where labels are not missing."""
        if self.is_nan:
            return ~columns.isnan()
        if not columns.is_floating_point():
            # in which -1 is not 255, as it is in uint8, and large numbers are not rounded
            return columns.double() != self.value
        # in the labels' own dtype, in which the missing one was written
        there = columns != self.value
        # or in float32, before they became float64
        return there & (columns != self._rounded) if self.rounds else there

    def cast(self, columns: Tensor, dtype: torch.dtype) -> Tensor:
        """Return labels in a dtype, and missing ones as that dtype writes them."""
        return columns.to(dtype).masked_fill(~self.present(columns), self.value)


class MissingColumns(Constants):
    """What stands for a missing label in each column of ``[..., U]``; None where none may miss.

    >>> MissingColumns([Missing(-1.0), None]).present(torch.tensor([[-1.0, -1.0]]))
    tensor([[False,  True]])
    """

    values: Tensor
    are_nan: Tensor

    def __init__(self, columns: Sequence[Missing | None]) -> None:
        super().__init__()
        self._any_rounds = any(one is not None and one.rounds for one in columns)
        self._any_is_nan = any(one is not None and one.is_nan for one in columns)
        # NaN equals no label, so it also stands for "none may miss"
        values = [nan if one is None else one.value for one in columns]
        self.constant("values", torch.tensor(values, dtype=torch.float64))
        self.constant("are_nan", [one is not None and one.is_nan for one in columns])

    def present(self, columns: Tensor) -> Tensor:
        """Return where labels are not missing, as `Missing.present` does."""
        there = columns != self.values.to(
            columns.dtype if columns.is_floating_point() else torch.float64
        )
        if self._any_rounds and columns.dtype == torch.float64:
            there &= columns != self.values.float().double()
        if self._any_is_nan:
            there &= ~(columns.isnan() & self.are_nan)
        return there
