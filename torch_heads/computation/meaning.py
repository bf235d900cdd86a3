"""What the states of a head mean: its heads by name and order, their families and vocabularies.

It stands in a checkpoint as one tensor of bytes, so that every format of tensors keeps it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Self

import torch
from torch import Tensor

from torch_heads.computation.computation import Computation
from torch_heads.computation.target import Target, TargetPrior
from torch_heads.functional.errors import preview, unexpected
from torch_heads.metrics.saved import CountsMeaning
from torch_heads.metrics.terms import AbsoluteError

VERSION = 1
BLOCK = 1024  # bytes: heads that differ a little have tensors of one size, and are told by words
NUMBER = 26  # bytes: the longest float64 in JSON, and what stands between two
WIDE = 100  # logits: from there on, room for a prior that is not there would be a burden
CARRY = "torch_heads.transfer(model, state_dict) carries over what both have."
BY_NAME = "Loaded as a part of the head's own state_dict, counts follow the names."


@dataclass(frozen=True)
class TargetMeaning:
    """What the logits and the counts of one target mean.

    Attributes:
        path: the names that lead to its head; of a head alone, its name, or nothing.
        distribution: its family, as `Family.distribution` says it.
        columns: how many label columns it has.
        logits: how many logits.
        vocabulary: the names of the classes; None where it does not say.
        counted: what is counted of it, and where scores are cut.
        linked: whether a function of the user's own makes its predictions of the logits; None
            where that is not known.
        missing: what stands for a missing label; None where nothing does, or it is not known.
        prior: the numbers of its `TargetPrior`, one after the other; None without.
        loss: the reduction of its loss, and the name of a user's own; None where it is not known.
    """

    path: tuple[str, ...]
    distribution: str
    columns: int
    logits: int
    vocabulary: tuple[str, ...] | None
    counted: str
    linked: bool | None = None
    missing: str | None = None
    prior: tuple[float, ...] | None = None
    loss: str | None = None

    @classmethod
    def of(cls, target: Target, path: Sequence[str]) -> TargetMeaning:
        """Return what a target means."""
        cuts = "" if target.bins is None else f" cut at {list(target.bins.thresholds)}"
        return cls(
            tuple(path) or ((target.name,) if target.name else ()),
            target.family.distribution,
            target.columns,
            target.logits,
            target.label_vocabulary,
            f"{target.counts}{cuts}",
            target.family.linked,
            ", ".join(sorted(str(float(value)) for value in target.missing.values)) or None,
            _numbers(target.prior()),
            str(target.reduction)
            + ("" if target.loss_fn is None else f" of {target.loss_fn.name}"),
        )

    def unlike(self, other: TargetMeaning, counts: bool) -> tuple[str, str] | None:
        """Return in words what this target is and the other is not; None where both are one kind.

        Args:
            other: one of another head.
            counts: whether there are counts of metrics, which depend on where scores are cut, on
                which labels are missing, and on the loss.
        """
        sizes = [
            f"{one.distribution}, {one.columns} x {one.logits // max(one.columns, 1)} logits"
            for one in (self, other)
        ]
        if sizes[0] != sizes[1]:
            return f"of {sizes[0]}", f"one of {sizes[1]}"
        if None not in (self.linked, other.linked) and self.linked != other.linked:
            kinds = ["without an inverse_link_fn", "with an inverse_link_fn"]
            return kinds[bool(self.linked)], f"one {kinds[bool(other.linked)]}"
        if counts and self.counted != other.counted:
            return f"with metrics of {self.counted}", f"one of {other.counted}"
        if counts and None not in (self.missing, other.missing) and self.missing != other.missing:
            return f"with the missing_label [{self.missing}]", f"one with [{other.missing}]"
        if counts and None not in (self.loss, other.loss) and self.loss != other.loss:
            return f"with the loss {self.loss}", f"one with {other.loss}"
        return None

    def shared_logits(self, other: TargetMeaning) -> Iterator[tuple[int, int]]:
        """Yield the places of logits that mean the same in another target, with those there.

        Where both have names of classes, each class has its logits in the place of its name, and
        there may be other classes; else both targets must be equal.
        """
        names, theirs = self.vocabulary, other.vocabulary
        kind, their_kind = (one.distribution.partition("(")[0] for one in (self, other))
        if names and theirs and kind == their_kind:
            size = self.logits // len(names)  # of a class; 0 where two classes share one logit
            for place, name in enumerate(names):
                if size and size == other.logits // len(theirs) and name in theirs:
                    there = theirs.index(name)
                    yield from ((place * size + i, there * size + i) for i in range(size))
            if size or names != theirs:
                return
        if (self.distribution, self.logits) == (other.distribution, other.logits):
            yield from ((place, place) for place in range(self.logits))


class Meaning(CountsMeaning):
    """What all targets of a head mean, in their order.

    Attributes:
        targets: what each of them means.
        title: the head's class and name, as errors say it; empty where it was read.
        titles: those of the targets, likewise.

    >>> from torch_heads import BinaryClassHead
    >>> own = Meaning.of(BinaryClassHead(name="even").computation)
    >>> read = Meaning.read("a head", own.to_tensor())
    >>> read.targets == own.targets
    True
    """

    def __init__(
        self, targets: Sequence[TargetMeaning], title: str = "", titles: Sequence[str] = ()
    ) -> None:
        self.targets = tuple(targets)
        self.title = title
        self.titles = tuple(titles)

    def __deepcopy__(self, _: Any) -> Self:
        """Return this one, which nothing changes."""
        return self

    @classmethod
    def of(cls, computation: Computation) -> Meaning:
        """Return what the targets of a head mean."""
        pairs = zip(computation.targets, computation.paths, strict=True)
        own = [TargetMeaning.of(target, path) for target, path in pairs]
        return cls(own, computation.title, [target.title for target in computation.targets])

    @classmethod
    def read(cls, who: str, saved: Any) -> Meaning:
        """Return what a tensor of `to_tensor` says.

        Raises:
            ValueError: if it says nothing.
        """
        try:
            told = json.loads(saved.detach().cpu().numpy().tobytes())
            targets = [_read(target) for target in told["heads"]]
        except (ValueError, KeyError, TypeError, AttributeError, NotImplementedError):
            argument, expected = (
                "the checkpoint's '_meaning'",
                "as bytes that say what its heads are",
            )
            raise ValueError(unexpected(who, argument, expected, "something else")) from None
        return cls(targets)

    def to_tensor(self) -> Tensor:
        """Return it as JSON in bytes, uint8, filled up with spaces.

        There is room for the priors of all but the widest targets, so that heads with and without
        have tensors of one size; else a checkpoint of the other kind does not fit, which is told.
        """
        heads = [vars(target) for target in self.targets]
        text = json.dumps({"version": VERSION, "heads": heads}).encode()
        size = len(text)
        for target in self.targets:
            if target.logits > WIDE and target.prior is None:
                continue
            size += NUMBER * (2 * target.logits + 2) - len(json.dumps(target.prior))
        padded = text.ljust(-(-size // BLOCK) * BLOCK)
        return torch.frombuffer(bytearray(padded), dtype=torch.uint8)

    @property
    def heads(self) -> list[str]:
        """The names of the outermost heads, in their order."""
        return [*dict.fromkeys(path[0] if path else "" for path in self.paths)]

    def of_head(self, name: str) -> Meaning:
        """Return what one of `heads` means; nothing where there is none of that name."""
        return Meaning([one for one in self.targets if (one.path or ("",))[0] == name])

    @property
    def logits(self) -> int:
        """How many logits all targets have."""
        return sum(target.logits for target in self.targets)

    @property
    def starts(self) -> list[int]:
        """Where the logits of each target begin."""
        return [*accumulate((target.logits for target in self.targets), initial=0)][:-1]

    @property
    def paths(self) -> list[tuple[str, ...]]:
        """The paths of the targets."""
        return [target.path for target in self.targets]

    def difference(
        self,
        saved: Meaning,
        counts: bool = False,
        hint: str = CARRY,
        argument: str = "a checkpoint",
    ) -> str | None:
        """Return in words how saved heads differ from these; None if they do not.

        What one of the two does not say, a name or a vocabulary, is no difference.

        Args:
            saved: what the saved ones mean.
            counts: whether there are counts of metrics.
            hint: what can be done about it.
            argument: what has their states.
        """
        own, theirs = self.paths, saved.paths
        nameless = len(own) == len(theirs) == 1 and () in (*own, *theirs)
        if own != theirs and not nameless:
            paths = (["/".join(path) for path in each] for each in (own, theirs))
            return unexpected(self.title, argument, *_other_names("the heads", *paths), hint)
        for title, one, other in zip(self.titles, self.targets, saved.targets, strict=True):
            unlike = one.unlike(other, counts)
            names, before = one.vocabulary, other.vocabulary
            if unlike is None and names and before and names != before:
                unlike = _other_names("the label_vocabulary", names, before)
            if unlike is not None:
                return unexpected(title, argument, *unlike, hint)
        return None

    def refuse(self, saved: Meaning) -> None:
        """Refuse heads that mean something else than these.

        Raises:
            ValueError: by name, with what differs.
        """
        words = self.difference(saved)
        if words is not None:
            raise ValueError(words)

    def refuse_other_counts(self, saved: Any) -> None:
        """Refuse counts of heads that mean something else."""
        words = self.difference(self.read(self.title, saved), counts=True, hint=BY_NAME)
        if words is not None:
            raise ValueError(words)


def _read(told: dict[str, Any]) -> TargetMeaning:
    """Return what JSON tells of a target, in which tuples are lists."""
    own: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in told.items()
    }
    if own.get("prior") is not None:
        own["prior"] = tuple(map(float, own["prior"]))
        if len(own["prior"]) != 2 * own["logits"] + 2:
            raise ValueError("a prior of other logits")
    return TargetMeaning(**own)


def _numbers(prior: TargetPrior | None) -> tuple[float, ...] | None:
    """Return the numbers of a prior, one after the other."""
    return None if prior is None else tuple(torch.cat([one.flatten() for one in prior]).tolist())


def _other_names(what: str, own: Sequence[str], saved: Sequence[str]) -> tuple[str, str]:
    """Return in words which names there are, and which of them the saved ones have."""
    if len(own) == len(saved) > 8:  # of which a preview may not show the difference
        place = next(i for i, (a, b) in enumerate(zip(own, saved, strict=True)) if a != b)
        return f"of {what} with {own[place]!r} in place {place}", f"one with {saved[place]!r}"
    return f"of {what} {preview(own)}", f"one of {preview(saved)}"


def class_orders(computation: Computation, saved: Meaning) -> dict[str, list[int]] | None:
    """Return where each class stood in saved heads that are these, maybe in another order.

    Returns:
        By the name of the target, for those whose vocabulary has another order; None where the
        heads are not the same, a vocabulary does not tell which count is whose, or the order of
        the classes is what they mean.
    """
    own = {target.path: target for target in Meaning.of(computation).targets}
    theirs = {target.path: target for target in saved.targets}
    if own.keys() != theirs.keys():
        return None
    orders: dict[str, list[int]] = {}
    for target, (path, mine) in zip(computation.targets, own.items(), strict=True):
        other = theirs[path]
        if mine.unlike(other, counts=True):
            return None
        names, before = mine.vocabulary, other.vocabulary
        if names is None or before is None or names == before:
            continue
        ids = target.family.takes_ids
        several = ids or target.columns == len(names)
        # an error of class ids is how many classes lie between
        ordered = target.family.ordered or (ids and AbsoluteError() in target.needs)
        if not several or ordered or {*names} != {*before}:
            return None
        orders[target.name or ""] = [before.index(name) for name in names]
    return orders
