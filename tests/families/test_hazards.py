"""The hazards of ordered classes and of times, against statsmodels, scikit-learn and CORN."""

import numpy as np
import pytest
import statsmodels.api as sm
import torch
import torch.nn.functional as F
from sklearn.metrics import log_loss
from torch import Tensor

import torch_heads as th
from tests.simulated import fitted
from torch_heads.families import EventTimes, OrderedClasses

CUTS = (1.0, 2.0, 4.0, 7.0)


def random_logits(rows: int, device: torch.device) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return (2 * torch.randn(rows, 4, generator=random, dtype=torch.float64)).to(device)


def random_times(rows: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    return random.exponential(4, size=rows), random.integers(2, size=rows)


def corn_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the sum of the losses of CORN's tasks, as coral-pytorch computes them."""
    total = logits.new_zeros(())
    for task in range(logits.shape[-1]):
        reached = labels > task - 1
        above = (labels[reached] > task).to(logits.dtype)
        z = logits[reached, task]
        total = total - (F.logsigmoid(z) * above + (F.logsigmoid(z) - z) * (1 - above)).sum()
    return total


def test_the_loss_of_classes_is_that_of_their_probabilities(device: torch.device) -> None:
    logits, family = random_logits(300, device), OrderedClasses(5)
    labels = torch.arange(300, device=device) % 5
    probabilities = family.mean(logits)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones_like(logits[:, 0]))
    losses = family.loss(logits, labels)
    expected = log_loss(labels.cpu(), probabilities.cpu(), labels=range(5))
    assert losses.mean().item() == pytest.approx(expected, rel=1e-9)
    # CORN's logits are the log odds to go on; ours are those to stop
    torch.testing.assert_close(losses.sum(), corn_loss(-logits, labels))
    torch.testing.assert_close(family.mean(family.link(probabilities)), probabilities)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_probabilities_sum_to_one_and_survival_never_rises(
    scale: float, device: torch.device
) -> None:
    random = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(500, 40, generator=random).to(device)
    probabilities = OrderedClasses(41).mean(logits)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones_like(logits[:, 0]))
    family = EventTimes(tuple(range(1, 41)))
    survival = family.survival(logits)
    assert (survival.diff(dim=-1) <= 0).all()
    assert ((survival >= 0) & (survival <= 1)).all()


def test_the_loss_of_times_is_the_logit_of_subject_periods(device: torch.device) -> None:
    time, event = random_times(200)
    logits, family = random_logits(200, device), EventTimes(CUTS)
    labels = family.encode(torch.tensor(time), torch.tensor(event)).to(device)
    total = 0.0
    for z, t, e in zip(logits.cpu().numpy(), time, event, strict=True):
        # one row for each interval that the subject entered, 1 where the event came in it
        place = int(np.searchsorted(CUTS, t))
        entered = min(place, len(CUTS) - 1) + 1
        came = np.zeros(entered)
        if e and place < len(CUTS):
            came[-1] = 1
        total += (np.logaddexp(0, z[:entered]) - came * z[:entered]).sum()
    assert family.loss(logits, labels.double()).sum().item() == pytest.approx(total, rel=1e-9)


def test_hazards_of_one_group_are_those_of_statsmodels_and_the_life_table() -> None:
    time, event = random_times(2000)
    rows, came = [], []
    for t, e in zip(time, event, strict=True):
        place = int(np.searchsorted(CUTS, t))
        for interval in range(min(place, len(CUTS) - 1) + 1):
            rows.append(interval)
            came.append(float(e and interval == place))
    design = np.eye(len(CUTS))[rows]
    theirs = sm.Logit(came, design).fit(disp=0)
    head = th.SurvivalHead(CUTS)
    labels = {"time": time, "event": event}
    layer = fitted(head, torch.ones(2000, 1, dtype=torch.float64), labels)
    logits = layer(torch.ones(2000, 1, dtype=torch.float64)).detach()
    np.testing.assert_allclose(logits[0], theirs.params, atol=1e-4)
    assert head.loss(labels, logits).item() * 2000 == pytest.approx(-theirs.llf, rel=1e-6)
    # of those who entered an interval, the share with the event in it
    share = [np.mean([c for r, c in zip(rows, came, strict=True) if r == i]) for i in range(4)]
    np.testing.assert_allclose(head(logits)["hazards"][0], share, atol=1e-5)


