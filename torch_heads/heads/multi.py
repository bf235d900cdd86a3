"""The head of several targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.reductions import Reduction
from torch_heads.heads.base import Head
from torch_heads.heads.batch import Batch
from torch_heads.heads.block import Block, Measured
from torch_heads.heads.evaluated import ABSENT, Features, Labels, Stacked
from torch_heads.heads.named import NamedInputs, check_factors, check_heads
from torch_heads.heads.parts import Part, make_parts
from torch_heads.heads.spec import ExportOutput, PredictOutput
from torch_heads.metrics.bound import Bound


class MultiHead(Head):
    """Several named heads on one tensor of logits, as one head.

    The loss is the sum of the heads' losses, times their ``head_weights``. Heads of one family are
    computed as one: a thousand binary heads cost one cross entropy over a thousand columns. A head
    with a ``loss_fn`` or an ``inverse_link_fn`` is computed by itself.

    Shapes: logits ``[D0, ..., DN, logits_dimension]``, the heads' logits side by side, or a dict
    by head name; labels a dict by head name, or, where no head takes class names, one tensor
    ``[D0, ..., DN, labels_dimension]`` with the heads' label columns side by side.

    Predictions are keyed ``(head, key)``; those of `forward` ``"head/key"``. Metrics are the
    heads' own, and ``loss/<head>``: the mean of the head's training losses over update calls, in
    which a small last batch counts as a full one.

    Args:
        heads: heads with names that differ; they are child modules, ``multi_head["name"]``.
        head_weights: one factor per head; by default 1.

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

    head_weights: Tensor | None
    order: Tensor | None

    def __init__(self, heads: Iterable[Head], head_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self._children = tuple(check_heads(self.title, heads))
        self.heads = nn.ModuleList(self._children)
        for head in self._children:
            head._composed = True
        self.names = [head.name or "" for head in self._children]
        self.title = f"{self.title} {preview(self.names, 4)}"
        self._positions = {name: i for i, name in enumerate(self.names)}
        self._inputs = NamedInputs(self.title, self._children)
        factors = check_factors(self.title, head_weights, len(self.names))
        self.constant("head_weights", factors)
        self._parts = tuple(make_parts(self._children))
        self.parts = nn.ModuleList(self._parts)
        order = [i for part in self._parts for i in part.positions]
        inverse = torch.tensor(order).argsort() if order != sorted(order) else None
        self.constant("order", inverse)
        bound = self._bound([""] * len(self.blocks()))
        keys = {
            "metric": (key for each in bound for key in each),
            "prediction": map(_joined, self.all_prediction_keys()),
        }
        for kind, own in keys.items():
            for key, times in Counter(own).items():
                if times > 1:
                    expected = f"with different {kind} keys"
                    raise ValueError(unexpected(self.title, "heads", expected, f"{key!r} twice"))

    def __getitem__(self, name: str) -> Head:
        """Return the head of that name.

        Raises:
            KeyError: if there is none.
        """
        if name not in self._positions:
            raise KeyError(
                unexpected(self.title, "a head", f"among {preview(self.names)}", repr(name))
            )
        return self._children[self._positions[name]]

    def __repr__(self) -> str:
        """Return the heads by name."""
        lines = [f"({name}): {self[name]!r}".replace("\n", "\n  ") for name in self.names]
        return "\n  ".join([f"{type(self).__name__}(", *lines]) + "\n)"

    def __contains__(self, name: object) -> bool:
        """Return whether there is a head of that name."""
        return name in self._positions

    def __iter__(self) -> Iterator[str]:
        """Iterate over the heads' names."""
        return iter(self.names)

    def __len__(self) -> int:
        """Return the number of heads."""
        return len(self.names)

    @property
    def name(self) -> str:
        """The heads' names, joined by underscores."""
        return "_".join(self.names)

    @property
    def logits_dimension(self) -> int:
        """The sum of the heads'."""
        return sum(self._inputs.widths)

    @property
    def labels_dimension(self) -> int:
        """The sum of the heads'."""
        return self._inputs.labels_dimension

    @property
    def may_miss(self) -> bool:
        """Whether a batch may lack labels altogether: if every head may."""
        return all(head.may_miss for head in self._children)

    @property
    def composes(self) -> bool:
        """Whether this is a head of several targets: yes."""
        return True

    @property
    def takes_names(self) -> bool:
        """Whether any head takes class names."""
        return any(head.takes_names for head in self._children)

    @property
    def loss_reduction(self) -> Reduction:
        """The reduction that all heads share.

        Raises:
            ValueError: if they differ. The loss is defined all the same.
        """
        kinds = list(dict.fromkeys(head.loss_reduction for head in self._children))
        if len(kinds) > 1:
            given = preview(str(kind) for kind in kinds)
            raise ValueError(unexpected(self.title, "one loss_reduction", "of all heads", given))
        return kinds[0]

    def losses(
        self, labels: Labels, logits: Any, features: Features | None = None, *, weights: Any = None
    ) -> dict[str, Tensor]:
        """Return each head's loss by name, without ``head_weights``; arguments as for `loss`."""
        measured = self.measure(labels, logits, features, weights)
        values = self.per_head([one.losses for one in measured])
        return dict(zip(self.names, values.unbind(), strict=True))

    def blocks(self) -> Sequence[Block]:
        """Return the blocks of all parts, in order."""
        return [block for part in self._parts for block in part.blocks]

    def encode(
        self,
        labels: Labels,
        logits: Any,
        features: Features | None = None,
        weights: Any = None,
        mask: Tensor | None = None,
    ) -> Sequence[Batch]:
        """Return one checked batch per block."""
        logits = self._inputs.check_logits(logits)
        if isinstance(labels, Stacked):
            labels = labels.columns
        labels = {} if labels is ABSENT else self._inputs.check_labels(labels, logits)
        weights = self._inputs.check_weights(weights)
        return [
            batch
            for part in self._parts
            for batch in part.encode(labels, logits, features, weights, mask)
        ]

    def combine(self, losses: Sequence[Tensor]) -> Tensor:
        """Return the weighted sum of the heads' losses."""
        values, weights = self.per_head(losses), self.head_weights
        return values.sum() if weights is None else (values * weights.to(values.dtype)).sum()

    def per_head(self, losses: Sequence[Tensor]) -> Tensor:
        """Return each head's loss, ``[H]`` in the heads' order, from the losses of each block."""
        return self._in_order([part.combine(own) for part, own in self._by_part(losses)])

    def call_keys(self) -> list[tuple[str, bool]]:
        """Return ``loss/<head>`` for each head, and then the call keys of the heads."""
        own = [(f"loss/{head.name}", head.may_miss) for head in self._children]
        return own + [
            key
            for part in self._parts
            for i in part.positions
            for key in self._children[i].call_keys()
        ]

    def call_values(self, measured: Sequence[Measured]) -> list[Measured]:
        """Return the heads' losses and whether they count, and then their call values."""
        calls = [part.calls(own) for part, own in self._by_part(measured)]
        counted = None
        if any(own.counted is not None for own, _ in calls):
            counted = self._in_order([own.counts for own, _ in calls])
        losses = self._in_order([own.losses for own, _ in calls])
        return [Measured(losses, counted=counted), *(one for _, rest in calls for one in rest)]

    def bound_readings(self, tallies: Sequence[str]) -> dict[str, Bound]:
        """Return the metrics of all heads, in the heads' order."""
        return {key: bound for each in self._bound(tallies) for key, bound in each.items()}

    def _bound(self, tallies: Sequence[str]) -> list[dict[str, Bound]]:
        bound: dict[int, dict[str, Bound]] = {}
        for part, own in self._by_part(tallies):
            bound |= dict(zip(part.positions, part.bind(own), strict=True))
        return [bound[i] for i in range(len(self))]

    def _by_part(self, items: Sequence[Any]) -> Iterator[tuple[Part, Sequence[Any]]]:
        """Yield each part with those of the items, one per block, that are its own."""
        start = 0
        for part in self._parts:
            yield part, items[start : start + len(part.blocks)]
            start += len(part.blocks)

    def _in_order(self, values: Sequence[Tensor]) -> Tensor:
        joined = torch.cat(list(values)) if len(values) > 1 else values[0]
        return joined if self.order is None else joined[self.order]

    def as_logits(self, logits: Any) -> dict[str, Any]:
        """Return each head's logits by name: a dict's own, or the split of one tensor."""
        checked = self._inputs.check_logits(logits)
        if isinstance(checked, Mapping):
            return {name: checked[name] for name in self.names}
        split = torch.split(checked, self._inputs.widths, dim=-1)
        return dict(zip(self.names, split, strict=True))

    def tensor_predictions(self, logits: Any) -> dict[str, Any]:
        """Return the predictions that are tensors, by head name and key."""
        return {
            name: self[name].tensor_predictions(own) for name, own in self.as_logits(logits).items()
        }

    def predictions(self, logits: Any, keys: Sequence[Any] | None = None) -> dict[Any, Any]:
        """Return predictions by ``(head, key)``.

        Args:
            logits: as for `loss`.
            keys: ``(head, key)`` pairs, or plain keys for every head that has them; by default
                what each head gives by default.

        Raises:
            ValueError: if a key is not one of the heads'.
        """
        if isinstance(keys, str):
            raise ValueError(unexpected(self.title, "prediction keys", "as a list", repr(keys)))
        wanted: dict[str, list[Any]] = {name: [] for name in self.names}
        known = {name: self[name].all_prediction_keys() for name in self.names} if keys else {}
        for key in keys or ():
            pair = isinstance(key, tuple) and len(key) == 2
            owners = [key[0]] if pair else self.names
            found = [name for name in owners if (key[1] if pair else key) in known.get(name, ())]
            if not found:
                allowed = preview(self.all_prediction_keys(), 20)
                raise ValueError(
                    unexpected(self.title, "prediction keys", f"among {allowed}", repr(key))
                )
            for name in found:
                wanted[name].append(key[1] if pair else key)
        return {
            (name, key): value
            for name, own in self.as_logits(logits).items()
            if not keys or wanted[name]
            for key, value in self[name].predictions(own, wanted[name] or None).items()
        }

    def all_prediction_keys(self) -> list[Any]:
        """Return every ``(head, key)`` pair."""
        return [(name, key) for name in self.names for key in self[name].all_prediction_keys()]

    def served_features(self, features: Features | None) -> dict[Any, Any]:
        """Return the heads' served features by ``(head, key)``."""
        return {
            (name, key): value
            for name in self.names
            for key, value in self[name].served_features(features).items()
        }

    def export_outputs(self, predictions: Mapping[Any, Any]) -> dict[str, ExportOutput]:
        """Return every head's outputs under its name, the first head's as the default."""
        outputs: dict[str, ExportOutput] = {}
        merged: dict[str, Any] = {}
        for head, name in zip(self._children, self.names, strict=True):
            own = head.export_outputs(
                {key: value for (owner, key), value in predictions.items() if owner == name}
            )
            outputs.setdefault("serving_default", own["serving_default"])
            for signature, output in own.items():
                outputs[name if signature == "serving_default" else f"{name}/{signature}"] = output
            predicted = own["predict"]
            if isinstance(predicted, PredictOutput):
                merged |= {f"{name}/{key}": value for key, value in predicted.outputs.items()}
        return {**outputs, "predict": PredictOutput(merged)}


def _joined(key: Any) -> str:
    """Return a prediction key as `forward` names it."""
    return "/".join(map(_joined, key)) if isinstance(key, tuple) else str(key)
