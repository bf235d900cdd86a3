"""The agreement of predicted times and labels, some of which are censored, from counts."""

import torch
from torch import Tensor

EVENT, CENSORED = 0, 1


def concordance(counts: Tensor) -> Tensor:
    """Return the share of comparable pairs of which the later is predicted to be (Harrell, 1982).

    A pair is comparable where the earlier one had the event. Of two in one cell of time, one
    with the event and one censored, the event came first; two events there are not compared. Equal
    predictions count as half right. NaN where no pair is comparable.

    Args:
        counts: ``[..., 2, T, S]``, the weights of events and of censored labels, by the cell of
            their time and by the bin of what was predicted, both ascending.

    >>> counts = torch.zeros(2, 3, 2)
    >>> counts[EVENT, 0, 0] = counts[EVENT, 1, 1] = counts[CENSORED, 2, 0] = 1
    >>> concordance(counts)
    tensor(0.5000)
    """
    events, censored = counts.unbind(-3)
    both = events + censored
    later = both.flip(-2).cumsum(-2).flip(-2) - both + censored
    total = later.sum(-1, keepdim=True)
    above = total - later.cumsum(-1)
    right = (events * (above + later / 2)).sum((-2, -1))
    pairs = (events * total).sum((-2, -1))
    return torch.where(pairs > 0, right / pairs, torch.nan)
