"""The abstract head: what every head does, derived from its computation."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from torch_heads.computation.inputs import Features, Inputs
from torch_heads.computation.prior_fit import PriorFit
from torch_heads.functional.containers import by_key
from torch_heads.functional.divisors import never_zero, part_of
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.forms import device_of
from torch_heads.functional.reductions import Reduction
from torch_heads.functional.scalars import sum_scalars
from torch_heads.heads.metric_owner import Labels
from torch_heads.heads.spec import EstimatorWords


def renew_priors(head: Head, _: Any) -> None:
    """Let a head look again which priors there are, now that it and its parts are loaded."""
    head._renew_priors()


class Head(EstimatorWords):
    """The top of a model for one target, or for several.

    A head knows how logits become predictions, what the loss is, which metrics to keep, and what
    a server should answer. See `BinaryClassHead` and its siblings for single targets, `TensorHead`
    for one of your own, `MultiHead` for several.
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self.register_load_state_dict_post_hook(renew_priors)  # type: ignore[no-untyped-call]

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse another value of what the computation was made from, which would be ignored."""
        self._refuse_change(name, "an assignment")
        try:
            super().__setattr__(name, value)
        except AttributeError as error:
            if not isinstance(getattr(type(self), name, None), property):
                raise
            expected, given = "as it was given to super().__init__(...)", "an assignment"
            raise TypeError(unexpected(type(self).__name__, name, expected, given)) from error

    def __delattr__(self, name: str) -> None:
        """Refuse to lose what the computation was made from."""
        self._refuse_change(name, "a deletion")
        super().__delattr__(name)

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Refuse another module in place of one that the computation was made from."""
        self._refuse_change(name, "another module")
        super().add_module(name, module)

    def _refuse_change(self, name: str, given: str) -> None:
        if "computation" in self.__dict__ and name in made_from(type(self)):
            expected = "as it was when the head was made"
            raise TypeError(unexpected(self.title, name, expected, given, "Make another head."))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        if "computation" in self.__dict__ and not self._is_part:
            self.computation.prepare(fn(torch.empty(0, device="cpu")).device)
        return self

    def __prepare_scriptable__(self) -> None:
        """Refuse `torch.jit.script`, which would say something else."""
        expected, given = "as the last module of torch.export.export", "torch.jit.script"
        raise TypeError(unexpected(self.title, "a head", expected, given))

    @property
    def logits_dimension(self) -> int:
        """The size of the logits' last axis."""
        return self.computation.logits_dimension

    @property
    def labels_dimension(self) -> int:
        """The number of label columns: how wide the labels are as one dense tensor."""
        return sum(target.given_columns for target in self.computation.targets)

    @property
    def loss_reduction(self) -> Reduction:
        """How the losses of a batch become one.

        Raises:
            ValueError: if the heads of a `MultiHead` differ. The loss is defined all the same.
        """
        kinds = list(dict.fromkeys(target.reduction for target in self.computation.targets))
        if len(kinds) > 1:
            given = preview(str(kind) for kind in kinds)
            raise ValueError(unexpected(self.title, "one loss_reduction", "of all heads", given))
        return kinds[0]

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
            weights: per example, ``[D*]`` or ``[D*, 1]``, or per label column,
                ``[D*, labels_dimension]`` (a time and its event have one), instead of a
                ``weight_column``. Those of the first dimensions alone, such as ``[D0]``, hold for
                all that is in these. Of a `MultiHead`, one tensor for all heads, those of their
                label columns side by side, or a dict or table of these by head name.
            divisors: of a larger batch of which this is a part: the sum of what `divisors` returns
                for each part. The losses of the parts then add up to the loss of the whole: each
                part also takes its share of the regularization, the mean over the targets of its
                divisor by the whole one.

        Raises:
            ValueError: if a shape, type or value is not what the head takes.
            TypeError: if ``regularization_losses`` are not a list.
        """
        added = None
        if regularization_losses is not None:
            added = sum_scalars(self.title, regularization_losses)
        inputs = Inputs(labels, logits, features, weights)
        computation = self.computation
        if divisors is None:
            loss = computation.loss(inputs)
            return loss if added is None else loss + added
        measured = computation.measure(inputs, divisors=divisors, divide=added is not None)
        loss = computation.total_loss(measured.losses)
        return loss if added is None else loss + added * part_of(measured.divisors, divisors)

    @torch.no_grad()
    def divisors(
        self, labels: Labels, logits: Any, features: Features | None = None, *, weights: Any = None
    ) -> Tensor:
        """Return what the loss of each target is divided by: the number or weight of its labels.

        Arguments are as for `loss`; only the shape of the logits matters. Processes, or
        micro-batches, whose labels are missing unevenly add these up, and give the sum to `loss`.

        Returns:
            ``[T]``, one per target in the order of the heads; 1 where losses are summed, which
            ignore it. Where there is no label it is 1e-20, which is nothing beside one, but tells
            the parts of a batch without any their shares of the regularization.

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
        inputs = Inputs(labels, logits, features, weights)
        return never_zero(self.computation.divisors(inputs))

    def fit_prior(
        self, labels: Labels, features: Features | None = None, weights: Any = None
    ) -> Self:
        """Let logits mean ``offset + scale * z``, with what the labels alone tell; return the head.

        So a network that starts at 0 starts at the mean of the labels, and what it learns does not
        depend on their unit: an offset is the link of the mean, a scale the spread of numbers. It
        holds in the loss, predictions, metrics and exports, and is saved with the head. Of each
        head the loss at the prior is kept, as ``prior_loss``.

        Args:
            labels: as for `loss`; or an iterator, or a data loader, of tuples of up to three:
                labels, features and weights. The labels of all batches are kept until the end.
            features: as for `loss`.
            weights: as for `loss`.

        Under several processes, all must call this, each with its own labels.

        Raises:
            ValueError: if labels or weights are not what the head takes, or there are none.
            TypeError: if the mean of a family's labels does not tell its logits.

        >>> from torch_heads import RegressionHead
        >>> head = RegressionHead().fit_prior([400.0, 600.0])
        >>> head([[0.0], [1.0]])["predictions"].ravel(), head.prior_loss
        (tensor([500., 600.]), tensor(10000., dtype=torch.float64))
        """
        fit = PriorFit(self.computation)
        batches: Iterable[Any] = [(labels, features, weights)]
        if isinstance(labels, (Iterator, DataLoader)):
            batches = labels
        for batch in batches:
            if not isinstance(batch, (tuple, list)) or not 1 <= len(batch) <= 3:
                expected = "in batches that are tuples (labels, features, weights)"
                given = type(batch).__name__
                raise ValueError(unexpected(self.title, "labels", expected, given))
            own, seen, by = (*batch, None, None)[:3]
            own = by_key(own)
            shape = (*self._batch_shape(own, seen), self.logits_dimension)
            device = device_of(own)
            if device.type == "meta":
                expected, given = "with values, of which the prior is", "a meta tensor"
                raise ValueError(unexpected(self.title, "labels", expected, given))
            fit.add(Inputs(own, torch.zeros(shape, dtype=torch.float64, device=device), seen, by))
        with torch.no_grad():
            fit.keep()
        self._renew_all_priors()
        return self

    def forget_prior(self) -> Self:
        """Let logits mean themselves again, as before `fit_prior`; return the head.

        A head with a prior refuses the weights of one without, whose logits mean something else.
        """
        for target in self.computation.targets:
            target.keep_prior(None)
        self._renew_all_priors()
        return self

    def _renew_all_priors(self) -> None:
        for module in self.modules():
            if isinstance(module, Head):
                module._renew_priors()

    def _renew_priors(self, now: bool = True) -> None:
        """Look again which priors there are; heads of which this one is a part do so later."""
        self.computation.renew_priors(now)
        for parent in self._parents():
            if isinstance(parent, Head):
                parent._renew_priors(now=False)

    @abstractmethod
    def _batch_shape(self, labels: Labels, features: Features | None) -> tuple[int, ...]:
        """Return the shape of the batch, which the logits of these labels would have."""

    def forward(self, logits: Any, keys: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return the predictions that are tensors, in a flat dict, so that a model can be served.

        Args:
            logits: as for `loss`.
            keys: which ones; all by default, and of an empty list. They are the prediction keys,
                ``head/key`` under a `MultiHead`; ``key`` alone asks every head that has it.

        Raises:
            ValueError: if no head has a key.
        """
        names = self.computation.flat_keys
        asked = [] if keys is None else names.wanted(keys)
        wanted = asked if any(asked) else names.own
        return names.name(wanted, self.computation.predict(logits, wanted))

    def predictions(self, logits: Any, keys: Sequence[Any] | None = None) -> dict[Any, Any]:
        """Return predictions by key, ``(head, key)`` under a `MultiHead`.

        Args:
            logits: ``[D0, ..., DN, logits_dimension]``.
            keys: which ones; by default, and of an empty list, all tensors, and of a head with a
                ``label_vocabulary`` also the class names, which are NumPy arrays of strings. Under
                a `MultiHead`, a plain key asks every head that has it.

        Raises:
            ValueError: if no head has a key.
        """
        targets, names = self.computation.targets, self.computation.usual_keys
        wanted: Sequence[Iterable[str]] = names.own
        named = [i for i, target in enumerate(targets) if target.label_vocabulary]
        chosen = [] if keys is None else self.computation.nested_keys.wanted(keys)
        if any(chosen):
            names, wanted = self.computation.nested_keys, chosen
            named = [i for i, own in enumerate(chosen) if not targets[i].predicted.keys() >= {*own}]
        asked = [*wanted]  # of tensors: class names are told by all of them
        for i in named:
            asked[i] = targets[i].predicted
        found: list[Sequence[Any]] = [*self.computation.predict(logits, asked)]
        for i in named:
            tensors = dict(zip(asked[i], found[i], strict=True))
            every = {**tensors, **targets[i].predict_strings(tensors)}
            found[i] = [every[key] for key in wanted[i]]
        return names.name(wanted, found)

    def all_prediction_keys(self) -> list[Any]:
        """Return every key that `predictions` takes."""
        return [name for own in self.computation.nested_keys.full for name in own.values()]

    @abstractmethod
    def to_logits(self, predictions: Any) -> Tensor:
        """Return logits of which these are the predictions: the inverse of `predictions`.

        So an average of several models' probabilities can be evaluated as their logits are.

        Args:
            predictions: as `forward` or `predictions` return them; what tells the mean is enough.

        Raises:
            ValueError: if the mean is not among them, has another shape, or is a probability
                outside of [0, 1].
            TypeError: if the mean does not tell the logits.
        """


@cache
def made_from(kind: type) -> frozenset[str]:
    """Return the names of what a head is made from, but for what may be assigned later."""
    names = {name for one in kind.__mro__ for name in inspect.signature(one).parameters}
    return frozenset(names - {"head_weights"} | {"computation"})
