"""Losses against the formulas in float64 and against `torch.distributions`."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch import distributions as d

from torch_heads.functional.families import Bernoulli, Categorical, Family, Normal, Poisson
from torch_heads.functional.groups import Groups

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
    z = torch.tensor(LOGITS, dtype=torch.float64, device=device).view(3, 3)
    for label in range(3):
        y = torch.full((3, 1), label, device=device)
        expected = torch.logsumexp(z, -1, keepdim=True) - z[:, label, None]
        assert_close(Categorical().loss(z, y), expected)
        log_prob = d.Categorical(logits=z).log_prob(y.squeeze(-1))
        assert_close(Categorical().loss(z, y), -log_prob[:, None])
    assert_close(Categorical().mean(z).sum(-1), torch.ones_like(z[:, 0]))


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
    classes = Categorical().loss(
        z * torch.tensor([1.0, 0, -1], device=device), z.new_ones(2, 1).long()
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


@given(widths=st.lists(st.integers(2, 9), min_size=1, max_size=6), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_groups_of_classes_are_computed_each_by_itself(
    widths: list[int], seed: int, device: torch.device
) -> None:
    random = torch.Generator().manual_seed(seed)
    z = torch.randn(5, sum(widths), generator=random, dtype=torch.float64).to(device)
    ids = [torch.randint(width, (5, 1), generator=random).to(device) for width in widths]
    groups = Groups(widths).to(device)
    labels = torch.cat(ids, dim=-1)
    losses = [
        Categorical().loss(part, own) for part, own in zip(z.split(widths, -1), ids, strict=True)
    ]
    padded = groups.pad(z, -torch.inf)
    assert_close(Categorical().loss(padded, labels, groups), torch.cat(losses, dim=-1))
