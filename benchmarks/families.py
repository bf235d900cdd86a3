"""Figures beside the table: heads of several logits per label, against their bare formula."""

from collections.abc import Callable, Iterator
from math import log, pi
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import torch_heads as th
from benchmarks.report import times, verdict
from benchmarks.timing import ratio, take_turns

HEADS, BATCH, ROUNDS, MOST = 100, 1024, 3, 1.3
LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
CUTS = (1.0, 2.0, 3.0, 4.0, 5.0)


class Formula(NamedTuple):
    """A kind of head, random labels for it, and its loss of logits ``[B, H, P]``, written out."""

    make: Callable[[str], th.Head]
    labels: Callable[[], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]


def quantiles(logits: Tensor, labels: Tensor) -> Tensor:
    levels = torch.tensor(LEVELS, device=logits.device)
    steps = torch.cat([logits[..., :1], F.softplus(logits[..., 1:])], -1)
    error = labels.unsqueeze(-1) - steps.cumsum(-1)
    return torch.maximum(levels * error, (levels - 1) * error).mean(-1)


def gaussian(logits: Tensor, labels: Tensor) -> Tensor:
    location, log_scale = logits.unbind(-1)
    error = (labels - location) * torch.exp(-log_scale)
    loss = error.square() / 2 + log_scale + log(2 * pi) / 2
    return loss * torch.exp(log_scale.detach())  # beta = 0.5


def negative_binomial(logits: Tensor, labels: Tensor) -> Tensor:
    log_mean, log_dispersion = logits.unbind(-1)
    size = torch.exp(-log_dispersion)
    gammas = torch.lgamma(size) + torch.lgamma(labels + 1) - torch.lgamma(size + labels)
    odds = log_mean + log_dispersion
    return gammas + size * F.softplus(odds) + labels * F.softplus(-odds)


def zero_inflated(logits: Tensor, labels: Tensor) -> Tensor:
    odds, location, raw = logits.unbind(-1)
    positive, scale = labels > 0, F.softplus(raw) + 1e-4
    log_labels = torch.where(positive, labels, 1.0).log()
    amount = ((log_labels - location) / scale).square() / 2 + scale.log() + log(2 * pi) / 2
    chance = F.binary_cross_entropy_with_logits(odds, positive.float(), reduction="none")
    return chance + torch.where(positive, amount + log_labels, 0.0)


def hazards(logits: Tensor, labels: Tensor) -> Tensor:
    stage, label = torch.arange(logits.shape[-1], device=logits.device), labels.unsqueeze(-1)
    losses = F.binary_cross_entropy_with_logits(logits, (stage == label).float(), reduction="none")
    return (losses * (stage <= label)).sum(-1)


def times_and_events(logits: Tensor, labels: Tensor) -> Tensor:
    time, event = labels.unflatten(-1, (-1, 2)).unbind(-1)
    interval = torch.bucketize(time.contiguous(), torch.tensor(CUTS, device=logits.device))
    return hazards(logits, interval + (1 - event) / 2)


def normal() -> Tensor:
    return torch.randn(BATCH, HEADS)


def integers(below: int) -> Tensor:
    return torch.randint(below, (BATCH, HEADS)).float()


def survival_labels() -> Tensor:
    return torch.stack([6 * torch.rand(BATCH, HEADS), integers(2)], -1).flatten(1)


FORMULAS = {
    "quantile": Formula(
        lambda name: th.QuantileRegressionHead(LEVELS, name=name), normal, quantiles
    ),
    "Gaussian": Formula(lambda name: th.GaussianRegressionHead(name=name), normal, gaussian),
    "negative binomial": Formula(
        lambda name: th.NegativeBinomialRegressionHead(name=name),
        lambda: integers(9),
        negative_binomial,
    ),
    "zero-inflated log-normal": Formula(
        lambda name: th.ZeroInflatedLogNormalHead(name=name),
        lambda: normal().clamp(min=0),
        zero_inflated,
    ),
    "ordinal": Formula(
        lambda name: th.OrdinalClassHead(6, name=name), lambda: integers(6), hazards
    ),
    "survival": Formula(
        lambda name: th.SurvivalHead(CUTS, name=name), survival_labels, times_and_events
    ),
}


def families(device: torch.device) -> Iterator[str]:
    """Yield what 100 heads of each kind take, as a ratio to their formula."""
    for kind, formula in FORMULAS.items():
        calls = contestants(formula, device)
        turns = [take_turns(calls, device) for _ in range(ROUNDS)]
        found = ratio(turns, "ours", "formula")
        line = f"loss with backward, {HEADS} {kind} heads, stacked labels: {times(found)} the time"
        yield f"{verdict(found.median <= MOST)} {line} of the bare formula, at most {MOST:g}×"


def contestants(formula: Formula, device: torch.device) -> dict[str, Callable[[], Tensor]]:
    """Return the gradient of the heads' loss, and that of the formula."""
    head = th.MultiHead([formula.make(f"task_{i}") for i in range(HEADS)]).to(device)
    torch.manual_seed(0)
    labels = formula.labels().to(device)
    logits = torch.randn(BATCH, head.logits_dimension, device=device, requires_grad=True)
    blocks = logits.detach().unflatten(-1, (HEADS, -1)).clone().requires_grad_()

    def ours() -> Tensor:
        return torch.autograd.grad(head.loss(labels, logits), logits)[0]

    def bare() -> Tensor:
        return torch.autograd.grad(formula.loss(blocks, labels).mean(0).sum(), blocks)[0]

    return {"ours": ours, "formula": bare}