def test_a_row_censored_in_an_interval_has_survived_it(device: torch.device) -> None:
    family, logits = EventTimes(CUTS), random_logits(1, device)
    label = family.encode(torch.tensor([1.5]), torch.tensor([0])).double().to(device)
    two = F.softplus(logits[0, :2]).sum()
    torch.testing.assert_close(family.loss(logits, label)[0], two)
    # after the last cut point, with the event or without, as at the last
    late = family.encode(torch.tensor([9.0, 9.0, 7.0]), torch.tensor([1, 0, 0])).double()
    losses = family.loss(logits.expand(3, -1), late.to(device))
    torch.testing.assert_close(losses, F.softplus(logits[0]).sum().expand(3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_a_cut_point_belongs_to_the_interval_that_it_ends(dtype: torch.dtype) -> None:
    cuts = (1.0, 2.0) if dtype == torch.int64 else (0.1, 0.7)
    family = EventTimes(cuts)
    times = torch.tensor([0.0, *cuts], dtype=dtype)
    events = family.encode(times, torch.ones(3))
    censored = family.encode(times, torch.zeros(3, dtype=torch.bool))
    # half of the place in the interval is added, for the metrics
    assert events.floor().tolist() == censored.floor().tolist() == [0, 0, 1]
    assert ((events % 1 < 0.5) & (censored % 1 >= 0.5)).all()
    assert (family.censored(events) == 0).all()
    assert (family.censored(censored) == 1).all()
    assert (family.cell(events) == family.cell(censored)).all()
    assert (family.cell(events).diff() > 0).all()
    assert family.cell(events).max() < family.cells - 1 == family.cell(torch.tensor(2.0))


def test_times_are_read_off_the_curve(device: torch.device) -> None:
    family = EventTimes((1.0, 3.0))
    even = torch.zeros(1, 2, dtype=torch.float64, device=device)  # survival 1, 1/2, 1/4
    assert family.median_time(even).item() == pytest.approx(1.0)
    assert family.quantile(even, 0.25).item() == pytest.approx(0.5)
    assert family.quantile(even, 0.625).item() == pytest.approx(2.0)
    assert family.quantile(even, 0.8).item() == torch.inf
    assert family.mean(even).item() == pytest.approx(0.75 + 2 * 0.375)
    never = torch.full((1, 2), -50.0, device=device)
    assert family.median_time(never).item() == torch.inf
    assert family.mean(never).item() == pytest.approx(3.0)


def test_it_recovers_hazards_that_depend_on_the_input() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, 1, generator=random, dtype=torch.float64)
    base = torch.tensor([-2.0, -1.0, 0.0, -0.5], dtype=torch.float64)
    stops = torch.rand(20_000, 4, generator=random) < torch.sigmoid(base - 0.7 * x)
    interval = torch.where(stops.any(-1), stops.int().argmax(-1), 4)
    labels = {"time": torch.tensor([*CUTS, 9.0])[interval], "event": torch.ones(20_000)}
    layer = fitted(th.SurvivalHead(CUTS), x, labels)
    torch.testing.assert_close(layer.bias.detach(), base, rtol=0, atol=0.1)
    torch.testing.assert_close(
        layer.weight.detach(), torch.full((4, 1), -0.7).double(), rtol=0, atol=0.1
    )
    # the same numbers as grades
    grades = fitted(th.OrdinalClassHead(5), x, interval)
    torch.testing.assert_close(grades.bias.detach(), layer.bias.detach(), rtol=0, atol=1e-4)
