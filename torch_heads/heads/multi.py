"""The head of several targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from torch_heads.computation.computation import Computation
from torch_heads.computation.fused import MultiComputation
from torch_heads.computation.inputs import Features, Inputs
from torch_heads.computation.prediction_keys import split_key
from torch_heads.functional.containers import opened
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.forms import shape_of
from torch_heads.functional.tables import is_table
from torch_heads.heads.base import Head
from torch_heads.heads.children import FixedHeads, check_heads
from torch_heads.heads.head_factors import HeadFactors
from torch_heads.heads.metric_owner import Labels
from torch_heads.heads.spec import ExportOutput, PredictOutput
from torch_heads.metrics.over_heads import AskedOverHeads, means_over_heads


class MultiHead(Head):
    """Several named heads on one tensor of logits, as one head.

    The loss is the sum of the heads' losses, times their ``head_weights``. Heads of one family are
    computed as one: a thousand binary heads cost one cross entropy over a thousand columns. A head
    with a ``loss_fn`` or an ``inverse_link_fn`` is computed by itself.

    Shapes: logits ``[D0, ..., DN, logits_dimension]``, the heads' logits side by side, or a dict
    by head name; labels a dict by head name, or a table (a pandas or polars frame, a pyarrow table,
    a structured array) with a column per head, or per class of a head with a ``label_vocabulary``;
    or a list of rows with these names (named tuples, dicts, series, and a table per sequence);
    or one tensor of numbers ``[D0, ..., DN, labels_dimension]`` with the heads' label columns side
    by side. Keys of no head are refused where a head's labels are absent.

    Predictions are keyed ``(head, key)``; those of `forward` ``"head/key"``. Metrics are the
    heads' own, and ``loss/<head>``: the mean of the head's training losses over update calls, in
    which a small last batch counts as a full one.

    Args:
        heads: heads with names that differ; they are child modules, ``multi_head["name"]``. They
            are fixed: to replace one, make another `MultiHead`.
        head_weights: one factor per head, or a dict of them by name; by default 1; or ``"prior"``,
            to divide each loss by its loss at the prior, once `fit_prior` has found it. They may
            be assigned later, also as a ``nn.Parameter``.
        metrics: means over heads, `torch_heads.metrics.MeanOverHeads`, in a list or by key.

    Raises:
        ValueError: if there is no head, a name is missing or used twice, two heads share a metric
            key, or ``head_weights`` are not one finite number per head.
        TypeError: if ``heads`` are not heads, or ``head_weights`` not numbers.

    >>> from torch_heads import BinaryClassHead, RegressionHead
    >>> head = MultiHead([BinaryClassHead(name="even"), RegressionHead(name="ink")])
    >>> logits = torch.tensor([[45.0, 1.0], [-41.0, 3.0]])
    >>> head.losses({"even": [1, 1], "ink": [1.0, 1.0]}, logits)
    {'even': tensor(20.5000), 'ink': tensor(2.)}
    """

    computation: MultiComputation

    def __init__(
        self,
        heads: Iterable[Head],
        head_weights: Sequence[float] | Mapping[str, float] | Literal["prior"] | None = None,
        *,
        metrics: AskedOverHeads = None,
    ) -> None:
        super().__init__()
        self._asked_metrics = metrics
        children = check_heads(self.title, heads)
        self._names = [head.name or "" for head in children]
        self.title = f"{self.title} {preview(self._names, 4)}"
        self.heads = FixedHeads(children, self.title)
        self._positions = {name: i for i, name in enumerate(self._names)}
        self.head_weights = head_weights  # type: ignore[misc,assignment]

    @property
    def _parts(self) -> list[Head]:
        return [self[name] for name in self._names]

    def _batch_shape(self, labels: Labels, features: Features | None) -> tuple[int, ...]:
        if is_table(opened(labels)):
            return shape_of(labels)
        if not isinstance(labels, Mapping):
            shape = shape_of(labels)
            if len(shape) < 2:
                expected, given = "by head name, or as one tensor", type(labels).__name__
                raise ValueError(unexpected(self.title, "labels", expected, given))
            return shape[:-1]
        for name in self._names:
            if name in labels:
                return self[name]._batch_shape(labels[name], features)
        given = preview(labels)
        raise ValueError(unexpected(self.title, "labels", "of one of its heads", given))

    def _make_computation(self) -> Computation:
        children = [head.computation for head in self._parts]
        targets = [target for child in children for target in child.targets]
        known = [key for target in targets for key in target.readings]
        fed = {key for target in targets for key in target.torchmetrics}
        means = means_over_heads(self.title, self._asked_metrics, known, fed)
        factors = self._factors_on if self._has_factors() else None
        computation = MultiComputation(self.title, self._names, children, means, factors)
        keys: list[str] = []
        for target in computation.targets:
            keys += [f"{key}/{target.name}" for key in target.metric_keys]
        keys += [*means, *(key for key, _ in computation.batch_mean_keys() if key in means)]
        for child in children:
            keys += child.means_over_heads
        predicted = [
            "/".join((*path, key))
            for path, target in zip(computation.paths, computation.targets, strict=True)
            for key in [*target.predicted, *target.string_keys]
        ]
        for kind, own in {"metric": keys, "prediction": predicted}.items():
            for key, times in Counter(own).items():
                if times > 1:
                    expected = f"with different {kind} keys"
                    raise ValueError(unexpected(self.title, "heads", expected, f"{key!r} twice"))
        return computation

    def __getitem__(self, name: str) -> Head:
        """Return the head of that name.

        Raises:
            KeyError: if there is none.
        """
        if name not in self._positions:
            raise KeyError(
                unexpected(self.title, "a head", f"among {preview(self._names)}", repr(name))
            )
        return self.heads[self._positions[name]]  # type: ignore[return-value]

    def __setitem__(self, name: str, head: Head) -> None:
        """Refuse another head."""
        self._refuse_change("heads", "an assignment")

    def __delitem__(self, name: str) -> None:
        """Refuse to lose a head."""
        self._refuse_change("heads", "a deletion")

    def __repr__(self) -> str:
        """Return the heads by name."""
        lines = [f"({name}): {self[name]!r}".replace("\n", "\n  ") for name in self._names]
        return "\n  ".join([f"{type(self).__name__}(", *lines]) + "\n)"

    def __contains__(self, name: object) -> bool:
        """Return whether there is a head of that name."""
        return name in self._positions

    def __iter__(self) -> Iterator[str]:
        """Iterate over the heads' names."""
        return iter(self._names)

    def __len__(self) -> int:
        """Return the number of heads."""
        return len(self._names)

    @property
    def name(self) -> str:
        """The heads' names, joined by underscores."""
        return "_".join(self._names)

    @property
    def slices(self) -> dict[str, slice]:
        """The columns of each head among the logits, by name.

        >>> from torch_heads import BinaryClassHead, MultiClassHead
        >>> MultiHead([MultiClassHead(3, name="digit"), BinaryClassHead(name="even")]).slices
        {'digit': slice(0, 3, None), 'even': slice(3, 4, None)}
        """
        return dict(zip(self._names, self.computation.logits, strict=True))

    @property
    def head_weights(self) -> Tensor | None:
        """The factor of each head's loss, ``[H]``; None for 1. Others may be assigned.

        Raises:
            ValueError: if they are those of the prior, which no `fit_prior` has found yet.
        """
        learned = self._parameters.get("head_weights")
        if learned is None and self._factors.by_prior:
            return self._factors_on(torch.device("cpu"))
        return self._factors.given if learned is None else learned

    def _argument_now(self, name: str, given: Any) -> Any:
        if name != "head_weights":
            return super()._argument_now(name, given)
        # those of the prior make a head that has none yet wait for its own
        unknown = any(target.prior() is None for target in self.computation.targets)
        return "prior" if self._factors.by_prior and unknown else self.head_weights

    def _has_factors(self) -> bool:
        return self._factors.any or "head_weights" in self._parameters

    def _factors_on(self, device: torch.device) -> Tensor:
        learned = self._parameters.get("head_weights")
        return self._factors.on(device, self.computation) if learned is None else learned

    def _renew_priors(self, now: bool = True) -> None:
        super()._renew_priors(now)
        self._factors.renew()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._factors.move(fn)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        """Check new ``head_weights``."""
        if name != "head_weights" or self._gives_memory(value):
            super().__setattr__(name, value)
            return
        self._factors = HeadFactors(self.title, value, self._names)
        self._parameters.pop(name, None)
        if isinstance(value, nn.Parameter):
            self._parameters[name] = value
        if "computation" in self.__dict__:
            self.computation.head_weights = self._factors_on if self._has_factors() else None

    def _gives_memory(self, value: Any) -> bool:
        """Return whether these are learned weights on a device, for some that had no values.

        Hugging Face's ``from_pretrained`` gives those of no checkpoint memory before values.
        """
        learned = self._parameters.get("head_weights")
        given = isinstance(value, nn.Parameter)
        return learned is not None and learned.is_meta and given and value.shape == learned.shape

    def _in_order(self, paths: Sequence[tuple[str, ...]]) -> MultiHead:
        names = dict.fromkeys(name for name, *_ in paths)
        return MultiHead([deepcopy(self[name]) for name in names])

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        *args: Any,
    ) -> None:
        key = f"{prefix}head_weights"  # a setting, there or not
        if "head_weights" not in self._parameters:
            state_dict.pop(key, None)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, *args
        )
        if key in missing_keys:
            missing_keys.remove(key)

    def losses(
        self, labels: Labels, logits: Any, features: Features | None = None, *, weights: Any = None
    ) -> dict[str, Tensor]:
        """Return each head's loss by name, without ``head_weights``; arguments as for `loss`."""
        measured = self.computation.measure(Inputs(labels, logits, features, weights))
        values = self.computation.head_losses(measured.losses)
        return dict(zip(self._names, values.unbind(), strict=True))

    def as_logits(self, logits: Any) -> dict[str, Any]:
        """Return each head's logits by name: a dict's own, or the split of one tensor."""
        return self.computation.split_logits(logits)

    def to_logits(self, predictions: Any) -> Tensor:
        """Return the heads' logits side by side, of which these are the predictions.

        Args:
            predictions: as `forward` or `predictions` return them, or a dict of each head's.

        Raises:
            ValueError: if a head's mean is not among them, has another shape, or is a probability
                outside of [0, 1].
            TypeError: if they are not a dict, or a mean does not tell the logits.
        """
        if not isinstance(predictions, Mapping):
            given = type(predictions).__name__
            raise TypeError(unexpected(self.title, "predictions", "as a dict", given))
        own: dict[str, dict[Any, Any]] = {name: {} for name in self._names}
        for key, value in predictions.items():
            if isinstance(value, Mapping):
                own.get(key, {}).update(value)
            elif (split := split_key(key, own)) is not None:
                name, inner = split
                own[name][inner] = value
        logits = {name: self[name].to_logits(each) for name, each in own.items()}
        batches = {name: [*each.shape[:-1]] for name, each in logits.items()}
        first = next(iter(batches.values()))
        for name, batch in batches.items():
            if batch != first:
                expected, given = f"of one batch {first}", f"those of {name!r} of {batch}"
                raise ValueError(unexpected(self.title, "predictions", expected, given))
        return torch.cat([*logits.values()], dim=-1)

    def served_features(self, features: Features | None) -> dict[Any, Any]:
        """Return the heads' served features by ``(head, key)``."""
        return {
            (name, key): value
            for name in self._names
            for key, value in self[name].served_features(features).items()
        }

    def export_outputs(self, predictions: Mapping[Any, Any]) -> dict[str, ExportOutput]:
        """Return every head's outputs under its name, the first head's as the default."""
        outputs: dict[str, ExportOutput] = {}
        merged: dict[str, Any] = {}
        by_head: dict[str, dict[Any, Any]] = {name: {} for name in self._names}
        for (owner, key), value in predictions.items():
            by_head[owner][key] = value
        for name, given in by_head.items():
            own = self[name].export_outputs(given)
            outputs.setdefault("serving_default", own["serving_default"])
            for signature, output in own.items():
                outputs[name if signature == "serving_default" else f"{name}/{signature}"] = output
            predicted = own["predict"]
            if isinstance(predicted, PredictOutput):
                merged |= {f"{name}/{key}": value for key, value in predicted.outputs.items()}
        return {**outputs, "predict": PredictOutput(merged)}
