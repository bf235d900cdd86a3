"""The computation of a head of a single target, and of a head at every step of sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torch_heads.computation.computation import Computation
from torch_heads.computation.group import Group
from torch_heads.computation.inputs import EncodedBatch, Inputs, StackedLabels
from torch_heads.computation.predictor import Predicted, Stacked
from torch_heads.computation.target import Target
from torch_heads.functional.values import check_logits


class SingleComputation(Computation):
    """The computation of a head of a single target: a group of one."""

    def __init__(self, target: Target) -> None:
        super().__init__(target.title, [target], [()], [Group([target])])

    @property
    def fusable_target(self) -> Target | None:
        """The target."""
        return self.targets[0]

    def encode(self, inputs: Inputs) -> list[EncodedBatch]:
        """Return the one batch."""
        labels, weights = inputs.labels, inputs.weights
        own = Inputs(
            labels.columns if isinstance(labels, StackedLabels) else [labels],
            [inputs.logits],
            inputs.features,
            None if weights is None else [weights],
            inputs.mask,
        )
        return [self.groups[0].encode(own)]

    def predict(self, logits: Any, keys: Sequence[Iterable[str]]) -> list[Predicted]:
        """Return the predictions of the one target."""
        checked = check_logits(self.title, logits, self.logits_dimension)
        return self.groups[0].predictor.predict(checked, lambda: [checked], keys)

    def stack(self, logits: Tensor) -> Iterator[Stacked]:
        """Yield the predictions of the one target."""
        checked = check_logits(self.title, logits, self.logits_dimension)
        return self.groups[0].predictor.stack(checked)


class SequenceComputation(Computation):
    """The computation of another head at every step of padded sequences.

    Args:
        title: the wrapper's title.
        inner: the computation of the wrapped head.
        mask: returns the inputs of the wrapped head from those of the wrapper.
        steps: returns the logits ``[B, T, ...]``, checked.
    """

    def __init__(
        self,
        title: str,
        inner: Computation,
        mask: Callable[[Inputs], Inputs],
        steps: Callable[[Any], Any],
    ) -> None:
        super().__init__(title, inner.targets, inner.paths, inner.groups)
        self._inner, self._mask, self._steps = inner, mask, steps

    def encode(self, inputs: Inputs) -> list[EncodedBatch]:
        """Return the batches of the wrapped head."""
        return self._inner.encode(self._mask(inputs))

    def prepare(self, device: torch.device) -> None:
        """Make all constants of the wrapped head on a device."""
        self._inner.prepare(device)

    @property
    def metric_name(self) -> str | None:
        """The wrapped head's."""
        return self._inner.metric_name

    @property
    def regularized_after(self) -> str | None:
        """The wrapped head's."""
        return self._inner.regularized_after

    def predict(self, logits: Any, keys: Sequence[Iterable[str]]) -> list[Predicted]:
        """Return the predictions of every step, padded ones included."""
        return self._inner.predict(self._steps(logits), keys)

    def stack(self, logits: Tensor) -> Iterator[Stacked]:
        """Yield the predictions of every step, padded ones included."""
        return self._inner.stack(self._steps(logits))

    def total_loss(self, losses: Tensor) -> Tensor:
        """Return the wrapped head's loss."""
        return self._inner.total_loss(losses)

    @property
    def sums_alike(self) -> bool:
        """Whether the wrapped head's loss is the sum of those of all targets."""
        return self._inner.sums_alike

    @property
    def means_over_heads(self) -> Mapping[str, Sequence[str]]:
        """The wrapped head's."""
        return self._inner.means_over_heads

    @property
    def heads(self) -> Mapping[str, Computation]:
        """Those in the wrapped head."""
        return self._inner.heads

    def batch_mean_keys(self) -> list[tuple[str, bool]]:
        """Return the wrapped head's keys."""
        return self._inner.batch_mean_keys()

    def batch_means(
        self, losses: Tensor, has_labels: Tensor | None
    ) -> list[tuple[Tensor, Tensor | None]]:
        """Return the wrapped head's means."""
        return self._inner.batch_means(losses, has_labels)
