"""A metric of torchmetrics' own, declared for a head."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field

from torchmetrics import Metric

from torch_heads.functional.errors import class_of, unexpected
from torch_heads.metrics.metric import ReadingMetric
from torch_heads.metrics.tally import Tally
from torch_heads.metrics.update_signature import AUTO, UpdateSignature

SCORES = "scores"


@dataclass(frozen=True, eq=False, init=False)
class Torchmetric:
    """A `torchmetrics.Metric` in a head's ``metrics``, and what it is fed.

    A metric that stands there by itself is fed as this with its defaults says: the head's
    probabilities or predictions, and its encoded labels, flat: ``[N]``; ``[N, U]`` of several label
    columns; ``[N, K]`` the probabilities of ``K`` classes. Rows without a label, padded ones and
    those of weight 0 are left out, for which an update waits for the device. Labels are int64 in
    heads of classes, else floating. The missing entries of a multi-label row are the metric's
    ``ignore_index``.

    Args:
        metric: of which every collection of metrics holds a copy of its own, empty.
        preds: ``"scores"``: the probability of yes, those of all classes, or the predicted number;
            ``"class_ids"``; or another of the head's prediction keys, such as ``"logits"``.
        weights: the argument of ``update`` that takes the weights; by default the one called
            weights, weight, sample_weights or sample_weight. Without any, the head refuses weights
            other than 0 and 1; None leaves them out.
        features: of further arguments of ``update``, the keys of the features that hold them, as
            ``groups="sex"``: of shape ``[D*]`` or ``[D*, 1]``; those of the first dimensions alone
            hold for all that is in these.

    Raises:
        TypeError: if it is no metric, or a key no string.
        ValueError: if the metric's ``update`` does not take these arguments, or needs others.

    >>> from torchmetrics.classification import BinaryF1Score
    >>> from torch_heads import BinaryClassHead
    >>> head = BinaryClassHead(metrics={"f1": Torchmetric(BinaryF1Score(), preds="class_ids")})
    >>> metrics = head.update_metrics(logits=[[2.0], [-1.0], [0.5]], labels=[1, 0, 0])
    >>> metrics["f1"].compute()
    tensor(0.6667)
    """

    metric: Metric
    preds: str
    weights: str | None
    features: Mapping[str, str]
    signature: UpdateSignature = field(repr=False)

    def __init__(
        self,
        metric: Metric,
        preds: str = SCORES,
        weights: str | None = AUTO,
        **features: str,
    ) -> None:
        who = type(self).__name__
        if not isinstance(metric, Metric) or isinstance(metric, (ReadingMetric, Tally)):
            expected = "as a torchmetrics.Metric, and none of a head's own"
            raise TypeError(unexpected(who, "metric", expected, class_of(metric)))
        who = f"{who} {type(metric).__name__}"
        keys = {"preds": preds, "weights": AUTO if weights is None else weights, **features}
        for argument, key in keys.items():
            if not isinstance(key, str):
                raise TypeError(unexpected(who, argument, "as a string", repr(key)))
        if metric.dist_sync_fn is not None:
            hint = "The states of processes are put together without it."
            raise ValueError(unexpected(who, "metric", "without a dist_sync_fn", "one", hint))
        found = UpdateSignature.of(who, metric, weights, features)
        own = deepcopy(metric)
        own.reset()
        fields = {"metric": own, "preds": preds, "weights": weights, "features": features}
        self.__dict__.update(fields, signature=found)

    @property
    def refuses_weights(self) -> bool:
        """Whether it has no place for weights, and was not told to leave them out."""
        return self.weights is not None and self.signature.weights is None

    @property
    def ignore_index(self) -> int | None:
        """The label that the metric leaves out; None where it has none."""
        parts = self.metric.modules()
        found = {part.ignore_index for part in parts if hasattr(part, "ignore_index")}
        return found.pop() if len(found) == 1 else None  # type: ignore[return-value]
