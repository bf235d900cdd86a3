"""The head of a single target: one tensor of logits, one of labels."""

from __future__ import annotations

import functools
import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.families import Family
from torch_heads.functional.labels import check_values
from torch_heads.functional.reductions import Reduction
from torch_heads.functional.scores import ScoreBins
from torch_heads.functional.tensors import check_logits, check_weights
from torch_heads.heads.base import Features, Head, Labels
from torch_heads.heads.block import Batch, Block
from torch_heads.metrics.collection import Bound
from torch_heads.metrics.readings import Reading

LossFn = Callable[..., Tensor]
WeightColumn = str | Callable[[Features], Any] | None
LOSS_FN_ARGUMENTS = ("labels", "logits", "features", "loss_reduction")


class TensorHead(Head):
    """What the heads of one target share.

    A subclass declares its ``family``, its columns, the form of its labels, its predictions and
    its readings; the loss, metrics and checks are derived.
    """

    family: Family
    bins: ScoreBins | None = None
    loss_dimension: int = 1
    inverse_link_fn: Callable[[Tensor], Tensor] | None = None
    string_keys: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        name: str | None,
        weight_column: WeightColumn,
        loss_reduction: str,
        loss_fn: LossFn | None = None,
        label_vocabulary: Sequence[str] | None = None,
    ) -> None:
        super().__init__(name)
        if not (weight_column is None or isinstance(weight_column, str) or callable(weight_column)):
            raise TypeError(
                unexpected(
                    self.title,
                    "weight_column",
                    "as a feature's name or a callable of the features",
                    type(weight_column).__name__,
                )
            )
        self._blocks = (Block([self]),)
        self.weight_column = weight_column
        self._loss_reduction = Reduction.parse(self.title, loss_reduction)
        self.loss_fn = loss_fn or None
        self._loss_fn_arguments = () if loss_fn is None else _arguments(self.title, loss_fn)
        self.label_vocabulary = _vocabulary(self.title, label_vocabulary)

    # What a subclass declares.

    @abstractmethod
    def label_columns(
        self, labels: Labels, leading: torch.Size, device: torch.device, mask: Tensor | None = None
    ) -> Tensor:
        """Return labels as numbers ``[D*, labels_dimension]``, of any dtype, not range-checked."""

    @abstractmethod
    def readings(self) -> Iterator[tuple[str, Reading]]:
        """Yield the metrics by key, without the head's name."""

    @abstractmethod
    def tensor_predictions(self, logits: Any) -> dict[str, Tensor]:
        """Return the predictions that are tensors, by key."""

    def string_predictions(self, logits: Tensor) -> dict[str, np.ndarray[Any, Any]]:
        """Return the predictions that are strings, by the `string_keys`."""
        return {}

    # What follows from it.

    @property
    def loss_reduction(self) -> Reduction:
        """How the losses of a batch become one."""
        return self._loss_reduction

    @property
    def fusable(self) -> bool:
        """Whether heads of an equal family can share this head's kernel."""
        return self.loss_fn is None and self.inverse_link_fn is None

    def blocks(self) -> Sequence[Block]:
        """Return the one block of this head."""
        return self._blocks

    def encode(
        self,
        labels: Labels,
        logits: Any,
        features: Features | None = None,
        weights: Any = None,
        mask: Tensor | None = None,
    ) -> Sequence[Batch]:
        """Return the checked batch."""
        logits = self.check_logits(logits)
        columns = self.label_columns(labels, logits.shape[:-1], logits.device, mask)
        found = self.encode_weights(features, weights, logits)
        columns = columns.to(self.family.label_dtype(logits))
        if mask is not None:
            mask = mask.unsqueeze(-1)
            # before anything is computed, so that no NaN of a row of padding spreads
            logits, columns, found = (
                None if values is None else torch.where(mask, values, torch.zeros_like(values))
                for values in (logits, columns, found)
            )
        check_values(self.title, "labels", columns, *self.label_range)
        return (Batch(logits, columns, found, mask, features),)

    @property
    def label_range(self) -> tuple[float, float]:
        """The lowest and the highest value that a label may have."""
        return self.family.lowest, self.family.highest

    def encode_weights(
        self, features: Features | None, weights: Any, logits: Tensor
    ) -> Tensor | None:
        """Return the weights given, or those of the ``weight_column``, checked; None for none."""
        column, per_logit = self.weight_column, self.loss_dimension > 1
        if weights is not None:
            if column is not None:
                raise ValueError(
                    unexpected(
                        self.title,
                        "either weights or a weight_column",
                        "",
                        "both",
                        f"The head was made with weight_column={column!r}.",
                    )
                )
            return check_weights(self.title, "weights", weights, logits, per_logit)
        if column is None:
            return None
        if callable(column):
            found = column({} if features is None else features)
            return check_weights(self.title, "weight_column(features)", found, logits, per_logit)
        if not isinstance(features, Mapping) or column not in features:
            given = preview(features, 20) if isinstance(features, Mapping) else repr(features)
            raise ValueError(
                unexpected(self.title, "features", f"with the weight_column {column!r}", given)
            )
        found, argument = features[column], f"features[{column!r}]"
        if np.ndim(found) == 1:
            # the originals' rule, which matters for logits of rank 3 and more
            found = found[:, None] if hasattr(found, "ndim") else [[value] for value in found]
        return check_weights(self.title, argument, found, logits, per_logit)

    def custom_losses(self, batch: Batch) -> Tensor:
        """Return what the user's ``loss_fn`` gives, ``[D*, loss_dimension]``."""
        assert_loss_fn = self.loss_fn
        given = {"features": batch.features, "loss_reduction": self.loss_reduction}
        extra = {key: given[key] for key in self._loss_fn_arguments if key in given}
        losses = assert_loss_fn(labels=batch.labels, logits=batch.logits, **extra)  # type: ignore[misc]
        shape = (*batch.logits.shape[:-1], self.loss_dimension)
        if not isinstance(losses, Tensor) or losses.shape != shape:
            got = list(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise ValueError(
                unexpected(self.title, "loss_fn", f"to return a tensor of shape {list(shape)}", got)
            )
        if batch.mask is not None:
            losses = torch.where(batch.mask, losses, torch.zeros_like(losses))
        return losses

    def combine(self, losses: Sequence[Tensor]) -> Tensor:
        """Return this head's loss."""
        return losses[0].squeeze(0)

    def bound_readings(self, tallies: Sequence[str]) -> dict[str, Bound]:
        """Return the metrics by key, bound to this head's tally."""
        return self.bind(tallies[0], slice(0, self.labels_dimension))

    def bind(self, tally: str, columns: slice) -> dict[str, Bound]:
        """Return the metrics by key, bound to some columns of a tally."""
        bins = self.bins or ScoreBins()
        return {
            self._suffixed(key): Bound(reading, tally, columns, bins)
            for key, reading in self.readings()
        }

    def predictions(self, logits: Any, keys: Sequence[str] | None = None) -> dict[str, Any]:
        """Return predictions by key.

        Args:
            logits: ``[D0, ..., DN, logits_dimension]``.
            keys: which ones; by default all tensors, and with a ``label_vocabulary`` also the
                class names, which are NumPy arrays of strings.

        Raises:
            ValueError: if a key is not one of the head's.
        """
        logits = self.check_logits(logits)
        tensors: dict[str, Any] = self.tensor_predictions(logits)
        known = [*tensors, *self.string_keys]
        named = self.string_keys if self.label_vocabulary else ()
        wanted = list(keys) if keys else [*tensors, *named]
        for key in wanted:
            if key not in known:
                raise ValueError(
                    unexpected(self.title, "prediction keys", f"among {preview(known)}", repr(key))
                )
        if any(key in self.string_keys for key in wanted):
            tensors |= self.string_predictions(logits)
        return {key: tensors[key] for key in wanted}

    def all_prediction_keys(self) -> list[str]:
        """Return every key that `predictions` takes."""
        return [*self.tensor_predictions(torch.zeros(1, self.logits_dimension)), *self.string_keys]

    def check_logits(self, logits: Any) -> Tensor:
        """Return logits in at least float32, refusing those of another shape or type."""
        return check_logits(self.title, logits, self.logits_dimension)

    def check_vocabulary_size(self) -> None:
        """Refuse a vocabulary that does not name every class."""
        vocabulary, classes = self.label_vocabulary, self.logits_dimension
        if vocabulary is not None and len(vocabulary) != classes:
            raise ValueError(
                unexpected(
                    self.title,
                    "label_vocabulary",
                    f"of n_classes={classes} names",
                    f"{len(vocabulary)}: {preview(vocabulary)}",
                )
            )

    def class_names(self, n_classes: int) -> list[str]:
        """Return the names of the classes: the vocabulary, or the ids as strings."""
        return list(self.label_vocabulary or map(str, range(n_classes)))


def check_count(who: str, argument: str, value: Any, least: int) -> int:
    """Return a whole number that is large enough.

    Raises:
        TypeError: if it is not an int.
        ValueError: if it is too small.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(unexpected(who, argument, "as an int", repr(value)))
    if value < least:
        raise ValueError(unexpected(who, argument, f">= {least}", value))
    return value


def check_thresholds(who: str, thresholds: Iterable[float] | None) -> tuple[float, ...]:
    """Return thresholds in (0, 1), no two of which would share a metric key.

    Raises:
        TypeError: if they are not a sequence of numbers.
        ValueError: if one is out of range or given twice.
    """
    if thresholds is None:
        return ()
    if isinstance(thresholds, (str, bytes)) or not isinstance(thresholds, Iterable):
        raise TypeError(unexpected(who, "thresholds", "as a list of floats", repr(thresholds)))
    values = tuple(float(value) for value in thresholds)
    keys = [f"{value:g}" for value in values]
    for value, key in zip(values, keys, strict=True):
        if not 0.0 < value < 1.0:
            raise ValueError(unexpected(who, "thresholds", "in (0, 1)", value))
        if keys.count(key) > 1:
            raise ValueError(unexpected(who, "thresholds", "to differ in 6 digits", list(values)))
    return values


def _vocabulary(who: str, vocabulary: Any) -> tuple[str, ...] | None:
    if vocabulary is None:
        return None
    if not isinstance(vocabulary, (list, tuple)):
        given = type(vocabulary).__name__
        raise ValueError(unexpected(who, "label_vocabulary", "as a list or tuple", given))
    for name in vocabulary:
        if not isinstance(name, str):
            raise ValueError(unexpected(who, "label_vocabulary", "of strings", repr(name)))
    if len(set(vocabulary)) < len(vocabulary):
        twice = next(name for name in vocabulary if vocabulary.count(name) > 1)
        raise ValueError(unexpected(who, "label_vocabulary", "without duplicates", repr(twice)))
    return tuple(vocabulary)


def _arguments(who: str, loss_fn: Any) -> tuple[str, ...]:
    if not callable(loss_fn):
        raise TypeError(unexpected(who, "loss_fn", "to be callable", type(loss_fn).__name__))
    bound = loss_fn.keywords if isinstance(loss_fn, functools.partial) else {}
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = tuple(
        parameter.name
        for parameter in inspect.signature(loss_fn).parameters.values()
        if parameter.kind in kinds and parameter.name not in bound
    )
    missing = [name for name in LOSS_FN_ARGUMENTS[:2] if name not in names]
    unknown = [name for name in names if name not in LOSS_FN_ARGUMENTS]
    if missing or unknown:
        allowed = f"with arguments labels, logits, and of {preview(LOSS_FN_ARGUMENTS[2:])}"
        raise ValueError(unexpected(who, "loss_fn", allowed, preview(names)))
    return names
