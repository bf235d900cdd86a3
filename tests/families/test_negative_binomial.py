"""The negative binomial family against SciPy, scoringrules and statsmodels."""

import numpy as np
import pytest
import scoringrules
import statsmodels.api as sm
import torch
from scipy import stats
from torch import Tensor

import torch_heads as th
from tests.simulated import fitted
from torch_heads.families import NegativeBinomial, Poisson
from torch_heads.families.negative_binomial import mean_difference

RANDOM = np.random.default_rng(0)
LOG_MEAN, LOG_DISPERSION = 2 * RANDOM.normal(size=500) + 1, 2 * RANDOM.normal(size=500) - 1
SIZE = np.exp(-LOG_DISPERSION)
ORACLE = stats.nbinom(SIZE, SIZE / (SIZE + np.exp(LOG_MEAN)))
LABELS = np.where(RANDOM.random(500) < 0.9, ORACLE.rvs(random_state=RANDOM), 40.0)
FAMILY = NegativeBinomial()


@pytest.fixture
def logits(device: torch.device) -> Tensor:
    return torch.tensor(np.stack([LOG_MEAN, LOG_DISPERSION], -1), device=device)


@pytest.fixture
def labels(device: torch.device) -> Tensor:
    return torch.tensor(LABELS, device=device)


def test_the_loss_is_the_likelihood(logits: Tensor, labels: Tensor) -> None:
    loss = FAMILY.loss(logits, labels).cpu()
    np.testing.assert_allclose(loss, -ORACLE.logpmf(LABELS), rtol=1e-7, atol=1e-7)


def test_the_mean_and_the_dispersion_tell_the_variance(logits: Tensor) -> None:
    mean, dispersion = FAMILY.mean(logits), FAMILY.dispersion(logits)
    np.testing.assert_allclose(mean.cpu(), ORACLE.mean(), rtol=1e-9)
    np.testing.assert_allclose((mean + dispersion * mean**2).cpu(), ORACLE.var(), rtol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_dispersion_it_is_poisson(dtype: torch.dtype, device: torch.device) -> None:
    log_mean = torch.linspace(-2, 6, 50, dtype=dtype, device=device)
    labels = torch.arange(50, dtype=dtype, device=device)
    logits = torch.stack([log_mean, torch.full_like(log_mean, -20.0)], -1)
    poisson = Poisson(full=False).loss(log_mean, labels) + torch.lgamma(labels + 1)
    torch.testing.assert_close(FAMILY.loss(logits, labels), poisson, rtol=1e-5, atol=1e-4)


def test_the_distribution_function_and_its_inverse_are_exact(
    logits: Tensor, labels: Tensor
) -> None:
    np.testing.assert_allclose(FAMILY.cdf(logits, labels).cpu(), ORACLE.cdf(LABELS), atol=5e-7)
    assert not FAMILY.cdf(logits, -torch.ones_like(labels)).any()
    for q in [0.01, 0.37, 0.5, 0.99]:
        np.testing.assert_array_equal(FAMILY.quantile(logits, q).cpu(), ORACLE.ppf(q))


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_covered_is_what_the_interval_says(level: float, logits: Tensor, labels: Tensor) -> None:
    low, high = FAMILY.interval(logits, level)
    inside = ((low <= labels) & (labels <= high)).double()
    torch.testing.assert_close(FAMILY.covered(logits, labels, level), inside)
    assert 0 < inside.mean() < 1


def test_the_crps_is_exact(logits: Tensor, labels: Tensor) -> None:
    found = FAMILY.crps(logits, labels).cpu()
    theirs = scoringrules.crps_negbinom(LABELS, SIZE, SIZE / (SIZE + np.exp(LOG_MEAN)))
    known = np.isfinite(theirs)
    assert known.mean() > 0.9
    np.testing.assert_allclose(found[known], theirs[known], rtol=1e-6, atol=1e-6)
    for i in range(0, 500, 25):
        counts = np.arange(ORACLE.ppf(1 - 1e-13)[i] + LABELS[i] + 1)
        steps = stats.nbinom(SIZE[i], SIZE[i] / (SIZE[i] + np.exp(LOG_MEAN[i]))).cdf(counts)
        assert found[i].item() == pytest.approx(
            ((steps - (counts >= LABELS[i])) ** 2).sum(), rel=1e-6, abs=1e-6
        )


def test_it_recovers_what_statsmodels_does() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=3000)
    mean, dispersion = np.exp(0.5 + 0.8 * x), 0.7
    y = random.negative_binomial(1 / dispersion, 1 / (1 + dispersion * mean))
    theirs = sm.NegativeBinomial(y, sm.add_constant(x)).fit(disp=0)
    intercept, slope, alpha = theirs.params
    # a dispersion that is the same for all: its logit has a bias and no slope
    head = th.NegativeBinomialRegressionHead()
    weights = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")
    inputs, labels = torch.tensor(x), torch.tensor(y)

    def closure() -> Tensor:
        optimizer.zero_grad()
        log_mean = weights[0] + weights[1] * inputs
        loss = head.loss(labels, torch.stack([log_mean, weights[2].expand_as(log_mean)], -1))
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    expected = [intercept, slope, np.log(alpha)]
    np.testing.assert_allclose(weights.detach(), expected, atol=1e-3)
    np.testing.assert_allclose(weights.detach(), [0.5, 0.8, np.log(0.7)], atol=0.1)
    assert closure().item() == pytest.approx(-theirs.llf / len(y), rel=1e-6)
    assert loss is not None


