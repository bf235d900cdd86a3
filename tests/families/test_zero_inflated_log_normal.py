"""The zero-inflated log-normal family against SciPy and scoringrules."""

import numpy as np
import pytest
import scoringrules
import torch
from scipy import integrate, stats
from torch import Tensor

import torch_heads as th
from tests.simulated import fitted
from torch_heads.families import ZeroInflatedLogNormal

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(size=(400, 3))
P, LOCATION = 1 / (1 + np.exp(-LOGITS[:, 0])), LOGITS[:, 1]
SCALE = np.log1p(np.exp(LOGITS[:, 2])) + 1e-4
AMOUNT = stats.lognorm(SCALE, scale=np.exp(LOCATION))
LABELS = np.where(RANDOM.random(400) < 0.5, 0.0, AMOUNT.rvs(random_state=RANDOM))
FAMILY = ZeroInflatedLogNormal()


@pytest.fixture
def logits(device: torch.device) -> Tensor:
    return torch.tensor(LOGITS, device=device)


@pytest.fixture
def labels(device: torch.device) -> Tensor:
    return torch.tensor(LABELS, device=device)


def test_the_loss_is_the_likelihood(logits: Tensor, labels: Tensor) -> None:
    amount = np.log(P) + AMOUNT.logpdf(np.where(LABELS > 0, LABELS, 1.0))
    expected = -np.where(LABELS > 0, amount, np.log(1 - P))
    np.testing.assert_allclose(FAMILY.loss(logits, labels).cpu(), expected, rtol=1e-9)


def test_the_predictions_are_those_of_the_mixture(logits: Tensor) -> None:
    np.testing.assert_allclose(FAMILY.mean(logits).cpu(), P * AMOUNT.mean(), rtol=1e-9)
    np.testing.assert_allclose(FAMILY.probability_positive(logits).cpu(), P, rtol=1e-9)
    np.testing.assert_allclose(FAMILY.scale(logits).cpu(), SCALE, rtol=1e-9)


@pytest.mark.parametrize("q", [0.05, 0.5, 0.9, 0.999])
def test_quantiles_are_those_of_the_mixture(q: float, logits: Tensor) -> None:
    share = (q - (1 - P)) / P
    expected = np.where(share > 0, AMOUNT.ppf(share.clip(0, 1)), 0.0)
    np.testing.assert_allclose(FAMILY.quantile(logits, q).cpu(), expected, rtol=1e-7)


def test_covered_counts_zeros(logits: Tensor, labels: Tensor) -> None:
    below = np.where(LABELS > 0, 1 - P + P * AMOUNT.cdf(LABELS), 0.0)
    up_to = 1 - P + P * AMOUNT.cdf(LABELS)
    inside = (up_to >= 0.05) & (below <= 0.95)
    np.testing.assert_array_equal(FAMILY.covered(logits, labels, 0.9).cpu(), inside)


def test_the_crps_is_exact(logits: Tensor, labels: Tensor, device: torch.device) -> None:
    found = FAMILY.crps(logits, labels).cpu().numpy()
    for i in range(0, 400, 40):

        def tail(log_x: float, i: int = i) -> float:
            return float(P[i] * stats.norm.sf(log_x, LOCATION[i], SCALE[i]))

        def below(log_x: float) -> float:
            return (1 - tail(log_x)) ** 2 * np.exp(log_x)

        def above(log_x: float) -> float:
            return tail(log_x) ** 2 * np.exp(log_x)

        end = np.log(LABELS[i]) if LABELS[i] > 0 else -30.0
        expected = integrate.quad(below, -30, end)[0] + integrate.quad(above, end, 30)[0]
        assert found[i] == pytest.approx(expected, rel=1e-5)
    sure = torch.cat([torch.full_like(logits[:, :1], 40.0), logits[:, 1:]], -1)
    amounts = np.where(LABELS > 0, LABELS, 1.0)
    theirs = scoringrules.crps_lognormal(amounts, LOCATION, SCALE)
    ours = FAMILY.crps(sure, torch.tensor(amounts, device=device)).cpu()
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)


def test_it_recovers_parameters_that_depend_on_the_input() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, 1, generator=random, dtype=torch.float64)
    positive = torch.rand(20_000, 1, generator=random) < torch.sigmoid(-0.5 + x)
    noise = torch.randn(20_000, 1, generator=random, dtype=torch.float64)
    y = torch.where(positive, torch.exp(1 - 0.5 * x + 0.8 * noise), 0.0)
    head = th.ZeroInflatedLogNormalHead()
    layer = fitted(head, x, y)
    expected = torch.tensor([[1.0], [-0.5]], dtype=torch.float64)
    torch.testing.assert_close(layer.weight[:2].detach(), expected, rtol=0, atol=0.06)
    zero = head(layer(torch.zeros(1, 1, dtype=torch.float64)))
    assert zero["scale"].item() == pytest.approx(0.8, abs=0.03)
    assert zero["probability_positive"].item() == pytest.approx(0.3775, abs=0.02)
    assert zero["predictions"].item() == pytest.approx(0.3775 * np.exp(1.32), rel=0.06)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_probability_of_0_times_a_mean_that_overflows_is_a_number(dtype: torch.dtype) -> None:
    family = ZeroInflatedLogNormal()
    logits = torch.tensor([[[-110.0, 0.0, 14.0]], [[-1e4, 0.0, 88.0]]], dtype=dtype)
    labels = torch.zeros(2, 1, dtype=dtype)
    expected = torch.tensor([[6.2e-6], [0.0]], dtype=dtype)
    torch.testing.assert_close(family.mean(logits), expected, rtol=0.01, atol=0)
    assert family.crps(logits, labels).isfinite().all()
