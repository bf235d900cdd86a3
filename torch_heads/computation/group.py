"""A group: targets of one family side by side, with one kernel for their losses and one tally."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

from torch_heads.computation.balance import GroupBalance
from torch_heads.computation.encoder import Encoder, Labels
from torch_heads.computation.feed import Feed
from torch_heads.computation.inputs import ArrangedLogits, EncodedBatch, Features, Inputs
from torch_heads.computation.layout import Bucket, LogitLayout
from torch_heads.computation.places import slices
from torch_heads.computation.predictor import Predictor
from torch_heads.computation.prior import GroupPrior
from torch_heads.computation.ragged import join_ragged
from torch_heads.computation.reducer import UNWEIGHTED, ElementWeights, Reducer
from torch_heads.computation.target import Target
from torch_heads.families.family import NO_BALANCE, ClassBalance, Counts
from torch_heads.functional.errors import unexpected
from torch_heads.functional.values import (
    active_labels,
    are_finite,
    both,
    check_logits,
    is_nan,
    rows_of,
    sum_rows,
    zero_where_false,
)
from torch_heads.metrics.counted import Counted, make_tally
from torch_heads.metrics.counters.counter import TallyInput
from torch_heads.metrics.tally import Tally
from torch_heads.metrics.update_signature import UpdateCall


class GroupOutput(NamedTuple):
    """What a group makes of a batch.

    Attributes:
        losses: the reduced loss of each target, ``[H]``; a scalar of one may have no axis.
        tally_input: what its tally takes; None where it was not asked for.
        has_labels: which targets have any label, ``[H]``; None for all.
        divisors: what the losses were divided by, ``[H]``, 1 for sums; None where not asked for.
        calls: the updates of the metrics of torchmetrics' own, None for none, each with the place
            of its target.
    """

    losses: Tensor
    tally_input: TallyInput | None = None
    has_labels: Tensor | None = None
    divisors: Tensor | None = None
    calls: Sequence[tuple[int, UpdateCall | None]] = ()


class Group:
    """The losses and the tally of one target, or of many of one family.

    Args:
        targets: at least one, in the order of `layout.in_buckets`. Of several, each `fuses`.
    """

    def __init__(self, targets: Sequence[Target]) -> None:
        self.targets = tuple(targets)
        self.family = targets[0].family
        self.layout = LogitLayout(self.targets)
        #: What is known of the labels before any input is seen.
        self.prior = GroupPrior(self.targets, self.layout)
        self.predictor = Predictor(self.targets, self.layout, self.prior)
        self._widths = [(target.title, target.logits) for target in targets]
        #: The label columns of each target.
        self.columns = slices([target.columns for target in targets])
        self._encoder = Encoder(self.targets)
        self._balance = GroupBalance(self.targets, self.layout)
        self._reducer = Reducer(self.targets)
        buckets = [
            (place, bucket)
            for place, bucket in enumerate(self.layout.buckets)
            for _ in range(bucket.targets.start, bucket.targets.stop)
        ]
        each = zip(targets, self.columns, buckets, strict=True)
        self._feeds = [
            (i, Feed(target, key, columns, bucket))
            for i, (target, columns, bucket) in enumerate(each)
            for key in target.torchmetrics
        ]
        self._loss_fn = targets[0].loss_fn
        self._unbounded = targets[0].family.lowest == -inf  # so that no range says what NaN is
        self._shape = self.layout.buckets[0].shape

    def encode(self, inputs: Inputs) -> EncodedBatch:
        """Return a batch, checked.

        Args:
            inputs: of all targets.

        Raises:
            ValueError: by the title of the target whose input is not what it takes.
        """
        given = inputs.logits
        parts: Tensor | Sequence[Tensor]
        if isinstance(given, ArrangedLogits):
            parts, like = given.parts, given.parts[0]
        else:
            each = [
                check_logits(who, own, width)
                for (who, width), own in zip(self._widths, given, strict=True)
            ]
            parts = like = each[0]
            if len(each) > 1 or inputs.mask is not None or isinstance(inputs.labels, Tensor):
                leading = [own.shape[:-1] for own in each]
                ragged = any(own != leading[0] for own in leading[1:])
                inputs = self._fitting(inputs, leading, ragged)
                if ragged:
                    return self._encode_ragged(inputs, each)
                parts = like = each[0] if len(each) == 1 else torch.cat(each, dim=-1)
        labels, weights = self._encoder.encode(inputs, like)
        return self._batch(parts, labels, weights, inputs.features)

    def _fitting(self, inputs: Inputs, leading: Sequence[torch.Size], ragged: bool) -> Inputs:
        """Return inputs of targets whose logits by name have these batch shapes.

        Raises:
            ValueError: by the title of the first one that has another one than the mask.
        """
        mask, labels = inputs.mask, inputs.labels
        for (who, width), own in zip(self._widths, leading, strict=True):
            if mask is not None and own != mask.shape:
                expected = f"of the shape of the mask, {[*mask.shape, width]}"
                raise ValueError(unexpected(who, "logits", expected, [*own, width]))
        if isinstance(labels, Tensor) and (ragged or labels.shape[:-1] != leading[0]):
            # apart, so that the target whose logits they do not fit says so
            return inputs._replace(labels=torch.split(labels, self._encoder.sizes, dim=-1))
        return inputs

    def _batch(
        self,
        parts: Tensor | Sequence[Tensor],
        labels: Labels,
        weights: Tensor | None,
        features: Features | None = None,
    ) -> EncodedBatch:
        """Return a batch, with zeros in place of logits that could do harm where none counts."""
        logits = self._blocks(parts)
        present = both(labels.present, labels.valid)
        active = active_labels(weights, present)
        if active is not None and not (self.family.finite and all(map(are_finite, logits))):
            each = zip(logits, self.layout.buckets, strict=True)
            masks = [(block, self._of_block(active, bucket)) for block, bucket in each]
            # a loss_fn may look at rows that do not count
            looks = self._loss_fn is not None
            logits = [
                zero_where_false(block, keep | block.isfinite() if looks else keep)
                for block, keep in masks
            ]
        if self.prior.known is not False:
            logits = self.prior.apply(logits)
        probabilities = None
        if labels.probabilities is not None:
            probabilities = self.layout.fill(self.layout.blocks(labels.probabilities), 0.0)
        if self.layout.padded:
            logits = self.layout.fill(logits)
        return EncodedBatch(
            logits, labels.values, weights, present, labels.valid, probabilities, features
        )

    def _blocks(self, parts: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
        """Return logits ``[D*, C]``, or those of each bucket, as `LogitLayout.blocks` does."""
        if len(self.layout.buckets) > 1 or (self.layout.padded and isinstance(parts, Tensor)):
            return self.layout.blocks(parts)
        (part,) = [parts] if isinstance(parts, Tensor) else parts
        if not self._shape[1:]:
            return [part]
        return [part.unflatten(-1, self._shape)]  # type: ignore[no-untyped-call]

    def _of_block(self, mask: Tensor, bucket: Bucket) -> Tensor:
        """Return a mask ``[D*, U]`` or ``[D*, 1]`` for the logits of a bucket."""
        own = mask if mask.shape[-1] == 1 else mask[..., bucket.columns]
        return own.unsqueeze(-1) if bucket.shape[1:] else own

    def _encode_ragged(self, inputs: Inputs, logits: Sequence[Tensor]) -> EncodedBatch:
        """Encode targets of different batch shapes one by one; short ones are padded by rows."""
        each = []
        for i, target in enumerate(self.targets):
            weights = None if inputs.weights is None else [inputs.weights[i]]
            own = inputs._replace(labels=[inputs.labels[i]], weights=weights)
            each.append(Encoder([target]).encode(own, logits[i]))
        return self._batch(*join_ragged(logits, each))

    def measure(
        self,
        batch: EncodedBatch,
        observe: bool = False,
        divisors: Tensor | None = None,
        divide: bool = False,
    ) -> GroupOutput:
        """Return each target's reduced loss and, if asked, what the tally takes from the batch.

        Args:
            batch: the batch.
            observe: whether to return what the tally takes, too.
            divisors: ``[H]``, what to divide by instead of what `divisors` returns of this batch.
            divide: whether to return the divisors of this batch, too.
        """
        balance = self._balance.buckets(batch.labels.device) if self._balance.any else None
        rows = batch.labels.shape[:-1].numel()
        weights = UNWEIGHTED
        if batch.present is not None or batch.weights is not None or balance is not None:
            weights = self._element_weights(batch, balance)
        means = None
        if len(self.targets) == 1 and not observe and self._is_plain(batch):
            logits, labels, present = batch.logits[0], batch.labels, batch.present
            if present is None:
                means = self.family.mean_loss(logits, labels)
            elif labels.shape[-1] == 1 and self.family.mean_where is not None:
                means = self.family.mean_where(logits, labels, present)
        if means is None:
            sums = weighted_sums(self._losses(batch, balance), weights.loss)
            means = self._reducer.target_means(sums / max(rows, 1))
        losses = self._reducer.reduce(means, rows, weights, divisors)
        if self._unbounded and is_nan(losses):
            self._encoder.refuse_nan(batch.labels)
        own = self._divisors(rows, weights, means) if divide else None
        if not observe:
            return GroupOutput(losses, divisors=own)
        if balance is not None:  # metrics are not balanced
            sums = weighted_sums(self._losses(batch, None), weights.loss)
        seen = self._tally_input(batch, sums, weights.loss)
        has_labels = None
        if seen.present is not None:
            has_labels = self._reducer.means_over_rows(seen.present.to(sums.dtype)) > 0
        elif rows == 0:
            has_labels = torch.zeros_like(means, dtype=torch.bool)
        calls = [(i, feed.call(batch)) for i, feed in self._feeds]
        return GroupOutput(losses, seen, has_labels, own, calls)

    def total_loss(self, batch: EncodedBatch) -> Tensor:
        """Return the sum of the losses of all targets; where each is a plain mean, by one kernel.

        The means over as many elements each add up to a multiple of the mean over all of them.
        """
        size = self._reducer.columns_of_means if len(self.targets) > 1 else None
        if size is None or batch.present is not None or not self._is_plain(batch):
            losses = self.measure(batch).losses
            return losses.sum() if losses.dim() else losses
        each = zip(batch.logits, self._labels_of_buckets(batch), strict=True)
        sums = [self.family.mean_loss(*own) * (own[1].shape[-1] / size) for own in each]
        total = sums[0] if len(sums) == 1 else torch.stack(sums).sum()
        if self._unbounded and is_nan(total):
            self._encoder.refuse_nan(batch.labels)
        return total

    def _is_plain(self, batch: EncodedBatch) -> bool:
        """Return whether the losses of a batch are those of the family, and all count alike."""
        known = self._balance.any or self._loss_fn is not None
        given = batch.weights is not None or batch.probabilities is not None
        return not (known or given) and batch.labels.numel() > 0

    def _labels_of_buckets(self, batch: EncodedBatch) -> list[Tensor]:
        """Return the labels ``[D*, B]`` that belong to the logits of each bucket."""
        buckets = self.layout.buckets
        if len(buckets) == 1:
            return [batch.labels]
        return [batch.labels[..., bucket.columns] for bucket in buckets]

    def divisors(self, batch: EncodedBatch) -> Tensor:
        """Return what each target's loss is divided by, ``[H]``; 1 under the reduction ``sum``."""
        balance = self._balance.buckets(batch.labels.device) if self._balance.any else None
        weights = self._element_weights(batch, balance)
        return self._divisors(batch.labels.shape[:-1].numel(), weights, batch.logits[0])

    def average_losses(self, batch: EncodedBatch) -> tuple[Tensor, Tensor]:
        """Return the sums of the weighted losses of each column at the prior, and of the weights.

        The logits of the batch do not matter.
        """
        leading, labels = batch.labels.shape[:-1], batch.labels
        zeros = [
            torch.zeros((*leading, *bucket.shape), dtype=torch.float64, device=labels.device)
            for bucket in self.layout.buckets
        ]
        at_prior = batch._replace(logits=self.layout.fill(self.prior.apply(zeros)))
        weights = self._element_weights(at_prior, None).loss
        losses = self._losses(at_prior, None)
        ones = torch.ones_like(losses)
        return weighted_sums(losses, weights), weighted_sums(ones, weights)

    def _divisors(self, rows: int, weights: ElementWeights, like: Tensor) -> Tensor:
        return self._reducer.divisors(rows, weights, like.new_ones(len(self.targets)))

    def tally(self) -> Tally:
        """Return a new tally of this group's columns."""
        counted = [
            Counted(columns, target.needs, target.bins, target.n_classes, target.time_shapes)
            for target, columns in zip(self.targets, self.columns, strict=True)
        ]
        blocks = [bucket.shape[0] for bucket in self.layout.buckets]
        return make_tally(counted, blocks, self.family.takes_ids)

    def _losses(self, batch: EncodedBatch, balance: Sequence[ClassBalance] | None) -> Tensor:
        """Return the loss of each label, ``[N, U]``."""
        labels, buckets = batch.labels, self.layout.buckets
        if self._loss_fn is not None:
            losses = self._loss_fn(batch)
            losses = zero_where_false(losses, active_labels(batch.weights, batch.present))
            return rows_of(losses).expand(-1, labels.shape[-1])
        if batch.probabilities is not None:
            balances = balance or [NO_BALANCE] * len(buckets)
            soft = zip(batch.logits, batch.probabilities, balances, strict=True)
            parts = [self.family.soft_loss(*own) for own in soft]
        else:
            pairs = zip(batch.logits, self._labels_of_buckets(batch), strict=True)
            if balance is None:
                parts = [self.family.loss(*own) for own in pairs]
            else:
                parts = [
                    self.family.balanced_loss(*own, corrections)
                    for own, corrections in zip(pairs, balance, strict=True)
                ]
        return rows_of(parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1))

    def _element_weights(
        self, batch: EncodedBatch, balance: Sequence[ClassBalance] | None
    ) -> ElementWeights:
        """Return what each label of the batch counts."""
        share = weights = None
        if batch.present is not None:
            share = self._reducer.shares(rows_of(batch.present).to(batch.logits[0].dtype))
        if batch.weights is not None:
            weights = rows_of(batch.weights)
        loss = norm = product(share, weights)
        if balance is not None and batch.probabilities is None:
            own = [
                self.family.label_weights(batch.labels[..., bucket.columns], one)
                for bucket, one in zip(self.layout.buckets, balance, strict=True)
            ]
            given = [one for one in own if one is not None]
            if given:
                norm = product(loss, rows_of(torch.cat(given, dim=-1)))
        return ElementWeights(share, loss, norm)

    def _tally_input(
        self, batch: EncodedBatch, loss_sums: Tensor, loss_weights: Tensor | None
    ) -> TallyInput:
        """Return what the tally takes of a batch, a row per example."""
        masks = batch.weights, batch.present, batch.valid
        weights, present, valid = (None if one is None else rows_of(one) for one in masks)
        family, inner = self.family, batch.labels.dim() - 1
        logits = [block if inner == 1 else block.flatten(0, inner - 1) for block in batch.logits]
        # a link of the user's sees the logits as they came
        each = [family.observed(block) for block in batch.logits]
        predictions = rows_of(each[0] if len(each) == 1 else torch.cat(each, dim=-1))
        if not family.finite:
            # what does not count is 0, of which a link such as 1 / z makes an infinity
            predictions = zero_where_false(predictions, active_labels(weights, present))
        seen = None if present is None else product(present.to(predictions.dtype), weights)
        return TallyInput(
            rows_of(batch.labels),
            predictions,
            loss_sums,
            family,
            logits,
            loss_weights,
            weights if seen is None else seen,
            present,
            valid,
            family.log_odds(logits[0], predictions) if family.counts is Counts.SCORES else None,
        )


def weighted_sums(values: Tensor, weights: Tensor | None) -> Tensor:
    """Return the sum over rows of ``[N, U]`` weighted values."""
    return sum_rows(values if weights is None else values * weights)


def product(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Return the product of two factors, of which None is 1."""
    if first is None or second is None:
        return second if first is None else first
    return first * second
