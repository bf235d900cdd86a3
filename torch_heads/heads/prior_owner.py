"""The prior of a single target: kept, moved, saved and loaded with its head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from torch_heads.computation.target import TargetPrior
from torch_heads.heads.base import Head
from torch_heads.metrics.readings.means import Skill


class PriorOwner(Head):
    """A head of a single target, whose prior `fit_prior` finds.

    Attributes:
        prior_offset: ``[logits_dimension]``, added to ``scale * z`` of its logits ``z``.
        prior_scale: ``[logits_dimension]``.
        prior_loss: the average loss where ``z`` is 0, a scalar; NaN without labels.
        prior_origin: what of that is owed to the unit of the labels, a scalar.

    All are buffers in float64, and None before `fit_prior`.
    """

    prior_offset: Tensor | None
    prior_scale: Tensor | None
    prior_loss: Tensor | None
    prior_origin: Tensor | None

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        for field in TargetPrior._fields:
            self.register_buffer(f"prior_{field}", None)

    def _prior(self) -> TargetPrior | None:
        own = [self._buffers[f"prior_{name}"] for name in TargetPrior._fields]
        return None if own[0] is None else TargetPrior(*own)  # type: ignore[arg-type]

    def _keep_prior(self, prior: TargetPrior | None) -> None:
        for i, name in enumerate(TargetPrior._fields):
            self._buffers[f"prior_{name}"] = None if prior is None else prior[i]

    def _renew_priors(self, now: bool = True) -> None:
        prior, (target,) = self._prior(), self.computation.targets
        known = target.readings.get("skill")
        if known is None or type(known) is Skill:  # and not another of the user's
            target.readings.pop("skill", None)
            if prior is not None:
                skill = Skill(loss=prior.loss.item(), origin=prior.origin.item())
                target.readings["skill"] = skill
            if target.readings.get("skill") != known:
                self._renew_metrics()
        super()._renew_priors(now)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        prior = self._prior()
        super()._apply(fn, recurse)
        if prior is not None:  # moved, and not rounded, as to half precision
            self._keep_prior(TargetPrior(*(one.to(fn(one.new_empty(0)).device) for one in prior)))
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if f"{prefix}prior_offset" in state_dict and self._prior() is None:
            empty = torch.zeros(self.logits_dimension).double()
            self._keep_prior(TargetPrior(empty, empty.clone(), *empty.new_zeros(2)))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _before_prior(self, logits: Tensor) -> Tensor:
        """Return the logits ``z`` that mean these, ``offset + scale * z``."""
        prior = self._prior()
        if prior is None:
            return logits
        return (logits - prior.offset.to(logits)) / prior.scale.to(logits)
