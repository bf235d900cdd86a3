"""Running totals that never fall."""

from torch import Tensor


def running_total(steps: Tensor) -> Tensor:
    """Return the sums ``[..., K]`` of all steps up to each; no step may be negative.

    The first may be any number.
    """
    totals = steps.cumsum(-1)
    # a parallel scan adds in another order for each place, and may round neighbours apart
    return totals if totals.is_cpu else totals.cummax(-1).values
