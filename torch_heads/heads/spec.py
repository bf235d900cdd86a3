"""What a head hands to an estimator or a server, per mode."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.computation.inputs import Features
from torch_heads.functional.errors import preview, unexpected
from torch_heads.heads.metric_owner import Labels
from torch_heads.heads.saved import SavedHead
from torch_heads.heads.train_op import make_train_op


class ModeKeys(StrEnum):
    """What a model is run for; the values are tf.estimator's."""

    TRAIN = "train"
    EVAL = "eval"
    PREDICT = "infer"

    @classmethod
    def parse(cls, who: str, value: str) -> ModeKeys:
        """Return the mode of that value.

        Raises:
            ValueError: if there is no such mode.
        """
        try:
            return cls(value if isinstance(value, str) else "")
        except ValueError:
            allowed = preview(str(mode) for mode in cls)
            raise ValueError(unexpected(who, "mode", f"among {allowed}", repr(value))) from None


@dataclass(frozen=True)
class ClassificationOutput:
    """Scores ``[D*, K]``, and the class names of the same shape, as an array of strings."""

    scores: Tensor | None = None
    classes: np.ndarray[Any, Any] | None = None

    def __post_init__(self) -> None:
        """Refuse an output of nothing."""
        if self.scores is None and self.classes is None:
            raise ValueError(
                unexpected("ClassificationOutput", "scores or classes", "to be given", None)
            )


@dataclass(frozen=True)
class RegressionOutput:
    """Values ``[D*, L]``."""

    value: Tensor


@dataclass(frozen=True)
class PredictOutput:
    """All predictions by name."""

    outputs: Mapping[str, Any]


ExportOutput = ClassificationOutput | RegressionOutput | PredictOutput


@dataclass(frozen=True)
class EstimatorSpec:
    """One step of an estimator.

    Attributes:
        mode: what the step is for.
        predictions: the head's predictions.
        loss: the scalar loss, with regularization; None for PREDICT.
        train_op: in TRAIN, a callable that runs one optimisation step and returns the loss, or
            what ``train_op_fn`` returned.
        eval_metric_ops: in EVAL, a metric collection that has seen this batch.
        export_outputs: in PREDICT, what a server answers, by signature name.
        head: the head that made it, of which an estimator keeps what it means.

    Raises:
        ValueError: if what the mode needs is missing.
    """

    mode: ModeKeys
    predictions: Mapping[Any, Any] | None = None
    loss: Tensor | None = None
    train_op: Any = None
    eval_metric_ops: Any = field(default_factory=dict)
    export_outputs: Mapping[str, ExportOutput] | None = None
    head: SavedHead | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse a spec that lacks what its mode needs."""
        mode = ModeKeys.parse("EstimatorSpec", self.mode)
        needed = {
            ModeKeys.TRAIN: ("loss", "train_op"),
            ModeKeys.EVAL: ("loss",),
            ModeKeys.PREDICT: ("predictions",),
        }
        for name in needed[mode]:
            if getattr(self, name) is None:
                raise ValueError(unexpected("EstimatorSpec", name, f"to be given in {mode}", None))
        if isinstance(self.loss, Tensor):
            if self.loss.numel() != 1:
                given = f"shape {list(self.loss.shape)}"
                raise ValueError(unexpected("EstimatorSpec", "loss", "as a scalar", given))
            object.__setattr__(self, "loss", self.loss.reshape(()))


class EstimatorWords(SavedHead):
    """The words of tf.estimator: what a head hands over for one batch in one mode."""

    loss: Callable[..., Tensor]
    predictions: Callable[..., dict[Any, Any]]
    all_prediction_keys: Callable[[], list[Any]]

    def served_features(self, features: Features | None) -> dict[Any, Any]:
        """Return the features that stand among the predictions of a server, by prediction key."""
        return {}

    @abstractmethod
    def export_outputs(self, predictions: Mapping[Any, Any]) -> dict[str, ExportOutput]:
        """Return what a server answers, by signature name, from all predictions."""

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
        loss. With ``train_op_fn`` it is what ``train_op_fn(loss)`` returns; the ``update_ops``
        belong to it: a ``train_op`` that is callable calls them after itself. One that is not has
        run, and they run at once.

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
            return EstimatorSpec(parsed, predictions, export_outputs=exports, head=self)
        predictions = self.predictions(logits)
        loss = self.loss(labels, logits, features, mode, regularization_losses)
        if parsed is ModeKeys.EVAL:
            metrics = self.metrics(regularization_losses)
            self.update_metrics(metrics, features, logits, labels, regularization_losses)
            return EstimatorSpec(parsed, predictions, loss, eval_metric_ops=metrics, head=self)
        train_op = make_train_op(
            self.title, loss, optimizer, trainable_variables, train_op_fn, update_ops
        )
        return EstimatorSpec(parsed, predictions, loss, train_op, head=self)
