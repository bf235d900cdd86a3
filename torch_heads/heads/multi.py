"""The head of several targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.reductions import Reduction
from torch_heads.functional.tensors import SAME_BATCH, check_columns, check_logits, to_tensor
from torch_heads.heads.base import Features, Head, Labels
from torch_heads.heads.block import Batch, Block
from torch_heads.heads.joined import JoinedBlock, Part, slices
from torch_heads.heads.spec import ExportOutput, PredictOutput
from torch_heads.heads.tensor_head import TensorHead
from torch_heads.metrics.collection import Bound


class MultiHead(Head):
    """Several named heads on one tensor of logits, as one head.

    The loss is the sum of the heads' losses, times their ``head_weights``. Heads of one family are
    computed as one: a thousand binary heads cost one cross entropy over a thousand columns.

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
        ValueError: if there is no head, a name is missing or used twice, or the number of
            ``head_weights`` is not the number of heads.
        TypeError: if ``heads`` are not heads.

    >>> from torch_heads import BinaryClassHead, RegressionHead
    >>> head = MultiHead([BinaryClassHead(name="even"), RegressionHead(name="ink")])
    >>> logits = torch.tensor([[45.0, 1.0], [-41.0, 3.0]])
    >>> head.losses({"even": [1, 1], "ink": [1.0, 1.0]}, logits)
    {'even': tensor(20.5000), 'ink': tensor(2.)}
    """

    def __init__(self, heads: Iterable[Head], head_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        children = _checked(self.title, heads)
        self.heads = nn.ModuleList(children)
        self.names = [head.name or "" for head in children]
        self._positions = {name: i for i, name in enumerate(self.names)}
        factors = None if head_weights is None or len(head_weights) == 0 else list(head_weights)
        if factors is not None and len(factors) != len(children):
            given = f"{len(factors)}: {preview(factors)}"
            raise ValueError(
                unexpected(self.title, "head_weights", f"for {len(children)} heads", given)
            )
        weights = None if factors is None else torch.tensor(factors, dtype=torch.float32)
        self.register_buffer("head_weights", weights, persistent=False)
        self._logit_slices = slices([head.logits_dimension for head in children])
        self._label_slices = slices([head.labels_dimension for head in children])
        self.parts = nn.ModuleList(self._parts(children))
        order = [i for part in self.parts for i in part.positions]
        inverse = torch.tensor(order).argsort() if order != sorted(order) else None
        self.register_buffer("_order", inverse, persistent=False)
        keys = Counter(key for bound in self._bound() for key in bound)
        for key, times in keys.items():
            if times > 1:
                raise ValueError(
                    unexpected(self.title, "heads", "with different metric keys", f"{key!r} twice")
                )

    def _parts(self, children: Sequence[Head]) -> Iterator[Part]:
        groups: dict[Any, list[int]] = {}
        for i, head in enumerate(children):
            alike = isinstance(head, TensorHead) and head.fusable
            groups.setdefault(head.family if alike else i, []).append(i)
        for positions in groups.values():
            members = [children[i] for i in positions]
            yield Part(
                positions,
                JoinedBlock(members) if len(members) > 1 else None,
                [self._logit_slices[i] for i in positions],
                [self._label_slices[i] for i in positions],
            )

    def __getitem__(self, name: str) -> Head:
        """Return the head of that name.

        Raises:
            KeyError: if there is none.
        """
        if name not in self._positions:
            raise KeyError(unexpected(self.title, "a head", f"among {preview(self.names)}", name))
        return self.heads[self._positions[name]]

    def __len__(self) -> int:
        """Return the number of heads."""
        return len(self.names)

    @property
    def name(self) -> str:
        """The heads' names, joined by underscores."""
        return "_".join(self.names)

    @property
    def title(self) -> str:
        """The class and the heads' names, as errors say them."""
        names = getattr(self, "names", None)
        return f"{type(self).__name__} {preview(names, 4)}" if names else type(self).__name__

    @property
    def logits_dimension(self) -> int:
        """The sum of the heads'."""
        return self._logit_slices[-1].stop

    @property
    def labels_dimension(self) -> int:
        """The sum of the heads'."""
        return self._label_slices[-1].stop

    @property
    def loss_reduction(self) -> Reduction:
        """The reduction that all heads share.

        Raises:
            ValueError: if they differ. The loss is defined all the same.
        """
        kinds = list(dict.fromkeys(head.loss_reduction for head in self.heads))
        if len(kinds) > 1:
            given = preview(str(kind) for kind in kinds)
            raise ValueError(unexpected(self.title, "one loss_reduction", "of all heads", given))
        return kinds[0]

    def losses(
        self, labels: Labels, logits: Any, features: Features | None = None, *, weights: Any = None
    ) -> dict[str, Tensor]:
        """Return each head's loss by name, without ``head_weights``; arguments as for `loss`."""
        measured = self._measure(labels, logits, features, weights)
        values = self._per_head([one.losses for one in measured])
        return dict(zip(self.names, values.unbind(), strict=True))

    def blocks(self) -> Sequence[Block]:
        """Return the blocks of all parts, in order."""
        return [block for part in self.parts for block in self._part_blocks(part)]

    def _part_blocks(self, part: Part) -> Sequence[Block]:
        return self.heads[part.positions[0]].blocks() if part.block is None else [part.block]

    def encode(
        self,
        labels: Labels,
        logits: Any,
        features: Features | None = None,
        weights: Any = None,
        mask: Tensor | None = None,
    ) -> Sequence[Batch]:
        """Return one checked batch per block."""
        logits = self._check_logits(logits)
        labels = self._check_labels(labels, logits)
        weights = self._check_weights(weights)
        batches: list[Batch] = []
        for part in self.parts:
            own_labels = part.take_labels(labels) if isinstance(labels, Tensor) else labels
            own_logits = part.take_logits(logits) if isinstance(logits, Tensor) else logits
            if part.block is not None:
                batches.append(part.block.encode(own_labels, own_logits, features, weights))
                continue
            head, name = self.heads[part.positions[0]], self.names[part.positions[0]]
            batches += head.encode(
                head.stacked_labels(own_labels) if own_labels is not labels else labels[name],
                own_logits if own_logits is not logits else logits[name],
                features,
                weights.get(name),
                mask,
            )
        return batches

    def _check_logits(self, logits: Any) -> Tensor | Mapping[str, Any]:
        if not isinstance(logits, Mapping):
            return check_logits(self.title, logits, self.logits_dimension)
        self._check_names("logits", logits)
        return logits

    def _check_labels(
        self, labels: Any, logits: Tensor | Mapping[str, Any]
    ) -> Tensor | Mapping[str, Any]:
        if isinstance(labels, Mapping):
            self._check_names("labels", labels)
            return labels
        expected = "as a dict by head name, or one numeric tensor"
        if labels is None:
            raise ValueError(unexpected(self.title, "labels", expected, None))
        named = [head.name for head in self.heads if head.takes_names]
        if named:
            raise ValueError(
                unexpected(
                    self.title,
                    "labels",
                    "as a dict by head name",
                    type(labels).__name__,
                    f"Heads that take class names: {preview(named)}.",
                )
            )
        first = logits if isinstance(logits, Tensor) else self.heads[0].as_logits(logits)
        stacked = to_tensor(self.title, "labels", labels, first.device)
        return check_columns(self.title, "labels", stacked, first.shape[:-1], self.labels_dimension)

    def _check_weights(self, weights: Any) -> Mapping[str, Any]:
        if weights is None:
            return {}
        if not isinstance(weights, Mapping):
            given = type(weights).__name__
            raise TypeError(unexpected(self.title, "weights", "as a dict by head name", given))
        unknown = [name for name in weights if name not in self._positions]
        if unknown:
            raise ValueError(
                unexpected(
                    self.title, "weights", f"by head names {preview(self.names)}", preview(unknown)
                )
            )
        return weights

    def _check_names(self, argument: str, given: Mapping[str, Any]) -> None:
        if not all(name in given for name in self.names):
            missing = preview(name for name in self.names if name not in given)
            raise ValueError(
                unexpected(
                    self.title, argument, f"for the heads {missing}", preview(given), SAME_BATCH
                )
            )

    def combine(self, losses: Sequence[Tensor]) -> Tensor:
        """Return the weighted sum of the heads' losses."""
        values = self._per_head(losses)
        weights = self.head_weights
        return values.sum() if weights is None else (values * weights.to(values.dtype)).sum()

    def _per_head(self, losses: Sequence[Tensor]) -> Tensor:
        values, rest = [], list(losses)
        for part in self.parts:
            if part.block is not None:
                values.append(rest.pop(0))
                continue
            head = self.heads[part.positions[0]]
            count = len(head.blocks())
            values.append(head.combine(rest[:count]).unsqueeze(0))
            del rest[:count]
        joined = torch.cat(values) if len(values) > 1 else values[0]
        return joined if self._order is None else joined[self._order]

    def call_keys(self) -> list[str]:
        """Return ``loss/<head>`` for each head, and then the call keys of the heads."""
        own = [f"loss/{name}" for name in self.names]
        return own + [key for head in self.heads for key in head.call_keys()]

    def call_values(self, losses: Sequence[Tensor]) -> list[Tensor]:
        """Return the heads' losses, and then their call values."""
        values, rest = {}, list(losses)
        for part in self.parts:
            count = len(self._part_blocks(part))
            values[part.positions[0]] = self.heads[part.positions[0]].call_values(rest[:count])
            del rest[:count]
        return [self._per_head(losses), *(value for i in sorted(values) for value in values[i])]

    def bound_readings(self, tallies: Sequence[str]) -> dict[str, Bound]:
        """Return the metrics of all heads, in the heads' order."""
        return {key: bound for each in self._bound(tallies) for key, bound in each.items()}

    def _bound(self, tallies: Sequence[str] | None = None) -> list[dict[str, Bound]]:
        names = list(tallies) if tallies is not None else [""] * len(self.blocks())
        bound: dict[int, dict[str, Bound]] = {}
        for part in self.parts:
            count = len(self._part_blocks(part))
            own, names = names[:count], names[count:]
            if part.block is None:
                i = part.positions[0]
                bound[i] = self.heads[i].bound_readings(own)
                continue
            for i, columns in zip(part.positions, part.block.label_columns, strict=True):
                bound[i] = self.heads[i].bind(own[0], columns)
        return [bound[i] for i in range(len(self))]

    def as_logits(self, logits: Any) -> dict[str, Any]:
        """Return each head's logits by name: a dict's own, or the split of one tensor."""
        checked = self._check_logits(logits)
        if isinstance(checked, Mapping):
            return {name: checked[name] for name in self.names}
        widths = [head.logits_dimension for head in self.heads]
        return dict(zip(self.names, torch.split(checked, widths, dim=-1), strict=True))

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

    def export_outputs(self, predictions: Mapping[Any, Any]) -> dict[str, ExportOutput]:
        """Return every head's outputs under its name, the first head's as the default."""
        outputs: dict[str, ExportOutput] = {}
        merged: dict[str, Any] = {}
        for head, name in zip(self.heads, self.names, strict=True):
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


def _checked(who: str, heads: Any) -> list[Head]:
    if isinstance(heads, Head) or not isinstance(heads, Iterable):
        raise TypeError(unexpected(who, "heads", "as a list of heads", type(heads).__name__))
    children = list(heads)
    if not children:
        raise ValueError(unexpected(who, "heads", "with at least one head", children))
    for head in children:
        if not isinstance(head, Head):
            given = type(head).__name__
            raise TypeError(unexpected(who, "heads", "as a list of heads", f"a {given} in it"))
        if not head.name:
            given = f"a {type(head).__name__} without"
            raise ValueError(unexpected(who, "heads", "with a name each", given))
    for name, times in Counter(head.name for head in children).items():
        if times > 1:
            raise ValueError(unexpected(who, "heads", "with different names", f"{name!r} twice"))
    return children
