"""Class weights, positive weights and label smoothing mean what they mean in PyTorch."""

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import torch_heads as th
from tests.cases import hinge
from torch_heads.testing import assert_same

ROWS = 6
REDUCTIONS = {"sum_over_batch_size": "none", "sum": "sum", "weighted_mean": "mean"}

every_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)


def assert_same_gradient(
    actual: Callable[[Tensor], Tensor], expected: Callable[[Tensor], Tensor], logits: Tensor
) -> None:
    """Compare two losses, and their gradients."""
    results = []
    for loss in [actual, expected]:
        leaf = logits.detach().requires_grad_()
        value = loss(leaf)
        results.append((value.detach(), *torch.autograd.grad(value, leaf)))
    assert_same(*results)


def evaluate(head: th.Head, labels: Any, logits: Tensor) -> dict[str, Tensor]:
    return head.update_metrics(head.metrics(), None, logits, labels).compute()


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(5)


# ---- each head equals torch.nn.functional ----


@every_reduction
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 0.5, 4.0], [1.0, 0.0, 3.0, 0.5]])
@pytest.mark.parametrize("steps", [(), (2,)], ids=["2-D", "3-D"])
def test_multi_class_is_cross_entropy(
    reduction: str,
    smoothing: float,
    weight: list[float] | None,
    steps: tuple[int, ...],
    random: torch.Generator,
    device: torch.device,
) -> None:
    head = th.MultiClassHead(
        4, loss_reduction=reduction, class_weight=weight, label_smoothing=smoothing
    ).to(device)
    logits = torch.randn(ROWS, *steps, 4, generator=random).to(device)
    labels = torch.randint(4, (ROWS, *steps), generator=random).to(device)

    def expected(logits: Tensor) -> Tensor:
        return F.cross_entropy(
            logits.flatten(0, -2),
            labels.flatten(),
            None if weight is None else torch.tensor(weight, device=device),
            label_smoothing=smoothing,
            reduction=REDUCTIONS[reduction],
        ).mean()

    assert_same_gradient(lambda logits: head.loss(labels, logits), expected, logits)


@every_reduction
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("pos_weight", [None, 3.0, [0.5]])
def test_binary_is_binary_cross_entropy(
    reduction: str,
    smoothing: float,
    pos_weight: Any,
    random: torch.Generator,
    device: torch.device,
) -> None:
    head = th.BinaryClassHead(
        loss_reduction=reduction, pos_weight=pos_weight, label_smoothing=smoothing
    ).to(device)
    logits = torch.randn(ROWS, 1, generator=random).to(device)
    labels = torch.rand(ROWS, 1, generator=random).round(decimals=1).to(device)
    positive = None if pos_weight is None else torch.tensor(pos_weight, device=device)

    def expected(logits: Tensor) -> Tensor:
        smooth = labels * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(
            logits, smooth, pos_weight=positive, reduction=REDUCTIONS[reduction]
        ).mean()

    assert_same_gradient(lambda logits: head.loss(labels, logits), expected, logits)


@every_reduction
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("class_weight", [None, [1.0, 0.0, 2.5]])
@pytest.mark.parametrize("pos_weight", [None, 2.0, [4.0, 0.5, 1.0]])
def test_multi_label_is_binary_cross_entropy_of_each_class(
    reduction: str,
    smoothing: float,
    class_weight: Any,
    pos_weight: Any,
    random: torch.Generator,
    device: torch.device,
) -> None:
    head = th.MultiLabelHead(
        3,
        loss_reduction=reduction,
        class_weight=class_weight,
        pos_weight=pos_weight,
        label_smoothing=smoothing,
    ).to(device)
    logits = torch.randn(ROWS, 3, generator=random).to(device)
    labels = torch.randint(2, (ROWS, 3), generator=random).to(device)
    weight, positive = (
        None if values is None else torch.tensor(values, device=device).expand(3)
        for values in (class_weight, pos_weight)
    )

    def expected(logits: Tensor) -> Tensor:
        smooth = labels * (1 - smoothing) + smoothing / 2
        each = F.binary_cross_entropy_with_logits(
            logits, smooth, weight, pos_weight=positive, reduction="none"
        ).mean(-1)
        return each.sum() if reduction == "sum" else each.mean()

    assert_same_gradient(lambda logits: head.loss(labels, logits), expected, logits)


def test_class_weights_and_example_weights_are_both_divided_by(
    random: torch.Generator, device: torch.device
) -> None:
    class_weight, weights = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([0.5, 1.0, 0.0, 3.0])
    class_weight, weights = class_weight.to(device), weights.to(device)
    logits = torch.randn(4, 3, generator=random).to(device)
    labels = torch.tensor([2, 1, 1, 0], device=device)
    head = th.MultiClassHead(3, loss_reduction="weighted_mean", class_weight=class_weight)
    each = F.cross_entropy(logits, labels, class_weight, reduction="none")
    expected = (weights * each).sum() / (weights * class_weight[labels]).sum()
    assert_same(head.to(device).loss(labels, logits, weights=weights), expected)


