"""The priors of saved heads, which go with the logits that they are the priors of."""

from __future__ import annotations

from dataclasses import replace

import torch

from torch_heads.computation.computation import Computation
from torch_heads.computation.meaning import Meaning, TargetMeaning
from torch_heads.computation.target import TargetPrior
from torch_heads.functional.errors import unexpected

FORGET = "The saved logits mean themselves: forget_prior() lets those of this head, too."


def saved_priors(computation: Computation, saved: Meaning) -> list[TargetPrior | None]:
    """Return the priors that the targets of a head have in saved states of these.

    Args:
        computation: that of the head.
        saved: what the states mean: the same, maybe with heads and classes in another order.

    Raises:
        ValueError: by the title of a target, if it has a prior here and none there.
    """
    known = dict(zip(saved.paths, saved.targets, strict=True))
    own = Meaning.of(computation)
    found: list[TargetPrior | None] = []
    for target, one in zip(computation.targets, own.targets, strict=True):
        # a single head may lack its name, here or there
        other = known.get(one.path) or next(iter(known.values()), None)
        if other is None or other.prior is None:
            if one.prior is not None:
                expected = "with a prior, as this head has one"
                raise ValueError(
                    unexpected(target.title, "a checkpoint", expected, "one without", FORGET)
                )
            found.append(None)
        else:
            found.append(_as_tensors(_joined(one, other), one.logits))
    return found


def with_priors_of(before: Meaning, after: Meaning) -> Meaning:
    """Return what new heads mean if all logits that old heads have mean what they meant there.

    The other logits keep the prior that they have.
    """
    known = dict(zip(before.paths, before.targets, strict=True))
    targets = [
        replace(one, prior=_joined(one, known[one.path])) if one.path in known else one
        for one in after.targets
    ]
    return Meaning(targets)


def _joined(own: TargetMeaning, other: TargetMeaning) -> tuple[float, ...] | None:
    """Return the prior of a target, with that of another one where logits mean the same."""
    places = dict(own.shared_logits(other))
    if not places or (own.prior is None and other.prior is None):
        return own.prior
    mine, theirs = (one.prior or _none(one.logits) for one in (own, other))
    n, m = own.logits, other.logits
    offsets = [theirs[places[i]] if i in places else mine[i] for i in range(n)]
    scales = [theirs[m + places[i]] if i in places else mine[n + i] for i in range(n)]
    # the loss of the same labels at the best constant logits
    same = other.prior is not None and len(places) == n == m
    return (*offsets, *scales, *(theirs if same else mine)[-2:])


def _none(logits: int) -> tuple[float, ...]:
    """Return the prior that changes nothing, and tells no loss."""
    return (*[0.0] * logits, *[1.0] * logits, float("nan"), 0.0)


def _as_tensors(prior: tuple[float, ...] | None, logits: int) -> TargetPrior | None:
    if prior is None:
        return None
    numbers = torch.tensor(prior, dtype=torch.float64, device="cpu")
    offset, scale, (loss, origin) = torch.split(numbers, [logits, logits, 2])
    return TargetPrior(offset.clone(), scale.clone(), loss.clone(), origin.clone())
