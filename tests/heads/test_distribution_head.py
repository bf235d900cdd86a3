"""The heads of distributions: their quantiles and intervals, keys and errors."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import torch_heads as th

HEADS: dict[str, Callable[..., th.Head]] = {
    "quantiles": lambda **o: th.QuantileRegressionHead((0.05, 0.5, 0.95), **o),
    "gaussian": th.GaussianRegressionHead,
    "counts": th.NegativeBinomialRegressionHead,
    "amounts": th.ZeroInflatedLogNormalHead,
}

every_head = pytest.mark.parametrize("make", HEADS.values(), ids=HEADS.keys())


def logits_for(head: th.Head, device: torch.device) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randn(5, 3, head.logits_dimension, generator=random).to(device)


@every_head
def test_an_interval_is_two_quantiles(make: Callable[..., th.Head], device: torch.device) -> None:
    head: Any = make(label_dimension=2)
    logits = logits_for(head, device)
    low, high = head.interval(logits, 0.9)
    assert low.shape == high.shape == (5, 3, 2)
    torch.testing.assert_close(low, head.quantile(logits, 0.05))
    torch.testing.assert_close(high, head.quantile(logits, 0.95))
    middle = head.quantile(logits.tolist(), 0.5).to(device)
    assert ((low <= middle) & (middle <= high)).all()


@every_head
def test_a_share_is_a_number_in_between(make: Callable[..., th.Head], device: torch.device) -> None:
    head: Any = make(name="x")
    logits = logits_for(head, device)
    for bad in [0, 1, -0.1, float("nan")]:
        with pytest.raises(ValueError, match=r"'x': expected q in \(0, 1\), got"):
            head.quantile(logits, bad)
    with pytest.raises(TypeError, match=r"'x': expected level as a number, got '0.9'"):
        head.interval(logits, "0.9")
    with pytest.raises(ValueError, match=rf"logits of shape .* {head.logits_dimension}\]"):
        head.quantile(logits[..., :1], 0.5)


def test_a_head_of_few_levels_tells_no_others() -> None:
    head = th.QuantileRegressionHead((0.1, 0.9))
    with pytest.raises(ValueError, match=r"q in \[0.1, 0.9\], got 0.025"):
        head.interval([[0.0, 0.0]], 0.95)


@pytest.mark.parametrize(
    ("levels", "error"),
    [
        ((), ValueError),
        ((0.0, 0.5), ValueError),
        ((0.5, 1.0), ValueError),
        ((0.9, 0.1), ValueError),
        ((0.5, 0.5), ValueError),
        (0.5, TypeError),
        (("0.5",), TypeError),
    ],
    ids=str,
)
def test_levels_ascend_between_zero_and_one(levels: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^QuantileRegressionHead: expected levels "):
        th.QuantileRegressionHead(levels)


@pytest.mark.parametrize(("beta", "error"), [(-0.1, ValueError), (2, ValueError), ("1", TypeError)])
def test_beta_is_a_share(beta: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^GaussianRegressionHead: expected beta "):
        th.GaussianRegressionHead(beta=beta)


KEYS = {
    "quantiles": {"predictions": (5, 3, 2), "quantiles": (5, 3, 2, 3), "logits": (5, 3, 6)},
    "gaussian": {"predictions": (5, 3, 2), "scale": (5, 3, 2), "logits": (5, 3, 4)},
    "counts": {"predictions": (5, 3, 2), "dispersion": (5, 3, 2), "logits": (5, 3, 4)},
    "amounts": {
        "predictions": (5, 3, 2),
        "probability_positive": (5, 3, 2),
        "scale": (5, 3, 2),
        "logits": (5, 3, 6),
    },
}


@pytest.mark.parametrize("name", HEADS)
def test_predictions_have_their_keys_and_shapes(name: str, device: torch.device) -> None:
    head = HEADS[name](label_dimension=2)
    predicted = head(logits_for(head, device))
    assert {key: tuple(value.shape) for key, value in predicted.items()} == KEYS[name]
    exported = head.export_outputs(predicted)
    assert torch.equal(exported["serving_default"].value, predicted["predictions"])


@pytest.mark.parametrize("kind", [th.NegativeBinomialRegressionHead, th.ZeroInflatedLogNormalHead])
def test_counts_and_amounts_are_not_negative(kind: Callable[..., th.Head]) -> None:
    head = kind(name="x")
    with pytest.raises(ValueError, match=r"'x': expected labels >= 0, got -1"):
        head.loss([-1.0], torch.zeros(1, head.logits_dimension))
