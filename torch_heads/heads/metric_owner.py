"""The metrics of a head: the collection that it wraps, and one update of all of it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torchmetrics import Metric, MetricCollection

from torch_heads.computation.collected import make_collection
from torch_heads.computation.inputs import Features, Inputs
from torch_heads.computation.meaning import Meaning
from torch_heads.functional.errors import class_of, preview, unexpected
from torch_heads.functional.scalars import sum_scalars
from torch_heads.heads.computing_module import ComputingModule
from torch_heads.metrics.asked import is_asked
from torch_heads.metrics.carry import carry
from torch_heads.metrics.collection import GIVE_HEAD, REGULARIZATION, Layout, ReadingCollection
from torch_heads.metrics.saved import MEANING
from torch_heads.metrics.tally import Lock

Labels = Any  # a tensor, a NumPy array, nested lists, or a dict of these by head name


class MetricOwner(ComputingModule):
    """A module that computes, and the tallies of what it measured."""

    _whole: ReadingCollection | None = None  # that of the head of which this one is, or was, a part

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._layout: Layout | None = None
        self._warned: set[str] = set()  # heads of whose areas a warning was given, by name
        self._lock = Lock()
        self._taken_by: list[weakref.ref[MetricOwner]] = []  # the heads of which it is a part

    @property
    def _parts(self) -> Sequence[MetricOwner]:
        """The heads that this one is made of."""
        return ()

    def _complete(self) -> None:
        """Make what needs the computation; called once, when there is one."""
        self._adopt()

    @property
    def _parent(self) -> MetricOwner | None:
        """The head of which this one is a part: of several, the last one that took it."""
        return next(reversed(self._parents()), None) if self._taken_by else None

    def _parents(self) -> list[MetricOwner]:
        return [one for taken in self._taken_by if (one := taken()) is not None]

    @property
    def _is_part(self) -> bool:
        """Whether this head is a part of another one."""
        return self._parent is not None

    @property
    def _own_layout(self) -> Layout:
        """The layout of this head's collections, that of the first one made."""
        return self._make_metrics().layout if self._layout is None else self._layout

    def metrics(self, regularization_losses: Sequence[Any] | None = None) -> ReadingCollection:
        """Return a new metric collection, empty; with the regularization's where that is given.

        Raises:
            TypeError: if these are not a list.
            ValueError: if an entry is not a scalar.
        """
        try:
            sum_scalars(self.title, regularization_losses)
        except (TypeError, ValueError) as error:
            if not is_asked(regularization_losses):
                raise
            raise type(error)(f"{error} {GIVE_HEAD}") from None
        collection = self._make_metrics(regularization_losses is not None)
        for tally in collection.tallies.values():
            tally.allocate()  # so that an update that is compiled finds them as it leaves them
        return collection

    def _make_metrics(self, regularized: bool = False) -> ReadingCollection:
        """Return a new collection, which takes no memory before its first update."""
        made = make_collection(self.computation, self._warned, regularized, self._layout)
        self._layout = made.layout
        return made

    @property
    def metric_collection(self) -> ReadingCollection:
        """The collection that this head wraps; assign another of its own to replace it.

        That of a head inside of another is its part of the other's, from then on, and its own once
        there is no other. A copy of such a head alone has counted nothing.

        Raises:
            ValueError: if the head is inside of two others.
        """
        if len(self._taken_by) > 1:
            self._refuse_several()
        parent = self._parent
        if parent is not None:
            return parent.metric_collection.part(self._own_layout[0])
        if "metric_collection" not in self._modules or self._layout is None:
            with self._lock:
                kept: Any = self._modules.get("metric_collection")
                if kept is None or self._layout is None:
                    made = self._make_metrics() if self._whole is None else self._counted_before()
                    if kept is not None:
                        made.take(kept)
                    self._modules["metric_collection"] = made
                    self._show_parts(made)
        return self._modules["metric_collection"]  # type: ignore[return-value]

    def _renew_metrics(self) -> None:
        """Let this head, and those that it is a part of, look again which readings there are."""
        self._layout = None
        for parent in self._parents():
            parent._renew_metrics()

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
            logits: as for `loss`; here they come before the labels, as in tf.estimator.
            labels: as for `loss`.
            regularization_losses: as for `loss`; `metrics` must have been given some, too.
            weights: as for `loss`.

        Raises:
            ValueError: if the batch is not what the head takes, or the collection not its own.
            TypeError: if ``eval_metrics`` was not made by a head; and as `loss` does.
            KeyError: if the collection does not keep regularization losses.
        """
        metrics = self.metric_collection if eval_metrics is None else eval_metrics
        self._check_metrics(metrics)
        added = None
        if regularization_losses is not None:
            if REGULARIZATION not in metrics.tallies:
                hint = "Make them by head.metrics(regularization_losses=[...])."
                expected, given = "that keep regularization_losses", "none of them"
                raise KeyError(unexpected(self.title, "eval_metrics", expected, given, hint))
            added = sum_scalars(self.title, regularization_losses)
        with torch.no_grad():
            inputs = Inputs(labels, logits, features, weights)
            measured = self.computation.measure(inputs, observe=True)
            if measured.losses.is_meta and not all(
                one.sums.is_meta for one in metrics.tallies.values()
            ):
                expected = "on a device with values, where there is something to count"
                raise ValueError(unexpected(self.title, "logits", expected, "meta"))
            self.computation.record(metrics, measured, added)
        return metrics

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """Yield the collection too, made if need be; it takes no memory before its first update.

        Lightning looks for metrics once, maybe before that.
        """
        if not self._is_part:
            self.metric_collection  # noqa: B018
        yield from super().named_modules(memo, prefix, remove_duplicate)

    def _check_metrics(self, metrics: Any) -> None:
        if not isinstance(metrics, ReadingCollection):
            expected, given = "made by its metrics()", class_of(metrics)
            hint = GIVE_HEAD if isinstance(metrics, (Metric, MetricCollection)) else ""
            raise TypeError(unexpected(self.title, "eval_metrics", expected, given, hint))
        own = self._own_layout
        if metrics.is_part:
            given = f"the part {preview(metrics.layout[0], 4)} of a collection"
            hint = "Update the whole, by the head that made it."
            raise ValueError(unexpected(self.title, "eval_metrics", "as a whole", given, hint))
        if metrics.layout is not own and metrics.layout != own:
            self._refuse_others(metrics)

    def _refuse_others(self, metrics: ReadingCollection) -> None:
        """Refuse metrics of other keys, states or meaning; those may say less of the same heads."""
        argument = "eval_metrics"
        (keys, states, _), (others, held, _) = self._own_layout, metrics.layout
        words = None
        if keys == others:
            theirs = Meaning.read(self.title, metrics.meaning.to_tensor())
            own = Meaning.of(self.computation)
            words = own.difference(theirs, counts=True, hint="", argument=argument)
        if words is None and (keys, states) != (others, held):
            expected = f"made by its metrics(), with {preview(keys, 4)}"
            words = unexpected(self.title, argument, expected, preview(others, 4))
        if words is not None:
            raise ValueError(words)

    def _adopt(self, again: bool = False) -> None:
        """Make the collections of the parts parts of this one's.

        Args:
            again: whether this head is a copy, which may share its parts with what it is a copy of;
                then they stay where they are.
        """
        for part in self._parts:
            if again and part._is_part:
                continue
            part._modules.pop("metric_collection", None)
            part._buffers.pop(MEANING, None)
            vars(part)["_whole"] = None
            part._taken_by = [*map(weakref.ref, part._parents()), weakref.ref(self)]

    def _refuse_several(self) -> None:
        """Refuse to say which part of a collection is this head's, where there are two."""
        if len(self._parents()) > 1:
            gc.collect()  # of a head that nobody has any more, but that is part of a circle
        titles = [one.title for one in self._parents()]
        if len(titles) > 1:
            given = f"a part of {titles[0]} and of {titles[1]}"
            hint = "Each of them has its counts in its own metric_collection."
            expected = "of a part of one head"
            raise ValueError(unexpected(self.title, "metric_collection", expected, given, hint))

    def _show_parts(self, whole: ReadingCollection) -> None:
        """Let the parts keep what this head counts, in case that they outlive it."""
        for part in self._parts:
            vars(part)["_whole"] = whole  # which is no module of theirs
            part._show_parts(whole)

    def _counted_before(self) -> ReadingCollection:
        """Return a new collection with what was counted in the head that this one was a part of."""
        made, whole = self.metrics(), vars(self).pop("_whole")
        carry(made, whole, {})
        for key, metric in made.fed.items():
            metric.merge_state(whole.fed[key])
        return made

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse a collection that is not of this head."""
        if name == "metric_collection":
            self._check_metrics(value)
            if self._is_part:
                expected = "on the head of which this one is a part"
                raise ValueError(unexpected(self.title, name, expected, "an assignment here"))
        super().__setattr__(name, value)
        if name == "metric_collection":
            self._show_parts(value)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the head of which this one is a part, which finds it again."""
        return {**super().__getstate__(), "_taken_by": [], "_whole": None}
