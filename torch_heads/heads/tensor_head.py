"""The head of a single target: one tensor of logits, one of labels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isnan, nan
from typing import Any

import torch
from torch import Tensor, nn

from torch_heads.computation.computation import Computation
from torch_heads.computation.encoder import leaves_dense
from torch_heads.computation.inputs import Features
from torch_heads.computation.loss_fn import CustomLoss, LossFn
from torch_heads.computation.single import SingleComputation
from torch_heads.computation.target import Target
from torch_heads.families.family import (
    NO_BALANCE,
    ClassBalance,
    Counts,
    Family,
    Statistic,
    check_family,
)
from torch_heads.functional.arguments import (
    MissingLabel,
    check_count,
    check_flag,
    check_missing_label,
    check_vocabulary,
    check_weight_column,
)
from torch_heads.functional.class_names import opened_names
from torch_heads.functional.containers import opened
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.forms import is_text, shape_by_name, shape_of
from torch_heads.functional.gap_rows import widened
from torch_heads.functional.labels import MISSING_NAME
from torch_heads.functional.missing import Missing, each_missing
from torch_heads.functional.number_lists import check_thresholds
from torch_heads.functional.reductions import Reduction
from torch_heads.functional.tensors import to_tensor
from torch_heads.functional.values import check_columns, check_values
from torch_heads.functional.weights import WeightColumn
from torch_heads.heads.metric_owner import Labels
from torch_heads.heads.prior_owner import PriorOwner
from torch_heads.heads.spec import ExportOutput, PredictOutput, RegressionOutput
from torch_heads.metrics.asked import Asked
from torch_heads.metrics.kept import KeptMetrics, kept_metrics
from torch_heads.metrics.readable import Readable
from torch_heads.metrics.readings.means import Coverage
from torch_heads.metrics.readings.reading import Reading
from torch_heads.metrics.readings.usual import usual_readings


class TensorHead(PriorOwner):
    r"""The head of a single target, from a family; what heads of one's own extend.

    As it is, it takes numbers as labels, predicts ``predictions``, the family's mean, and
    ``logits``, and keeps the metrics of what its family counts. A subclass may say more by
    `predicted`, `readings`, `encode_labels` and `export_outputs`; all else follows, fused with
    other heads of an equal family under a `MultiHead`.

    Shapes: logits ``[D0, ..., DN, label_dimension * P]``, where ``P`` is how many logits a label
    has in this family, and those of one label stand side by side; labels
    ``[D0, ..., DN, label_dimension]``, which may lack the last dimension where it is 1.

    Args:
        family: the distribution of each label.
        label_dimension: how many label columns there are.
        weight_column: the key of the example weights in ``features``, or a callable of them.
        loss_reduction: see `Reduction`.
        loss_fn: a loss ``[D*, label_dimension]`` of one's own, in place of the family's; of
            ``labels`` and ``logits``, or with PyTorch's arguments ``input`` and ``target``.
        label_vocabulary: the names of the classes, which labels may be in place of class ids, where
            the family takes these; else of the label columns.
        name: the suffix of the metric keys; required under a `MultiHead`.
        missing_label: the label that means "not labelled", or a list of these. With it, what is
            NaN, None, NA or masked is missing, too.
        thresholds: of scores, at which to keep metrics.
        metrics: which to keep beside the usual ones: names, readings of `torch_heads.metrics`,
            `torchmetrics.Metric`\ s (`torch_heads.metrics.Torchmetric` says what these are fed), or
            a list, or a dict by key, of these; ``"all"`` for every reading that needs nothing more
            to be kept.
        fine: whether scores are also cut finely by their logit, of which rare events need it;
            without, the state of a column takes a quarter of the memory.

    Raises:
        ValueError: if an argument's value is not allowed.
        TypeError: if its type is not.

    >>> from torch_heads import MultiHead
    >>> from torch_heads.families.poisson import Poisson
    >>> class VisitsHead(TensorHead):
    ...     def __init__(self, **options):
    ...         super().__init__(Poisson(full=False), **options)
    >>> head = MultiHead([VisitsHead(name="monday"), VisitsHead(name="sunday", missing_label=-1)])
    >>> head.loss({"monday": [1], "sunday": [-1]}, torch.zeros(1, 2))
    tensor(1.)
    """

    string_keys: tuple[str, ...] = ()
    # how a class of heads departs from the usual
    _counts: Counts | None = None  # what metrics count, where that is not what the family says
    _averages = False  # whether an example's loss is the mean over its columns
    _has_column_axis = True  # whether several numbers per label keep an axis of columns
    _regularized_after: str | None = "label/mean"

    @abstractmethod  # a head is a subclass, whose constructor has the arguments that it takes
    def __init__(
        self,
        family: Family,
        label_dimension: int = 1,
        *,
        weight_column: WeightColumn = None,
        loss_reduction: str = "sum_over_batch_size",
        loss_fn: LossFn | None = None,
        label_vocabulary: Sequence[str] | None = None,
        name: str | None = None,
        missing_label: MissingLabel = None,
        thresholds: Iterable[float] | None = None,
        metrics: Asked = None,
        fine: bool = True,
    ) -> None:
        super().__init__(name)
        self.family = check_family(self.title, family)
        self.label_dimension = check_count(self.title, "label_dimension", label_dimension, 1)
        self.weight_column = check_weight_column(self.title, weight_column)
        self._reduction = Reduction.parse(self.title, loss_reduction)
        self.loss_fn = loss_fn
        self.label_vocabulary = check_vocabulary(
            self.title, label_vocabulary, self._number_of_names()
        )
        self.missing_label = check_missing_label(
            self.title,
            missing_label,
            self.label_vocabulary,
            family.given_range,
            whole=family.takes_ids,
        )
        self.thresholds = check_thresholds(self.title, thresholds)
        self.fine = check_flag(self.title, "fine", fine)
        # in a list, a metric is no module of the head
        self._asked_metrics = [metrics] if isinstance(metrics, nn.Module) else metrics

    # What a subclass may say.

    @property
    def predicted(self) -> Mapping[str, Statistic]:
        """What is predicted, by key: methods of the family, or functions of family and logits.

        They are given the logits ``[D*, U, *logits_shape]`` of many heads' labels side by side, and
        return ``[D*, U]``, or ``[D*, U, k]`` for several numbers per label.
        """
        return {"predictions": type(self.family).mean, "logits": Family.logits}

    def readings(self) -> Iterator[tuple[str, Reading]]:
        """Yield the metrics by key, without the head's name."""
        counts = self._counts or self.family.counts
        yield from usual_readings(counts, self.thresholds, self.fine)

    def _metric_class_names(self) -> Sequence[str]:
        """Return the names of the classes in metric keys; empty where there are no classes."""
        return ()

    @leaves_dense
    def encode_labels(
        self, labels: Labels, leading: torch.Size, device: torch.device, mask: Tensor | None = None
    ) -> Tensor:
        """Return labels as numbers ``[D*, labels_dimension]``, of any dtype.

        Their range is checked afterwards. Missing labels are as `missing_label` says, or NaN; a
        subclass that goes on with the numbers of this method gets NaN for these, but for class
        ids.

        Args:
            labels: in any form that the head takes.
            leading: ``D*``, the shape of the batch.
            device: of the logits.
            mask: ``[D*]``, False where a row is padding, and anything may stand.

        Raises:
            ValueError: if they are not what the head takes.
        """
        numbers = self._numbers(labels, device, mask)
        width = self.label_dimension * self.family.numbers_per_label
        if not isinstance(labels, Tensor):
            numbers = widened(numbers, leading, width)
        return check_columns(self.title, "labels", numbers, leading, width)

    @property
    def _takes_names(self) -> bool:
        """Whether a label may be the name of a class, in place of its id."""
        return self.family.takes_ids

    def _numbers(self, labels: Labels, device: torch.device, mask: Tensor | None) -> Tensor:
        """Return labels as a tensor, with NaN where there are none, if any may be missing.

        Class names are returned as ids.
        """
        if self._takes_names and not isinstance(labels, Tensor):
            names, missing = self.label_vocabulary, self.missing_label
            labels, ids = opened_names(self.title, labels, names, missing, mask)
            if ids is not None:
                return ids.to(device)
        may_miss = self.missing_label is not None
        numbers = to_tensor(self.title, "labels", labels, device, may_miss, mask)
        if not may_miss or self.family.takes_ids or self._leaves_dense:
            return numbers
        present = self._missing().present(numbers)
        floats = numbers if numbers.is_floating_point() else numbers.double()
        return floats.masked_fill(~present, nan)

    @property
    def _leaves_dense(self) -> bool:
        """Whether the head's labels may be taken as they are, where they are dense numbers."""
        return getattr(self.encode_labels, "leaves_dense", False)

    def string_predictions(self, predictions: Mapping[str, Tensor]) -> Mapping[str, Any]:
        """Return the predictions by `string_keys`, NumPy arrays, from those that are tensors."""
        return {}

    def export_outputs(self, predictions: Mapping[str, Any]) -> dict[str, ExportOutput]:
        """Return the regression, and all predictions."""
        value = RegressionOutput(predictions["predictions"])
        return {
            "serving_default": value,
            "regression": value,
            "predict": PredictOutput(predictions),
        }

    def _class_balance(self, device: torch.device) -> ClassBalance:
        """Return the corrections of class imbalance, one per logit, on a device."""
        return NO_BALANCE

    def _smoothing(self) -> float:
        """Return how far labels move to the mean of all in the loss."""
        return 0.0

    # What follows from it.

    def to_logits(self, predictions: Any) -> Tensor:
        """Return logits ``[D*, logits_dimension]`` of which these are the predictions.

        Args:
            predictions: a dict with the mean (``predictions``, or what the head calls it), or the
                mean itself.

        Raises:
            ValueError: if the mean is not among them, or is none of the family's: a probability
                outside of [0, 1].
            TypeError: if the mean does not tell the logits.

        >>> from torch_heads import PoissonRegressionHead
        >>> PoissonRegressionHead().to_logits({"predictions": torch.tensor([[1.0]])})
        tensor([[0.]])
        """
        mean = type(self.family).mean
        key = next((key for key, statistic in self.predicted.items() if statistic is mean), "mean")
        if isinstance(predictions, Mapping):
            if key not in predictions:
                given = preview(predictions)
                raise ValueError(unexpected(self.title, "predictions", f"with {key!r}", given))
            predictions = predictions[key]
        argument = f"predictions[{key!r}]"
        means = to_tensor(self.title, argument, predictions)
        if not means.is_floating_point():
            raise ValueError(unexpected(self.title, argument, "to be floating", means.dtype))
        logits = self.family.link(means)
        low, high = self.family.mean_range
        high *= 1 + 4 * torch.finfo(means.dtype).eps  # an average of ones may round to more
        check_values(self.title, argument, torch.where(means.isnan(), low, means), low, high)
        if self.family.logits_shape and not self.family.takes_ids:
            logits = logits.flatten(-2)
        width = self.logits_dimension
        if logits.shape[-1:] != (width,):
            expected = f"that tell logits of shape [D0, ..., DN, {width}]"
            raise ValueError(unexpected(self.title, "predictions", expected, [*logits.shape]))
        return self._before_prior(logits)

    def _kept_metrics(self) -> KeptMetrics:
        """Return the metrics that it has: the usual ones, and those that were asked for."""
        usual = dict(self.readings())
        if self.missing_label is not None:
            usual["label/coverage"] = Coverage()
        head = Readable(
            self.title,
            self._counts or self.family.counts,
            self.label_dimension,
            self._number_of_names() if self.family.takes_ids else 0,
            self._metric_class_names(),
            self.family.counts is Counts.SCORES,
            self.family.quantile_range,
            self.loss_fn is not None,
            sorted(self.thresholds),
            self.fine,
            usual,
        )
        return kept_metrics(head, self._asked_metrics)

    def _make_computation(self) -> Computation:
        kept = self._kept_metrics()
        after = self._regularized_after
        return SingleComputation(
            Target(
                title=self.title,
                name=self.name,
                kind=type(self).__name__,
                label_vocabulary=self.label_vocabulary,
                family=self.family,
                columns=self.label_dimension,
                averages=self._averages,
                has_column_axis=self._has_column_axis,
                reduction=self._reduction,
                missing=self._missing(),
                weight_column=self.weight_column,
                label_smoothing=self._smoothing(),
                bins=kept.bins,
                counts=self._counts or self.family.counts,
                readings=kept.readings,
                torchmetrics=kept.torchmetrics,
                asked=kept.asked,
                class_names=self._metric_class_names(),
                regularized_after=after if after in kept.readings else None,
                predicted=dict(self.predicted),
                string_keys=self.string_keys,
                encode_labels=self._encoded,
                leaves_dense=self._leaves_dense,
                predict_strings=self.string_predictions,
                class_balance=self._class_balance,
                prior=self._prior,
                keep_prior=self._keep_prior,
                loss_fn=self._custom_loss(),
            )
        )

    def _custom_loss(self) -> CustomLoss | None:
        """Return the loss of one's own; None without."""
        if self.loss_fn is None:
            return None
        return CustomLoss(
            self.title,
            self.loss_fn,
            self._reduction,
            columns=self.label_dimension,
            loss_columns=1 if self._averages else self.label_dimension,
            takes_ids=self.family.takes_ids,
            may_miss=self.missing_label is not None,
        )

    def _batch_shape(self, labels: Labels, features: Features | None) -> tuple[int, ...]:
        columns = self.label_dimension * self.family.numbers_per_label
        by_name = isinstance(labels, Mapping)
        shape = (shape_by_name(labels) if labels else ()) if by_name else shape_of(labels)
        if not shape:
            expected, given = "with a dimension of examples", type(labels).__name__
            raise ValueError(unexpected(self.title, "labels", expected, given))
        if len(shape) == 1 or by_name:
            return shape
        if shape[-1] == columns:
            return shape[:-1]
        wide = self.family.takes_ids and shape[-1] == self.family.logits_per_label
        if wide and not is_text(opened(labels)):
            numbers = to_tensor(self.title, "labels", labels)
            if numbers.is_floating_point():  # class probabilities
                return shape[:-1]
        return shape[:1] if columns > 1 else shape

    def _encoded(
        self, labels: Labels, leading: torch.Size, device: torch.device, mask: Tensor | None = None
    ) -> Tensor:
        """Return what `encode_labels` makes of labels in any form, float8 among them."""
        (target,) = self.computation.targets
        numbers = self.encode_labels(target.missing.widened(labels), leading, device, mask)
        if target.leaves_dense or numbers.shape == (*leading, target.logits):
            return numbers
        what = "labels, as encode_labels returns them,"
        return check_columns(self.title, what, numbers, leading, target.given_columns)

    def _number_of_names(self) -> int:
        """Return how many names a vocabulary has."""
        family = self.family
        return int(family.highest) + 1 if family.takes_ids else self.label_dimension

    def _missing(self) -> Missing:
        given = each_missing(self.missing_label)
        values = {one: None for one in given if not isinstance(one, str) and not isnan(one)}
        if given and self.label_vocabulary is not None:
            values[MISSING_NAME] = None
        # whatever is masked or None is NaN
        return Missing(*values, *([nan] if given else []))

    def extra_repr(self) -> str:
        """Return what tells this head from others of its class."""
        name = f"name={self.name!r}, " if self.name else ""
        return f"{name}logits_dimension={self.label_dimension * self.family.logits_per_label}"
