"""The family of times to an event, some of which are censored."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import ClassVar

import torch
from torch import Tensor

from torch_heads.families.family import Counts, Family, LabelPart
from torch_heads.families.hazards import Hazards
from torch_heads.functional.constants import Constants

LAST_PLACE = 1 - 2**-10  # in an interval, to stay in it
SPAN = 6.0  # of the log odds that are told apart


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
    counts: ClassVar[Counts] = Counts.TIMES
    #: In how many cells time is cut, at least, and in how many bins what is predicted.
    CELLS: ClassVar[int] = 256
    SCORE_BINS: ClassVar[int] = 192
    constants: Constants = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Keep the bounds of the intervals as a tensor, too."""
        bounds = torch.tensor([0.0, *self.cut_points], dtype=torch.float64, device="cpu")
        rates = torch.cat([1 / bounds.diff(), bounds.new_zeros(1)])  # after the last, all is one
        object.__setattr__(self, "constants", Constants(bounds=bounds, rates=rates))

    @property
    def stages(self) -> int:
        """One for each interval."""
        return len(self.cut_points)

    def encode(self, *parts: Tensor) -> Tensor:
        """Return the interval of each event, from 0; of who was last seen, one half more.

        Half of the place in the interval is added, for the metrics.

        >>> time, event = torch.tensor([[0.2, 2.5, 9.0]]), torch.tensor([[1, 0, 1]])
        >>> EventTimes((1.0, 2.0, 3.0)).encode(time, event)
        tensor([[0.1000, 2.7500, 3.0000]])
        """
        time, event = parts
        time = time if time.is_floating_point() else time.double()
        # in the dtype of the times, so that a time of 0.1 lies in the interval that ends at 0.1
        time, bounds = time.contiguous(), self._bounds(time)
        interval = torch.bucketize(time, bounds[1:].contiguous())
        if time.dtype.itemsize < 4:  # in which the last place would be rounded into what is next
            time, bounds = time.float(), bounds.float()
        rates = self.constants.on(time.device)["rates"].to(time.dtype)
        place = ((time - bounds[interval]) * rates[interval]).clamp(max=LAST_PLACE)
        censored = 1 - event.to(time.dtype)
        return torch.add(interval, place + censored, alpha=0.5).clamp(max=self.stages)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of the sigmoid cross entropies of all intervals that were entered."""
        return super().loss(logits, halves(labels))

    def moments(self, labels: Tensor) -> Tensor:
        """Return whether the event came in each interval, and whether it was entered, ``2 K``."""
        return super().moments(halves(labels))

    # What metrics count.

    @property
    def cells(self) -> int:
        """How many cells of time there are: some for each interval, and one for what is later."""
        return self.stages * self._per_interval + 1

    @property
    def _per_interval(self) -> int:
        return -(-self.CELLS // self.stages)

    def censored(self, labels: Tensor) -> Tensor:
        """Return 1 where a label is censored, else 0, int64."""
        late = labels >= self.stages
        return (late | ((2 * labels).floor() % 2 == 1)).to(torch.int64)

    def cell(self, labels: Tensor) -> Tensor:
        """Return the cell of each label's time, int64, ascending."""
        place = (2 * labels) % 1
        cell = labels.floor() * self._per_interval + (place * self._per_interval).floor()
        return cell.to(torch.int64)

    def score_bin(self, logits: Tensor) -> Tensor:
        """Return the bin of the mean time of each label, int64, ascending: by its log odds."""
        share = self.mean(logits) / self.cut_points[-1]
        odds = torch.logit(share.clamp(0, 1)).nan_to_num(0.0, SPAN, -SPAN).clamp(-SPAN, SPAN)
        bins = (odds + SPAN) * (self.SCORE_BINS / (2 * SPAN))
        return bins.floor().to(torch.int64).clamp(max=self.SCORE_BINS - 1)

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


def halves(labels: Tensor) -> Tensor:
    """Return labels without their place in the interval."""
    return (2 * labels).floor() / 2


def event_times(family: Family | None) -> EventTimes:
    """Return a family of times.

    Raises:
        TypeError: if it is another one.
    """
    if not isinstance(family, EventTimes):
        raise TypeError(f"{type(family).__name__}: labels are no times to an event.")
    return family
