"""What is known of the scores of a label column: curves, and how the scores spread by label."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from torch_heads.functional.curves import ScoreCurves
from torch_heads.functional.scores import NEGATIVE, SOFT, ScoreBins, counts_above, roc_auc
from torch_heads.integrations.report.canvas import Floats, shorten
from torch_heads.integrations.report.score_axis import ScoreAxis, logits_of
from torch_heads.integrations.report.tasks import Task
from torch_heads.metrics.sums import Total

NARROW = 0.98  # of the weight in one of the ten bins of the calibration
TAIL = 0.001  # of a label's examples, on either side of a histogram by the logit
KIND_NAMES = "labels 0", "labels 1"


class ScoreColumn(NamedTuple):
    """What is known of the scores of one label column.

    ``counts`` are by kind of label and bin; curves are by ascending threshold. Where nearly all
    scores lie close together (``narrow``), as those of rare events, the calibration is over bins of
    equal weight, not of equal width.
    """

    name: str
    kinds: Sequence[str]
    narrow: bool
    auc: float
    calibration_error: float
    false_positive_rate: Floats
    true_positive_rate: Floats
    precision: Floats
    mean_score: Floats
    positive_share: Floats
    weight: Floats
    counts: Floats
    edges: Floats

    @property
    def base_rate(self) -> float:
        """The share of positives."""
        return float(self.counts[SOFT:].sum() / self.counts.sum())

    @property
    def axis(self) -> ScoreAxis:
        """The axis on which its scores can be told apart."""
        if not self.narrow:
            return ScoreAxis()
        tails = [self.quantile(kind, q) for kind in self.by_label for q in (TAIL, 1 - TAIL)]
        return ScoreAxis.around(tails)

    @property
    def by_label(self) -> tuple[Floats, Floats]:
        """The counts of negatives and of positives, soft ones too, by bin."""
        return self.counts[NEGATIVE], self.counts[SOFT:].sum(0)

    def quantile(self, counts: Floats, q: float) -> float:
        """Return a quantile of the scores that were counted by bin."""
        above = np.concatenate([[0], counts.cumsum()])
        return float(np.interp(q * above[-1], above, self.edges))

    def histogram(self, grid: Floats) -> Floats:
        """Return the weight of each kind of label between the scores of a grid, ``[3, steps]``.

        By the logit, what lies beyond the grid is in its first and last step.
        """
        if not self.narrow:
            centres = (self.edges[:-1] + self.edges[1:]) / 2
            place = (centres * (len(grid) - 1)).astype(int).clip(max=len(grid) - 2)
            return np.stack([np.bincount(place, kind, len(grid) - 1) for kind in self.counts])
        below = np.pad(self.counts.cumsum(-1), [(0, 0), (1, 0)])
        places, edges = logits_of(grid), logits_of(self.edges)
        places[[0, -1]] = edges[[0, -1]]
        return np.stack([np.diff(np.interp(places, edges, kind)) for kind in below])


def score_columns(task: Task) -> Iterator[ScoreColumn]:
    """Yield what can be drawn of a task: its columns with labels of both kinds."""
    if task.scores is None:
        return
    bins, counts = task.place.bins or ScoreBins(), task.scores
    score_sums = torch.from_numpy(task.totals[:, Total.PREDICTION]).to(counts.device)
    curves = ScoreCurves(counts, bins, score_sums)
    roc, precision = curves.roc(), curves.precision_recall().precision
    even, equal = curves.calibration(), curves.calibration(strategy="quantile")
    narrow = even.weight.amax(-1) > NARROW * even.weight.sum(-1)
    narrow &= bins.fine & ~counts[:, SOFT].any(-1)  # soft labels are not counted finely
    calibration = [torch.where(narrow[:, None], b, a) for a, b in zip(even, equal, strict=True)]
    error = torch.where(
        narrow,
        curves.expected_calibration_error(strategy="quantile"),
        curves.expected_calibration_error(),
    )
    areas = roc_auc(*counts_above(counts))
    by_kind = counts.sum(-1)
    both = (by_kind[:, NEGATIVE] > 0) & (by_kind[:, SOFT:].sum(-1) > 0)
    kinds: Sequence[str] = KIND_NAMES
    if task.target.label_vocabulary is not None and len(task.columns) == 1:
        kinds = [f"label {shorten(name, 24)}" for name in task.target.label_vocabulary]
    for i in both.nonzero().flatten().tolist():
        mean_score, positive_share, weight = (values[i].numpy() for values in calibration)
        yield ScoreColumn(
            name=task.columns[i],
            kinds=kinds,
            narrow=bool(narrow[i]),
            auc=float(areas[i]),
            calibration_error=float(error[i]),
            false_positive_rate=roc.false_positive_rate[i].numpy(),
            true_positive_rate=roc.true_positive_rate[i].numpy(),
            precision=precision[i].numpy(),
            mean_score=mean_score,
            positive_share=positive_share,
            weight=weight,
            counts=counts[i].numpy(),
            edges=bins.edges,
        )
