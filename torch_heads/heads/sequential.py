"""The head of every step of a padded sequence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from torch_heads.computation.computation import Computation
from torch_heads.computation.inputs import ABSENT, Features, Inputs, StackedLabels
from torch_heads.computation.single import SequenceComputation
from torch_heads.functional.containers import by_key, listed
from torch_heads.functional.errors import class_of, preview, unexpected
from torch_heads.functional.features import find_feature
from torch_heads.functional.forms import shape_of
from torch_heads.functional.hints import shape_hint
from torch_heads.functional.sequences import longest, padded
from torch_heads.functional.tensors import to_tensor
from torch_heads.functional.transposed import refuse_transposed
from torch_heads.functional.values import check_finite, check_logits, check_values, whole_numbers
from torch_heads.heads.base import Head
from torch_heads.heads.metric_owner import Labels
from torch_heads.heads.spec import ExportOutput

ADDED = "It is nonzero where a step counts; of a mask that is added to scores, that is mask == 0."


class SequentialHeadWrapper(Head):
    """A head at every step of padded sequences; padded steps count nowhere.

    A padded step is as if it were not there: in the loss and its divisor, the gradient and every
    metric, whatever stands in its logits and labels.

    Shapes: logits and labels ``[B, T, ...]`` as the static head takes them for a batch of two
    dimensions (logits may lack a last dimension of 1). ``features`` holds a mask ``[B, T]``, true
    or nonzero where a step counts, or the lengths ``[B]`` of the sequences. Labels, weights and
    declared features may also be lists of sequences without their padding. Predictions keep the
    shape ``[B, T, ...]``, padded steps included. Metric keys are those of the static head.

    Args:
        static_head: the head of one step, a `MultiHead` or another wrapper too.
        sequence_length_mask: the key of the mask, or of the lengths, in ``features``.
        feature_columns: the keys of the features ``[B, T, ...]`` that the static head sees; those
            of whole sequences, ``[B]``, hold for all their steps.

    Raises:
        TypeError: if a key is not a string, or ``static_head`` is not a head.
        ValueError: if a ``weight_column`` of ``static_head`` is not among ``feature_columns``.

    >>> from torch_heads import RegressionHead
    >>> head = SequentialHeadWrapper(RegressionHead())
    >>> mask = {"sequence_length_mask": [[1, 1], [1, 0]]}
    >>> head.loss([[1, 2], [3, 9]], [[1.0, 3.0], [5.0, 0.0]], mask).round(decimals=4)
    tensor(1.6667)
    >>> lengths = {"sequence_length_mask": [2, 1]}
    >>> head.loss([[1, 2], [3]], [[1.0, 3.0], [5.0, 0.0]], lengths).round(decimals=4)
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
        several = [feature_columns] if isinstance(feature_columns, str) else feature_columns
        columns = [] if several is None else listed(title, "feature_columns", "as strings", several)
        for column in columns:
            if not isinstance(column, str):
                given = type(column).__name__
                raise TypeError(unexpected(title, "feature_columns", "as strings", given))
        if not isinstance(static_head, Head):
            given = class_of(static_head)
            raise TypeError(unexpected(title, "static_head", "as a head", given))
        for target in static_head.computation.targets:
            weights = target.weight_column
            if isinstance(weights, str) and weights not in columns:
                expected = f"with the static head's weight_column {weights!r}"
                raise ValueError(unexpected(title, "feature_columns", expected, columns))
            for declared in target.torchmetrics.values():
                lacking = [key for key in declared.features.values() if key not in columns]
                if lacking:
                    expected = f"with {preview(lacking)} for the static head's metrics"
                    raise ValueError(unexpected(title, "feature_columns", expected, columns))
        super().__init__()
        self.static_head = static_head
        self.title = f"{self.title} {self.name!r}" if self.name else self.title
        self.input_sequence_mask_key = sequence_length_mask
        self.feature_columns = columns

    @property
    def name(self) -> str | None:
        """The static head's name and ``_sequential``; None where that has none."""
        return f"{self.static_head.name}_sequential" if self.static_head.name else None

    @property
    def sequence_length_mask(self) -> str:
        """The key of the mask in ``features``."""
        return self.input_sequence_mask_key

    def to_logits(self, predictions: Any) -> Tensor:
        """Return the static head's logits of every step."""
        return self.static_head.to_logits(predictions)

    def export_outputs(self, predictions: Mapping[Any, Any]) -> dict[str, ExportOutput]:
        """Return the static head's outputs."""
        return self.static_head.export_outputs(predictions)

    def served_features(self, features: Features | None) -> dict[Any, Any]:
        """Return the mask by its key.

        Raises:
            KeyError: if ``features`` lack it.
        """
        key = self.input_sequence_mask_key
        try:
            mask = find_feature(self.title, features, key, f"with the mask {key!r}")
        except ValueError as error:
            raise KeyError(*error.args) from None
        return {key: mask, **self.static_head.served_features(features)}

    @property
    def _parts(self) -> list[Head]:
        return [self.static_head]

    def _make_computation(self) -> Computation:
        inner = self.static_head.computation
        return SequenceComputation(self.title, inner, self._masked, self._steps)

    def _batch_shape(self, labels: Labels, features: Features | None) -> tuple[int, ...]:
        given = find_feature(self.title, features, self.input_sequence_mask_key)
        mask = tuple(shape_of(given))
        inner = self.static_head._batch_shape(labels, features)
        if len(mask) == 1 and len(inner) == 1:  # lengths, and sequences of different ones
            lengths = to_tensor(self.title, self._argument, given).tolist()
            return (*mask, max(longest(self.title, labels), *map(int, lengths), 0))
        return mask if inner[: len(mask)] != mask else inner

    def _masked(self, inputs: Inputs) -> Inputs:
        """Return what the static head gets, with the padding masked."""
        logits = self._steps(inputs.logits)
        if inputs.labels is ABSENT:
            return Inputs(ABSENT, logits)
        mask = self._mask(inputs.features, logits)
        if inputs.mask is not None:
            mask = mask & inputs.mask
        counts = mask if mask.dim() == 2 else mask.flatten(2).any(-1)
        labels, weights = (
            own if isinstance(own, StackedLabels) else padded(self.title, argument, own, counts)
            for argument, own in (("labels", inputs.labels), ("weights", inputs.weights))
        )
        own = {
            column: self._steps_of(inputs.features, column, counts)
            for column in self.feature_columns
        }
        return Inputs(labels, logits, own, weights, mask)

    def _steps(self, given: Any) -> Any:
        """Return logits ``[B, T, ...]``, or a dict of them by head name."""
        if isinstance(given, Mapping):
            return by_key(given)
        logits = to_tensor(self.title, "logits", given)
        flat = logits.dim() == 2 and self.logits_dimension == 1
        steps = self._with_steps(logits.unsqueeze(-1) if flat else logits)
        return check_logits(self.title, steps, self.logits_dimension)

    def _with_steps(self, logits: Tensor) -> Tensor:
        if logits.dim() < 3:
            shape = list(logits.shape)
            raise ValueError(unexpected(self.title, "logits", "of shape [B, T, ...]", shape))
        return logits

    @property
    def _argument(self) -> str:
        return f"the mask features[{self.input_sequence_mask_key!r}]"

    def _steps_of(self, features: Features | None, key: str, counts: Tensor) -> Any:
        """Return a declared feature, of which each step has its own or that of its sequence."""
        sequences, steps = counts.shape
        argument = f"features[{key!r}]"
        given = find_feature(self.title, features, key)
        values = padded(self.title, argument, given, counts)
        shape = getattr(values, "shape", None)
        if not isinstance(shape, tuple) or len(shape) < 2:  # a series of rows has one
            shape = () if isinstance(values, Mapping) else shape_of(values)
        if len(shape) < 2:
            each = to_tensor(self.title, argument, values, counts.device, False, counts)
            if each.shape == (sequences,):
                return each.unsqueeze(-1).expand(sequences, steps)
            shape = each.shape
        if tuple(shape[:2]) != (sequences, steps):
            expected = f"of shape [{sequences}, {steps}, ...] or [{sequences}]"
            raise ValueError(unexpected(self.title, argument, expected, [*shape]))
        return values

    def _mask(self, features: Features | None, logits: Any) -> Tensor:
        while isinstance(logits, Mapping):  # of one head, or of one inside of it
            logits = next(iter(logits.values()), None)
        logits = self._with_steps(to_tensor(self.title, "logits", logits))
        given = find_feature(self.title, features, self.input_sequence_mask_key)
        refuse_transposed(self.title, given, logits.shape[:2], self._argument)
        mask = to_tensor(self.title, self._argument, given, logits.device, may_miss=False)
        if mask.is_floating_point():
            check_finite(self.title, self._argument, mask, ADDED)
        sequences, steps = logits.shape[:2]
        if mask.shape == (sequences,) and mask.dtype != torch.bool:
            argument = f"the lengths features[{self.input_sequence_mask_key!r}]"
            whole = whole_numbers(self.title, argument, mask, "as whole numbers")
            check_values(self.title, argument, whole, 0, steps)
            mask = torch.arange(steps, device=mask.device) < whole.unsqueeze(-1)
        if mask.shape != (sequences, steps):
            expected = f"of shape {[sequences, steps]}, or lengths of shape {[sequences]}"
            hint = shape_hint("mask", mask.shape, (sequences, steps))
            raise ValueError(
                unexpected(self.title, self._argument, expected, list(mask.shape), hint)
            )
        missing = logits.dim() - 1 - mask.dim()
        return (mask != 0).view(*mask.shape, *[1] * missing).expand(logits.shape[:-1])
