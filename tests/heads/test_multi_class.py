"""`MultiClassHead`, beyond what every head promises."""

import pytest
import torch

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
