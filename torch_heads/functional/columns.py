"""Columns among others, side by side."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from torch_heads.functional.constants import Constants


class Columns(Constants):
    """Some columns of a tensor: a view where they are a run, else a copy.

    Args:
        places: where the columns stand; at least one.

    >>> import torch
    >>> Columns([2, 0]).of(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[3., 1.]])
    """

    index: Tensor

    def __init__(self, places: Sequence[int]) -> None:
        super().__init__()
        run = range(places[0], places[0] + len(places))
        self._run = slice(run.start, run.stop) if [*places] == [*run] else None
        if self._run is None:
            self.constant("index", places)

    def of(self, values: Tensor) -> Tensor:
        """Return these columns of values ``[..., columns]``."""
        if self._run is None:
            return values.index_select(-1, self.index)
        return values[..., self._run]
