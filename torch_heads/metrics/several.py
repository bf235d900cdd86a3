"""Whether a metric of torchmetrics' own is several numbers, before it has seen any row."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torchmetrics
from torch import Tensor
from torchmetrics import Metric

from torch_heads.metrics.gathered import metrics_in

SEVERAL = (
    "{key!r} is several numbers, and a torchmetrics.MetricTracker keeps one direction of each "
    "metric. Give the metric an average, or the tracker one direction of all: maximize=True."
)
UNKNOWN = (
    "{key!r} may be several numbers, which only its first rows tell, and a "
    "torchmetrics.MetricTracker keeps one direction of each metric. Give the tracker one direction "
    "of all: maximize=True."
)


def refuse_several(key: str, metric: Metric) -> None:
    """Refuse a metric that has no one direction for torchmetrics' ``MetricTracker``.

    Raises:
        ValueError: if it is several numbers, or that cannot be told.
    """
    several = _is_several(metric)
    if several is not False:
        raise ValueError((SEVERAL if several else UNKNOWN).format(key=key))


def _is_several(metric: Metric) -> bool | None:
    """Return whether a metric is several numbers; None where that cannot be told."""
    if _says_so(metric):
        return True
    try:
        found = _of_no_rows(metric)
    except Exception:  # of a formula that needs rows
        # of torchmetrics' own, the attributes tell
        return False if _is_of_torchmetrics(metric) else None
    return isinstance(found, Mapping) or (isinstance(found, Tensor) and found.numel() > 1)


def _says_so(metric: Metric) -> bool:
    """Return whether a metric says, by the attributes that torchmetrics gives it, that it does."""
    known = vars(metric)
    classes = isinstance(known.get("num_classes", known.get("num_labels")), int)
    if classes and "average" in known:
        return known["average"] in (None, "none")
    if "multioutput" in known:
        return bool(known["multioutput"] == "raw_values")
    return "num_groups" in known or known.get("num_outputs", 1) > 1


def _is_of_torchmetrics(metric: Metric) -> bool:
    """Return whether torchmetrics defines the metric's formula."""
    return type(metric).compute.__module__.partition(".")[0] == torchmetrics.__name__


def _of_no_rows(metric: Metric) -> Any:
    """Return what a metric says before its first rows, in this process alone."""
    empty = deepcopy(metric)
    empty.reset()
    for one in metrics_in(empty):
        one._to_sync = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are none
        return empty.compute()
