"""Logits on the meta device, which have a shape and no values."""

from math import nan
from typing import Any

import pytest
import torch
from torch import Tensor

import torch_heads as th
from tests.cases import CASES, Case


def meta(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: meta(own) for name, own in values.items()}
    return values.to("meta") if isinstance(values, Tensor) else values


@pytest.mark.parametrize("case", [case for case in CASES if case.dense], ids=str)
def test_what_a_head_computes_of_no_values_has_none(case: Case) -> None:
    head, batch = case.head(), case.batch
    labels, logits = meta(batch.labels), meta(batch.logits)
    assert head.loss(labels, logits, meta(batch.features)).is_meta
    assert all(own.is_meta for own in head(logits).values())
    assert head.divisors(labels, logits, meta(batch.features)).is_meta


def squared(labels: Tensor, logits: Tensor) -> Tensor:
    return (labels - logits) ** 2


def test_lists_and_functions_are_taken_there_too() -> None:
    logits, features = torch.zeros(2, 2, 1, device="meta"), {"sequence_length_mask": [2, 1]}
    steps = th.SequentialHeadWrapper(th.RegressionHead())
    assert steps.loss([[1.0, 2.0], [3.0]], logits, features).is_meta
    own = th.RegressionHead(loss_fn=squared, missing_label=nan)
    assert own.loss([[1.0, nan], [3.0, 4.0]], logits).is_meta


def test_what_needs_values_says_so() -> None:
    head = th.MultiClassHead(3, name="pet", label_vocabulary=["cat", "dog", "owl"])
    logits = torch.zeros(2, 3, device="meta")
    says = r"MultiClassHead 'pet': expected logits with values, which tell the class names, got a"
    with pytest.raises(ValueError, match=says):
        head.predictions(logits)
    assert head.predictions(logits, ["probabilities"])["probabilities"].is_meta
    with pytest.raises(ValueError, match=r"'pet': expected labels with values, of which the prior"):
        head.fit_prior(torch.zeros(2, dtype=torch.int64, device="meta"))
    with pytest.raises(ValueError, match=r"expected divisors on the logits' device meta, got cpu"):
        head.loss(["cat", "dog"], logits, divisors=torch.ones(1))
    with pytest.raises(ValueError, match=r"expected divisors on the logits' device cpu, got meta"):
        head.loss(["cat", "dog"], torch.zeros(2, 3), divisors=torch.ones(1, device="meta"))
