"""The head of a single target: one tensor of logits, one of labels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from math import nan
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.families import Balance, Categorical, Family
from torch_heads.functional.labels import MISSING_NAME, check_values
from torch_heads.functional.missing import Missing
from torch_heads.functional.reductions import Reduction
from torch_heads.functional.scores import ScoreBins
from torch_heads.functional.tensors import (
    blank,
    check_logits,
)
from torch_heads.functional.weights import WeightColumn, find_weights
from torch_heads.heads.arguments import (
    MissingLabel,
    check_missing_label,
    check_vocabulary,
    check_weight_column,
)
from torch_heads.heads.base import Head
from torch_heads.heads.batch import Batch, counting
from torch_heads.heads.block import Block
from torch_heads.heads.custom import LossFn, check_loss_fn
from torch_heads.heads.evaluated import ABSENT, Features, Labels, Stacked
from torch_heads.metrics.bound import Bound
from torch_heads.metrics.readings import Coverage, Reading


class TensorHead(Head):
    """What the heads of one target share.

    A subclass declares its ``family``, its columns, the form of its labels, its predictions and
    its readings; the loss, metrics and checks are derived.
    """

    family: Family
    bins: ScoreBins | None = None
    # no defaults in the class: they would hide a module that is given for one of them
    loss_fn: LossFn | None
    inverse_link_fn: Callable[[Tensor], Tensor] | None
    label_vocabulary: tuple[str, ...] | None = None
    label_smoothing: float = 0.0
    tensor_keys: tuple[str, ...]
    string_keys: tuple[str, ...] = ()

    def configure(
        self,
        weight_column: WeightColumn,
        loss_reduction: str,
        loss_fn: LossFn | None = None,
        label_vocabulary: Sequence[str] | None = None,
        missing_label: MissingLabel = None,
    ) -> None:
        """Check and keep the arguments that all heads share; called once, by the constructor."""
        self.weight_column = check_weight_column(self.title, weight_column)
        self._loss_reduction = Reduction.parse(self.title, loss_reduction)
        self.loss_fn_arguments = check_loss_fn(self.title, loss_fn)
        self.loss_fn = loss_fn
        self.inverse_link_fn = None
        self.label_vocabulary = check_vocabulary(
            self.title, label_vocabulary, self.number_of_classes
        )
        self.missing_label = check_missing_label(
            self.title,
            missing_label,
            self.label_vocabulary,
            self.label_range,
            self.takes_names,
            whole=isinstance(self.family, Categorical),
        )
        #: What stands for a missing label in label columns; None if none may miss.
        self.missing = self._missing()
        self._blocks = (Block([self]),)

    def _missing(self) -> Missing | None:
        if isinstance(self.missing_label, str):
            return Missing(MISSING_NAME if self.takes_names else nan)
        return None if self.missing_label is None else Missing(self.missing_label)

    # What a subclass declares.

    @abstractmethod
    def label_columns(
        self, labels: Labels, leading: torch.Size, device: torch.device, mask: Tensor | None = None
    ) -> Tensor:
        """Return labels as numbers ``[D*, labels_dimension]``, of any dtype, not range-checked.

        Missing labels come out as `missing`.
        """

    @abstractmethod
    def readings(self) -> Iterator[tuple[str, Reading]]:
        """Yield the metrics by key, without the head's name."""

    def string_predictions(self, logits: Tensor) -> dict[str, np.ndarray[Any, Any]]:
        """Return the predictions that are strings, by the `string_keys`."""
        return {}

    @property
    def number_of_classes(self) -> int:
        """How many names a vocabulary has."""
        return self.logits_dimension

    @property
    def loss_dimension(self) -> int:
        """How many elements an example's loss has."""
        return 1

    @property
    def label_range(self) -> tuple[float, float]:
        """The lowest and the highest value that a label may have."""
        return self.family.lowest, self.family.highest

    @property
    def balance(self) -> Balance | None:
        """The corrections of class imbalance, None for none."""
        return None

    # What follows from it.

    @property
    def loss_reduction(self) -> Reduction:
        """How the losses of a batch become one."""
        return self._loss_reduction

    @property
    def fusable(self) -> bool:
        """Whether heads of an equal family can share this head's kernel."""
        return self.loss_fn is None and self.inverse_link_fn is None

    @property
    def may_miss(self) -> bool:
        """Whether labels may be missing."""
        return self.missing_label is not None

    def unstack(self, columns: Tensor, mask: Tensor | None) -> Tensor:
        """Return this head's labels from its columns of a tensor of many heads' labels."""
        return columns

    def absent_columns(self, leading: torch.Size, device: torch.device) -> Tensor:
        """Return label columns without a label, for a batch that has none for this head."""
        value = nan if self.missing is None else self.missing.value
        return torch.full((*leading, self.labels_dimension), value, device=device)

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
        leading, device = logits.shape[:-1], logits.device
        if labels is ABSENT:
            columns = self.absent_columns(leading, device)
            mask = torch.zeros(leading, dtype=torch.bool, device=device)
            weights = None
        else:
            if isinstance(labels, Stacked):
                labels = self.unstack(labels.columns, mask)
            columns = self.label_columns(labels, leading, device, mask)
            weights = self.encode_weights(features, weights, logits)
        there = None if self.missing is None else self.missing.present(columns)
        columns = columns.to(self.family.label_dtype(logits))
        rows = None if mask is None else mask.unsqueeze(-1)
        labelled = rows if there is None else there if rows is None else there & rows
        columns = blank(columns, labelled)
        check_values(self.title, "labels", columns, *self.label_range)
        weights = None if weights is None else blank(weights, labelled)
        # before anything is computed, so that no NaN spreads from what does not count
        keep = counting(weights, labelled)
        columns, logits = blank(columns, keep), blank(logits, keep)
        return (Batch(logits, columns, weights, labelled, rows, features),)

    def encode_weights(
        self, features: Features | None, weights: Any, logits: Tensor
    ) -> Tensor | None:
        """Return the weights given, or those of the ``weight_column``, checked; None for none."""
        per_logit = self.loss_dimension > 1
        return find_weights(self.title, self.weight_column, features, weights, logits, per_logit)

    def combine(self, losses: Sequence[Tensor]) -> Tensor:
        """Return this head's loss."""
        return losses[0]

    def bound_readings(self, tallies: Sequence[str]) -> dict[str, Bound]:
        """Return the metrics by key, bound to this head's tally."""
        return self.bind(tallies[0], slice(0, self.labels_dimension))

    def bind(self, tally: str, columns: slice) -> dict[str, Bound]:
        """Return the metrics by key, bound to some columns of a tally."""
        bins = self.bins or ScoreBins()
        readings = dict(self.readings())
        if self.may_miss:
            readings["label/coverage"] = Coverage()
        return {
            self._suffixed(key): Bound(reading, tally, columns, bins, self.may_miss)
            for key, reading in readings.items()
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
        if isinstance(keys, str):
            raise ValueError(unexpected(self.title, "prediction keys", "as a list", repr(keys)))
        logits = self.check_logits(logits)
        found: dict[str, Any] = self.tensor_predictions(logits)
        known = self.all_prediction_keys()
        wanted = list(keys) if keys else known if self.label_vocabulary else list(found)
        for key in wanted:
            if key not in known:
                raise ValueError(
                    unexpected(self.title, "prediction keys", f"among {preview(known)}", repr(key))
                )
        if any(key in self.string_keys for key in wanted):
            found |= self.string_predictions(logits)
        return {key: found[key] for key in wanted}

    def all_prediction_keys(self) -> list[str]:
        """Return every key that `predictions` takes."""
        return [*self.tensor_keys, *self.string_keys]

    def check_logits(self, logits: Any) -> Tensor:
        """Return logits in at least float32, refusing those of another shape or type."""
        return check_logits(self.title, logits, self.logits_dimension)

    def extra_repr(self) -> str:
        """Return what tells this head from others of its class."""
        name = f"name={self.name!r}, " if self.name else ""
        return f"{name}logits_dimension={self.logits_dimension}"
