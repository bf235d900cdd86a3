"""The priors of all targets of a head, from the sums of what their labels are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import torch
from torch import Tensor, distributed

from torch_heads.computation.computation import Computation
from torch_heads.computation.group import Group
from torch_heads.computation.inputs import EncodedBatch, Inputs
from torch_heads.computation.target import Target, TargetPrior
from torch_heads.functional.errors import unexpected
from torch_heads.functional.values import rows_of, safe_divide

#: By the id of a target: the sums ``[columns, S]`` of its moments, and those of its weights.
Sums = dict[int, tuple[Tensor, Tensor]]

ONE_HOT = (
    "One-hot labels are class ids by labels.argmax(-1), probabilities by .float(); if these are "
    "ids, give labels.flatten()."
)


class PriorFit:
    """Adds up the moments of the labels of a head's targets, and then their losses at the prior.

    The labels are kept until then, as numbers.
    """

    def __init__(self, computation: Computation) -> None:
        self._computation = computation
        self._batches: list[list[EncodedBatch]] = []
        self._sums: Sums = {}

    def add(self, inputs: Inputs) -> None:
        """Add a batch, whose logits are zeros in float64.

        Raises:
            ValueError: if the batch is not what the head takes.
        """
        batches = self._computation.encode(inputs)
        for group, batch in zip(self._computation.groups, batches, strict=True):
            refuse_one_hot(group, batch)
        self._add(self._sums, batches)
        self._batches.append(batches)

    def keep(self) -> None:
        """Give each target its prior, and the loss at it; of all processes together.

        Raises:
            TypeError: if the mean of a family's labels does not tell its logits.
            ValueError: if there was no label.
        """
        targets = self._computation.targets
        lacking = torch.tensor(not self._batches, dtype=torch.float64, device="cpu")
        if self._over_processes([lacking])[0]:  # or the others would wait for the sums of this one
            expected = "with at least one batch"
            given = "none in another process" if self._batches else "none"
            raise ValueError(unexpected(self._computation.title, "labels", expected, given))
        means, counts = self._means()
        if not any(count.any() for count in counts):
            expected, given = "with at least one that is there and weighs", "none"
            raise ValueError(unexpected(self._computation.title, "labels", expected, given))
        triples = zip(targets, means, counts, strict=True)
        priors = [prior_of(target, mean, count) for target, mean, count in triples]
        before = [target.prior() for target in targets]
        try:
            losses = self._losses_at(priors)
        except BaseException:
            self._give(before)
            raise
        for target, prior, loss in zip(targets, priors, losses, strict=True):
            target.keep_prior(prior._replace(loss=loss))

    def _add(
        self,
        to: Sums,
        batches: Sequence[EncodedBatch],
        around: Mapping[int, Tensor] | None = None,
    ) -> None:
        for group, batch in zip(self._computation.groups, batches, strict=True):
            for target, sums, counts in moments(group, batch, around):
                before = to.get(id(target))
                to[id(target)] = (
                    (sums, counts) if before is None else (before[0] + sums, before[1] + counts)
                )

    def _means(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return the means of the moments of each target, and its sums of weights."""
        first, counts = self._means_of(self._sums)
        # the mean of what remains takes rounding away: that of equal labels is the label itself
        targets = self._computation.targets
        around = {id(target): mean for target, mean in zip(targets, first, strict=True)}
        rest: Sums = {}
        for batches in self._batches:
            self._add(rest, batches, around)
        return [a + b for a, b in zip(first, self._means_of(rest)[0], strict=True)], counts

    def _means_of(self, sums: Sums) -> tuple[list[Tensor], list[Tensor]]:
        each = [part for t in self._computation.targets for part in sums[id(t)]]
        totals = self._over_processes(each)
        pairs = zip(totals[::2], totals[1::2], strict=True)
        return [safe_divide(one, count.unsqueeze(-1)) for one, count in pairs], totals[1::2]

    def _give(self, priors: Sequence[TargetPrior | None]) -> None:
        for target, prior in zip(self._computation.targets, priors, strict=True):
            target.keep_prior(prior)
        self._computation.renew_priors()

    def _losses_at(self, priors: Sequence[TargetPrior]) -> list[Tensor]:
        """Return the average loss of each target at its prior, which it is given."""
        targets = self._computation.targets
        self._give(priors)
        losses = {id(t): torch.zeros(2, dtype=torch.float64, device="cpu") for t in targets}
        for batches in self._batches:
            for group, batch in zip(self._computation.groups, batches, strict=True):
                sums, counts = group.average_losses(batch)
                for target, columns in zip(group.targets, group.columns, strict=True):
                    own = torch.stack([sums[columns].sum(), counts[columns].sum()])
                    losses[id(target)] += own.cpu()
        each = self._over_processes([losses[id(target)] for target in targets])
        return [torch.where(count > 0, total / count, torch.nan) for total, count in each]

    def _over_processes(self, sums: list[Tensor]) -> list[Tensor]:
        """Return sums, added over all processes, on the CPU."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return [one.cpu() for one in sums]
        joined = torch.cat([one.flatten() for one in sums])
        if distributed.get_backend() == "nccl":
            joined = joined.cuda()
        distributed.all_reduce(joined)
        parts = torch.split(joined.cpu(), [one.numel() for one in sums])
        return [part.view(one.shape) for part, one in zip(parts, sums, strict=True)]


def refuse_one_hot(group: Group, batch: EncodedBatch) -> None:
    """Refuse what is one-hot in place of class ids, which may be ids of two dimensions, too.

    Sequences that are padded, by a mask or by missing labels, have two.

    Raises:
        ValueError: by the title of the target.
    """
    labels, known = batch.labels, batch.valid is not None or batch.probabilities is not None
    if known or labels.dim() != 3 or not labels.numel():
        return
    for target, columns in zip(group.targets, group.columns, strict=True):
        if target.family.takes_ids and labels.shape[1] == target.family.highest + 1:
            ids = labels[..., columns]
            if batch.present is not None:
                ids = ids.where(batch.present[..., columns], -1)
            if bool((((ids == 0) | (ids == 1)).all(1) & (ids.sum(1) == 1)).all()):
                given = f"what is one-hot, of shape {[*labels.shape[:2]]}"
                raise ValueError(unexpected(target.title, "labels", "as class ids", given, ONE_HOT))


def moments(
    group: Group, batch: EncodedBatch, around: Mapping[int, Tensor] | None
) -> Iterator[tuple[Target, Tensor, Tensor]]:
    """Yield each target of a group with its sums ``[columns, S]``, and those of its weights.

    Args:
        group: the group.
        batch: a batch of it.
        around: by the id of a target, what is taken from its moments, ``[columns, S]``.
    """
    labels = rows_of(batch.labels)
    weights = torch.ones(labels.shape, dtype=torch.float64, device=labels.device)
    for factor in (batch.present, batch.weights):
        weights = weights if factor is None else weights * rows_of(factor)
    members = zip(group.targets, group.columns, strict=True)
    for family, run in groupby(members, key=lambda one: one[0].family):
        own = [*run]
        start, stop = own[0][1].start, own[-1][1].stop
        if batch.probabilities is None:
            each = family.moments(labels[:, start:stop])
        else:
            each = probabilities(group, batch, start, stop)[..., : family.logits_per_label]
        each = each.double()
        if around is not None:
            each = each - torch.cat([around[id(target)] for target, _ in own]).to(each.device)
        sums = (each * weights[:, start:stop, None]).sum(0)
        counts = weights[:, start:stop].sum(0)
        for target, columns in own:
            place = slice(columns.start - start, columns.stop - start)
            yield target, sums[place].cpu(), counts[place].cpu()


def probabilities(group: Group, batch: EncodedBatch, start: int, stop: int) -> Tensor:
    """Return the class probabilities of label columns of one family, ``[N, U, K]``."""
    assert batch.probabilities is not None
    buckets = [bucket.columns for bucket in group.layout.buckets]
    place = next(i for i, columns in enumerate(buckets) if start < columns.stop)
    first = buckets[place].start
    return batch.probabilities[place].flatten(0, -3)[:, start - first : stop - first]


def prior_of(target: Target, means: Tensor, counts: Tensor) -> TargetPrior:
    """Return the prior of a target, without its loss; nothing where a column has no labels.

    Raises:
        TypeError: by the title of the target, if its family does not tell it.
        ValueError: by the title, if a label is not finite.
    """
    if not means.isfinite().all():
        raise ValueError(unexpected(target.title, "labels", "to be finite", "some that are not"))
    try:
        prior = target.family.prior(means, counts)
    except TypeError as error:
        raise TypeError(f"{target.title}: no prior. {error}") from None
    known = (counts > 0).view(-1, *[1] * len(target.family.logits_shape))
    total = counts.sum()
    return TargetPrior(
        torch.where(known, prior.offset, 0.0).flatten(),
        torch.where(known, prior.scale, 1.0).flatten(),
        counts.new_full((), torch.nan),
        safe_divide((prior.origin * counts).sum(), total),
    )
