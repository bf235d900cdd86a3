"""Who is timed: the heads, what users write by hand, and the least that could be done."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import (
    BinaryAccuracy,
    BinaryAUROC,
    BinaryAveragePrecision,
    BinaryPrecision,
    BinaryRecall,
    MulticlassAccuracy,
)

import torch_heads as th
from benchmarks.workloads import Workload

GRID = 199  # steps between 200 thresholds


class Contestant(ABC):
    """One way to compute a loss and to update metrics; ``leaves`` are where gradients go."""

    leaves: Sequence[Tensor]

    @abstractmethod
    def loss(self) -> Tensor:
        """Return the loss of the batch."""

    @abstractmethod
    def update(self) -> object:
        """Add the batch to the metrics."""

    def train(self) -> None:
        """Compute the loss and its gradient."""
        self.forget()
        self.loss().backward()

    def forget(self) -> None:
        """Drop the gradients."""
        for leaf in self.leaves:
            leaf.grad = None


class Ours(Contestant):
    """The heads as one, with their labels in one form, compiled or not."""

    def __init__(self, work: Workload, form: str, compiled: bool = False) -> None:
        self.leaves = [work.logits]
        self.labels, self.logits = work.forms[form], work.logits.detach()
        self.metrics = work.head.metrics().to(work.logits.device)
        self._loss, self._update = work.head.loss, work.head.update_metrics
        if compiled:
            self._loss = torch.compile(self._loss, fullgraph=True, dynamic=False)
            self._update = torch.compile(self._update, fullgraph=True, dynamic=False)

    def loss(self) -> Tensor:
        return self._loss(self.labels, self.leaves[0])

    def update(self) -> object:
        return self._update(self.metrics, logits=self.logits, labels=self.labels)


def total(losses: Sequence[Tensor]) -> Tensor:
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


class Task(ABC):
    """One head's share of a loop over heads."""

    loss: Callable[[Tensor, Tensor], Tensor]  # of logits and labels

    def __init__(self, head: th.Head, device: torch.device) -> None:
        self.head = head

    @abstractmethod
    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add the batch to the head's metrics."""


class Loop(Contestant):
    """A loop over tasks."""

    def __init__(self, work: Workload, task: type[Task]) -> None:
        self.leaves, self.labels = [work.logits], work.labels
        self.widths = [head.logits_dimension for head in work.heads]
        self.tasks = [task(head, work.logits.device) for head in work.heads]

    def loss(self) -> Tensor:
        return total([task.loss(logits, labels) for task, logits, labels in self.each()])

    @torch.no_grad()
    def update(self) -> None:
        for task, logits, labels in self.each():
            task.update(logits, labels)

    def each(self) -> Iterator[tuple[Task, Tensor, Tensor]]:
        logits = self.leaves[0].split(self.widths, dim=-1)
        return zip(self.tasks, logits, self.labels, strict=True)


class ByHand(Task):
    """A loss of `torch.nn.functional`, a `MetricCollection`, and means."""

    def __init__(self, head: th.Head, device: torch.device) -> None:
        super().__init__(head, device)
        self.loss = loss_fn(head)
        self.metrics = MetricCollection(metrics_of(head)).to(device)
        self.loss_mean, self.prediction_mean, self.label_mean = (
            MeanMetric().to(device) for _ in range(3)
        )

    def update(self, logits: Tensor, labels: Tensor) -> None:
        self.loss_mean.update(self.loss(logits, labels), len(logits))
        if isinstance(self.head, th.MultiClassHead):
            self.metrics.update(logits, labels.squeeze(-1))
            return
        mean = mean_of(self.head, logits)
        if self.metrics:
            # flat, since the classes of a multi-label head share one curve, as in its own `auc`
            self.metrics.update(mean.flatten(), labels.int().flatten())
        if not isinstance(self.head, th.MultiLabelHead):
            self.prediction_mean.update(mean)
            self.label_mean.update(labels)


