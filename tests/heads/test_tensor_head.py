"""What a head of one's own may say is asked of it, in every form of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import torch_heads as th
from tests.own_heads import LaplaceHead
from torch_heads.families import Categorical, Normal
from torch_heads.testing import Sample, check_head


class LogHead(th.TensorHead):
    """Numbers that are learned on the scale of log(1 + y)."""

    def __init__(self, **options: Any) -> None:
        super().__init__(Normal(), **options)

    def encode_labels(self, labels: Any, *given: Any) -> Tensor:
        return super().encode_labels(labels, *given).log1p()


class ReversedIds(th.TensorHead):
    """Three classes that are numbered from the end."""

    def __init__(self, **options: Any) -> None:
        super().__init__(Categorical(3), **options)

    def encode_labels(self, labels: Any, *given: Any) -> Tensor:
        table = torch.tensor([2, 1, 0])
        ids = super().encode_labels(labels, *given)
        present = ids >= 0
        return torch.where(present, table[ids.clamp(min=0).long()], -1)


class Reversing:
    """A part of a class that changes the labels alone."""

    def encode_labels(self, labels: Any, *given: Any) -> Tensor:
        return 1 - super().encode_labels(labels, *given)  # type: ignore[misc,no-any-return]


class Refund(Reversing, th.BinaryClassHead):
    """The opposite of what is given."""


NUMBERS = [3.0, 7.0]
SQUARES = torch.tensor(NUMBERS).log1p().square()
FORMS = {
    "a list": NUMBERS,
    "a tensor": torch.tensor(NUMBERS),
    "a column": torch.tensor(NUMBERS).unsqueeze(-1),
    "whole numbers": torch.tensor(NUMBERS).long(),
    "an array": np.array(NUMBERS),
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_of_any_form_are_encoded_by_the_head(form: str) -> None:
    head, logits = LogHead(), torch.zeros(2, 1)
    torch.testing.assert_close(head.loss(FORMS[form], logits), SQUARES.mean())
    metrics = head.update_metrics(logits=logits, labels=FORMS[form])
    expected = torch.tensor(NUMBERS).log1p().mean()
    torch.testing.assert_close(metrics["label/mean"].compute(), expected)


@pytest.mark.parametrize("kind", [list, torch.tensor])
def test_heads_beside_it_have_their_own_labels(kind: Any) -> None:
    heads = [LogHead(name="a"), th.RegressionHead(name="b"), LogHead(name="c")]
    head, logits = th.MultiHead(heads), torch.zeros(2, 3)
    assert len(head.computation.groups) == 1
    labels = {name: kind(NUMBERS) for name in head}
    plain = torch.tensor(NUMBERS).square().mean()
    expected = {"a": SQUARES.mean(), "b": plain, "c": SQUARES.mean()}
    torch.testing.assert_close(head.losses(labels, logits), expected)
    stacked = torch.tensor(NUMBERS).unsqueeze(-1).expand(2, 3)
    torch.testing.assert_close(head.losses(stacked, logits), expected)


@pytest.mark.parametrize("kind", [list, torch.tensor])
def test_a_missing_label_stays_one(kind: Any) -> None:
    head, logits = LogHead(missing_label=-1), torch.zeros(2, 1)
    torch.testing.assert_close(head.loss(kind([3.0, -1.0]), logits), SQUARES[0])
    torch.testing.assert_close(head.loss(kind([3, -1]), logits), SQUARES[0])
    both = th.MultiHead([LogHead(name="a", missing_label=-1), LogHead(name="b", missing_label=-1)])
    labels = {"a": kind([3.0, -1.0])}
    torch.testing.assert_close(both.loss(labels, torch.zeros(2, 2)), SQUARES[0])


def test_steps_that_are_padded_are_encoded_too() -> None:
    head = th.SequentialHeadWrapper(LogHead())
    labels, features = torch.tensor([[3.0, 7.0], [3.0, -9.0]]), {"sequence_length_mask": [2, 1]}
    expected = (2 * SQUARES[0] + SQUARES[1]) / 3
    given = labels, torch.zeros(2, 2, 1), features
    torch.testing.assert_close(head.loss(*given), expected)


def test_class_ids_are_encoded_by_the_head() -> None:
    logits = torch.tensor([[0.0, 1.0, 5.0, 9.0, 1.0, 0.0]])
    plain = th.MultiHead([th.MultiClassHead(3, name="a"), th.MultiClassHead(3, name="b")])
    expected = plain.losses([[2, 0]], logits)
    head = th.MultiHead([ReversedIds(name="a"), th.MultiClassHead(3, name="b")])
    for labels in ([[0, 0]], torch.tensor([[0, 0]]), torch.tensor([[0.0, 0.0]])):
        torch.testing.assert_close(head.losses(labels, logits), expected)
    torch.testing.assert_close(ReversedIds().loss(torch.tensor([0]), logits[:, :3]), expected["a"])
    gaps = ReversedIds(missing_label=-1)
    given = torch.tensor([0, -1]), logits.view(2, 3)
    torch.testing.assert_close(gaps.loss(*given), expected["a"])


def test_labels_are_encoded_by_a_class_that_is_mixed_in() -> None:
    logits = torch.tensor([[2.0], [2.0]])
    expected = th.BinaryClassHead().loss([0, 1], logits)
    torch.testing.assert_close(Refund().loss(torch.tensor([1, 0]), logits), expected)


def test_a_head_that_encodes_labels_keeps_its_promises() -> None:
    random = torch.Generator().manual_seed(0)
    labels, logits = torch.rand(7, 1, generator=random), torch.randn(7, 1, generator=random)
    check_head(LogHead, Sample(labels, logits, {"w": torch.ones(7)}))


def test_encoded_labels_of_another_shape_are_refused() -> None:
    class Summed(LaplaceHead):
        def encode_labels(self, *given: Any) -> Tensor:
            return super().encode_labels(*given).sum(0)

    with pytest.raises(ValueError, match=r"as encode_labels returns them, of shape"):
        Summed().loss(torch.ones(3), torch.zeros(3, 2))


# What is declared without a decorator.


class Scaled(th.Family):
    """Absolute errors times a scale, in a class that lacks the decorator."""

    def __init__(self, scale: float) -> None:
        object.__setattr__(self, "scale", scale)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (labels - logits).abs() * self.scale

    def mean(self, logits: Tensor) -> Tensor:
        return logits


@dataclass(frozen=True)
class Decorated(Scaled):
    """The same with the decorator."""

    scale: float = 1.0


class Extended(Decorated):
    """Another parameter, without the decorator."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        object.__setattr__(self, "factor", factor)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return super().loss(logits, labels) * self.factor