def test_a_batch_of_classes_without_weight_has_no_loss(device: torch.device) -> None:
    logits = torch.zeros(2, 3, device=device, requires_grad=True)
    for reduction in REDUCTIONS:
        head = th.MultiClassHead(3, loss_reduction=reduction, class_weight=[1.0, 1.0, 0.0])
        loss = head.to(device).loss([2, 2], logits)
        assert loss == 0
        assert not torch.autograd.grad(loss, logits)[0].any()


@pytest.mark.parametrize(
    "make",
    [
        partial(th.BinaryClassHead, pos_weight=5.0),
        partial(th.MultiClassHead, 3, class_weight=[1.0, 2.0, 4.0]),
        partial(th.MultiLabelHead, 3, label_smoothing=0.1),
    ],
)
def test_a_loss_of_ones_own_cannot_be_balanced(make: Callable[..., th.Head]) -> None:
    with pytest.raises(ValueError, match=r"expected loss_fn or .*, got both"):
        make(loss_fn=hinge)


# ---- balanced heads as any others ----


def test_an_impossible_class_has_an_infinite_smoothed_loss(device: torch.device) -> None:
    logits = torch.tensor([[0.0, 1.0, -torch.inf]], device=device)
    labels = torch.tensor([0], device=device)
    for smoothing in (0.0, 0.125):
        expected = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        assert th.MultiClassHead(3, label_smoothing=smoothing).loss(labels, logits) == expected


BALANCED: dict[str, Callable[..., th.Head]] = {
    "binary": th.BinaryClassHead,
    "binary, weighted": partial(th.BinaryClassHead, pos_weight=3.0),
    "binary, smooth": partial(th.BinaryClassHead, label_smoothing=0.25),
    "logistic": th.LogisticRegressionHead,
    "multi-label": partial(th.MultiLabelHead, 3, thresholds=[0.3]),
    "multi-label, weighted": partial(
        th.MultiLabelHead, 3, class_weight=[1.0, 0.5, 2.0], pos_weight=[2.0, 1.0, 0.25]
    ),
    "multi-label, smooth": partial(th.MultiLabelHead, 2, pos_weight=2.0, label_smoothing=0.125),
    "3 classes": partial(th.MultiClassHead, 3),
    "3 classes, weighted": partial(th.MultiClassHead, 3, class_weight=[1.0, 0.5, 4.0]),
    "3 classes, smooth": partial(th.MultiClassHead, 3, label_smoothing=0.25),
    "5 classes": partial(th.MultiClassHead, 5),
    "5 classes, both": partial(
        th.MultiClassHead, 5, class_weight=[1.0, 0.5, 4.0, 0.0, 2.0], label_smoothing=0.125
    ),
    "20 classes, both": partial(
        th.MultiClassHead, 20, class_weight=[0.5] * 19 + [2.0], label_smoothing=0.125
    ),
    "30 classes": partial(th.MultiClassHead, 30),
    "6 classes, weighted": partial(th.MultiClassHead, 6, class_weight=[0.5] * 5 + [2.0]),
}

every_head = pytest.mark.parametrize("make", BALANCED.values(), ids=BALANCED)


def labels_for(head: th.Head, random: torch.Generator, rows: int = ROWS) -> Tensor:
    if isinstance(head, th.MultiClassHead):
        return torch.randint(head.n_classes, (rows, 1), generator=random)
    return torch.randint(2, (rows, head.labels_dimension), generator=random)


@given(
    drawn=st.lists(
        st.tuples(st.sampled_from(sorted(BALANCED)), st.sampled_from(sorted(REDUCTIONS))),
        min_size=2,
        max_size=6,
    ),
    stacked=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=30)
def test_balanced_heads_together_equal_each_alone(
    drawn: list[tuple[str, str]], stacked: bool, seed: int, device: torch.device
) -> None:
    random = torch.Generator().manual_seed(seed)
    heads = [
        BALANCED[about](name=f"h{i}", loss_reduction=reduction)
        for i, (about, reduction) in enumerate(drawn)
    ]
    joined = th.MultiHead(heads).to(device)
    labels = {head.name: labels_for(head, random).to(device) for head in heads}
    logits = torch.randn(ROWS, joined.logits_dimension, generator=random).to(device)
    given_labels = torch.cat(list(labels.values()), -1) if stacked else labels

    def one_by_one(logits: Tensor) -> Tensor:
        parts = joined.as_logits(logits)
        return sum(head.loss(labels[head.name], parts[head.name]) for head in heads)

    assert_same_gradient(lambda logits: joined.loss(given_labels, logits), one_by_one, logits)
    metrics = evaluate(joined, given_labels, logits)
    for head, own in zip(heads, joined.as_logits(logits).values(), strict=True):
        expected = evaluate(head, labels[head.name], own)
        expected[f"loss/{head.name}"] = head.loss(labels[head.name], own)
        assert_same({key: metrics.pop(key) for key in expected}, expected)
    assert not metrics


