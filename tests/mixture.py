"""A head of every kind of target, and random batches for it, in which labels are missing."""

from collections.abc import Sequence
from functools import partial
from math import nan
from typing import Any, NamedTuple

import torch
from torch import Tensor

import torch_heads as th
from torch_heads.testing import move_to, take_rows

MAY_MISS = ["even", "ink", "bars", "digit", "shape"]


def mixture(reductions: Sequence[str] = ("auto",) * 8) -> th.MultiHead:
    heads = [
        partial(th.BinaryClassHead, name="even", thresholds=[0.3, 0.5], missing_label=nan),
        partial(th.RegressionHead, 2, name="ink", missing_label=nan),
        partial(
            th.MultiLabelHead,
            3,
            name="bars",
            classes_for_class_based_metrics=[1],
            pos_weight=2.0,
            missing_label=nan,
        ),
        partial(th.MultiClassHead, 3, name="digit", missing_label=-1),
        partial(th.LogisticRegressionHead, name="share"),
        partial(th.MultiClassHead, 5, name="size", class_weight=[1.0, 2.0, 0.5, 1.0, 1.0]),
        partial(th.PoissonRegressionHead, name="dark"),
        partial(th.MultiClassHead, 4, name="shape", label_smoothing=0.1, missing_label=-1),
    ]
    return th.MultiHead(
        [make(loss_reduction=how) for make, how in zip(heads, reductions, strict=True)],
        head_weights=[1.0, 0.5, 2.0, 1.0, 1.0, 3.0, 0.1, 1.0],
    )


class Batch(NamedTuple):
    """What a mixture gets; labels and weights by head name, weights for some heads only."""

    logits: Tensor
    labels: Any
    weights: dict[str, Tensor]

    def take(self, rows: Sequence[int]) -> "Batch":
        """Return some of the rows."""
        return Batch(*(take_rows(part, rows) for part in self))

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(move_to(part, device) for part in self))

    def without(self, names: Sequence[str]) -> "Batch":
        """Return the batch without the labels of some heads."""
        rest = {name: values for name, values in self.labels.items() if name not in names}
        return self._replace(labels=rest)

    def stacked(self) -> "Batch":
        """Return the batch with its labels side by side in one tensor."""
        rows = len(self.logits)
        columns = [values.reshape(rows, -1).float() for values in self.labels.values()]
        return self._replace(labels=torch.cat(columns, -1))


def random_batch(rows: int, random: torch.Generator) -> Batch:
    """Return a batch on the CPU."""
    labels: dict[str, Tensor] = {
        "even": torch.randint(2, (rows,), generator=random).float(),
        "ink": torch.randn(rows, 2, generator=random),
        "bars": torch.randint(2, (rows, 3), generator=random).float(),
        "digit": torch.randint(-1, 3, (rows,), generator=random),
        "share": torch.rand(rows, generator=random),
        "size": torch.randint(5, (rows,), generator=random),
        "dark": torch.randint(6, (rows,), generator=random).float(),
        "shape": torch.randint(-1, 4, (rows,), generator=random),
    }
    for name in ["even", "ink", "bars"]:
        gone = torch.rand(labels[name].shape, generator=random) < 0.3
        labels[name] = labels[name].masked_fill(gone, nan)
    weights = {name: torch.rand(rows, generator=random) for name in ["even", "ink", "digit"]}
    return Batch(torch.randn(rows, 20, generator=random), labels, weights)
