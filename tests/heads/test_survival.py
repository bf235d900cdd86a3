"""`SurvivalHead`, beyond what every head promises: its labels of two numbers, and its errors."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from torch import Tensor

import torch_heads as th
from torch_heads.testing import check_head

CUTS = [1.0, 2.0, 4.0]
TIME, EVENT = [0.5, 1.0, 3.0, 9.0], [1, 0, 1, 0]


@pytest.fixture
def logits(device: torch.device) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randn(4, 3, generator=random).to(device)


STACKED = torch.tensor([TIME, EVENT]).T

FORMS = {
    "a tensor": STACKED,
    "an array": STACKED.numpy(),
    "lists": STACKED.tolist(),
    "a dict of lists": {"time": TIME, "event": EVENT},
    "a dict of tensors": {"event": torch.tensor(EVENT).bool(), "time": torch.tensor(TIME)},
    "a dict of columns": {"time": np.array(TIME)[:, None], "event": np.array(EVENT)[:, None]},
    "a frame of pandas": pd.DataFrame({"event": EVENT, "time": TIME}),
    "a frame of polars": pl.DataFrame({"time": TIME, "event": EVENT}),
    "float64": STACKED.double(),
}


@pytest.mark.parametrize("labels", FORMS.values(), ids=FORMS.keys())
def test_a_time_and_an_event_come_in_many_forms(labels: Any, logits: Tensor) -> None:
    head = th.SurvivalHead(CUTS)
    z = torch.nn.functional.softplus(logits.cpu())
    # the event in the first interval; lost in the first; the event in the third; beyond the last
    each = [z[0, 0] - logits[0, 0].cpu(), z[1, 0], z[2].sum() - logits[2, 2].cpu(), z[3].sum()]
    expected = torch.stack(each).mean()
    given = labels.to(logits.device) if isinstance(labels, Tensor) else labels
    torch.testing.assert_close(head.loss(given, logits).cpu(), expected)


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64], ids=str)
def test_times_may_be_unsigned(dtype: torch.dtype, logits: Tensor) -> None:
    labels = torch.tensor([[1, 1], [2, 0], [3, 1], [9, 0]], device=logits.device)
    head = th.SurvivalHead(CUTS)
    assert head.loss(labels.to(dtype), logits) == head.loss(labels, logits)
    by_name = dict(zip(("time", "event"), labels.to(dtype).unbind(-1), strict=True))
    assert head.loss(by_name, logits) == head.loss(labels, logits)
    labels[0, 1] = 2
    if not logits.is_cuda:
        with pytest.raises(ValueError, match=r"labels 'event' in \[0, 1\], got 2"):
            head.loss(labels.to(dtype), logits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_an_event_at_a_cut_point_came_then_in_every_dtype(dtype: torch.dtype) -> None:
    head, logits = th.SurvivalHead([1.0, 2.0, 3.0]), torch.tensor([[0.5, -1.0, 1.0]] * 3)
    labels = torch.tensor([[1.0, 1], [2.0, 1], [3.0, 0]])
    assert head.loss(labels.to(dtype), logits) == head.loss(labels, logits)
    seen = [
        head.update_metrics(head.metrics(), None, logits, own) for own in (labels.to(dtype), labels)
    ]
    assert seen[0].survival().observed.tolist() == seen[1].survival().observed.tolist()


def test_two_columns_stand_among_those_of_other_heads(logits: Tensor) -> None:
    heads = [th.BinaryClassHead(name="a"), th.SurvivalHead(CUTS, name="s"), th.RegressionHead()]
    heads[2] = th.RegressionHead(name="b")
    head = th.MultiHead(heads)
    assert head.labels_dimension == 4
    assert head["s"].labels_dimension == 2
    wide = torch.cat([logits[:, :1], logits, logits[:, 1:2]], -1)
    other = torch.tensor([[1.0], [0], [1], [0]], device=wide.device)
    survival = STACKED.to(wide.device)
    by_name = {"a": other, "s": {"time": TIME, "event": EVENT}, "b": other}
    expected = head.losses(by_name, wide)
    stacked = torch.cat([other, survival, other], -1)
    torch.testing.assert_close(head.losses(stacked, wide), expected)
    torch.testing.assert_close(expected["s"], th.SurvivalHead(CUTS).loss(survival, logits))


@pytest.mark.parametrize("missing", [-1, float("nan"), [-1, -9]], ids=str)
@pytest.mark.parametrize("part", ["time", "event"])
def test_a_label_of_which_a_part_is_missing_is_missing(
    part: str, missing: Any, logits: Tensor
) -> None:
    head = th.SurvivalHead(CUTS, missing_label=missing)
    labels = {"time": torch.tensor(TIME), "event": torch.tensor(EVENT).float()}
    labels[part][1] = missing[0] if isinstance(missing, list) else missing
    kept = [0, 2, 3]
    expected = head.loss(STACKED[kept].to(logits.device), logits[kept])
    torch.testing.assert_close(head.loss(labels, logits), expected)
    both = {name: th.SurvivalHead(CUTS, name=name, missing_label=missing) for name in "ab"}
    joined = torch.cat([logits, logits], -1)
    losses = th.MultiHead([*both.values()]).losses({"a": labels, "b": labels}, joined)
    torch.testing.assert_close(losses, {"a": expected, "b": expected})
    absent = th.MultiHead([*both.values()]).losses({"b": labels}, joined)
    torch.testing.assert_close(absent, {"a": torch.zeros_like(expected), "b": expected})


BAD = {
    "times alone": (torch.tensor(TIME), r"labels of shape \[4, 2\], got \[4\]"),
    "a negative time": (STACKED - 2, r"labels 'time' >= 0, got -1.5"),
    "another event": (STACKED + 1, r"labels 'event' in \[0, 1\], got 2"),
    "half an event": (STACKED * 0.5, r"labels 'event' as whole numbers, got 0.5"),
    "no time": (torch.full((4, 2), torch.nan), r"labels 'time' without gaps, got nan in row 0"),
    "another name": ({"time": TIME, "died": EVENT}, "died"),
    "one name": ({"time": TIME}, "event"),
    "a short column": ({"time": TIME, "event": [1]}, r"labels 'event' of shape \[4\] or \[4, 1\]"),
}


@pytest.mark.parametrize(("labels", "message"), BAD.values(), ids=BAD.keys())
def test_labels_that_are_none_are_refused(labels: Any, message: str, logits: Tensor) -> None:
    given = labels.to(logits.device) if isinstance(labels, Tensor) else labels
    with pytest.raises(ValueError, match=rf"^SurvivalHead 'churn': expected {message}|{message}"):
        th.SurvivalHead(CUTS, name="churn").loss(given, logits)


@pytest.mark.parametrize(
    ("cut_points", "error"),
    [
        ([], ValueError),
        ([0.0, 1.0], ValueError),
        ([2.0, 1.0], ValueError),
        ([1.0, 1.0], ValueError),
        ([1.0, float("inf")], ValueError),
        (3, TypeError),
        ("12", TypeError),
        (["1"], TypeError),
    ],
    ids=str,
)
def test_cut_points_ascend_above_zero(cut_points: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^SurvivalHead: expected cut_points "):
        th.SurvivalHead(cut_points)


def test_predictions_are_curves_and_times(logits: Tensor) -> None:
    head = th.SurvivalHead(CUTS)
    predicted = head(logits)
    shapes = {key: [*value.shape] for key, value in predicted.items()}
    assert shapes == {
        "predictions": [4, 1],
        "median_time": [4, 1],
        "hazards": [4, 3],
        "survival": [4, 3],
        "logits": [4, 3],
    }
    survival = (1 - predicted["hazards"]).cumprod(-1)
    torch.testing.assert_close(predicted["survival"], survival)


@pytest.mark.parametrize("shape", [(6,), (6, 1), (2, 3), (3, 2), (3, 2, 1), (2, 1, 3)], ids=str)
def test_a_prior_takes_times_of_every_shape_by_name(shape: tuple[int, ...]) -> None:
    time, event = torch.tensor([0.5, 1.0, 3.0, 9.0, 1.5, 2.5]), torch.tensor([1, 0, 1, 0, 1, 1])
    expected = th.SurvivalHead(CUTS).fit_prior(torch.stack([time, event], -1))
    labels = {"time": time.view(shape), "event": event.view(shape)}
    found = th.SurvivalHead(CUTS).fit_prior(labels)
    torch.testing.assert_close(found.prior_offset, expected.prior_offset)
    torch.testing.assert_close(found.prior_loss, expected.prior_loss)


def test_numbers_may_be_drawn_for_it() -> None:
    check_head(lambda **options: th.SurvivalHead(CUTS, **options))


def test_a_missing_label_is_no_time() -> None:
    with pytest.raises(ValueError, match=r"missing_label outside of the labels' range"):
        th.SurvivalHead(CUTS, missing_label=100)
