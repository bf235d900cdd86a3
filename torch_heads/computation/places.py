"""Where the columns of several targets stand side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from torch_heads.functional.constants import Constants

MOST_KEPT = 64  # patterns; others are made again each time


class Places:
    """The places of targets' columns among those of all, as index tensors that are kept.

    Args:
        sizes: how many columns each target has.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._columns = slices(sizes)
        self._kept: dict[tuple[int, ...], Constants] = {}

    def of(self, members: Sequence[int], device: torch.device) -> Tensor:
        """Return where the columns of some targets stand."""
        return self.index(flat([self._columns[i] for i in members]), device)

    def reorder(self, columns: Tensor, members: Sequence[int]) -> Tensor:
        """Return columns ``[D*, U]`` that stand in another order of the targets in their own."""
        places = flat([self._columns[i] for i in members])
        order = sorted(range(len(places)), key=places.__getitem__)
        return columns.index_select(-1, self.index(order, columns.device))

    def select(self, columns: Tensor, places: Sequence[int]) -> Tensor:
        """Return columns by their places; as they are, if that is all of them in order."""
        if [*places] == [*range(columns.shape[-1])]:
            return columns
        return columns.index_select(-1, self.index(places, columns.device))

    def index(self, places: Sequence[int], device: torch.device) -> Tensor:
        """Return places as a tensor on a device."""
        if torch.compiler.is_compiling():  # which would be done again whenever another is kept
            return torch.tensor(places, device=device)
        key = tuple(places)
        if key not in self._kept:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            index = torch.tensor(key, dtype=torch.int64, device="cpu")
            self._kept[key] = Constants(index=index)
        return self._kept[key].on(device)["index"]


def slices(sizes: Sequence[int]) -> list[slice]:
    """Return the runs of these sizes, one after the other.

    >>> slices([1, 2])
    [slice(0, 1, None), slice(1, 3, None)]
    """
    return [slice(*pair) for pair in pairwise(accumulate(sizes, initial=0))]


def flat(runs: Sequence[slice]) -> list[int]:
    """Return all places in some runs.

    >>> flat([slice(0, 1), slice(4, 6)])
    [0, 4, 5]
    """
    return [place for run in runs for place in range(run.start, run.stop)]