def loss_fn(head: th.Head) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the mean loss of a head's kind, of logits and labels."""
    match head:
        case th.MultiClassHead():
            return lambda logits, labels: F.cross_entropy(logits, labels.squeeze(-1))
        case th.RegressionHead():
            return F.mse_loss
        case th.PoissonRegressionHead():
            return partial(F.poisson_nll_loss, full=True)
    return F.binary_cross_entropy_with_logits


def mean_of(head: th.Head, logits: Tensor) -> Tensor:
    """Return the prediction of a head's kind."""
    match head:
        case th.RegressionHead():
            return logits
        case th.PoissonRegressionHead():
            return logits.exp()
    return logits.sigmoid()


def metrics_of(head: th.Head) -> dict[str, Any]:
    """Return the metrics of a head's kind, but for the means."""
    curves = {
        "auc": BinaryAUROC(thresholds=GRID + 1),
        "auc_precision_recall": BinaryAveragePrecision(thresholds=GRID + 1),
    }
    match head:
        case th.BinaryClassHead():
            return curves | {
                "accuracy": BinaryAccuracy(),
                "precision": BinaryPrecision(),
                "recall": BinaryRecall(),
            }
        case th.MultiLabelHead():
            return curves
        case th.MultiClassHead():
            return {"accuracy": MulticlassAccuracy(head.logits_dimension, average="micro")}
    return {}


class Bound(Contestant):
    """The least that could be done: per family one bare loss, and one bare pass of counting.

    The logits of a family lie side by side from the start. Nothing is checked or weighed, and no
    loss is kept by head.
    """

    def __init__(self, work: Workload) -> None:
        self.families = [BareFamily(*family) for family in families_of(work)]
        self.leaves = [family.logits for family in self.families]

    def loss(self) -> Tensor:
        return total([family.loss() for family in self.families])

    @torch.no_grad()
    def update(self) -> None:
        for family in self.families:
            family.loss()
            family.count()


class BareFamily:
    """Heads of one family, as the first of them."""

    def __init__(self, head: th.Head, logits: Tensor, labels: Tensor) -> None:
        self.head, self.labels, self.loss_fn = head, labels, loss_fn(head)
        self.logits = logits.detach().requires_grad_()
        kinds = th.BinaryClassHead | th.MultiLabelHead | th.LogisticRegressionHead
        self.has_scores = isinstance(head, kinds)
        rows, columns = labels.shape
        one = torch.ones((), dtype=torch.float64, device=labels.device)
        self.ones = one.expand(columns, rows)
        self.counts = one.new_zeros(columns, 2 * (GRID + 1))
        self.correct = one.new_zeros(())

    def loss(self) -> Tensor:
        return self.loss_fn(self.logits, self.labels)

    def count(self) -> None:
        if isinstance(self.head, th.MultiClassHead):
            self.correct += (self.logits.argmax(dim=-1, keepdim=True) == self.labels).sum()
        elif self.has_scores:
            bins = self.logits.sigmoid().mul_(GRID).ceil_().add_(self.labels, alpha=GRID + 1)
            self.counts.scatter_add_(1, bins.long().T, self.ones)


def families_of(work: Workload) -> Iterator[tuple[th.Head, Tensor, Tensor]]:
    """Yield the first head of each family, and the logits and labels of all of them.

    They stand side by side; multi-class heads of one width, one below the other.
    """
    families: dict[Any, list[tuple[th.Head, Tensor, Tensor]]] = {}
    parts = work.logits.detach().split([head.logits_dimension for head in work.heads], dim=-1)
    for head, logits, labels in zip(work.heads, parts, work.labels, strict=True):
        width = head.logits_dimension if isinstance(head, th.MultiClassHead) else None
        families.setdefault((head.family, width), []).append((head, logits, labels))
    for (_, width), members in families.items():
        heads, logits, labels = zip(*members, strict=True)
        dim = -1 if width is None else 0
        yield heads[0], torch.cat(logits, dim), torch.cat(labels, dim)
