"""The computation of several heads: those of one family as one group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from torch_heads.computation.computation import Computation
from torch_heads.computation.inputs import (
    ABSENT,
    ArrangedLogits,
    EncodedBatch,
    Inputs,
    StackedLabels,
)
from torch_heads.computation.label_columns import by_head, float8_widened, refuse_gaps
from torch_heads.computation.layout import Arrangement
from torch_heads.computation.merging import merged
from torch_heads.computation.places import flat, slices
from torch_heads.computation.predictor import Predicted, Stacked
from torch_heads.functional.constants import move_constants
from torch_heads.functional.containers import by_key, has_mask, nearest, opened
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.forms import is_text
from torch_heads.functional.gap_rows import widened
from torch_heads.functional.tables import is_table, table_columns
from torch_heads.functional.tensors import to_tensor
from torch_heads.functional.transposed import refuse_transposed
from torch_heads.functional.values import SWAPPED, check_columns, check_logits, needs_cast

LACKING = "Only a head with a missing_label may lack its labels."

HeadWeights = Callable[[torch.device], Tensor]

Given = Mapping[str, Any] | Tensor  # by name, or of all heads side by side


class MultiComputation(Computation):
    """The computation of several named heads.

    Those of a single target that have a family in common are merged into one group; a head of
    several, or of sequences, contributes its own groups.

    Args:
        title: the title of the head of these heads.
        names: their names.
        children: their computations.
        means: what is a mean over heads: its key, and the one that it is over.
        head_weights: returns the present factors of their losses on a device, ``[H]``; None for 1.
    """

    def __init__(
        self,
        title: str,
        names: Sequence[str],
        children: Sequence[Computation],
        means: Mapping[str, str],
        head_weights: HeadWeights | None,
    ) -> None:
        self.names = list(names)
        self._children = tuple(children)
        self.head_weights = head_weights
        self._means = means
        self._own = merged(children)  # with the places of their heads
        self._others = [i for i, child in enumerate(children) if child.fusable_target is None]
        groups = [group for group, _ in self._own]
        groups += [group for i in self._others for group in children[i].groups]
        super().__init__(
            title,
            [target for child in children for target in child.targets],
            [
                (name, *path)
                for name, child in zip(names, children, strict=True)
                for path in child.paths
            ],
            groups,
        )
        widths = [child.logits_dimension for child in children]
        columns = [sum(target.given_columns for target in child.targets) for child in children]
        #: The logits of each head among those of all.
        self.logits = slices(widths)
        self.columns = slices(columns)
        # of each head, where every label has a weight of its own
        self._weighted = slices([sum(t.columns for t in child.targets) for child in children])
        self._widths, self._width = widths, sum(widths)
        self._leaves = [len(child.targets) for child in children]
        self._starts = [run.start for run in slices(self._leaves)]
        self._known = set(self.names)
        self._lacking = {
            name for name, child in zip(names, children, strict=True) if child.may_miss
        }
        self._logit_parts, self._label_parts = self._arrangements()

    def _arrangements(self) -> tuple[Arrangement, Arrangement]:
        """Return how stacked logits, and stacked labels, are split: by bucket, and by group.

        Those of heads that are not merged come last.
        """
        logits: list[list[int]] = []
        labels: list[list[int]] = []
        for group, members in self._own:
            places = flat([self.logits[i] for i in members])
            logits += [[places[i] for i in bucket.places] for bucket in group.layout.buckets]
            labels.append(flat([self.columns[i] for i in members]))
        logits += [flat([self.logits[i]]) for i in self._others]
        labels += [flat([self.columns[i]]) for i in self._others]
        return Arrangement(logits), Arrangement(labels)

    def prepare(self, device: torch.device) -> None:
        """Make all constants on a device, those of heads of several, too."""
        super().prepare(device)
        move_constants([self._logit_parts, self._label_parts], device)
        for i in self._others:
            self._children[i].prepare(device)

    # Encoding.

    def encode(self, inputs: Inputs) -> list[EncodedBatch]:
        """Return one checked batch per group: the merged ones first, then those of the others."""
        labels = (
            inputs.labels.columns if isinstance(inputs.labels, StackedLabels) else inputs.labels
        )
        given_logits = self._check_logits(inputs.logits)
        given = {} if labels is ABSENT else self._check_labels(labels, given_logits, inputs.mask)
        weights = self._check_weights(inputs.weights, given_logits, inputs.mask)
        each = zip(
            self._each_logits(given_logits),
            self._each_labels(given),
            self._each_weights(weights),
            strict=True,
        )
        own = [
            Inputs(labels, logits, inputs.features, weights, inputs.mask)
            for logits, labels, weights in each
        ]
        count = len(self._own)
        batches = [
            group.encode(one) for (group, _), one in zip(self._own, own[:count], strict=True)
        ]
        for i, one in zip(self._others, own[count:], strict=True):
            batches += self._children[i].encode(one)
        return batches

    def _each_logits(self, given: Given) -> list[Any]:
        """Return the logits of each merged group, and then of each other head."""
        if not isinstance(given, Tensor):
            return self._each_by_name(given)
        parts = iter(self._logit_parts.split(given))
        arranged = [
            ArrangedLogits(list(islice(parts, len(group.layout.buckets)))) for group, _ in self._own
        ]
        return [*arranged, *parts]

    def _each_labels(self, given: Given) -> list[Any]:
        """Return the labels of each merged group, and then of each other head."""
        if not isinstance(given, Tensor):
            return self._each_by_name(given, ABSENT)
        parts = self._label_parts.split(given)
        count = len(self._own)
        return [*parts[:count], *map(StackedLabels, parts[count:])]

    def _each_weights(self, given: Mapping[str, Any]) -> list[Any]:
        """Return the weights of each merged group, and then of each other head."""
        if not given:
            return [None] * (len(self._own) + len(self._others))
        return self._each_by_name(given)

    def _each_by_name(self, given: Mapping[str, Any], lacking: Any = None) -> list[Any]:
        """Return what heads are given, those of each merged group together, and each other's."""
        own = [[given.get(self.names[i], lacking) for i in members] for _, members in self._own]
        return [*own, *(given.get(self.names[i], lacking) for i in self._others)]

    def _check_logits(self, logits: Any) -> Given:
        """Return a dict with the logits of every head, or one tensor as wide as all of them."""
        if isinstance(logits, Mapping) and not isinstance(logits, dict):
            logits = by_key(logits)
        if not isinstance(logits, Mapping):
            return check_logits(self.title, logits, self._width)
        self._check_names("logits", logits, [])
        return logits

    def _check_labels(self, labels: Any, logits: Given, mask: Tensor | None) -> Given:
        """Return a dict with the labels of every head that may not miss any, or one tensor."""
        if not isinstance(labels, (dict, Tensor)):
            if isinstance(labels, (list, tuple)):
                refuse_transposed(self.title, labels, self._any_logits(logits).shape[:-1])
            labels = opened(labels)
            if is_table(labels):
                columns = table_columns(self.title, "labels", labels)
                each = [child.fusable_target for child in self._children]
                labels = by_head(self.title, columns, self.names, each)
        if isinstance(labels, Mapping):
            self._check_names("labels", labels, self._lacking)
            return labels
        if labels is None or (not isinstance(labels, Tensor) and is_text(labels)):
            expected = "as a dict by head name, or one numeric tensor"
            given = None if labels is None else "strings"
            raise ValueError(unexpected(self.title, "labels", expected, given))
        first = self._any_logits(logits)
        if not first.is_floating_point():
            raise ValueError(
                unexpected(self.title, "logits", "to be floating", first.dtype, SWAPPED)
            )
        plain = isinstance(labels, Tensor) and labels.layout == torch.strided
        plain = plain and labels.device == first.device and not labels.is_complex()
        plain = plain and not (labels.is_nested or needs_cast(labels))
        width, leading = self.columns[-1].stop, first.shape[:-1]
        if plain and (type(labels) is Tensor or not has_mask(labels)):
            return check_columns(self.title, "labels", labels, leading, width)
        # looked at where they are, since to read what has gone to a device would wait for it
        where = first.device if isinstance(labels, Tensor) else torch.device("cpu")
        stacked = to_tensor(
            self.title, "labels", float8_widened(labels, self.targets), where, may_miss=True
        )
        if not isinstance(labels, Tensor):
            stacked = widened(stacked, leading, width)
        stacked = check_columns(self.title, "labels", stacked, leading, width)
        if mask is None:
            refuse_gaps(stacked, self.targets)
        return stacked.to(first.device)

    def _any_logits(self, logits: Given) -> Tensor:
        """Return the logits of all heads, or of one of them."""
        first: Any = logits
        while isinstance(first, Mapping):  # of one head, or of one inside of it
            first = next(iter(first.values()), None)
        plain = isinstance(first, Tensor) and not first.is_nested
        return first if plain else to_tensor(self.title, "logits", first)

    def _check_weights(self, weights: Any, logits: Given, mask: Tensor | None) -> Mapping[str, Any]:
        """Return a dict of weights for some heads, empty for None."""
        if weights is None:
            return {}
        if not isinstance(weights, (dict, Tensor)):
            first = self._any_logits(logits)
            refuse_transposed(self.title, weights, first.shape[:-1], "weights")
            weights = opened(weights)
            if is_table(weights):
                weights = table_columns(self.title, "weights", weights)
            elif not isinstance(weights, Mapping):
                weights = to_tensor(self.title, "weights", weights, first.device, False, mask)
        if not isinstance(weights, Mapping):
            dense = not weights.is_nested and weights.layout == torch.strided
            per_column = (*self._any_logits(logits).shape[:-1], self._weighted[-1].stop)
            if dense and weights.shape == per_column:
                pairs = zip(self.names, self._weighted, strict=True)
                return {name: weights[..., columns] for name, columns in pairs}
            return dict.fromkeys(self.names, weights)
        unknown = [name for name in weights if name not in self._known]
        if unknown:
            expected = f"by head names {preview(self.names)}"
            hint = nearest(unknown[0], self.names)
            raise ValueError(unexpected(self.title, "weights", expected, preview(unknown), hint))
        return weights

    def _check_names(
        self, argument: str, given: Mapping[str, Any], may_lack: Iterable[str]
    ) -> None:
        lacking = self._known.difference(given)
        if not lacking:
            return
        absent = lacking.difference(may_lack)
        unknown = [name for name in given if name not in self._known]
        meant = [*filter(None, (nearest(name, lacking) for name in unknown))][:1]
        if unknown and not absent:
            expected = f"by head names {preview(self.names)}"
            raise ValueError(unexpected(self.title, argument, expected, preview(unknown), *meant))
        if absent:
            missing = preview(name for name in self.names if name in absent)
            hint = " ".join([*meant, *([LACKING] if argument == "labels" else [])])
            expected = f"for the heads {missing}"
            raise ValueError(unexpected(self.title, argument, expected, preview(given), hint))

    @property
    def metric_name(self) -> str:
        """The heads' names, joined by underscores."""
        return "_".join(self.names)

    @property
    def regularized_after(self) -> None:
        """Nothing: the regularization loss of several heads comes first."""
        return None

    @property
    def means_over_heads(self) -> Mapping[str, Sequence[str]]:
        """Those of this head, and before them those of the heads; of what any head has by now."""
        found: dict[str, Sequence[str]] = {}
        for child in self._children:
            found |= child.means_over_heads
        for name, key in self._means.items():
            named = [f"{key}/{one.name}" for one in self.targets if key in one.readings]
            if named:
                found[name] = named
        return found

    @property
    def heads(self) -> Mapping[str, Computation]:
        """Its heads, and those inside them."""
        inside = {name: head for child in self._children for name, head in child.heads.items()}
        return inside | dict(zip(self.names, self._children, strict=True))

    # Losses.

    def head_losses(self, losses: Tensor) -> Tensor:
        """Return the loss of each head, ``[H]``, from those of all targets, ``[T]``."""
        losses = losses if losses.dim() else losses.reshape(1)
        if not self._others:
            return losses
        parts = torch.split(losses, self._leaves)
        each = zip(self._children, parts, strict=True)
        return torch.stack([child.total_loss(own) for child, own in each])

    def total_loss(self, losses: Tensor) -> Tensor:
        """Return the sum of the heads' losses, times their weights."""
        each = losses if not self._others else self.head_losses(losses)
        weights = self.head_weights and self.head_weights(each.device)
        return each.sum() if weights is None else (each * weights.to(each)).sum()

    @property
    def sums_alike(self) -> bool:
        """Whether no head, of those inside of heads either, has a weight."""
        return self.head_weights is None and all(child.sums_alike for child in self._children)

    def batch_mean_keys(self) -> list[tuple[str, bool]]:
        """Return ``loss/<head>`` of each head, and then the keys of the heads."""
        named = zip(self.names, self._children, strict=True)
        own = [(f"loss/{name}", child.may_miss) for name, child in named]
        return own + [key for child in self._children for key in child.batch_mean_keys()]

    def batch_means(
        self, losses: Tensor, has_labels: Tensor | None
    ) -> list[tuple[Tensor, Tensor | None]]:
        """Return the heads' losses and which count, and then the means of the heads."""
        if not self._others:
            return [(losses, has_labels)]
        parts = torch.split(losses, self._leaves)
        counted: Sequence[Tensor | None] = [None] * len(parts)
        any_label = None
        if has_labels is not None:
            counted = list(torch.split(has_labels, self._leaves))
            any_label = torch.stack([own.any() for own in counted if own is not None])
        means = [(self.head_losses(losses), any_label)]
        for child, own, counts in zip(self._children, parts, counted, strict=True):
            means += child.batch_means(own, counts)
        return means

    # Predictions.

    def split_logits(self, logits: Any) -> dict[str, Any]:
        """Return each head's logits by name: a dict's own, or the split of one tensor."""
        checked = self._check_logits(logits)
        if isinstance(checked, Mapping):
            return {name: checked[name] for name in self.names}
        return dict(zip(self.names, torch.split(checked, self._widths, dim=-1), strict=True))

    def predict(self, logits: Any, keys: Sequence[Iterable[str]]) -> list[Predicted]:
        """Return the predictions of each target, in order; of one family they are computed once."""
        given = self._check_logits(logits)
        found: list[Predicted] = [()] * len(self.targets)
        each = self._each_logits(given)
        own: list[Tensor] = []

        def logits_of(members: Sequence[int]) -> list[Tensor]:
            own[:] = own or self.split_logits(given).values()
            return [own[i] for i in members]

        for (group, members), parts in zip(self._own, each, strict=False):
            places = [self._starts[i] for i in members]
            wanted = [keys[place] for place in places]
            if isinstance(parts, ArrangedLogits):
                mine = partial(logits_of, members)
                predicted = group.predictor.predict(parts.parts, mine, wanted)
            else:
                predicted = [
                    self._children[i].predict(one, [asked])[0]
                    for i, one, asked in zip(members, parts, wanted, strict=True)
                ]
            for place, values in zip(places, predicted, strict=True):
                found[place] = values
        for i, one in zip(self._others, each[len(self._own) :], strict=True):
            run = slice(self._starts[i], self._starts[i] + self._leaves[i])
            found[run] = self._children[i].predict(one, keys[run])
        return found

    def stack(self, logits: Tensor) -> Iterator[Stacked]:
        """Yield the predictions of each family's targets, side by side."""
        each = self._each_logits(check_logits(self.title, logits, self._width))
        for (group, members), arranged in zip(self._own, each, strict=False):
            for one in group.predictor.stack(arranged.parts):
                places = [self._starts[members[part.target]] for part in one.parts]
                yield _moved(one, places)
        for i, own in zip(self._others, each[len(self._own) :], strict=True):
            for one in self._children[i].stack(own):
                yield _moved(one, [self._starts[i] + part.target for part in one.parts])


def _moved(stacked: Stacked, places: Sequence[int]) -> Stacked:
    """Return it with other places of its targets."""
    parts = zip(stacked.parts, places, strict=True)
    return stacked._replace(parts=[part._replace(target=place) for part, place in parts])
