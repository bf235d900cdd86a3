"""The prior of a single target: kept with its head."""

from __future__ import annotations

from typing import Any

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

    All are in float64 on the CPU, and None before `fit_prior`. They are no buffers, which could be
    lost or without values where a model is loaded: what the head's states mean says them.
    """

    prior_offset: Tensor | None
    prior_scale: Tensor | None
    prior_loss: Tensor | None
    prior_origin: Tensor | None

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        for field in TargetPrior._fields:
            setattr(self, f"prior_{field}", None)

    def _prior(self) -> TargetPrior | None:
        own = [getattr(self, f"prior_{field}") for field in TargetPrior._fields]
        return None if own[0] is None else TargetPrior(*own)

    def _keep_prior(self, prior: TargetPrior | None) -> None:
        for field in TargetPrior._fields:
            setattr(self, f"prior_{field}", None if prior is None else getattr(prior, field))

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

    def _take_earlier(self, state_dict: dict[str, Any], prefix: str) -> None:
        saved = [state_dict.pop(f"{prefix}prior_{field}", None) for field in TargetPrior._fields]
        if saved[0] is not None:
            self._keep_prior(TargetPrior(*(one.to("cpu", torch.float64) for one in saved)))

    def _before_prior(self, logits: Tensor) -> Tensor:
        """Return the logits ``z`` that mean these, ``offset + scale * z``."""
        prior = self._prior()
        if prior is None:
            return logits
        return (logits - prior.offset.to(logits)) / prior.scale.to(logits)
