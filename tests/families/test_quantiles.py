"""The quantiles' family against scikit-learn, statsmodels and NumPy."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import mean_pinball_loss
from statsmodels.regression.quantile_regression import QuantReg
from torch import Tensor, nn

import torch_heads as th
from torch_heads.families import Quantiles

LEVELS = (0.05, 0.3, 0.6, 0.95)
FAMILY = Quantiles(LEVELS)


def random_logits(rows: int, device: torch.device) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return (3 * torch.randn(rows, 4, generator=random, dtype=torch.float64)).to(device)


def test_the_loss_is_the_mean_of_the_pinball_losses(device: torch.device) -> None:
    logits = random_logits(200, device)
    labels = random_logits(200, device)[:, 0].flip(0)
    values = FAMILY.quantiles(logits).cpu().numpy()
    each = [
        mean_pinball_loss(labels.cpu(), values[:, i], alpha=level) for i, level in enumerate(LEVELS)
    ]
    assert FAMILY.loss(logits, labels).mean().item() == pytest.approx(np.mean(each), rel=1e-9)
    by_level = FAMILY.pinball(logits, labels).mean(0)
    np.testing.assert_allclose(by_level.cpu(), each, rtol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_quantiles_never_cross(scale: float, dtype: torch.dtype, device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(1000, 60, generator=random, dtype=dtype).to(device)
    values = Quantiles(tuple(i / 61 for i in range(1, 61))).quantiles(logits)
    assert values.isfinite().all()
    assert (values.diff(dim=-1) >= 0).all()


def test_the_prediction_is_the_level_nearest_to_the_median(device: torch.device) -> None:
    logits = random_logits(3, device)
    values = FAMILY.quantiles(logits)
    torch.testing.assert_close(FAMILY.mean(logits), values[:, 2])
    lower = Quantiles((0.1, 0.45))
    torch.testing.assert_close(lower.mean(logits[:, :2]), lower.quantiles(logits[:, :2])[:, 1])


def test_quantiles_between_levels_are_linear_and_beyond_them_refused(device: torch.device) -> None:
    logits = random_logits(50, device)
    values = FAMILY.quantiles(logits).cpu().numpy()
    for q in [0.05, 0.1, 0.3, 0.77, 0.95]:
        expected = [np.interp(q, LEVELS, row) for row in values]
        np.testing.assert_allclose(FAMILY.quantile(logits, q).cpu(), expected, rtol=1e-9)
    with pytest.raises(ValueError, match=r"expected q in \[0.05, 0.95\], got 0.99"):
        FAMILY.quantile(logits, 0.99)
    labels = torch.tensor(values[:, 1:3].mean(-1), device=device)
    assert FAMILY.covered(logits, labels, 0.9).all()
    assert not FAMILY.covered(logits, labels + 1e6, 0.9).any()


def test_it_recovers_the_quantiles_of_two_groups() -> None:
    random = np.random.default_rng(0)
    x = random.integers(2, size=2000)
    y = 1 + 2 * x + (0.5 + x) * random.normal(size=2000)
    head = th.QuantileRegressionHead((0.1, 0.5, 0.9))
    inputs, labels = torch.tensor(x).double().unsqueeze(-1), torch.tensor(y)
    layer = nn.Linear(1, 3).double()
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1000)
    for _ in range(1000):
        optimizer.zero_grad()
        head.loss(labels, layer(inputs)).backward()
        optimizer.step()
        schedule.step()
    design = np.stack([np.ones_like(x), x], -1)
    lines = np.stack([QuantReg(y, design).fit(q=q).params for q in head.levels], -1)
    with torch.no_grad():
        ours = head(layer(torch.tensor([[0.0], [1.0]]).double()))["quantiles"].squeeze(1)
        loss = head.loss(labels, layer(inputs)).item()
    np.testing.assert_allclose(ours, [lines[0], lines.sum(0)], atol=1e-4)
    fit = design @ lines
    least = np.mean([mean_pinball_loss(y, fit[:, i], alpha=q) for i, q in enumerate(head.levels)])
    assert loss == pytest.approx(least, rel=1e-4)


def test_families_of_equal_levels_are_equal() -> None:
    assert Quantiles((0.1, 0.9)) == Quantiles((0.1, 0.9)) != Quantiles((0.1, 0.8))
    assert Quantiles((0.1, 0.9)).distribution == "Quantiles(levels=(0.1, 0.9))"
    assert hash(Quantiles((0.1, 0.9))) == hash(Quantiles((0.1, 0.9)))


def test_steps_are_softplus(device: torch.device) -> None:
    logits = random_logits(5, device)
    torch.testing.assert_close(FAMILY.quantiles(logits).diff(dim=-1), F.softplus(logits[:, 1:]))