@every_head
def test_metrics_are_not_balanced(make: Any, random: torch.Generator, device: torch.device) -> None:
    balance = {"class_weight", "pos_weight", "label_smoothing"}
    given_options = getattr(make, "keywords", {})
    options = {key: value for key, value in given_options.items() if key not in balance}
    kind, width = getattr(make, "func", make), getattr(make, "args", ())
    balanced, unbalanced = make().to(device), kind(*width, **options).to(device)
    labels = labels_for(balanced, random).to(device)
    logits = torch.randn(ROWS, balanced.logits_dimension, generator=random).to(device)
    assert_same(evaluate(balanced, labels, logits), evaluate(unbalanced, labels, logits))


@every_head
@every_reduction
def test_an_empty_batch_has_no_balanced_loss(
    make: Any, reduction: str, random: torch.Generator, device: torch.device
) -> None:
    first, second = (make(name=name, loss_reduction=reduction) for name in ("first", "second"))
    for head in [first.to(device), th.MultiHead([first, second]).to(device)]:
        logits = torch.zeros(0, head.logits_dimension, device=device, requires_grad=True)
        labels = torch.zeros(0, head.labels_dimension, dtype=torch.int64, device=device)
        loss = head.loss(labels, logits)
        assert loss == 0
        assert torch.autograd.grad(loss, logits)[0].shape == logits.shape


# ---- weights are settings ----


def balanced_multi_head(weight: float = 2.0) -> th.MultiHead:
    return th.MultiHead(
        [
            th.BinaryClassHead(name="even", pos_weight=weight),
            th.BinaryClassHead(name="odd"),
            th.MultiLabelHead(2, name="bars", class_weight=[1.0, weight], pos_weight=[weight, 1.0]),
            th.MultiClassHead(3, name="digit", class_weight=[1.0, weight, 1.0]),
            th.MultiClassHead(4, name="size", class_weight=[weight, 1.0, 1.0, 0.5]),
            th.MultiClassHead(4, name="shape", label_smoothing=0.1),
        ]
    )


