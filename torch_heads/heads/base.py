"""The abstract head: what every head does, derived from the few things that a head declares."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torch_heads.functional.errors import unexpected
from torch_heads.functional.reductions import Reduction
from torch_heads.functional.tensors import sum_scalars, to_tensor
from torch_heads.heads.evaluated import Evaluated, Features, Labels
from torch_heads.heads.spec import EstimatorSpec, ExportOutput, ModeKeys, make_train_op


class Head(Evaluated):
    """The top of a model for one target, or for several.

    A head knows how logits become predictions, what the loss is, which metrics to keep, and what
    a server should answer. See `BinaryClassHead` and its siblings for single targets, `MultiHead`
    for several.
    """

    # What a head declares.

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

    @property
    def composes(self) -> bool:
        """Whether this is a head of several targets."""
        return False

    @property
    def takes_names(self) -> bool:
        """Whether labels are class names, so that they cannot be stacked with other heads'."""
        return False

    @property
    def may_miss(self) -> bool:
        """Whether labels may be missing, so that a batch may lack them altogether."""
        return False

    @abstractmethod
    def combine(self, losses: Sequence[Tensor]) -> Tensor:
        """Return the scalar loss from the losses of each block."""

    @abstractmethod
    def tensor_predictions(self, logits: Any) -> dict[Any, Any]:
        """Return the predictions that are tensors, by key; nested for heads with children."""

    @abstractmethod
    def predictions(self, logits: Any, keys: Sequence[Any] | None = None) -> dict[Any, Any]:
        """Return predictions by key."""

    @abstractmethod
    def all_prediction_keys(self) -> list[Any]:
        """Return every key that `predictions` takes."""

    def served_features(self, features: Features | None) -> dict[Any, Any]:
        """Return the features that stand among the predictions of a server, by prediction key."""
        return {}

    @abstractmethod
    def export_outputs(self, predictions: Mapping[Any, Any]) -> dict[str, ExportOutput]:
        """Return what a server answers, by signature name, from all predictions."""

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
        divisors: Tensor | None = None,
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
            divisors: of a larger batch of which this is a part: the sum of what `divisors` returns
                for each part. The losses of the parts then add up to the loss of the whole.

        Raises:
            ValueError: if a shape, type or value is not what the head takes.
            TypeError: if ``regularization_losses`` are not a list, or the ``weights`` of a
                `MultiHead` not a dict.
        """
        regularization = sum_scalars(self.title, regularization_losses)
        parts = None if divisors is None else self.by_block(divisors)
        measured = self.measure(labels, logits, features, weights, divisors=parts)
        loss = self.combine([one.losses for one in measured])
        return loss if regularization_losses is None else loss + regularization

    @torch.no_grad()
    def divisors(
        self, labels: Labels, logits: Any, features: Features | None = None, *, weights: Any = None
    ) -> Tensor:
        """Return what the loss of each target is divided by: the number or weight of its labels.

        Arguments are as for `loss`; only the shape of the logits matters. Processes, or
        micro-batches, whose labels are missing unevenly add these up, and give the sum to `loss`.

        Returns:
            ``[H]``, in the order of computation; 1 where losses are summed, which ignore it.

        >>> from torch_heads import BinaryClassHead
        >>> head = BinaryClassHead(missing_label=-1)
        >>> logits, labels = torch.zeros(4, 1), torch.tensor([1, 0, -1, 1])
        >>> parts = [(labels[:1], logits[:1]), (labels[1:], logits[1:])]
        >>> divisors = sum(head.divisors(*part) for part in parts)
        >>> divisors
        tensor([3.])
        >>> sum(head.loss(*part, divisors=divisors) for part in parts) - head.loss(labels, logits)
        tensor(0.)
        """
        batches = self.encode(labels, logits, features, weights)
        blocks = zip(self.blocks(), batches, strict=True)
        return torch.cat([block.divisors(batch) for block, batch in blocks])

    def by_block(self, divisors: Any) -> list[Tensor]:
        """Return what `divisors` returned, or anything else ``[H]``, split by block.

        Raises:
            ValueError: if it is of another shape.
        """
        sizes = [len(block.heads) for block in self.blocks()]
        values = to_tensor(self.title, "divisors", divisors)
        if values.shape != (sum(sizes),):
            expected = f"of shape {[sum(sizes)]}"
            raise ValueError(unexpected(self.title, "divisors", expected, list(values.shape)))
        return list(torch.split(values, sizes))

    def forward(self, logits: Tensor) -> dict[str, Tensor]:
        """Return the predictions that are tensors, in a flat dict, so that a model can be served.

        Keys are the prediction keys, ``head/key`` under a `MultiHead`.
        """
        return _flatten(self.tensor_predictions(logits))

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
        loss. With ``train_op_fn`` it is what ``train_op_fn(loss)`` returns, and the ``update_ops``
        are called right after that.

        Raises:
            ValueError: for an unknown mode, and in TRAIN unless exactly one of ``optimizer`` and
                ``train_op_fn`` is given; and as `loss` does.
            TypeError: if what is to be called cannot be; and as `loss` does.
        """
        parsed = ModeKeys.parse(self.title, mode)
        if parsed is ModeKeys.PREDICT:
            predictions = self.predictions(logits, self.all_prediction_keys())
            exports = self.export_outputs(predictions)
            predictions = {**predictions, **self.served_features(features)}
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


def _flatten(nested: Mapping[Any, Any], prefix: str = "") -> dict[str, Tensor]:
    flat: dict[str, Tensor] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}/")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
