"""`MultiClassHead`, beyond what every head promises."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import torch_heads as th

INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_class_ids_may_be_of_any_integer_type(dtype: torch.dtype, device: torch.device) -> None:
    logits = torch.tensor([[10.0, 0, 0], [0, 10, 0]], device=device)
    labels = torch.tensor([1, 1], dtype=dtype, device=device)
    assert th.MultiClassHead(3).loss(labels, logits).item() == pytest.approx(5.000091, abs=1e-5)


def test_of_equal_logits_the_first_class_wins(device: torch.device) -> None:
    head = th.MultiClassHead(3, label_vocabulary=["a", "b", "c"])
    logits = torch.tensor([[1.0, 1, 1], [0, 2, 2]], device=device)
    predictions = head.predictions(logits)
    assert predictions["class_ids"].tolist() == [[0], [1]]
    assert predictions["classes"].tolist() == [["a"], ["b"]]
    metrics = head.update_metrics(None, None, logits, ["a", "c"])
    assert metrics.compute()["accuracy"] == 0.5


def test_predictions_have_every_batch_dimension(device: torch.device) -> None:
    head = th.MultiClassHead(3)
    predictions = head.predictions(
        torch.eye(3, device=device).expand(2, 3, 3), keys=head.all_prediction_keys()
    )
    assert predictions["classes"].tolist() == 2 * [[["0"], ["1"], ["2"]]]
    assert predictions["all_classes"].tolist() == 2 * [3 * [["0", "1", "2"]]]
    assert predictions["all_class_ids"].tolist() == 2 * [3 * [[0, 1, 2]]]


def test_a_shift_of_all_logits_changes_nothing(device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, generator=random).to(device)
    labels = torch.randint(4, (5,), generator=random).to(device)
    head = th.MultiClassHead(4)
    torch.testing.assert_close(head.loss(labels, logits + 100), head.loss(labels, logits))


def test_accuracy_tells_large_ids_apart(device: torch.device) -> None:
    classes = 3000  # not all of which float16 can hold
    head = th.MultiClassHead(classes)
    logits = torch.zeros(1, classes, dtype=torch.float16, device=device)
    logits[0, 2049] = 5
    for label, accuracy in [(2049, 1), (2048, 0)]:
        metrics = head.update_metrics(head.metrics(), None, logits, [label])
        assert metrics.compute()["accuracy"] == accuracy


@pytest.mark.parametrize(
    "balance", [{}, {"class_weight": [1.0, 2.0, 0.5, 0.0], "label_smoothing": 0.1}]
)
@pytest.mark.parametrize("fused", [False, True])
def test_class_probabilities_are_labels_as_in_cross_entropy(
    balance: dict[str, Any], fused: bool, device: torch.device
) -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, generator=random).to(device).requires_grad_()
    soft = torch.softmax(2 * torch.randn(6, 4, generator=random), -1).to(device)
    head = th.MultiClassHead(4, name="soft", **balance).to(device)
    weight = torch.tensor(balance["class_weight"], device=device) if balance else None
    smoothing = balance.get("label_smoothing", 0.0)
    expected = F.cross_entropy(logits, soft, weight, label_smoothing=smoothing)
    gradient = torch.autograd.grad(expected, logits)[0]
    if not fused:
        loss = head.loss(soft, logits)
    else:
        others = [th.MultiClassHead(n, name=f"of_{n}").to(device) for n in (3, 7)]
        ids = [torch.randint(n, (6,), generator=random).to(device) for n in (3, 7)]
        both = th.MultiHead([others[0], head, others[1]]).to(device)
        assert len(both.computation.groups) == 1
        wide = torch.cat(
            [torch.zeros(6, 3, device=device), logits, torch.zeros(6, 7, device=device)], -1
        )
        labels = {"of_3": ids[0], "soft": soft, "of_7": ids[1]}
        losses = both.losses(labels, wide)
        assert losses["of_7"].item() == pytest.approx(math.log(7))
        loss = losses["soft"]
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, logits)[0], gradient)


def test_metrics_of_class_probabilities_read_the_likeliest_class(device: torch.device) -> None:
    head = th.MultiClassHead(3, missing_label=-1).to(device)
    soft = torch.tensor([[0.6, 0.4, 0.0], [0.2, 0.2, 0.6], [math.nan, 0.0, 0.0]], device=device)
    logits = torch.eye(3, device=device)
    metrics = head.update_metrics(None, None, logits, soft)
    values = metrics.compute()
    assert values["accuracy"] == 0.5
    assert values["label/coverage"] == pytest.approx(2 / 3)
    torch.testing.assert_close(
        values["average_loss"], F.cross_entropy(logits[:2], soft[:2]), check_dtype=False
    )
    ids = head.update_metrics(head.metrics(), None, logits, torch.tensor([0, 2, -1], device=device))
    torch.testing.assert_close(metrics.confusion_matrix(), ids.confusion_matrix())


def test_two_classes_are_the_binary_head_on_the_difference(device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 2, generator=random).to(device)
    labels = torch.randint(2, (5,), generator=random).to(device)
    two, one = th.MultiClassHead(2), th.BinaryClassHead()
    difference = logits[:, 1:] - logits[:, :1]
    torch.testing.assert_close(two.loss(labels, logits), one.loss(labels, difference))
    own = two.update_metrics(None, None, logits, labels).compute()
    other = one.update_metrics(None, None, difference, labels).compute()
    for key in own:
        torch.testing.assert_close(own[key], other[key])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("label_smoothing", 0.5),
        ("n_classes", 4),
        ("loss_fn", F.cross_entropy),
        ("pos_weight", 2.0),
        ("computation", th.MultiClassHead(3).computation),
    ],
)
def test_what_a_head_was_made_from_is_not_assigned_in_vain(name: str, value: Any) -> None:
    head = th.MultiClassHead(3, class_weight=[1.0, 2.0, 3.0], name="digit")
    both = th.MultiHead([head])
    with pytest.raises(TypeError, match=f"'digit': expected {name} as it was when the head was"):
        setattr(both["digit"], name, value)
    with pytest.raises(TypeError, match=f"'digit': expected {name} as it was when the head was"):
        delattr(both["digit"], name)
    before = both.loss([[0], [1]], torch.eye(2, 3))
    head.class_weight = torch.tensor([3.0, 2.0, 1.0])
    assert both.loss([[0], [1]], torch.eye(2, 3)) > before
