"""Losses against the formulas in float64 and against `torch.distributions`."""

import math

import pytest
import torch
from torch import Tensor
from torch import distributions as d

from torch_heads.families.bernoulli import Bernoulli
from torch_heads.families.categorical import Categorical
from torch_heads.families.family import Family
from torch_heads.families.normal import Normal
from torch_heads.families.poisson import Poisson

LOGITS = [-60.0, -3.0, -0.5, 0.0, 1e-6, 0.25, 2.0, 17.0, 60.0]

one_value_families = pytest.mark.parametrize(
    "family", [Bernoulli(), Normal(), Poisson(), Poisson(full=False)], ids=repr
)


def pairs(*labels: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return every logit with every label, as two columns."""
    logits = torch.tensor(LOGITS, dtype=torch.float64, device=device)
    ys = torch.tensor(labels, dtype=torch.float64, device=device)
    product = torch.cartesian_prod(logits, ys)
    return product[:, :1], product[:, 1:]


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


def test_bernoulli_is_the_sigmoid_cross_entropy(device: torch.device) -> None:
    z, y = pairs(0.0, 0.3, 1.0, device=device)
    softplus = z.clamp(min=0) + torch.log1p(torch.exp(-z.abs()))
    assert_close(Bernoulli().loss(z, y), softplus - z * y)
    z, y = pairs(0.0, 1.0, device=device)
    assert_close(Bernoulli().loss(z, y), -d.Bernoulli(logits=z).log_prob(y))
    assert_close(Bernoulli().mean(z), 1 / (1 + torch.exp(-z)))


def test_categorical_is_the_softmax_cross_entropy(device: torch.device) -> None:
    z = torch.tensor(LOGITS, dtype=torch.float64, device=device).view(3, 1, 3)
    family = Categorical(3)
    for label in range(3):
        y = torch.full((3, 1), label, device=device)
        expected = torch.logsumexp(z, -1) - z[..., label]
        assert_close(family.loss(z, y), expected)
        assert_close(family.loss(z, y), -d.Categorical(logits=z).log_prob(y))
    assert_close(family.mean(z).sum(-1), torch.ones_like(z[..., 0]))


def test_normal_is_the_squared_error(device: torch.device) -> None:
    z, y = pairs(-2.0, 0.0, 3.5, device=device)
    assert_close(Normal().loss(z, y), (y - z) ** 2)
    log_prob = d.Normal(z, math.sqrt(0.5)).log_prob(y)
    assert_close(Normal().loss(z, y), -log_prob - math.log(math.pi) / 2)
    assert Normal().mean(z) is z


def test_poisson_is_the_likelihood_up_to_the_term_of_the_label(device: torch.device) -> None:
    z, y = pairs(0.0, 1.0, 2.0, 7.0, device=device)
    short = Poisson(full=False).loss(z, y)
    assert_close(short, torch.exp(z) - z * y)
    assert_close(short, -d.Poisson(torch.exp(z)).log_prob(y) - torch.lgamma(y + 1))
    assert_close(Poisson().mean(z), torch.exp(z))


def test_labels_up_to_one_have_no_term_of_their_own(device: torch.device) -> None:
    z, y = pairs(0.0, 0.5, 1.0, device=device)
    assert_close(Poisson().loss(z, y), Poisson(full=False).loss(z, y))


@pytest.mark.parametrize("label", [1.5, 2.0, 10.0, 1e4])
def test_the_full_poisson_loss_approximates_the_factorial_as_stirling_does(
    label: float, device: torch.device
) -> None:
    z, y = pairs(label, device=device)
    term = (Poisson().loss(z, y) - Poisson(full=False).loss(z, y))[3]
    stirling = label * math.log(label) - label + 0.5 * math.log(2 * math.pi * label)
    assert term.item() == pytest.approx(stirling, rel=1e-9)
    assert term.item() == pytest.approx(math.lgamma(label + 1), abs=1 / (12 * label))


@pytest.mark.parametrize("count", [0.0, 1.0])
def test_the_poisson_loss_of_a_rare_count_has_its_digits(
    count: float, device: torch.device
) -> None:
    z = torch.tensor([-30.0, -16.0, -7.0, -1.0], device=device, requires_grad=True)
    loss = Poisson().loss(z, torch.full_like(z, count))
    exact = z.detach().double()
    torch.testing.assert_close(loss.double(), exact.exp() - count * exact, rtol=1e-6, atol=0)
    loss.sum().backward()
    assert z.grad is not None
    torch.testing.assert_close(z.grad.double(), exact.exp() - count, rtol=1e-6, atol=0)


@pytest.mark.parametrize("count", [0.0, 1.0, 3.0])
def test_the_poisson_loss_and_its_gradient_overflow_to_infinity(
    count: float, device: torch.device
) -> None:
    z = torch.tensor([100.0], device=device, requires_grad=True)
    loss = Poisson().loss(z, torch.full_like(z, count))
    loss.sum().backward()
    assert z.grad is not None
    assert (loss.item(), z.grad.item()) == (math.inf, math.inf)


@one_value_families
def test_the_loss_is_least_where_the_mean_is_the_label(
    family: Family, device: torch.device
) -> None:
    z, _ = pairs(0.0, device=device)
    z = z[1:-2].requires_grad_()  # where the sigmoid is not flat
    label = family.mean(z).detach()
    gradient = torch.autograd.grad(family.loss(z, label).sum(), z)[0]
    assert_close(gradient, torch.zeros_like(z))


@one_value_families
def test_a_loss_comes_out_per_label_in_the_dtype_of_the_logits(
    family: Family, device: torch.device
) -> None:
    for dtype in [torch.float32, torch.float64]:
        loss = family.loss(
            torch.zeros(4, 3, 2, dtype=dtype, device=device),
            torch.ones(4, 3, 2, dtype=dtype, device=device),
        )
        assert loss.shape == (4, 3, 2)
        assert loss.dtype == dtype


@pytest.mark.parametrize("sign", [-1, 1])
def test_huge_logits_have_a_finite_loss_and_gradient(sign: int, device: torch.device) -> None:
    z = torch.full((2, 3), sign * 1e4, device=device).requires_grad_()
    binary = Bernoulli().loss(z, torch.tensor([[0.0, 0.5, 1.0]], device=device).expand(2, 3))
    classes = Categorical(3).loss(
        (z * torch.tensor([1.0, 0, -1], device=device)).unsqueeze(1), z.new_ones(2, 1).long()
    )
    total = binary.sum() + classes.sum()
    gradient = torch.autograd.grad(total, z)[0]
    assert total.isfinite()
    assert gradient.isfinite().all()


def test_families_of_equal_parameters_are_equal() -> None:
    assert {Poisson(), Poisson(full=True), Poisson(full=False), Bernoulli(), Bernoulli()} == {
        Poisson(),
        Poisson(full=False),
        Bernoulli(),
    }


@pytest.mark.parametrize("family", [Bernoulli(), Normal(), Poisson(), Categorical(4)], ids=repr)
def test_the_link_undoes_the_mean(family: Family, device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    z = torch.randn(5, 2, *family.logits_shape, generator=random, dtype=torch.float64).to(device)
    mean = family.mean(z)
    assert_close(family.mean(family.link(mean)), mean)


@pytest.mark.parametrize("memory", ["rows", "channels"])
@pytest.mark.parametrize("classes", [3, 21])
def test_classes_may_lie_apart_in_memory(classes: int, memory: str, device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.randn(2, classes, 4, 5, generator=random, dtype=torch.float64).to(device)
    z = images.movedim(1, -1).unsqueeze(-2)
    z = z.contiguous() if memory == "rows" else z
    y = torch.randint(classes, (2, 4, 5, 1), generator=random).to(device)
    expected = -d.Categorical(logits=z).log_prob(y)
    assert_close(Categorical(classes).loss(z, y), expected)
