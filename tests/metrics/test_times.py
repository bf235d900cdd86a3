"""The metrics of times to an event: concordance, and curves of labels and predictions."""

from itertools import groupby

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics import MeanAbsoluteError

import torch_heads as th
from torch_heads.functional.concordance import concordance
from torch_heads.functional.survival import kaplan_meier
from torch_heads.metrics import Torchmetric

ROWS = 20_000


def exact_concordance(time: Tensor, event: Tensor, score: Tensor, weight: Tensor) -> float:
    """Return Harrell's index over all pairs: from late to early times, by a tree of the scores."""
    ranks = torch.unique(score, return_inverse=True)[1].tolist()
    size = max(ranks) + 2
    tree = [0.0] * size

    def up_to(rank: int) -> float:
        total, place = 0.0, rank + 1
        while place > 0:
            total += tree[place]
            place -= place & -place
        return total

    def add(rank: int, by: float) -> None:
        place = rank + 1
        while place < size:
            tree[place] += by
            place += place & -place

    rows = [*zip(time.tolist(), event.tolist(), ranks, weight.tolist(), strict=True)]
    rows.sort(key=lambda row: (-row[0], row[1]))  # of one time, the censored are later
    right = pairs = inside = 0.0
    for _, group in groupby(rows, key=lambda row: (row[0], bool(row[1]))):
        own = [*group]
        for _, came, rank, by in own:
            if came:
                below, equal = up_to(rank - 1), up_to(rank)
                right += by * (inside - equal + (equal - below) / 2)
                pairs += by * inside
        for _, _, rank, by in own:
            add(rank, by)
            inside += by
    return right / pairs


def simulated(effect: float, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return times within 5, events, and logits of 8 intervals that tell something of them."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, generator=random)
    time = -torch.rand(ROWS, generator=random).log() * torch.exp(-effect * x) * 3
    lost = 5 * torch.rand(ROWS, generator=random)
    event = time <= lost
    logits = torch.arange(8) / 8 - 2 + effect * x[:, None]
    return torch.minimum(time, lost).to(device), event.to(device), logits.to(device)


@pytest.mark.parametrize("cuts", [1, 3, 8])
@pytest.mark.parametrize("effect", [0.1, 0.7, 2.0])
def test_concordance_is_that_of_all_pairs(effect: float, cuts: int, device: torch.device) -> None:
    time, event, logits = simulated(effect, device)
    ends = [5.0 * (i + 1) / cuts for i in range(cuts)]
    head = th.SurvivalHead(ends)
    logits = logits[:, :cuts]
    labels = {"time": time, "event": event}
    weight = torch.rand(ROWS, generator=torch.Generator().manual_seed(1)).to(device)
    metrics = head.update_metrics(head.metrics(), None, logits, labels, weights=weight)
    score = head(logits)["predictions"][:, 0]
    expected = exact_concordance(*(one.cpu().double() for one in (time, event, score, weight)))
    assert metrics.compute()["concordance"].item() == pytest.approx(expected, abs=0.005)


def test_concordance_of_counts_is_that_of_pairs() -> None:
    random = torch.Generator().manual_seed(0)
    time = torch.randint(5, (200,), generator=random)
    event, score = (
        torch.randint(2, (200,), generator=random),
        torch.randint(4, (200,), generator=random),
    )
    weight = torch.rand(200, generator=random).double()
    counts = torch.zeros(2, 5, 4, dtype=torch.float64)
    counts.index_put_((1 - event, time, score), weight, accumulate=True)
    expected = exact_concordance(time.double(), event.double(), score.double(), weight)
    assert concordance(counts).item() == pytest.approx(expected, rel=1e-9)
    assert concordance(torch.zeros(2, 5, 4)).isnan()


def test_the_curve_of_the_labels_is_that_of_a_life_table(device: torch.device) -> None:
    time, event, logits = simulated(0.7, device)
    ends = [0.5, 1.0, 2.0, 4.0]
    head = th.SurvivalHead(ends)
    logits, labels = logits[:, :4], torch.stack([time, event.to(time.dtype)], -1)
    metrics = head.update_metrics(None, None, logits, labels)
    curves = metrics.survival()
    t, e = time.cpu().numpy(), event.cpu().numpy()
    share, expected, start = 1.0, [], 0.0
    for end in ends:
        here = (t > start) & (t <= end)
        share *= 1 - (here & e).sum() / (t > start).sum()
        expected.append(share)
        start = end
    np.testing.assert_allclose(curves.observed.cpu(), expected, rtol=1e-9)
    predicted = head(logits)["survival"].double().mean(0)
    torch.testing.assert_close(curves.predicted, predicted, rtol=1e-5, atol=1e-6)
    assert curves.times.tolist() == ends


def test_without_censoring_the_curve_is_the_share_that_is_left() -> None:
    observed = kaplan_meier(torch.tensor([2.0, 3.0, 1.0]), torch.tensor([0.0, 0.0, 0.0, 4.0]))
    torch.testing.assert_close(observed, torch.tensor([0.8, 0.5, 0.4]))


def test_curves_are_those_of_one_head_among_others(device: torch.device) -> None:
    heads = [th.SurvivalHead([1.0, 2.0], name=name, missing_label=-1) for name in "ab"]
    head = th.MultiHead([*heads, th.RegressionHead(name="c")])
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).to(device)
    first = torch.tensor([[0.5, 1], [1.5, 0], [-1, -1], [3, 0], [0.2, 0], [1.9, 1]], device=device)
    labels = {"a": first, "b": first.flip(0), "c": first[:, 0]}
    metrics = head.update_metrics(None, None, logits, labels)
    alone = heads[1].__class__([1.0, 2.0], missing_label=-1)
    expected = alone.update_metrics(None, None, logits[:, 2:4], labels["b"]).survival()
    for own, other in zip(metrics.survival("b"), expected, strict=True):
        torch.testing.assert_close(own, other)
    with pytest.raises(KeyError, match="'c' has no survival curves"):
        metrics.survival("c")


@pytest.mark.parametrize("preds", ["scores", "median_time"])
def test_a_metric_of_torchmetrics_own_takes_no_times(preds: str) -> None:
    asked = {"mae": Torchmetric(MeanAbsoluteError(), preds)}
    words = r"'s': expected metrics\['mae'\] among \['average_loss', 'concordance'.*takes that"
    with pytest.raises(ValueError, match=words):
        th.SurvivalHead([1.0, 2.0], metrics=asked, name="s")
    with pytest.raises(ValueError, match=r"metrics\['MeanAbsoluteError'\] among"):
        th.SurvivalHead([1.0, 2.0], metrics=[MeanAbsoluteError()])
