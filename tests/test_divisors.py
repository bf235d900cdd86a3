"""With the divisors of all, the losses of a batch's parts add up to the loss of the whole."""

from collections.abc import Sequence
from itertools import pairwise
from math import nan
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

import torch_heads as th
from tests.cases import Case, every_case
from tests.mixture import mixture, random_batch
from torch_heads.testing import REDUCTIONS, Sample


def whole_and_parts(
    head: th.Head, batch: Any, parts: Sequence[Any], terms: list[Any] | None = None
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the loss and the logits' gradient: of the whole batch, and added up over parts."""
    divisors = sum(head.divisors(*arguments(part)[0], **arguments(part)[1]) for part in parts)
    sums, gradients = 0.0, []
    for part in [batch, *parts]:
        logits = part.logits.detach().clone().requires_grad_()
        given, named = arguments(part._replace(logits=logits))
        if part is batch:
            loss = head.loss(*given, **named, regularization_losses=terms)
            whole = loss.detach(), torch.autograd.grad(loss, logits)[0]
        else:
            loss = head.loss(*given, **named, regularization_losses=terms, divisors=divisors)
            sums += loss.detach()
            gradients += torch.autograd.grad(loss, logits)
    return whole, (sums, torch.cat(gradients))


def arguments(batch: Any) -> tuple[list[Any], dict[str, Any]]:
    if isinstance(batch, Sample):
        return [batch.labels, batch.logits, batch.features], {}
    return [batch.labels, batch.logits], {"weights": batch.weights}


@every_case
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_the_losses_of_parts_add_up(case: Case, reduction: str, device: torch.device) -> None:
    head = case.head(device, loss_reduction=reduction, weight_column="w")
    batch = case.batch.to(device)
    parts = [batch.take(rows) for rows in ([0, 1, 2, 3, 4], [5], [], [6])]
    for terms in (None, [torch.tensor(2.0, device=device), 0.5]):
        whole, added = whole_and_parts(head, batch, parts, terms)
        assert_close(added, whole, rtol=1e-5, atol=1e-6)
    assert_close(whole[0], head.loss(*batch) + 2.5, rtol=1e-5, atol=1e-6)


@given(
    rows=st.integers(2, 12),
    cuts=st.lists(st.integers(0, 12), max_size=3),
    reductions=st.lists(st.sampled_from(REDUCTIONS), min_size=8, max_size=8),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=30)
def test_the_losses_of_parts_add_up_in_a_mixture_where_labels_are_missing(
    rows: int, cuts: list[int], reductions: list[str], seed: int, device: torch.device
) -> None:
    head = mixture(reductions).to(device)
    batch = random_batch(rows, torch.Generator().manual_seed(seed)).to(device)
    bounds = [0, *sorted(min(cut, rows) for cut in cuts), rows]
    parts = [batch.take(range(*pair)) for pair in pairwise(bounds)]
    whole, added = whole_and_parts(head, batch, parts)
    assert_close(added, whole, rtol=1e-5, atol=1e-6)


def test_a_head_may_be_absent_from_a_part(device: torch.device) -> None:
    head = mixture().to(device)
    batch = random_batch(9, torch.Generator().manual_seed(1)).to(device)
    batch.labels["digit"][5:] = -1
    parts = [batch.take(range(5)), batch.take(range(5, 9)).without(["digit"])]
    parts[1].weights.pop("digit")
    whole, added = whole_and_parts(head, batch, parts)
    assert_close(added, whole, rtol=1e-5, atol=1e-6)


def test_a_divisor_is_the_number_or_the_weight_of_the_labels(device: torch.device) -> None:
    labels = torch.tensor([1.0, 0.0, nan, 1.0], device=device)
    logits, weights = labels.new_zeros(4, 1), labels.new_tensor([0.5, 2.0, 9.0, 1.0])

    def divisors(reduction: str) -> list[float]:
        head = th.BinaryClassHead(missing_label=nan, loss_reduction=reduction).to(device)
        return head.divisors(labels, logits, weights=weights).tolist()

    assert divisors("sum_over_batch_size") == [3.0]
    assert divisors("weighted_mean") == [3.5]
    assert divisors("sum") == [1.0]


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_parts_without_any_label_share_the_regularization(
    reduction: str, device: torch.device
) -> None:
    def head(name: str) -> th.Head:
        return th.BinaryClassHead(name=name, missing_label=-1, loss_reduction=reduction)

    heads = th.MultiHead([head("a"), head("b")]).to(device)
    labels = torch.full((4, 2), -1, device=device)
    for present in (0, 1, 2):  # labels of the second head
        labels[:present, 1] = 1
        logits = torch.randn(4, 2, device=device, requires_grad=True)
        parts = [(labels[rows], logits[rows]) for rows in ([0], [1, 2, 3], [])]
        divisors = sum(heads.divisors(*part) for part in parts)
        terms = [2.5]
        losses = [heads.loss(*p, divisors=divisors, regularization_losses=terms) for p in parts]
        whole = heads.loss(labels, logits, regularization_losses=terms)
        assert_close(sum(losses), whole)
        assert present or whole == 2.5
        each = torch.autograd.grad(sum(losses), logits)[0]
        assert_close(each, torch.autograd.grad(whole, logits)[0])


def test_weights_of_zero_alone_leave_the_gradient_of_parts_finite(device: torch.device) -> None:
    head = th.RegressionHead(loss_reduction="weighted_mean").to(device)
    logits = torch.ones(3, 1, device=device, requires_grad=True)
    given = torch.zeros(3, device=device), logits
    weights = torch.zeros(3, device=device)
    divisors = 2 * head.divisors(*given, weights=weights)
    terms = {"divisors": divisors, "regularization_losses": [1.0]}
    loss = head.loss(*given, weights=weights, **terms)
    assert loss == 0.5
    assert torch.autograd.grad(loss, logits)[0].tolist() == [[0.0]] * 3


def test_the_divisors_do_not_depend_on_the_logits(device: torch.device) -> None:
    head = mixture().to(device)
    batch = random_batch(6, torch.Generator().manual_seed(2)).to(device)
    unknown = torch.zeros((), device=device).expand_as(batch.logits)
    assert torch.equal(
        head.divisors(batch.labels, unknown, weights=batch.weights),
        head.divisors(batch.labels, batch.logits, weights=batch.weights),
    )


def test_divisors_of_other_heads_are_refused() -> None:
    head = th.MultiHead([th.BinaryClassHead(name="a"), th.BinaryClassHead(name="b")])
    with pytest.raises(ValueError, match=r"divisors of shape \[2\], got \[3\]"):
        head.loss(torch.ones(3, 2), torch.ones(3, 2), divisors=torch.ones(3))
