"""How the `update` of a metric of torchmetrics' own takes what a head has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from inspect import Parameter, signature
from typing import NamedTuple

from torch import Tensor
from torchmetrics import Metric

from torch_heads.functional.errors import preview, unexpected

AUTO = "auto"
WEIGHTS = ("weights", "weight", "sample_weights", "sample_weight")  # as metrics call them
DATA = ("preds", "target")  # what torchmetrics calls the two

POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class UpdateCall(NamedTuple):
    """The arguments of one update, and how many rows there are in them."""

    positional: tuple[Tensor, ...]
    named: Mapping[str, Tensor]
    rows: int


class UpdateSignature(NamedTuple):
    """How an update is called.

    Attributes:
        labelled: whether it takes labels beside the predictions; means of values do not.
        by_name: whether it takes these as ``preds`` and ``target``.
        weights: the argument that takes weights; None for none.
        weighed: whether it must be given weights.
    """

    labelled: bool
    by_name: bool
    weights: str | None
    weighed: bool

    @classmethod
    def of(
        cls, who: str, metric: Metric, weights: str | None, features: Iterable[str]
    ) -> UpdateSignature:
        """Return that of a metric.

        Args:
            who: who declares it, as errors say it.
            metric: the metric.
            weights: the argument that takes weights, `AUTO` to look for it, None for none.
            features: the arguments that take features.

        Raises:
            ValueError: if its update does not take one of these arguments, or needs others.
        """
        parameters = [*signature(metric.update).parameters.values()]
        kinds = {one.kind for one in parameters}
        names = [one.name for one in parameters if one.kind is not Parameter.VAR_KEYWORD]
        given = [*features, *([] if weights in (AUTO, None) else [str(weights)])]
        for argument in given:
            if argument not in names and Parameter.VAR_KEYWORD not in kinds:
                expected = f"for its update's arguments, {preview(names)}"
                raise ValueError(unexpected(who, "features", expected, f"one for {argument!r}"))
        if weights == AUTO:
            found = next((one for one in WEIGHTS if one in names and one not in given), None)
        else:
            found = weights
        rest = [one for one in parameters if one.name not in {*given, *WEIGHTS}]
        data = [one for one in rest if one.kind in POSITIONAL]
        by_name = {one.name for one in data} >= {*DATA}
        open_ended = Parameter.VAR_POSITIONAL in kinds
        labelled = open_ended or any(_takes_labels(one) for one in data[1:2])
        fed = {*DATA} if by_name else {one.name for one in data[: 1 + labelled]}
        if not (data or open_ended):
            expected = "with an update that takes predictions"
            raise ValueError(unexpected(who, "metric", expected, f"one of {preview(names)}"))
        needed = [one.name for one in rest if one.default is Parameter.empty]
        variable = [one.name for one in parameters if "VAR" in one.kind.name]
        lacking = [name for name in needed if name not in {*fed, *variable}]
        if lacking:
            expected = f"with features for {preview(lacking)}, which its update needs"
            hint = f'Name them: torch_heads.metrics.Torchmetric(metric, {lacking[0]}="...").'
            raise ValueError(unexpected(who, "metric", expected, "none", hint))
        by_default = {one.name: one.default for one in parameters}
        return cls(labelled, by_name, found, by_default.get(str(found)) is Parameter.empty)

    def call(
        self,
        preds: Tensor,
        labels: Tensor,
        weights: Tensor | None,
        features: Mapping[str, Tensor],
    ) -> UpdateCall:
        """Return the arguments of an update.

        Args:
            preds: ``[N, ...]``.
            labels: ``[N]`` or ``[N, U]``.
            weights: of the same shape; None where all are 1.
            features: ``[N]`` each, by argument.
        """
        data = (preds, labels) if self.labelled else (preds,)
        named = dict(features)
        if self.by_name:
            named |= zip(DATA, data, strict=True)
        if weights is None and self.weighed:
            weights = preds.new_ones(labels.shape)
        if self.weights is not None and weights is not None:
            named[self.weights] = weights
        return UpdateCall(() if self.by_name else data, named, labels.shape[0])


def _takes_labels(second: Parameter) -> bool:
    return second.default is Parameter.empty or second.name in DATA
