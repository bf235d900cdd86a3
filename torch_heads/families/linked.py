"""A family with an inverse link of a user's own."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from torch_heads.families.normal import Normal
from torch_heads.functional.values import check_returned


@dataclass(frozen=True)
class LinkedNormal(Normal):
    """A real number by the squared error of its logit, predicted by an inverse link of that.

    The link may look at all logits of a head, which is therefore computed by itself.
    """

    linked: ClassVar[bool] = True
    inverse_link: Callable[[Tensor], Tensor]
    title: str = "LinkedNormal"

    @property
    def distribution(self) -> str:
        """What logits mean: the link is applied to predictions alone."""
        return Normal().distribution

    @property
    def kernel(self) -> Hashable:
        """Its own."""
        return id(self)

    def mean(self, logits: Tensor) -> Tensor:
        """Return what the inverse link makes of the logits.

        Raises:
            ValueError: if that is no floating tensor of their shape.
        """
        values = self.inverse_link(logits)
        argument, what = "inverse_link_fn", "predictions"
        return check_returned(self.title, argument, what, values, logits.shape)

    observed = mean

    def link(self, mean: Tensor) -> Tensor:
        """Refuse: the inverse of the user's function is not known."""
        raise TypeError(f"{self.title}: an inverse_link_fn has no inverse that is known.")
