"""What is known of the labels of a group before any input is seen: its logits' offset and scale."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torch_heads.computation.layout import LogitLayout
from torch_heads.computation.target import Target
from torch_heads.functional.constants import Constants


class GroupPrior:
    """Makes ``offset + scale * z`` of the logits ``z`` of a group's targets that have a prior."""

    def __init__(self, targets: Sequence[Target], layout: LogitLayout) -> None:
        self._targets, self._layout = targets, layout
        self._blocks: list[Constants] = []
        any_prior = any(target.prior() is not None for target in targets)
        #: Whether any target has one; None where that is to be looked up.
        self.known: bool | None = None if any_prior else False

    def renew(self, now: bool) -> None:
        """Look again which priors the targets have: now, or when it matters."""
        self.known = None
        if now:
            self._look()

    def _look(self) -> None:
        self._blocks = self._join()
        self.known = bool(self._blocks)

    def _join(self) -> list[Constants]:
        """Return offset and scale for each bucket of the layout; nothing without any prior."""
        each = [(target, target.prior()) for target in self._targets]
        if all(prior is None for _, prior in each):
            return []
        none = torch.zeros(0, dtype=torch.float64, device="cpu")
        offsets = [none.new_zeros(t.logits) if p is None else p.offset for t, p in each]
        scales = [none.new_ones(t.logits) if p is None else p.scale for t, p in each]
        blocks = (self._layout.blocks(torch.cat(own)) for own in (offsets, scales))
        return [self._constants(*own) for own in zip(*blocks, strict=True)]

    def _constants(self, offset: Tensor, scale: Tensor) -> Constants:
        unit = self._targets[0].family.gradient_unit(scale)
        own = {} if unit is None else {"steepness": 1 / unit}
        return Constants(offset=offset, scale=scale, **own)

    def apply(self, blocks: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return what the logits of each bucket of the layout mean, ``[D*, U, *logits_shape]``."""
        if self.known is None:
            self._look()
        if not self.known:
            return blocks
        pairs = zip(blocks, [own.on(blocks[0].device) for own in self._blocks], strict=True)
        return [_moved(block, **own) for block, own in pairs]


def _moved(
    logits: Tensor, offset: Tensor, scale: Tensor, steepness: Tensor | None = None
) -> Tensor:
    """Return ``offset + scale * z``, of whose gradient ``steepness`` is a factor."""
    if steepness is not None and logits.requires_grad:
        # between equals, and so the logits themselves
        logits = torch.lerp(logits.detach(), logits, steepness.to(logits.dtype))
    return torch.addcmul(offset.to(logits.dtype), logits, scale.to(logits.dtype))
