"""The factors of the losses of a `MultiHead`: given, or found from the priors of its heads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from torch_heads.computation.fused import MultiComputation
from torch_heads.functional.constants import Setting, value_of
from torch_heads.functional.containers import in_order, listed, named_values
from torch_heads.functional.errors import preview, unexpected
from torch_heads.functional.forms import is_real
from torch_heads.functional.number_lists import as_float, refuse_learned
from torch_heads.functional.tensors import to_tensor

LEARNED = "Weights that are learned are one nn.Parameter, with a number for each head."


class HeadFactors:
    """One factor for the loss of each head, unless they are all 1.

    Those that are learned are checked, and kept by the heads' head.

    Args:
        who: the title of the heads' head.
        given: numbers, a dict of them by name, a parameter, or ``"prior"``; None for 1.
        names: those of the heads.

    Raises:
        TypeError: as `check_head_weights` does.
        ValueError: as `check_head_weights` does.
    """

    def __init__(self, who: str, given: Any, names: Sequence[str]) -> None:
        #: Whether they are found from the priors of the heads.
        self.by_prior = isinstance(given, str) and given == "prior"
        self._who, self._names = who, names
        weights = check_head_weights(who, None if self.by_prior else given, names)
        learned = isinstance(given, nn.Parameter)
        self._setting = None if weights is None or learned else Setting(weights)

    @property
    def any(self) -> bool:
        """Whether there are others than 1."""
        return self.by_prior or self._setting is not None

    @property
    def given(self) -> Tensor | None:
        """Those that were given or found, ``[H]``; None for none."""
        return None if self._setting is None else self._setting.value

    def on(self, device: torch.device, computation: MultiComputation) -> Tensor:
        """Return the factors on a device, ``[H]``.

        Raises:
            ValueError: if they are those of the prior, which a head does not have yet; or were
                learned, and deleted.
        """
        if self._setting is None:
            if not self.by_prior:  # those that were learned, and are no parameter any more
                expected = "to be assigned again, or None for 1"
                raise ValueError(unexpected(self._who, "head_weights", expected, "a deletion"))
            self._setting = Setting(self._of_priors(computation))
        return value_of(self._who, "head_weights", self._setting, device)

    def renew(self) -> None:
        """Look again for the priors."""
        if self.by_prior:
            self._setting = None

    def move(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Make them where a function moves tensors."""
        if self._setting is not None and not self._setting.value.is_meta:
            self._setting.on(fn(torch.empty(0, device="cpu")).device)

    def _of_priors(self, computation: MultiComputation) -> Tensor:
        """Return the inverse of each head's loss at the prior, without what it owes to a unit."""
        each = [(target, target.prior()) for target in computation.targets]
        argument = "head_weights 'prior'"
        lacking = [target.title for target, prior in each if prior is None]
        if lacking:
            hint = "Call fit_prior on the labels first."
            raise ValueError(unexpected(self._who, argument, "with priors", preview(lacking), hint))
        losses = torch.stack([prior.loss - prior.origin for _, prior in each if prior is not None])
        at_prior = computation.head_losses(losses.cpu())
        for name, loss in zip(self._names, at_prior.tolist(), strict=True):
            if loss <= 0:
                expected = f"with a loss of {name!r} at the prior that is above 0"
                raise ValueError(unexpected(self._who, argument, expected, loss))
        return torch.where(at_prior.isnan(), 1.0, 1 / at_prior)  # NaN where there were no labels


def check_head_weights(who: str, head_weights: Any, names: Sequence[str]) -> Tensor | None:
    """Return one factor per head, in the order of the names; None where none is given.

    Those that are made on the meta device have no values yet, and stay there.

    Raises:
        TypeError: if they are not numbers, or have a gradient and are no ``nn.Parameter``.
        ValueError: if there are not as many as heads, or one is not finite.
    """
    if head_weights is None:
        return None
    count = len(names)
    expected = f"as one finite number per head, {count} in all"
    named = named_values(head_weights)
    if named is not None:
        head_weights = in_order(who, "head_weights", named, names, "head")
    if not isinstance(head_weights, nn.Parameter):
        refuse_learned(who, "head_weights", head_weights, LEARNED)
    if isinstance(head_weights, Tensor):
        head_weights = to_tensor(who, "head_weights", head_weights, may_miss=False)
        if head_weights.is_meta and head_weights.shape != (count,):
            size = f"a tensor of shape {list(head_weights.shape)}"
            raise ValueError(unexpected(who, "head_weights", expected, size))
        head_weights = head_weights if head_weights.is_meta else head_weights.tolist()
    if isinstance(head_weights, (str, set, frozenset)) or not isinstance(head_weights, Iterable):
        raise TypeError(unexpected(who, "head_weights", expected, repr(head_weights)))
    given = listed(who, "head_weights", expected, head_weights)
    factors = [_factor(who, expected, weight) for weight in given]
    if factors and len(factors) != count:
        came = f"{len(factors)}: {preview(factors)}"
        raise ValueError(unexpected(who, "head_weights", expected, came))
    if None in factors:
        return torch.empty(count, dtype=torch.float64, device="meta")
    return torch.tensor(factors, dtype=torch.float64, device="cpu") if factors else None


def _factor(who: str, expected: str, weight: Any) -> float | None:
    """Return the factor of one head's loss; None where it has no value yet."""
    if isinstance(weight, Tensor) and weight.dim() == 0:
        scalar = to_tensor(who, "head_weights", weight, may_miss=False)
        if scalar.is_meta:
            return None
        weight = scalar.item()
    if not is_real(weight):
        raise TypeError(unexpected(who, "head_weights", expected, repr(weight)))
    factor = as_float(who, "head_weights", weight)
    if not isfinite(factor):
        raise ValueError(unexpected(who, "head_weights", expected, repr(weight)))
    return factor
