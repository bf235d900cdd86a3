"""A sample: labels, logits and features of a few rows, taken apart and put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torch_heads.families.family import LabelPart
from torch_heads.functional.forms import is_text
from torch_heads.heads.base import Head

ROWS, STEPS, FEATURES = 7, 3, 5
MISSING, MISSING_NAME = -1000, "missing"  # a number that no label of a sample has


class Sample(NamedTuple):
    """Labels, logits and features of some rows; ``features`` hold weights ``w``."""

    labels: Any
    logits: Tensor
    features: Mapping[str, Any]

    def take(self, rows: Sequence[int]) -> Sample:
        """Return some of the rows, in this order."""
        return Sample(*(take_rows(part, rows) for part in self))

    def to(self, device: torch.device | str) -> Sample:
        """Return the sample with its tensors on a device."""
        return Sample(*(move_to(part, device) for part in self))

    def weighted(self, weights: Sequence[float]) -> Sample:
        """Return the sample with these weights, one for all that belongs to a row."""
        old = self.features["w"]
        column = torch.tensor(weights, dtype=old.dtype, device=old.device)
        shaped = column.view(-1, *[1] * (old.dim() - 1)).expand(old.shape)
        return self._replace(features={**self.features, "w": shaped})

    @property
    def missing_label(self) -> Any:
        """What can stand for a missing label among these."""
        return MISSING_NAME if is_text(self.labels) else MISSING

    def missing(self, rows: Sequence[int]) -> Sample | None:
        """Return the sample without the labels of some rows; None where no form says so."""
        labels = _without(self.labels, rows, self.missing_label)
        return None if labels is None else self._replace(labels=labels)


def random_sample(head: Head, rows: int = ROWS) -> Sample:
    """Return random logits, weights, and numbers that the head takes as labels."""
    random = torch.Generator().manual_seed(0)
    columns = []
    for target in head.computation.targets:
        shape, family = (rows, target.columns), target.family
        whole = LabelPart("label", family.lowest, family.highest, family.takes_ids)
        parts = [_random_numbers(part, shape, random) for part in family.label_parts or (whole,)]
        columns.append(torch.stack(parts, -1).flatten(1) if len(parts) > 1 else parts[0])
    # one column of ids stays whole: a head alone does not take ids among floats
    labels = columns[0] if len(columns) == 1 else torch.cat([own.double() for own in columns], -1)
    logits = 2 * torch.randn(rows, head.logits_dimension, generator=random)
    return Sample(labels, logits, {"w": 0.25 + torch.rand(rows, generator=random)})


def _random_numbers(part: LabelPart, shape: tuple[int, int], random: torch.Generator) -> Tensor:
    """Return random numbers that a label, or a part of each, may be."""
    lowest, highest = part.lowest, part.highest
    if part.whole:
        return torch.randint(int(lowest), int(highest) + 1, shape, generator=random)
    if highest < torch.inf:
        values = torch.rand(shape, generator=random)
        return lowest + values.round(decimals=1) * (highest - lowest)
    if lowest > -torch.inf:
        return lowest + torch.randint(6, shape, generator=random).float()
    return torch.randn(shape, generator=random)


def take_rows(values: Any, rows: Sequence[int]) -> Any:
    """Return some rows of a tensor, an array, a list, or a dict of them."""
    if isinstance(values, Mapping):
        return {key: take_rows(value, rows) for key, value in values.items()}
    if isinstance(values, list):
        return [values[row] for row in rows]
    if isinstance(values, np.ndarray):
        return values[np.array(rows, dtype=np.int64)]
    index = torch.tensor([*rows], dtype=torch.int64, device=values.device)
    return values.index_select(0, index)


def move_to(values: Any, device: torch.device | str) -> Any:
    """Return a tensor, or a dict with tensors, on a device."""
    if isinstance(values, Mapping):
        return {key: move_to(value, device) for key, value in values.items()}
    return values.to(device) if isinstance(values, Tensor) else values


def _without(labels: Any, rows: Sequence[int], missing: Any) -> Any:
    """Return labels of which those of some rows are missing; None where that cannot be said."""
    if isinstance(labels, Mapping):
        each = {key: _without(own, rows, missing) for key, own in labels.items()}
        return None if any(own is None for own in each.values()) else each
    if isinstance(labels, list):
        whole = [missing] if isinstance(labels[0], list) else missing
        return [whole if row in rows else own for row, own in enumerate(labels)]
    if isinstance(labels, np.ndarray):
        wide: Any = labels.dtype if labels.dtype.kind in "fOT" else np.int64
        if labels.dtype.kind == "U":
            wide = f"U{max(len(missing), labels.itemsize // 4)}"
        filled = labels.astype(wide)
        filled[list(rows)] = missing
        return filled
    if labels.layout != torch.strided:
        return None
    written = labels if labels.is_floating_point() else labels.to(torch.int64)
    return written.index_fill(0, torch.tensor([*rows], device=labels.device), missing)


def has_rows(values: Any) -> bool:
    """Return whether values are of a kind whose rows `take_rows` takes."""
    if isinstance(values, Mapping):
        return all(map(has_rows, values.values()))
    return isinstance(values, (list, np.ndarray, Tensor))


def is_dense(labels: Any) -> bool:
    """Return whether labels are dense tensors, as compiled code needs them."""
    if isinstance(labels, Mapping):
        return all(map(is_dense, labels.values()))
    return isinstance(labels, Tensor) and labels.layout == torch.strided
