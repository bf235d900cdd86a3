"""The head of every step of a padded sequence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.reductions import Reduction
from torch_heads.functional.tensors import check_logits, to_tensor
from torch_heads.heads.base import Head
from torch_heads.heads.batch import Batch
from torch_heads.heads.block import Block, Measured
from torch_heads.heads.evaluated import ABSENT, Features, Labels
from torch_heads.heads.spec import ExportOutput
from torch_heads.metrics.bound import Bound


class SequentialHeadWrapper(Head):
    """A head at every step of padded sequences; padded steps count nowhere.

    A padded step is as if it were not there: in the loss and its divisor, the gradient and every
    metric, whatever stands in its logits and labels.

    Shapes: logits and labels ``[B, T, ...]`` as the static head takes them for a batch of two
    dimensions (logits may lack a last dimension of 1). ``features`` holds a mask ``[B, T]``, true
    or nonzero where a step counts. Predictions keep the shape ``[B, T, ...]``, padded steps
    included. Metric keys are those of the static head.

    Args:
        static_head: the head of one step; not a `MultiHead`, which may hold wrappers instead.
        sequence_length_mask: the key of the mask in ``features``.
        feature_columns: the keys of the features ``[B, T, ...]`` that the static head sees.

    Raises:
        TypeError: if a key is not a string, or ``static_head`` is not a head.
        ValueError: if ``static_head`` is a `MultiHead`, or its ``weight_column`` is not among
            ``feature_columns``.

    >>> from torch_heads import RegressionHead
    >>> head = SequentialHeadWrapper(RegressionHead())
    >>> mask = {"sequence_length_mask": [[1, 1], [1, 0]]}
    >>> head.loss([[1, 2], [3, 9]], [[1.0, 3.0], [5.0, 0.0]], mask).round(decimals=4)
    tensor(1.6667)
    """

    def __init__(
        self,
        static_head: Head,
        sequence_length_mask: str = "sequence_length_mask",
        feature_columns: str | Iterable[str] | None = None,
    ) -> None:
        title = type(self).__name__
        if not isinstance(sequence_length_mask, str):
            given = type(sequence_length_mask).__name__
            raise TypeError(unexpected(title, "sequence_length_mask", "as a string", given))
        columns = [feature_columns] if isinstance(feature_columns, str) else feature_columns or []
        if not isinstance(columns, Iterable):
            given = type(columns).__name__
            raise TypeError(unexpected(title, "feature_columns", "as strings", given))
        columns = list(columns)
        weight_column = getattr(static_head, "weight_column", None)
        for column in columns:
            if not isinstance(column, str):
                given = type(column).__name__
                raise TypeError(unexpected(title, "feature_columns", "as strings", given))
        if not isinstance(static_head, Head):
            given = type(static_head).__name__
            raise TypeError(unexpected(title, "static_head", "as a head", given))
        if static_head.composes:
            raise ValueError(
                unexpected(
                    title,
                    "static_head",
                    "for one target",
                    "a MultiHead",
                    "Make a MultiHead of wrapped heads instead.",
                )
            )
        if isinstance(weight_column, str) and weight_column not in columns:
            expected = f"with the static head's weight_column {weight_column!r}"
            raise ValueError(unexpected(title, "feature_columns", expected, columns))
        super().__init__()
        self.static_head = static_head
        static_head._composed = True
        self.title = f"{self.title} {self.name!r}" if self.name else self.title
        self.input_sequence_mask_key = sequence_length_mask
        self.feature_columns = columns

    @property
    def name(self) -> str | None:
        """The static head's name and ``_sequential``; None where that has none."""
        return f"{self.static_head.name}_sequential" if self.static_head.name else None

    @property
    def logits_dimension(self) -> int:
        """The static head's."""
        return self.static_head.logits_dimension

    @property
    def labels_dimension(self) -> int:
        """The static head's."""
        return self.static_head.labels_dimension

    @property
    def loss_reduction(self) -> Reduction:
        """The static head's."""
        return self.static_head.loss_reduction

    @property
    def takes_names(self) -> bool:
        """Whether the static head takes class names."""
        return self.static_head.takes_names

    @property
    def regularized_after(self) -> str | None:
        """The static head's."""
        return self.static_head.regularized_after

    @property
    def may_miss(self) -> bool:
        """Whether the static head's labels may be missing."""
        return self.static_head.may_miss

    def blocks(self) -> Sequence[Block]:
        """Return the static head's blocks."""
        return self.static_head.blocks()

    def encode(
        self,
        labels: Labels,
        logits: Any,
        features: Features | None = None,
        weights: Any = None,
        mask: Tensor | None = None,
    ) -> Sequence[Batch]:
        """Return the static head's batch, with the padding masked."""
        logits = self._steps(logits)
        if labels is ABSENT:
            return self.static_head.encode(labels, logits)
        steps = self._mask(features, logits)
        if mask is not None:
            steps = steps & mask
        own = {}
        for column in self.feature_columns:
            own[column] = self._feature(features, column)
        return self.static_head.encode(labels, logits, own, weights, steps)

    def combine(self, losses: Sequence[Tensor]) -> Tensor:
        """Return the static head's loss."""
        return self.static_head.combine(losses)

    def call_keys(self) -> list[tuple[str, bool]]:
        """Return the static head's."""
        return self.static_head.call_keys()

    def call_values(self, measured: Sequence[Measured]) -> list[Measured]:
        """Return the static head's."""
        return self.static_head.call_values(measured)

    def bound_readings(self, tallies: Sequence[str]) -> dict[str, Bound]:
        """Return the static head's metrics."""
        return self.static_head.bound_readings(tallies)

    def tensor_predictions(self, logits: Any) -> dict[Any, Any]:
        """Return the static head's predictions of every step."""
        return self.static_head.tensor_predictions(self._steps(logits))

    def predictions(self, logits: Any, keys: Sequence[Any] | None = None) -> dict[Any, Any]:
        """Return the static head's predictions of every step, padded ones included."""
        return self.static_head.predictions(self._steps(logits), keys)

    def all_prediction_keys(self) -> list[Any]:
        """Return the static head's keys."""
        return self.static_head.all_prediction_keys()

    def export_outputs(self, predictions: Mapping[Any, Any]) -> dict[str, ExportOutput]:
        """Return the static head's outputs."""
        return self.static_head.export_outputs(predictions)

    def served_features(self, features: Features | None) -> dict[Any, Any]:
        """Return the mask by its key.

        Raises:
            KeyError: if ``features`` lack it.
        """
        key = self.input_sequence_mask_key
        if features is None or key not in features:
            given = None if features is None else preview(features, 20)
            raise KeyError(unexpected(self.title, "features", f"with the mask {key!r}", given))
        return {key: features[key], **self.static_head.served_features(features)}

    def _suffixed(self, key: str) -> str:
        return self.static_head._suffixed(key)

    def _steps(self, given: Any) -> Tensor:
        logits = to_tensor(self.title, "logits", given)
        flat = logits.dim() == 2 and self.logits_dimension == 1
        steps = logits.unsqueeze(-1) if flat else logits
        if steps.dim() < 3:
            shape = list(logits.shape)
            raise ValueError(unexpected(self.title, "logits", "of shape [B, T, ...]", shape))
        return check_logits(self.title, steps, self.logits_dimension)

    def _feature(self, features: Features | None, key: str) -> Any:
        if features is None or key not in features:
            given = "no features" if features is None else preview(features, 20)
            raise ValueError(unexpected(self.title, "features", f"with {key!r}", given))
        return features[key]

    def _mask(self, features: Features | None, logits: Tensor) -> Tensor:
        key = self.input_sequence_mask_key
        argument = f"the mask features[{key!r}]"
        mask = to_tensor(self.title, argument, self._feature(features, key), logits.device)
        if mask.dim() != 2 or mask.shape != logits.shape[:2]:
            expected = f"of shape {list(logits.shape[:2])}"
            raise ValueError(unexpected(self.title, argument, expected, list(mask.shape)))
        missing = logits.dim() - 1 - mask.dim()
        return (mask != 0).view(*mask.shape, *[1] * missing).expand(logits.shape[:-1])
