"""The Gaussian family against SciPy, PyTorch and scoringrules."""

import numpy as np
import pytest
import scoringrules
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor

import torch_heads as th
from tests.simulated import fitted
from torch_heads.families import Gaussian
from torch_heads.testing import PROMISES, Subject

RANDOM = np.random.default_rng(0)
LOCATION, LOG_SCALE = 3 * RANDOM.normal(size=500), RANDOM.normal(size=500)
LABELS = LOCATION + 2 * np.exp(LOG_SCALE) * RANDOM.normal(size=500)
ORACLE = stats.norm(LOCATION, np.exp(LOG_SCALE))


@pytest.fixture
def logits(device: torch.device) -> Tensor:
    return torch.tensor(np.stack([LOCATION, LOG_SCALE], -1), device=device)


@pytest.fixture
def labels(device: torch.device) -> Tensor:
    return torch.tensor(LABELS, device=device)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_the_loss_is_the_likelihood_whatever_beta(
    beta: float, logits: Tensor, labels: Tensor
) -> None:
    loss = Gaussian(beta).loss(logits, labels)
    np.testing.assert_allclose(loss.cpu(), -ORACLE.logpdf(LABELS), rtol=1e-9)
    variance = torch.exp(2 * logits[:, 1])
    theirs = F.gaussian_nll_loss(logits[:, 0], labels, variance, full=True, reduction="none")
    torch.testing.assert_close(loss, theirs)


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_beta_weighs_the_gradient_by_a_power_of_the_variance(
    beta: float, logits: Tensor, labels: Tensor
) -> None:
    leaf = logits.requires_grad_()
    [plain] = torch.autograd.grad(Gaussian(0.0).loss(leaf, labels).sum(), leaf)
    [weighed] = torch.autograd.grad(Gaussian(beta).loss(leaf, labels).sum(), leaf)
    variance = torch.exp(2 * leaf.detach()[:, 1:])
    torch.testing.assert_close(weighed, plain * variance**beta)


def test_quantiles_intervals_and_the_crps_are_exact(logits: Tensor, labels: Tensor) -> None:
    family = Gaussian()
    for q in [0.001, 0.3, 0.5, 0.975]:
        np.testing.assert_allclose(family.quantile(logits, q).cpu(), ORACLE.ppf(q), rtol=1e-9)
    low, high = ORACLE.interval(0.9)
    inside = (low <= LABELS) & (high >= LABELS)
    np.testing.assert_array_equal(family.covered(logits, labels, 0.9).cpu(), inside)
    expected = scoringrules.crps_normal(LABELS, LOCATION, np.exp(LOG_SCALE))
    np.testing.assert_allclose(family.crps(logits, labels).cpu(), expected, rtol=1e-9, atol=1e-12)


def test_logits_mean_the_same_for_every_beta() -> None:
    assert Gaussian(0.0).distribution == Gaussian(1.0).distribution
    learned = th.GaussianRegressionHead(beta=1).fit_prior([1.0, 3.0])
    head = th.GaussianRegressionHead(beta=0)
    head.load_state_dict(learned.state_dict())
    assert head.quantile(torch.zeros(1, 2), 0.5).item() == pytest.approx(2.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_the_scale_is_positive_and_finite_at_huge_logits(
    dtype: torch.dtype, device: torch.device
) -> None:
    head = th.GaussianRegressionHead()
    logits = torch.tensor([[0.0, -1e4], [0.0, 1e4]], dtype=dtype, device=device)
    scale = head(logits)["scale"]
    assert (scale > 0).all()
    assert scale.square().isfinite().all()
    assert head.loss([1.0, 1.0], logits).isfinite()


def test_it_keeps_the_other_promises_with_a_gradient_that_is_weighed(device: torch.device) -> None:
    """But for the one that the gradient is that of the loss."""

    def make(**options: object) -> th.Head:
        return th.GaussianRegressionHead(2, **options)

    for name, promise in PROMISES.items():
        if name != "the gradient is that of the loss":
            promise(Subject(make))


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_it_recovers_a_mean_and_a_scale_that_both_depend_on_the_input(beta: float) -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, 1, generator=random, dtype=torch.float64)
    noise = torch.randn(20_000, 1, generator=random, dtype=torch.float64)
    y = 1 + 2 * x + torch.exp(-1 + 0.5 * x) * noise
    head = th.GaussianRegressionHead(beta=beta)
    layer = torch.nn.Linear(1, 2).double()
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        head.loss(y, layer(x)).backward()
        optimizer.step()
    expected = torch.tensor([[2.0, 1.0], [0.5, -1.0]], dtype=torch.float64)
    found = torch.cat([layer.weight, layer.bias.unsqueeze(-1)], -1).detach()
    torch.testing.assert_close(found, expected, rtol=0, atol=0.03)


def test_the_likelihood_alone_is_fitted_to_its_optimum() -> None:
    y = torch.tensor(LABELS[:100]).unsqueeze(-1)
    head = th.GaussianRegressionHead(beta=0)
    layer = fitted(head, torch.ones(100, 1, dtype=torch.float64), y)
    found = layer(torch.ones(1, 1, dtype=torch.float64))
    assert head(found)["scale"].item() == pytest.approx(y.std(correction=0).item(), rel=1e-5)
