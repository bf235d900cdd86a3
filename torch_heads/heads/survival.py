"""The head of times to an event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

import torch
from torch import Tensor

from torch_heads.computation.encoder import leaves_dense
from torch_heads.families.event_times import EventTimes
from torch_heads.families.family import Statistic
from torch_heads.functional.arguments import MissingLabel
from torch_heads.functional.containers import in_order, opened
from torch_heads.functional.number_lists import check_ascending
from torch_heads.functional.tables import is_table, table_columns
from torch_heads.functional.values import check_columns
from torch_heads.functional.weights import WeightColumn
from torch_heads.heads.computing_module import head_title
from torch_heads.heads.metric_owner import Labels
from torch_heads.heads.tensor_head import TensorHead
from torch_heads.metrics.asked import Asked


class SurvivalHead(TensorHead):
    """Times to an event, some of which are only known to be later, by hazards in discrete time.

    Time is cut into intervals ``(0, t1], (t1, t2], ...``. Each logit is the log odds of the event
    in an interval, of those who have survived until then. The loss is the negative log-likelihood:
    the sum of the sigmoid cross entropies of the intervals that were entered (Tutz & Schmid,
    "Modeling Discrete Time-to-Event Data", 2016). Who was last seen in an interval, without the
    event, counts as having survived it; later times than the last cut point count as last seen
    there. A time of 0 lies in the first interval.

    Shapes: logits ``[D0, ..., DN, K]`` for ``K`` cut points; labels ``[D0, ..., DN, 2]``, of each
    row a time, and 1 for the event or 0 for "last seen then"; or a dict or table of these two,
    ``time`` and ``event``, ``[D0, ..., DN]`` or ``[D0, ..., DN, 1]``.

    Predictions: ``predictions`` ``[D*, 1]``, the mean time up to the last cut point (the area under
    the survival curve); ``median_time`` ``[D*, 1]``, infinite where more than half survive the last
    cut point; ``hazards`` and ``survival`` ``[D*, K]``, the latter the probability to survive each
    interval, which never rises; and ``logits``.

    Args:
        cut_points: the right ends of the intervals, ascending and above 0.
        weight_column: the key of the example weights in ``features``, or a callable of them.
        loss_reduction: see `Reduction`.
        name: the suffix of the metric keys; required under a `MultiHead`.
        missing_label: the time or event that means "not labelled": NaN, or a negative number.
        metrics: which to keep beside the usual ones; see `TensorHead`.

    Raises:
        ValueError: if an argument's value is not allowed.
        TypeError: if its type is not.

    >>> head = SurvivalHead(cut_points=[1.0, 2.0, 5.0])
    >>> labels = {"time": [0.5, 3.0], "event": [1, 0]}
    >>> head.loss(labels, logits=[[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    tensor(1.3863)
    """

    _has_column_axis = False
    _regularized_after = "average_loss"

    def __init__(
        self,
        cut_points: Sequence[float],
        weight_column: WeightColumn = None,
        loss_reduction: str = "sum_over_batch_size",
        name: str | None = None,
        *,
        missing_label: MissingLabel = None,
        metrics: Asked = None,
    ) -> None:
        checked = check_ascending(head_title(type(self), name), "cut_points", cut_points, inf)
        super().__init__(
            EventTimes(checked),
            weight_column=weight_column,
            loss_reduction=loss_reduction,
            name=name,
            missing_label=missing_label,
            metrics=metrics,
        )
        self.cut_points = checked

    @property
    def predicted(self) -> Mapping[str, Statistic]:
        """What is predicted, by key."""
        return {
            "predictions": EventTimes.mean,
            "median_time": EventTimes.median_time,
            "hazards": EventTimes.hazards,
            "survival": EventTimes.survival,
            "logits": EventTimes.logits,
        }

    @leaves_dense
    def encode_labels(
        self, labels: Labels, leading: torch.Size, device: torch.device, mask: Tensor | None = None
    ) -> Tensor:
        """Return times and events side by side, ``[D*, 2]``."""
        labels = opened(labels)
        if is_table(labels):
            labels = table_columns(self.title, "labels", labels)
        if not isinstance(labels, Mapping):
            return super().encode_labels(labels, leading, device, mask)
        names = [part.name for part in EventTimes.label_parts]
        each = in_order(self.title, "labels", labels.items(), names, "part")
        columns = [
            check_columns(
                self.title, f"labels {name!r}", self._numbers(given, device, mask), leading, 1
            )
            for name, given in zip(names, each, strict=True)
        ]
        return torch.cat(columns, dim=-1)
