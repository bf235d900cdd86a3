"""How a head computes: which groups its targets stand in, and how a batch reaches them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, repeat
from operator import itemgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_heads.computation.group import Group
from torch_heads.computation.inputs import EncodedBatch, Inputs
from torch_heads.computation.prediction_keys import PredictionKeys, flat_key, nested_key
from torch_heads.computation.predictor import Predicted, Stacked
from torch_heads.computation.target import Target
from torch_heads.functional.constants import Constants, move_constants
from torch_heads.functional.errors import unexpected
from torch_heads.functional.tensors import to_tensor
from torch_heads.metrics.collection import BATCHES, REGULARIZATION, ReadingCollection
from torch_heads.metrics.counters.counter import TallyInput
from torch_heads.metrics.tally import Accumulator, Tally, add_batch
from torch_heads.metrics.torchmetric import Torchmetric
from torch_heads.metrics.update_signature import UpdateCall


class Measurement(NamedTuple):
    """What was measured of a batch, in the order of the targets.

    Attributes:
        losses: each target's reduced loss, ``[T]``; that of one may have no axis.
        tally_inputs: what the tally of each group takes; None where it was not asked for.
        has_labels: which targets have any label, ``[T]``; None for all.
        divisors: what the losses were divided by, ``[T]``; None where not asked for.
        calls: the updates of the metrics of torchmetrics' own of all targets; None for none.
    """

    losses: Tensor
    tally_inputs: Sequence[TallyInput | None] = ()
    has_labels: Tensor | None = None
    divisors: Tensor | None = None
    calls: Sequence[UpdateCall | None] = ()


class Computation(ABC):
    """The computation of a head: its targets, in groups that are computed as one.

    Attributes:
        title: the head's class and name, as errors say it.
        targets: all targets, in the order of the heads.
        paths: the names that lead to each target, from the head's children on.
        groups: the groups that the targets stand in.
    """

    def __init__(
        self,
        title: str,
        targets: Sequence[Target],
        paths: Sequence[tuple[str, ...]],
        groups: Sequence[Group],
    ) -> None:
        self.title = title
        self.targets = tuple(targets)
        self.paths = tuple(paths)
        self.groups = tuple(groups)
        #: The keys of the predictions that are tensors, with slashes.
        self.flat_keys = PredictionKeys(title, paths, [[*t.predicted] for t in targets], flat_key)
        every = [[*target.predicted, *target.string_keys] for target in targets]
        #: The keys of all predictions, as tuples.
        self.nested_keys = PredictionKeys(title, paths, every, nested_key)
        usual = [
            own if target.label_vocabulary else [*target.predicted]
            for target, own in zip(targets, every, strict=True)
        ]
        #: Those that nobody needs to ask for: without strings where classes have no names.
        self.usual_keys = PredictionKeys(title, paths, usual, nested_key)
        places = {id(target): i for i, target in enumerate(self.targets)}
        #: Where each target of the groups, one after the other, stands among the targets.
        self.places = [places[id(target)] for group in self.groups for target in group.targets]
        self._sizes = [len(group.targets) for group in self.groups]
        place = torch.tensor(self.places, device="cpu")
        self._in_order = self.places == sorted(self.places)
        self._orders = Constants(place=place, order=place.argsort())

    @property
    def logits_dimension(self) -> int:
        """How many logits all targets have."""
        return sum(target.logits for target in self.targets)

    @property
    def may_miss(self) -> bool:
        """Whether a batch may lack labels altogether."""
        return all(target.may_miss for target in self.targets)

    @property
    def counted(self) -> list[str]:
        """What the metrics count of each target, in words that are the same in all processes."""
        return [
            f"{'/'.join(path) or target.title} ({type(target.family).__name__}, {target.columns} x "
            f"{target.family.logits_per_label} logits; "
            + ", ".join([*target.readings, *map(_in_words, target.torchmetrics.items())])
            + ")"
            for target, path in zip(self.targets, self.paths, strict=True)
        ]

    @property
    def metric_name(self) -> str | None:
        """The name of the head in the keys of its metrics."""
        return self.targets[0].name

    @property
    def regularized_after(self) -> str | None:
        """The metric key after which the regularization loss stands; None for the beginning."""
        return self.targets[0].regularized_after

    @property
    def fusable_target(self) -> Target | None:
        """The target of a single head, which others can be computed with; else None."""
        return None

    @abstractmethod
    def encode(self, inputs: Inputs) -> list[EncodedBatch]:
        """Return one checked batch per group.

        Raises:
            ValueError: if the batch is not what the head takes.
        """

    @abstractmethod
    def predict(self, logits: Any, keys: Sequence[Iterable[str]]) -> list[Predicted]:
        """Return the predictions of each target, in the order of ``keys`` of each target."""

    @abstractmethod
    def stack(self, logits: Tensor) -> Iterator[Stacked]:
        """Yield the predictions of all targets, those that are computed as one side by side."""

    def prepare(self, device: torch.device) -> None:
        """Make all constants on a device."""
        move_constants([self.groups, self._orders], device)

    def renew_priors(self, now: bool = True) -> None:
        """Look again which priors the targets have: now, or at the next batch."""
        for group in self.groups:
            group.prior.renew(now)

    def total_loss(self, losses: Tensor) -> Tensor:
        """Return the scalar loss from those of all targets, ``[T]``."""
        return losses.reshape(()) if losses.dim() else losses

    @property
    def sums_alike(self) -> bool:
        """Whether the `total_loss` is the sum of the losses of all targets, whatever they are."""
        return True

    def loss(self, inputs: Inputs) -> Tensor:
        """Return the scalar loss of a batch.

        Raises:
            ValueError: if the batch is not what the head takes.
        """
        if not self.sums_alike:
            return self.total_loss(self.measure(inputs).losses)
        batches = zip(self.groups, self.encode(inputs), strict=True)
        each = [group.total_loss(batch) for group, batch in batches]
        return each[0] if len(each) == 1 else torch.stack(each).sum()

    @property
    def means_over_heads(self) -> Mapping[str, Sequence[str]]:
        """The keys of the metrics that are means over heads, each with those that it is over."""
        return {}

    @property
    def heads(self) -> Mapping[str, Computation]:
        """The heads inside by name, at any depth; the outer one where two have one name."""
        return {}

    def batch_mean_keys(self) -> list[tuple[str, bool]]:
        """Return the keys of what is averaged over batches, and whether some may not count."""
        return []

    def batch_means(
        self, losses: Tensor, has_labels: Tensor | None
    ) -> list[tuple[Tensor, Tensor | None]]:
        """Return what `batch_mean_keys` names, ``[K]``, and which count; in one or more parts."""
        return []

    def measure(
        self,
        inputs: Inputs,
        *,
        observe: bool = False,
        divisors: Tensor | None = None,
        divide: bool = False,
    ) -> Measurement:
        """Encode a batch, and return the loss of each target and what was asked for.

        Args:
            inputs: the batch.
            observe: whether to return what the tallies take.
            divisors: what to divide by instead of what `divisors` returns, ``[T]``.
            divide: whether to return the divisors of this batch.

        Raises:
            ValueError: if the batch, or the shape of the divisors, is not what the head takes.
        """
        batches = self.encode(inputs)
        given: Iterable[Tensor | None] = (
            repeat(None) if divisors is None else self._by_group(divisors, batches[0].labels.device)
        )
        outputs = [
            group.measure(batch, observe, own, divide)
            for group, batch, own in zip(self.groups, batches, given, strict=False)
        ]
        if not (observe or divide):
            return Measurement(self._join([one.losses for one in outputs]))
        has_labels = None
        if any(one.has_labels is not None for one in outputs):
            has_labels = self._join(
                [
                    torch.ones_like(one.losses, dtype=torch.bool)
                    if one.has_labels is None
                    else one.has_labels
                    for one in outputs
                ]
            )
        return Measurement(
            self._join([one.losses for one in outputs]).reshape(-1),
            [one.tally_input for one in outputs],
            has_labels,
            self._join([one.divisors for one in outputs if one.divisors is not None])
            if divide
            else None,
            self._in_order_of_targets([one.calls for one in outputs]),
        )

    def record(
        self,
        metrics: ReadingCollection,
        measured: Measurement,
        regularization: Tensor | float | None = None,
        others: Sequence[tuple[Tally, Any]] = (),
    ) -> None:
        """Add a batch that was measured with ``observe`` to a collection of the head.

        All of it or, whatever raises, nothing, to ``others`` too: tallies with what they take.
        """
        tallies, device = metrics.tallies, measured.losses.device
        fed = zip(metrics.fed.values(), measured.calls, strict=True)
        batch: list[tuple[Accumulator, Any]] = [
            *((metric, call) for metric, call in fed if call is not None),
            *zip(tallies.values(), measured.tally_inputs, strict=False),
            *others,
        ]
        means = self.batch_means(measured.losses, measured.has_labels)
        if means:
            counted = None
            if any(counts is not None for _, counts in means):
                each = [torch.ones_like(own) if counts is None else counts for own, counts in means]
                counted = torch.cat(each)
            values = means[0][0] if len(means) == 1 else torch.cat([own for own, _ in means])
            batch.append((tallies[BATCHES], (values, counted)))
        if regularization is not None:
            # a sum, since to copy a Python number to a device would wait for it
            total = torch.zeros(1, dtype=torch.float64, device=device) + regularization
            batch.append((tallies[REGULARIZATION], (total, None)))
        add_batch(batch, device, metrics.lock)

    def divisors(self, inputs: Inputs) -> Tensor:
        """Return what each target's loss is divided by, ``[T]``; 1 where losses are summed."""
        batches = zip(self.groups, self.encode(inputs), strict=True)
        return self._join([group.divisors(batch) for group, batch in batches])

    def _by_group(self, given: Any, device: torch.device) -> Sequence[Tensor]:
        """Return divisors ``[T]`` split by group."""
        values = to_tensor(self.title, "divisors", given, device)
        if values.shape != (len(self.targets),):
            expected = f"of shape {[len(self.targets)]}"
            raise ValueError(unexpected(self.title, "divisors", expected, list(values.shape)))
        if not self._in_order:
            values = values.index_select(0, self._orders.on(values.device)["place"])
        return torch.split(values, self._sizes)

    def _in_order_of_targets(
        self, calls: Sequence[Sequence[tuple[int, UpdateCall | None]]]
    ) -> list[UpdateCall | None]:
        """Return what stands in the order of the groups in that of the targets."""
        firsts = accumulate(self._sizes, initial=0)
        placed = [
            (self.places[first + i], call)
            for first, own in zip(firsts, calls, strict=False)
            for i, call in own
        ]
        return [call for _, call in sorted(placed, key=itemgetter(0))]

    def _join(self, values: Sequence[Tensor]) -> Tensor:
        """Return values ``[H]`` of each group as ``[T]``."""
        joined = values[0]
        if len(values) > 1:
            joined = torch.cat([value if value.dim() else value.reshape(1) for value in values])
        if self._in_order:
            return joined
        return joined.index_select(0, self._orders.on(joined.device)["order"])


def _in_words(metric: tuple[str, Torchmetric]) -> str:
    """Return a metric of torchmetrics' own in words."""
    key, declared = metric
    return f"{key} ({type(declared.metric).__name__} of {declared.preds})"