@pytest.fixture
def batch(random: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return stacked labels and logits for the `balanced_multi_head`."""
    labels = torch.cat([labels_for(head, random) for head in balanced_multi_head().heads], -1)
    return labels.to(device), torch.randn(ROWS, 15, generator=random).to(device)


def test_weights_are_no_part_of_a_checkpoint() -> None:
    model = nn.Sequential(nn.Linear(2, 15), balanced_multi_head())
    assert set(model.state_dict()) == {"0.weight", "0.bias", "1._meaning"}
    assert not list(model[1].parameters())
    assert set(th.MultiClassHead(3, class_weight=[1.0, 2.0, 3.0]).state_dict()) == {"_meaning"}


def test_no_checkpoint_changes_the_weights(
    batch: tuple[Tensor, Tensor], device: torch.device
) -> None:
    first, second = balanced_multi_head(2.0).to(device), balanced_multi_head(5.0).to(device)
    before = first.losses(*batch)
    assert before != second.losses(*batch)
    earlier = {"heads.0.pos_weight": torch.ones(1), "heads.3.class_weight": torch.ones(3)}
    first.load_state_dict({**second.state_dict(), **earlier})
    assert_same(first.losses(*batch), before)
    plain = th.BinaryClassHead()
    plain.load_state_dict({"pos_weight": torch.ones(1)})
    assert plain.pos_weight is None


def test_other_weights_may_be_assigned_and_edited(
    batch: tuple[Tensor, Tensor], device: torch.device
) -> None:
    head, wanted = balanced_multi_head(2.0).to(device), balanced_multi_head(5.0).to(device)
    for name in ["even", "bars", "digit", "size"]:
        assert head.losses(*batch)[name] != wanted.losses(*batch)[name]
        for argument in ("class_weight", "pos_weight"):
            if getattr(head[name], argument, None) is not None:
                setattr(head[name], argument, getattr(wanted[name], argument).tolist())
    assert_same(head.losses(*batch), wanted.losses(*batch))
    for name in ["digit", "bars"]:
        head[name].class_weight.zero_()
        assert head.losses(*batch)[name] == 0
    for bad in ([1.0, 2.0], [1.0, 2.0, -1.0]):
        with pytest.raises(ValueError, match="'digit': expected class_weight"):
            head["digit"].class_weight = bad
    with pytest.raises(TypeError, match="'digit': expected class_weight as it was"):
        head["digit"].class_weight = None
    with pytest.raises(TypeError, match="'plain': expected pos_weight as it was"):
        th.BinaryClassHead(name="plain").pos_weight = 2.0


def test_a_copy_has_weights_of_its_own(batch: tuple[Tensor, Tensor], device: torch.device) -> None:
    head = balanced_multi_head(2.0).to(device)
    before = head.losses(*batch)
    for again in [copy.deepcopy(head), pickle.loads(pickle.dumps(head))]:
        assert_same(again.losses(*batch), before)
        again["digit"].class_weight.zero_()
        assert again.losses(*batch)["digit"] == 0
        assert_same(head.losses(*batch), before)


def test_weights_go_where_the_logits_are_and_keep_their_precision(
    batch: tuple[Tensor, Tensor], device: torch.device
) -> None:
    expected = balanced_multi_head().to(device).loss(*batch)
    for dtype in [torch.float64, torch.bfloat16]:
        cast = balanced_multi_head(1 / 3).to(device, dtype)
        assert_same(cast.loss(*batch), balanced_multi_head(1 / 3).loss(*batch))
    labels, logits = batch
    double = balanced_multi_head().loss(labels, logits.double())
    assert_same(double, expected.double())


def test_the_weights_given_stay_the_users_own() -> None:
    given_weights = torch.tensor([1.0, 2.0, 3.0])
    head = th.MultiClassHead(3, class_weight=given_weights)
    head.class_weight.zero_()
    assert given_weights.tolist() == [1.0, 2.0, 3.0]


# ---- refusals ----


def test_weights_that_would_not_be_learned_are_refused_when_they_are_assigned() -> None:
    head = th.MultiClassHead(3, class_weight=[1.0, 2.0, 3.0])
    for learned in (nn.Parameter(torch.ones(3)), {i: nn.Parameter(torch.ones(())) for i in "012"}):
        with pytest.raises(TypeError, match="expected class_weight without a gradient"):
            head.class_weight = learned
    assert head.class_weight.tolist() == [1.0, 2.0, 3.0]
    head.class_weight = nn.Parameter(torch.ones(3), requires_grad=False)
    assert head.class_weight.tolist() == [1.0, 1.0, 1.0]
    assert not [*head.parameters()]


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (partial(th.MultiClassHead, 3, class_weight=[1.0, 2.0]), "class_weight"),
        (partial(th.MultiClassHead, 3, class_weight=[1.0, 2.0, -1.0]), "class_weight"),
        (partial(th.MultiClassHead, 3, class_weight=[1.0, 2.0, float("nan")]), "class_weight"),
        (partial(th.MultiClassHead, 3, class_weight=[1.0, 2.0, float("inf")]), "class_weight"),
        (partial(th.MultiClassHead, 3, class_weight=["a", "b", "c"]), "class_weight"),
        (partial(th.MultiClassHead, 3, class_weight={"a": 1.0}), "class_weight"),
        (partial(th.MultiClassHead, 3, class_weight=torch.ones(3, 1)), "class_weight"),
        (partial(th.MultiLabelHead, 2, class_weight=[1.0]), "class_weight"),
        (partial(th.MultiLabelHead, 2, pos_weight=[1.0, 2.0, 3.0]), "pos_weight"),
        (partial(th.MultiLabelHead, 2, pos_weight=[1.0, -2.0]), "pos_weight"),
        (partial(th.BinaryClassHead, pos_weight=[1.0, 2.0]), "pos_weight"),
        (partial(th.BinaryClassHead, pos_weight=-0.5), "pos_weight"),
        (partial(th.BinaryClassHead, pos_weight="2"), "pos_weight"),
        (partial(th.BinaryClassHead, label_smoothing=1.1), "label_smoothing"),
        (partial(th.BinaryClassHead, label_smoothing=-0.1), "label_smoothing"),
        (partial(th.MultiClassHead, 3, label_smoothing=float("nan")), "label_smoothing"),
    ],
)
def test_bad_values_are_refused(make: Callable[[], th.Head], argument: str) -> None:
    with pytest.raises(ValueError, match=rf"^{make.func.__name__}: expected {argument} "):
        make()


@pytest.mark.parametrize("value", [True, "0.1", None])
def test_a_label_smoothing_is_a_number(value: Any) -> None:
    with pytest.raises(TypeError, match="expected label_smoothing as a number, got"):
        th.MultiLabelHead(2, label_smoothing=value)