class Power(th.metrics.Term):
    """A power of the errors, without the decorator."""

    def __init__(self, power: float) -> None:
        object.__setattr__(self, "power", power)

    def values(self, seen: th.metrics.Elements) -> Tensor:
        return (seen.predictions - seen.labels).abs() ** self.power


class MeanPower(th.metrics.Reading):
    """The mean of that, without the decorator, too."""

    def __init__(self, power: float) -> None:
        object.__setattr__(self, "power", power)

    def needs(self, counts: Any) -> Iterable[th.metrics.Need]:
        return (Power(self.power),)

    def read(self, sums: th.metrics.Sums) -> Tensor:
        return sums.term(Power(self.power)).sum(-1) / sums.total(th.metrics.Total.WEIGHT)


class ScaledHead(th.TensorHead):
    def __init__(self, family: th.Family, power: float = 1.0, **options: Any) -> None:
        self.power = power
        super().__init__(family, **options)

    def readings(self) -> Iterator[tuple[str, th.metrics.Reading]]:
        yield "error", MeanPower(self.power)


@pytest.mark.parametrize("kind", [Scaled, Decorated, Extended])
def test_heads_whose_families_differ_are_computed_apart(kind: type[Any]) -> None:
    same, other = kind(1.0), kind(10.0)
    heads = [ScaledHead(f, name=n) for n, f in {"a": same, "b": other, "c": kind(1.0)}.items()]
    head = th.MultiHead(heads)
    losses = head.losses([[1.0, 1.0, 1.0]], torch.zeros(1, 3))
    assert {name: loss.item() for name, loss in losses.items()} == {"a": 1, "b": 10, "c": 1}
    assert len(head.computation.groups) == 2
    assert same.distribution == kind(1.0).distribution != other.distribution


def test_metrics_that_differ_are_computed_apart() -> None:
    heads = [ScaledHead(Scaled(1.0), power, name=f"p{power:g}") for power in (1.0, 3.0)]
    head = th.MultiHead(heads)
    metrics = head.update_metrics(logits=[[3.0, 3.0]], labels=[[1.0, 1.0]]).compute()
    assert (metrics["error/p1"], metrics["error/p3"]) == (2, 8)


# Constructors.


