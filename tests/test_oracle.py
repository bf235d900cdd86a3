"""Mixtures of heads against an oracle: plain loops over rows and columns, in float64.

It knows nothing of the package but what the heads are asked for. More examples:
``pytest tests/test_oracle.py --examples 5000``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import exp, inf, isnan, lgamma, log, log1p, nan, pi
from typing import Any

import numpy as np
import pytest
import torch

import torch_heads as th
from tests.own_heads import LaplaceHead, QuartilesHead

Row = np.ndarray[Any, np.dtype[np.float64]]
REDUCTIONS = ["sum_over_batch_size", "sum", "weighted_mean"]


def softplus(z: float) -> float:
    return max(z, 0.0) + log1p(exp(-abs(z)))


def bernoulli(z: Row, y: float) -> float:
    return softplus(z[0]) - z[0] * y


def categorical(z: Row, y: float) -> float:
    return float(np.logaddexp.reduce(z) - z[int(y)])


def normal(z: Row, y: float) -> float:
    return float(y - z[0]) ** 2


def poisson(z: Row, y: float) -> float:
    stirling = y * log(y) - y + log(2 * pi * y) / 2 if y > 1 else 0.0
    assert abs(stirling - lgamma(y + 1)) < 0.09
    return exp(z[0]) - z[0] * y + stirling


def laplace(z: Row, y: float) -> float:
    return abs(y - z[0]) / exp(z[1]) + log(2 * exp(z[1]))


def quartiles(z: Row, y: float) -> float:
    errors = [y - own for own in z]
    levels = (0.25, 0.5, 0.75)
    return sum(max(q * e, (q - 1) * e) for q, e in zip(levels, errors, strict=True)) / 3


def quantiles(z: Row, y: float) -> float:
    values = [z[0], z[0] + softplus(z[1])]
    errors = [y - own for own in values]
    levels = (0.2, 0.9)
    return sum(max(q * e, (q - 1) * e) for q, e in zip(levels, errors, strict=True)) / 2


def gaussian(z: Row, y: float) -> float:
    return ((y - z[0]) / exp(z[1])) ** 2 / 2 + z[1] + log(2 * pi) / 2


def negative_binomial(z: Row, y: float) -> float:
    m, r = exp(z[0]), exp(-z[1])
    gammas = lgamma(r) + lgamma(y + 1) - lgamma(r + y)
    return gammas + r * log1p(m / r) + y * log1p(r / m)


def zero_inflated(z: Row, y: float) -> float:
    if y == 0:
        return softplus(z[0])
    scale = softplus(z[2]) + 1e-4
    amount = ((log(y) - z[1]) / scale) ** 2 / 2 + log(scale) + log(2 * pi) / 2 + log(y)
    return softplus(-z[0]) + amount


def ordinal(z: Row, y: float) -> float:
    stopped = softplus(-z[int(y)]) if y < len(z) else 0.0
    return sum(softplus(own) for own in z[: int(y)]) + stopped


@dataclass
class Kind:
    """A kind of head: what makes it, its labels, and the loss of one label by its own logits."""

    make: Callable[..., th.Head]
    labels: Callable[[np.random.Generator, tuple[int, int]], Row]
    loss: Callable[[Row, float], float]
    columns: int = 1
    logits: int = 1  # of one label
    averages: bool = False


def below(count: int) -> Callable[[np.random.Generator, tuple[int, int]], Row]:
    return lambda random, shape: random.integers(count, size=shape).astype(float)


def number(random: np.random.Generator, shape: tuple[int, int]) -> Row:
    return random.normal(size=shape)


def amount(random: np.random.Generator, shape: tuple[int, int]) -> Row:
    return random.lognormal(size=shape) * (random.random(shape) < 0.5)


KINDS = [
    Kind(th.BinaryClassHead, below(2), bernoulli),
    Kind(th.LogisticRegressionHead, lambda random, shape: random.random(shape), bernoulli),
    Kind(lambda **o: th.MultiLabelHead(3, **o), below(2), bernoulli, 3, averages=True),
    Kind(lambda **o: th.MultiClassHead(2, **o), below(2), categorical, logits=2),
    Kind(lambda **o: th.MultiClassHead(3, **o), below(3), categorical, logits=3),
    Kind(lambda **o: th.MultiClassHead(7, **o), below(7), categorical, logits=7),
    Kind(lambda **o: th.RegressionHead(2, **o), number, normal, 2),
    Kind(th.PoissonRegressionHead, below(6), poisson),
    Kind(LaplaceHead, number, laplace, logits=2),
    Kind(lambda **o: LaplaceHead(2, **o), number, laplace, 2, 2),
    Kind(QuartilesHead, number, quartiles, logits=3),
    Kind(lambda **o: QuartilesHead(2, **o), number, quartiles, 2, 3),
    Kind(lambda **o: th.QuantileRegressionHead((0.2, 0.9), **o), number, quantiles, logits=2),
    Kind(lambda **o: th.GaussianRegressionHead(2, 0.0, **o), number, gaussian, 2, 2),
    Kind(th.NegativeBinomialRegressionHead, below(6), negative_binomial, logits=2),
    Kind(th.ZeroInflatedLogNormalHead, amount, zero_inflated, logits=3),
    Kind(lambda **o: th.OrdinalClassHead(3, **o), below(3), ordinal, logits=2),
]


@dataclass
class Drawn:
    """One head of a mixture, with its part of the batch."""

    kind: Kind
    reduction: str
    missing: bool
    weighted: bool
    labels: Row
    logits: Row
    weights: Row
    options: dict[str, Any] = field(default_factory=dict)

    def head(self, name: str) -> th.Head:
        missing = {"missing_label": -1000} if self.missing else {}
        weight = {"weight_column": "w"} if self.weighted else {}
        return self.kind.make(name=name, loss_reduction=self.reduction, **missing, **weight)

    def oracle(self) -> tuple[float, float]:
        """Return the loss and the average loss, by loops."""
        kind = self.kind
        total = share_sum = weight_sum = 0.0
        for z, ys, weight in zip(self.logits, self.labels, self.weights, strict=True):
            there = [j for j, y in enumerate(ys) if not isnan(y)]
            for j in there:
                own = kind.loss(z[j * kind.logits : (j + 1) * kind.logits], ys[j])
                share = 1 / len(there) if kind.averages else 1.0
                total += weight * share * own
                share_sum += share
                weight_sum += weight * share
        divisor = {"sum": 1.0, "sum_over_batch_size": share_sum, "weighted_mean": weight_sum}
        never = self.missing and bool(np.isnan(self.labels).all())
        average = total / weight_sum if weight_sum else (nan if never else 0.0)
        return (total / divisor[self.reduction] if divisor[self.reduction] else 0.0), average


def draw(random: np.random.Generator, rows: int, features: Row) -> Drawn:
    kind = KINDS[random.integers(len(KINDS))]
    missing, weighted = random.random(2) < 0.5
    labels = kind.labels(random, (rows, kind.columns))
    if missing:
        labels[random.random(labels.shape) < 0.3] = nan
    logits = 1.5 * random.normal(size=(rows, kind.columns * kind.logits))
    weights = features if weighted else np.ones(rows)
    reduction = REDUCTIONS[random.integers(3)]
    return Drawn(kind, reduction, bool(missing), bool(weighted), labels, logits, weights)


def given(drawn: Drawn, device: torch.device) -> torch.Tensor:
    ids = drawn.kind.loss in (categorical, ordinal)
    written = torch.from_numpy(np.nan_to_num(drawn.labels, nan=-1000)).to(device)
    return written.to(torch.int64) if ids else written


def test_mixtures_equal_an_oracle_in_float64(
    request: pytest.FixtureRequest, device: torch.device
) -> None:
    for seed in range(request.config.getoption("--examples")):
        random = np.random.default_rng(seed)
        rows = int(random.integers(1, 9))
        weights = random.random(rows) * (random.random(rows) < 0.8)
        drawn = [draw(random, rows, weights) for _ in range(random.integers(1, 8))]
        factors = random.random(len(drawn)).tolist()
        heads = [one.head(f"h{i}") for i, one in enumerate(drawn)]
        head = th.MultiHead(heads, head_weights=factors).to(device)
        logits = torch.from_numpy(np.concatenate([one.logits for one in drawn], -1)).to(device)
        labels: Any = {f"h{i}": given(one, device) for i, one in enumerate(drawn)}
        if random.random() < 0.5:
            labels = torch.cat([own.double() for own in labels.values()], -1)
        features = {"w": torch.from_numpy(weights).to(device)}
        leaf = logits.requires_grad_()
        loss = head.loss(labels, leaf, features)
        [gradient] = torch.autograd.grad(loss, leaf)
        expected = [one.oracle() for one in drawn]
        about = f"seed {seed}: {head!r}"
        total = sum(factor * own for factor, (own, _) in zip(factors, expected, strict=True))
        assert loss.item() == pytest.approx(total, rel=1e-9, abs=1e-9), about
        losses = head.losses(labels, leaf, features)
        values = head.update_metrics(head.metrics(), features, leaf, labels).compute()
        for i, (one, (own, average)) in enumerate(zip(drawn, expected, strict=True)):
            assert losses[f"h{i}"].item() == pytest.approx(own, rel=1e-9, abs=1e-9), about
            assert values[f"average_loss/h{i}"].item() == pytest.approx(
                average, rel=1e-5, abs=1e-6, nan_ok=True
            ), about
            columns = gradient[:, head.slices[f"h{i}"]].reshape(rows, one.kind.columns, -1)
            gone = torch.from_numpy(np.isnan(one.labels)).to(device)
            assert not columns[gone].any(), about
            assert columns.abs().max() < inf, about
