"""The abstract head: what every head does, derived from the few things that a head declares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.reductions import Reduction
from torch_heads.functional.scores import ScoreBins
from torch_heads.functional.tensors import sum_scalars
from torch_heads.heads.block import Batch, Block, Measured
from torch_heads.heads.spec import EstimatorSpec, ExportOutput, ModeKeys, make_train_op
from torch_heads.metrics.collection import Bound, Layout, ReadingCollection
from torch_heads.metrics.readings import CallMean
from torch_heads.metrics.tally import CallTally

CALLS, REGULARIZATION = "calls", "regularization"

ABSENT: Any = object()  # the labels of a head that a batch has none for

Labels = Any  # a tensor, a NumPy array, nested lists, or a dict of these by head name
Features = Mapping[str, Any]


class Head(nn.Module, ABC):
    """The top of a model for one target, or for several.

    A head knows how logits become predictions, what the loss is, which metrics to keep, and what
    a server should answer. See `BinaryClassHead` and its siblings for single targets, `MultiHead`
    for several.
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__()
        if name is not None and not isinstance(name, str):
            raise TypeError(
                unexpected(type(self).__name__, "name", "as a string", type(name).__name__)
            )
        self._name = name
        kind = type(self).__name__
        #: The head's class and name, as errors say it.
        self.title = f"{kind} {name!r}" if name else kind
        self._layout: Layout | None = None

    @property
    def name(self) -> str | None:
        """The head's name: the suffix of its metric keys, its key in a `MultiHead`."""
        return self._name

    @property
    @abstractmethod
    def logits_dimension(self) -> int:
        """The size of the logits' last axis."""

    @property
    @abstractmethod
    def labels_dimension(self) -> int:
        """The number of label columns: how wide the labels are as one dense tensor."""

    @property
    @abstractmethod
    def loss_reduction(self) -> Reduction:
        """How the losses of a batch become one."""

    # What a head declares.

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
    def combine(self, losses: Sequence[Tensor]) -> Tensor:
        """Return the scalar loss from the losses ``[H]`` of each block."""

    @abstractmethod
    def bound_readings(self, tallies: Sequence[str]) -> dict[str, Bound]:
        """Return the metrics by key, bound to the tallies of each block, given by name."""

    def call_keys(self) -> list[tuple[str, bool]]:
        """Return the keys of what is averaged over update calls, and whether some may not count."""
        return []

    def call_values(self, measured: Sequence[Measured]) -> list[Measured]:
        """Return what `call_keys` names, and which of them count, from what blocks measured."""
        return []

    @abstractmethod
    def tensor_predictions(self, logits: Any) -> dict[Any, Any]:
        """Return the predictions that are tensors, by key; nested for heads with children."""

    @abstractmethod
    def predictions(self, logits: Any, keys: Sequence[Any] | None = None) -> dict[Any, Any]:
        """Return predictions by key."""

    @abstractmethod
    def export_outputs(self, predictions: Mapping[Any, Any]) -> dict[str, ExportOutput]:
        """Return what a server answers, by signature name, from all predictions."""

    @abstractmethod
    def all_prediction_keys(self) -> list[Any]:
        """Return every key that `predictions` takes."""

    @property
    def takes_names(self) -> bool:
        """Whether labels are class names, so that they cannot be stacked with other heads'."""
        return False

    @property
    def may_miss(self) -> bool:
        """Whether labels may be missing, so that a batch may lack them altogether."""
        return False

    def stacked_labels(self, columns: Tensor) -> Tensor:
        """Return this head's labels out of a stacked tensor, which has one dtype for all heads."""
        return columns

    # What follows from it.

    def loss(
        self,
        labels: Labels,
        logits: Any,
        features: Features | None = None,
        mode: str | None = None,
        regularization_losses: Sequence[Any] | None = None,
        *,
        weights: Any = None,
    ) -> Tensor:
        """Return the scalar training loss.

        Args:
            labels: see the head's class; labels come before logits.
            logits: ``[D0, ..., DN, logits_dimension]``, floating. Half precision is computed in
                float32.
            features: where the head's ``weight_column`` is looked up.
            mode: taken for compatibility; the loss is the same in every mode.
            regularization_losses: scalars that are added after the reduction.
            weights: per example, ``[D*]`` or ``[D*, 1]``, instead of a ``weight_column``.

        Raises:
            ValueError: if a shape, type or value is not what the head takes.
        """
        regularization = sum_scalars(self.title, regularization_losses)
        loss = self.combine(
            [measured.losses for measured in self._measure(labels, logits, features, weights)]
        )
        return loss if regularization_losses is None else loss + regularization

    def forward(self, logits: Tensor) -> dict[str, Tensor]:
        """Return the predictions that are tensors, in a flat dict, so that a model can be served.

        Keys are the prediction keys, ``head/key`` under a `MultiHead`.
        """
        return _flatten(self.tensor_predictions(logits))

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
            readings[self._suffixed("regularization_loss")] = _call_mean(REGULARIZATION, 0)
        return ReadingCollection(tallies, readings, self._layout)

    @property
    def metric_collection(self) -> ReadingCollection:
        """The collection that this head wraps; assign another, or a clone, to replace it."""
        if "metric_collection" not in self._modules:
            # made when first asked for: a head inside a MultiHead never needs its own
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
            KeyError: if the collection does not keep regularization losses.
        """
        metrics = self.metric_collection if eval_metrics is None else eval_metrics
        self._check_metrics(metrics)
        tallies = list(metrics.tallies.values())
        regularized = REGULARIZATION in metrics.tallies
        if regularization_losses is not None and not regularized:
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
            measured = self._measure(labels, logits, features, weights, observe=True)
            device = measured[0].losses.device
            calls = self.call_values(measured)
            for tally, one in zip(tallies, measured, strict=False):
                tally.prepare(device)
                tally.add(one.observed)
            if calls:
                counted = None if all(one.counted is None for one in calls) else _counted(calls)
                metrics.tallies[CALLS].prepare(device)
                metrics.tallies[CALLS].add((torch.cat([one.losses for one in calls]), counted))
            if regularization_losses is not None:
                total = torch.as_tensor(added, device=device).reshape(1)
                metrics.tallies[REGULARIZATION].prepare(device)
                metrics.tallies[REGULARIZATION].add((total, None))
        return metrics

    def create_estimator_spec(
        self,
        features: Features | None,
        mode: str,
        logits: Any,
        labels: Labels = None,
        optimizer: torch.optim.Optimizer | None = None,
        trainable_variables: Sequence[Tensor] | None = None,
        train_op_fn: Callable[[Tensor], Any] | None = None,
        update_ops: Iterable[Callable[[], Any]] | None = None,
        regularization_losses: Sequence[Any] | None = None,
    ) -> EstimatorSpec:
        """Return what an estimator needs for one batch in one mode.

        In PREDICT, that is all predictions, strings too, and the export outputs; in EVAL, the
        loss and a collection that has seen the batch; in TRAIN, the loss and a ``train_op``, which
        with an ``optimizer`` is a callable: it clears the gradients, runs the backward pass (only
        into ``trainable_variables`` where given), calls the ``update_ops``, steps, and returns the
        loss. With ``train_op_fn`` it is what ``train_op_fn(loss)`` returns.

        Raises:
            ValueError: for an unknown mode, and in TRAIN unless exactly one of ``optimizer`` and
                ``train_op_fn`` is given; and as `loss` does.
        """
        parsed = ModeKeys.parse(self.title, mode)
        if parsed is ModeKeys.PREDICT:
            predictions = self.predictions(logits, self.all_prediction_keys())
            exports = self.export_outputs(predictions)
            return EstimatorSpec(parsed, predictions, export_outputs=exports)
        predictions = self.predictions(logits)
        loss = self.loss(labels, logits, features, mode, regularization_losses)
        if parsed is ModeKeys.EVAL:
            metrics = self.metrics(regularization_losses)
            self.update_metrics(metrics, features, logits, labels, regularization_losses)
            return EstimatorSpec(parsed, predictions, loss, eval_metric_ops=metrics)
        train_op = make_train_op(
            self.title, loss, optimizer, trainable_variables, train_op_fn, update_ops
        )
        return EstimatorSpec(parsed, predictions, loss, train_op)

    def _measure(
        self,
        labels: Labels,
        logits: Any,
        features: Features | None,
        weights: Any,
        observe: bool = False,
    ) -> list[Measured]:
        batches = self.encode(labels, logits, features, weights)
        return [
            block.measure(batch, observe)
            for block, batch in zip(self.blocks(), batches, strict=True)
        ]

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


def _counted(calls: Sequence[Measured]) -> Tensor:
    return torch.cat(
        [
            torch.ones_like(one.losses, dtype=torch.bool) if one.counted is None else one.counted
            for one in calls
        ]
    )


def _flatten(nested: Mapping[Any, Any], prefix: str = "") -> dict[str, Tensor]:
    flat: dict[str, Tensor] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}/")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