class Sevens(LaplaceHead):
    """A head that says what it needs when its base has been made."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.loss_fn = lambda labels, logits: 7 + 0 * (labels + logits[..., :1])


def test_a_loss_fn_that_is_assigned_in_a_constructor_is_taken() -> None:
    assert Sevens().loss([1.0, 2.0], torch.zeros(2, 2)) == 7
    both = th.MultiHead([Sevens(name="a", missing_label=-1), LaplaceHead(name="b")])
    assert both.losses([[1.0, 2.0]], torch.zeros(1, 4))["a"] == 7


def test_a_loss_fn_that_is_assigned_later_is_refused() -> None:
    with pytest.raises(TypeError, match="Sevens: expected loss_fn as it was when the head was"):
        Sevens().loss_fn = None


class Forgetful(th.TensorHead):
    def __init__(self) -> None:
        pass


class Early(LaplaceHead):
    def __init__(self, after: bool) -> None:
        if after:
            super().__init__()
        self.width = self.logits_dimension
        super().__init__()


class Late(LaplaceHead):
    def __init__(self) -> None:
        super().__init__()
        self.loss_reduction = "sum"  # type: ignore[misc,assignment]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Forgetful, r"Forgetful: expected its constructor to call super\(\).__init__"),
        (lambda: Early(False), "Early: expected a head to be used once its constructor has ended"),
        (lambda: Early(True), "Early: expected a head to be used once its constructor has ended"),
        (Late, r"Late: expected loss_reduction as it was given to super\(\).__init__"),
    ],
)
def test_what_a_constructor_lacks_is_said(make: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        make()


# Losses of a family that is there.


class Absolute:
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return 10 * (logits - labels).abs()


class OfNormal(Absolute, Normal):
    """A normal distribution whose loss is another one, by a class that is mixed in."""


class OfClasses(Categorical):
    """Class ids whose loss is 10 where the label is not the likeliest."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return 10 * (logits.argmax(-1) != labels) + 0 * logits.sum(-1)


@pytest.mark.parametrize("weights", [None, [1.0, 1.0]])
@pytest.mark.parametrize("missing", [None, -1])
def test_a_family_with_another_loss_is_computed_by_it(weights: Any, missing: Any) -> None:
    numbers = ScaledHead(OfNormal(), missing_label=missing)
    assert numbers.loss([1.0, 3.0], torch.zeros(2, 1), weights=weights) == 20
    ids = ScaledHead(OfClasses(3), missing_label=missing)
    assert ids.loss([0, 1], torch.eye(3)[:1].expand(2, 3), weights=weights) == 5
    probabilities = torch.eye(3)[:2]
    with pytest.raises(TypeError, match="OfClasses: its loss takes no class probabilities"):
        ids.computation.groups[0].family.soft_loss(
            torch.zeros(2, 1, 3), probabilities, th.families.ClassBalance()
        )


class KindHead(th.TensorHead):
    """Three classes, by the family alone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(Categorical(3), **options)


@pytest.mark.parametrize(
    "named",
    [
        ["c", "a", "?", "b"],
        [["c"], ["a"], ["?"], ["b"]],
        np.array(["c", "a", "?", "b"]),
        {"kind": ["c", "a", None, "b"]},
    ],
)
def test_names_of_a_vocabulary_are_labels_of_class_ids(named: Any, device: torch.device) -> None:
    options = {"label_vocabulary": ["a", "b", "c"], "missing_label": [-1, "?"], "name": "kind"}
    head, ids = KindHead(**options).to(device), [2, 0, -1, 1]
    logits = torch.linspace(-1, 1, 12, device=device).view(4, 3)
    given = named["kind"] if isinstance(named, dict) else named
    assert head.loss(given, logits) == head.loss(ids, logits)
    assert head.fit_prior(given).prior_offset.equal(KindHead(**options).fit_prior(ids).prior_offset)
    both = th.MultiHead([head, th.RegressionHead(name="size")])
    sizes = torch.ones(4, 1, device=device)
    wide = torch.cat([logits, sizes], -1)
    own = both.loss({"kind": given, "size": sizes}, wide)
    assert own == both.loss({"kind": ids, "size": sizes}, wide)
    with pytest.raises(
        ValueError, match=r"KindHead 'kind': expected labels from label_vocabulary .* got 'd'"
    ):
        head.loss(["a", "b", "c", "d"], logits)
    with pytest.raises(ValueError, match="Class names need a label_vocabulary"):
        KindHead().loss(["a", "b", "c", "a"], logits)
