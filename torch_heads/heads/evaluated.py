"""The metrics of a head: the collection that it wraps, and one update of all of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from torch_heads.functional.constants import Constants
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.scores import ScoreBins
from torch_heads.functional.tensors import sum_scalars
from torch_heads.heads.batch import Batch
from torch_heads.heads.block import Block, Measured
from torch_heads.metrics.bound import Bound
from torch_heads.metrics.collection import Layout, ReadingCollection
from torch_heads.metrics.readings import CallMean
from torch_heads.metrics.tally import CallTally

CALLS, REGULARIZATION = "calls", "regularization"

ABSENT: Any = object()  # the labels of a head that a batch has none for


class Stacked(NamedTuple):
    """Label columns out of a tensor of many heads' labels, which has one dtype for all."""

    columns: Tensor


Labels = Any  # a tensor, a NumPy array, nested lists, or a dict of these by head name
Features = Mapping[str, Any]


class Evaluated(Constants, ABC):
    """A module that measures batches by blocks, and keeps the tallies of what it measured."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__()
        kind = type(self).__name__
        if name is not None and not isinstance(name, str):
            raise TypeError(unexpected(kind, "name", "as a string", type(name).__name__))
        self._name = name
        #: The head's class and name, as errors say it.
        self.title = f"{kind} {name!r}" if name else kind
        self._layout: Layout | None = None
        self._composed = False  # inside another head, which wraps the collection of both

    @property
    def name(self) -> str | None:
        """The head's name: the suffix of its metric keys, its key in a `MultiHead`."""
        return self._name

    @property
    def regularized_after(self) -> str | None:
        """The metric key after which the regularization loss stands; None for the beginning."""
        return None

    @abstractmethod
    def blocks(self) -> Sequence[Block]:
        """Return the blocks that compute this head's losses and observations."""

    @abstractmethod
    def encode(
        self,
        labels: Labels,
        logits: Any,
        features: Features | None = None,
        weights: Any = None,
        mask: Tensor | None = None,
    ) -> Sequence[Batch]:
        """Return one checked batch per block; ``mask`` ``[D*]`` is False where a row is padding.

        Raises:
            ValueError: if the batch is not what this head takes.
        """

    @abstractmethod
    def bound_readings(self, tallies: Sequence[str]) -> dict[str, Bound]:
        """Return the metrics by key, bound to the tallies of each block, given by name."""

    def call_keys(self) -> list[tuple[str, bool]]:
        """Return the keys of what is averaged over update calls, and whether some may not count."""
        return []

    def call_values(self, measured: Sequence[Measured]) -> list[Measured]:
        """Return what `call_keys` names, and which of them count, from what blocks measured."""
        return []

    def measure(
        self,
        labels: Labels,
        logits: Any,
        features: Features | None,
        weights: Any,
        observe: bool = False,
        divisors: Sequence[Tensor | None] | None = None,
    ) -> list[Measured]:
        """Return the losses of each block and, if asked, what its tally takes from the batch.

        ``divisors`` are the blocks', if not those of the batch.
        """
        batches = self.encode(labels, logits, features, weights)
        given = divisors or [None] * len(batches)
        return [
            block.measure(batch, observe, own)
            for block, batch, own in zip(self.blocks(), batches, given, strict=True)
        ]

    def metrics(self, regularization_losses: Sequence[Any] | None = None) -> ReadingCollection:
        """Return a new metric collection, empty; with the regularization's where that is given."""
        blocks = self.blocks()
        names: list[str] = []
        for block in blocks:
            family = type(block.heads[0].family).__name__.lower()
            names.append(family if family not in names else f"{family}_{len(names)}")
        tallies: dict[str, Any] = {
            name: block.tally() for name, block in zip(names, blocks, strict=True)
        }
        readings: dict[str, Bound] = {}
        keys = self.call_keys()
        if keys:
            tallies[CALLS] = CallTally(len(keys))
            readings |= {
                key: _call_mean(CALLS, i, may_miss) for i, (key, may_miss) in enumerate(keys)
            }
        readings |= self.bound_readings(names)
        if self._layout is None:
            shapes = tuple(tuple(tally.sums.shape) for tally in tallies.values())
            self._layout = (tuple(readings), shapes)
        if regularization_losses is not None:
            sum_scalars(self.title, regularization_losses)
            tallies[REGULARIZATION] = CallTally(1)
            after = self.regularized_after
            place = 0 if after is None else [*readings].index(self._suffixed(after)) + 1
            own = self._suffixed("regularization_loss"), _call_mean(REGULARIZATION, 0)
            readings = dict([*list(readings.items())[:place], own, *readings.items()])
        return ReadingCollection(tallies, readings, self._layout)

    @property
    def metric_collection(self) -> ReadingCollection:
        """The collection that this head wraps; assign another, or a clone, to replace it."""
        if "metric_collection" not in self._modules:
            self._modules["metric_collection"] = self.metrics()
        return self._modules["metric_collection"]  # type: ignore[return-value]

    def update_metrics(
        self,
        eval_metrics: ReadingCollection | None = None,
        features: Features | None = None,
        logits: Any = None,
        labels: Labels = None,
        regularization_losses: Sequence[Any] | None = None,
        *,
        weights: Any = None,
    ) -> ReadingCollection:
        """Add one batch to a collection made by `metrics`, or to the head's own; return it.

        The collection moves to the device of the logits.

        Args:
            eval_metrics: a collection from `metrics`, or a clone; None for `metric_collection`.
            features: as for `loss`.
            logits: as for `loss`; here they come before the labels, as in the originals.
            labels: as for `loss`.
            regularization_losses: as for `loss`; `metrics` must have been given some, too.
            weights: as for `loss`.

        Raises:
            ValueError: if the batch is not what the head takes, or the collection not its own.
            TypeError: if ``eval_metrics`` was not made by a head; and as `loss` does.
            KeyError: if the collection does not keep regularization losses.
        """
        metrics = self.metric_collection if eval_metrics is None else eval_metrics
        self._check_metrics(metrics)
        tallies = metrics.tallies
        if regularization_losses is not None and REGULARIZATION not in tallies:
            raise KeyError(
                unexpected(
                    self.title,
                    "eval_metrics",
                    "that keep regularization_losses",
                    "none of them",
                    "Make them by head.metrics(regularization_losses=[...]).",
                )
            )
        with torch.no_grad():
            added = sum_scalars(self.title, regularization_losses)
            measured = self.measure(labels, logits, features, weights, observe=True)
            device = measured[0].losses.device
            calls = self.call_values(measured)
            for tally, one in zip(tallies.values(), measured, strict=False):
                tally.prepare(device)
                tally.add(one.observed)
            if calls:
                every = all(one.counted is None for one in calls)
                counted = None if every else torch.cat([one.counts for one in calls])
                tallies[CALLS].prepare(device)
                losses = [one.losses for one in calls]
                tallies[CALLS].add((torch.cat(losses) if calls[1:] else losses[0], counted))
            if regularization_losses is not None:
                # a fill, since to copy a Python number to a device would wait for it
                zero = torch.zeros(1, dtype=torch.float64, device=device)
                total = zero + added
                tallies[REGULARIZATION].prepare(device)
                tallies[REGULARIZATION].add((total, None))
        return metrics

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """Yield the collection too, which is made when first asked for.

        Lightning looks for metrics once, maybe before the first update.
        """
        if not self._composed:
            self.metric_collection  # noqa: B018
        yield from super().named_modules(memo, prefix, remove_duplicate)

    def _suffixed(self, key: str) -> str:
        return f"{key}/{self.name}" if self.name else key

    def _check_metrics(self, metrics: Any) -> None:
        if not isinstance(metrics, ReadingCollection):
            raise TypeError(
                unexpected(
                    self.title, "eval_metrics", "made by its metrics()", type(metrics).__name__
                )
            )
        own = self._layout if self._layout is not None else self.metrics().layout
        if metrics.layout is not own and metrics.layout != own:
            raise ValueError(
                unexpected(
                    self.title,
                    "eval_metrics",
                    f"made by its metrics(), with {preview(own[0], 4)}",
                    preview(metrics.layout[0], 4),
                )
            )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if any(key.startswith(f"{prefix}metric_collection.") for key in state_dict):
            self.metric_collection  # noqa: B018  made here, so that its states find their place
        super()._load_from_state_dict(state_dict, prefix, *args)


def _call_mean(tally: str, row: int, may_miss: bool = False) -> Bound:
    return Bound(CallMean(), tally, slice(row, row + 1), ScoreBins(), may_miss)