def test_labels_alone_are_fitted_to_their_mean() -> None:
    labels = torch.tensor([0.0, 0.0, 1.0, 9.0, 2.0, 0.0])
    head = th.NegativeBinomialRegressionHead()
    layer = fitted(head, torch.ones(6, 1, dtype=torch.float64), labels)
    mean = head(layer(torch.ones(1, 1, dtype=torch.float64)))["predictions"]
    assert mean.item() == pytest.approx(2.0, rel=1e-4)


@pytest.mark.parametrize("log_dispersion", [-19.0, -30.0, -1e4])
def test_quantiles_without_dispersion_are_those_of_poisson(log_dispersion: float) -> None:
    family = NegativeBinomial()
    for log_mean in (0.0, 5.0):
        logits = torch.tensor([[[log_mean, log_dispersion]]], dtype=torch.float64)
        poisson = stats.poisson(np.exp(log_mean))
        for q in (0.05, 0.5, 0.95):
            assert family.quantile(logits, q).item() == poisson.ppf(q)
        counts = torch.arange(10.0, dtype=torch.float64).view(-1, 1)
        found = family.cdf(logits.expand(10, 1, 2), counts).squeeze()
        np.testing.assert_allclose(found, poisson.cdf(counts.squeeze()), atol=1e-6)


# ---- Counts of millions and more ----


@pytest.mark.parametrize("count", [1e4, 1e6, 1e8])
@pytest.mark.parametrize("log_dispersion", [-2.0, 0.0, 3.0])
def test_the_loss_of_a_large_count_and_its_gradient_have_six_digits(
    count: float, log_dispersion: float, device: torch.device
) -> None:
    logits = torch.tensor([[np.log(count) + 0.3, log_dispersion]], device=device).requires_grad_()
    loss = FAMILY.loss(logits, torch.tensor([count], device=device))
    loss.sum().backward()
    assert logits.grad is not None
    (log_mean, log_dispersion), (of_mean, _) = logits[0].double().tolist(), logits.grad[0].tolist()
    size, mean = np.exp(-log_dispersion), np.exp(log_mean)
    oracle = stats.nbinom(size, size / (size + mean))
    assert loss.item() == pytest.approx(-oracle.logpmf(count), rel=1e-5)
    assert of_mean == pytest.approx(size * (mean - count) / (mean + size), rel=1e-4)


@pytest.mark.parametrize("mean", [1e8, 1e12])
def test_the_distribution_of_large_counts_is_exact(mean: float) -> None:
    size = np.exp(RANDOM.normal(size=50))
    logits = torch.tensor(np.stack([np.full(50, np.log(mean)), -np.log(size)], -1))
    oracle = stats.nbinom(size, size / (size + mean))
    counts = np.floor(mean * RANDOM.gamma(size) / size)
    found = FAMILY.cdf(logits, torch.tensor(counts))
    np.testing.assert_allclose(found, oracle.cdf(counts), atol=5e-7)


@pytest.mark.parametrize("logits", [(37.0, -3.0), (50.0, 2.0), (60.0, 0.0)])
def test_a_quantile_beyond_what_a_float_counts_is_found(logits: tuple[float, float]) -> None:
    found = FAMILY.quantile(torch.tensor([[logits]], dtype=torch.float64), 0.5).item()
    size = np.exp(-logits[1])  # so far up it is a gamma distribution
    assert found == pytest.approx(stats.gamma.ppf(0.5, size, scale=np.exp(logits[0]) / size))


@pytest.mark.parametrize("mean", [1e-3, 1.0, 1e6, 1e10, 1e14])
def test_the_mean_difference_is_that_of_the_geometric_distribution(mean: float) -> None:
    m = torch.tensor([mean], dtype=torch.float64)
    expected = 2 * mean * (1 + mean) / (1 + 2 * mean)
    assert mean_difference(m, torch.ones_like(m)).item() == pytest.approx(expected, rel=1e-7)
