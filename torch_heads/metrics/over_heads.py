"""A metric over several heads: the mean of one that each of them has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torch_heads.functional.containers import by_key, listed, nearest
from torch_heads.functional.errors import class_of, preview, unexpected
from torch_heads.metrics.bound import read_one
from torch_heads.metrics.keys import check_key
from torch_heads.metrics.metric import ReadingMetric

EXPECTED = "as th.metrics.MeanOverHeads, in a list or by key"


@dataclass(frozen=True)
class MeanOverHeads:
    """The mean of a metric over the heads of a `MultiHead` that have it.

    Where it is undefined, as an area under the ROC curve of labels of one class, a head is left
    out; NaN if it is undefined in all. That of ``skill`` is there once `fit_prior` has been called.

    Args:
        key: of the metric, without the heads' names.

    >>> from torch_heads import BinaryClassHead, MultiHead
    >>> heads = [BinaryClassHead(name="a"), BinaryClassHead(name="b")]
    >>> head = MultiHead(heads, metrics={"mean_auc": MeanOverHeads("roc_auc")})
    >>> logits = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    >>> head.update_metrics(logits=logits, labels=[[1, 1], [0, 1]]).compute()["mean_auc"]
    tensor(1.)
    """

    key: str

    def __post_init__(self) -> None:
        if not isinstance(self.key, str):
            raise TypeError(unexpected(type(self).__name__, "key", "as a string", repr(self.key)))


#: What a `MultiHead` may be asked for.
AskedOverHeads = MeanOverHeads | Sequence[MeanOverHeads] | Mapping[str, MeanOverHeads] | None

LATER = ("skill",)  # keys that heads have once they know more

OF_READINGS = (
    "What torchmetrics' own keep is no count of ours, and need not be one number: take the mean of "
    "what compute() returns."
)


def means_over_heads(
    who: str, given: AskedOverHeads, keys: Iterable[str], fed: Collection[str] = ()
) -> dict[str, str]:
    """Return the key that each mean is over, by its own key.

    Args:
        who: the title of the head.
        given: what was asked for; a list has keys such as ``mean_roc_auc``.
        keys: those of the readings that heads have, without the heads' names.
        fed: those of the metrics of torchmetrics' own, of which there are no means.

    Raises:
        TypeError: if something is no `MeanOverHeads`.
        ValueError: if no head has the metric, or it is torchmetrics' own.
    """
    given = by_key(given)
    if given is None:
        return {}
    pairs: Iterable[tuple[Any, Any]]
    if isinstance(given, Mapping):
        pairs = given.items()
    else:
        alone = isinstance(given, (MeanOverHeads, str, type))
        each = [given] if alone else listed(who, "metrics", EXPECTED, given)
        pairs = [(f"mean_{one.key}" if isinstance(one, MeanOverHeads) else "", one) for one in each]
    found, known = {}, [*dict.fromkeys([*keys, *LATER])]
    for name, mean in pairs:
        if not isinstance(mean, MeanOverHeads) or not isinstance(name, str):
            hint = "Those of a single head are an argument of that head."
            shown = class_of(mean) if isinstance(mean, type) else repr(mean)
            raise TypeError(unexpected(who, "metrics", EXPECTED, shown, hint))
        if mean.key not in known:
            expected = f"over a key among {preview(known, 40)}"
            is_fed = any(f"{mean.key}/".startswith(f"{key}/") for key in fed)
            hint = OF_READINGS if is_fed else nearest(mean.key, known)
            raise ValueError(unexpected(who, "metrics", expected, repr(mean.key), hint))
        check_key(who, name)
        found[name] = mean.key
    return found


def mean_of(values: Sequence[Tensor]) -> Tensor:
    """Return the mean of the values that are not NaN."""
    return torch.stack([*values]).nanmean()


class MeanOverHeadsMetric(ReadingMetric):
    """The mean of some readings as a `torchmetrics.Metric`; its states are those of all tallies."""

    members: Sequence[ReadingMetric]

    def __init__(self, name: str, members: Sequence[ReadingMetric]) -> None:
        super().__init__(name, members[0].bound, members[0].tally)
        self.__dict__["members"] = members

    def compute(self) -> Tensor:
        """Return the mean over all heads of which it is defined."""
        each = [read_one(one.bound, one.tally.compute(), strict=True) for one in self.members]
        return mean_of(each)

    def reset(self) -> None:
        """Reset the tallies."""
        for one in self.members:
            one.reset()

    def persistent(self, mode: bool = False) -> None:
        """Set whether the tallies stand in a ``state_dict``."""
        for one in self.members:
            one.persistent(mode)
