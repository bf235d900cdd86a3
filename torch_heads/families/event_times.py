"""The family of times to an event, some of which are censored."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import ClassVar

import torch
from torch import Tensor

from torch_heads.families.family import LabelPart
from torch_heads.families.hazards import Hazards
from torch_heads.functional.constants import Constants


@dataclass(frozen=True)
class EventTimes(Hazards):
    """The time to an event in intervals ``(0, t1], (t1, t2], ...``, each a stage.

    A label is a time and whether the event came then (1) or the subject was last seen (0). Who was
    last seen in an interval counts as having survived it. Later times than the last of
    ``cut_points`` count as last seen there.
    """

    cut_points: tuple[float, ...]
    label_parts: ClassVar[tuple[LabelPart, ...]] = (
        LabelPart("time", 0.0, inf),
        LabelPart("event", 0.0, 1.0, whole=True),
    )
    constants: Constants = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Keep the bounds of the intervals as a tensor, too."""
        bounds = torch.tensor([0.0, *self.cut_points], dtype=torch.float64, device="cpu")
        object.__setattr__(self, "constants", Constants(bounds=bounds))

    @property
    def stages(self) -> int:
        """One for each interval."""
        return len(self.cut_points)

    def encode(self, *parts: Tensor) -> Tensor:
        """Return the interval of each event, from 0; of who was last seen, one half more.

        >>> time, event = torch.tensor([[1.0, 2.5, 9.0]]), torch.tensor([[1, 0, 1]])
        >>> EventTimes((1.0, 2.0, 3.0)).encode(time, event)
        tensor([[0.0000, 2.5000, 3.0000]])
        """
        time, event = parts
        time = time if time.is_floating_point() else time.double()
        # in the dtype of the times, so that a time of 0.1 lies in the interval that ends at 0.1
        ends = self._bounds(time)[1:].contiguous()
        interval = torch.bucketize(time.contiguous(), ends)
        return (interval + (1 - event.to(time.dtype)) / 2).clamp(max=self.stages)

    def mean(self, logits: Tensor) -> Tensor:
        """Return the mean time up to the last cut point, which is as long as anyone is followed.

        It is the area under the survival curve, linear in each interval: the restricted mean.
        """
        curve, bounds = self._curve(logits), self._bounds(logits)
        return ((curve[..., 1:] + curve[..., :-1]) / 2 * bounds.diff()).sum(-1)

    def observed(self, logits: Tensor) -> Tensor:
        """Return how many intervals are survived on average, to compare with a label."""
        return self.survival(logits).sum(-1)

    def quantile(self, logits: Tensor, q: float) -> Tensor:
        """Return the time by which a share ``q`` has the event, linear in each interval.

        It is infinite where that is later than the last cut point.
        """
        curve, bounds = self._curve(logits), self._bounds(logits)
        left = (curve > 1 - q).sum(-1, keepdim=True)  # points of the curve before that
        after = left.clamp(1, self.stages)
        high, low = curve.gather(-1, after - 1), curve.gather(-1, after)
        start, end = bounds[after - 1], bounds[after]
        time = start + (end - start) * ((high - (1 - q)) / (high - low)).clamp(0, 1)
        return torch.where(left > self.stages, inf, time).squeeze(-1)

    def median_time(self, logits: Tensor) -> Tensor:
        """Return the time by which half have the event; infinite after the last cut point."""
        return self.quantile(logits, 0.5)

    def _curve(self, logits: Tensor) -> Tensor:
        """Return the survival at all bounds of intervals, 0 included, ``[..., U, K + 1]``."""
        return torch.cat([torch.ones_like(logits[..., :1]), self.survival(logits)], dim=-1)

    def _bounds(self, like: Tensor) -> Tensor:
        return self.constants.on(like.device)["bounds"].to(like.dtype)
