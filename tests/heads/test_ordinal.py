"""`OrdinalClassHead`, beyond what every head promises."""

import pytest
import torch

import torch_heads as th

GRADES = ["low", "middle", "high"]


def test_predictions_name_the_likeliest_class(device: torch.device) -> None:
    head = th.OrdinalClassHead(3, label_vocabulary=GRADES, name="grade")
    logits = torch.tensor([[3.0, 0.0], [-3.0, -3.0], [-3.0, 3.0], [0.0, 0.0]], device=device)
    predicted = head.predictions(logits, keys=head.all_prediction_keys())
    assert predicted["classes"].ravel().tolist() == ["low", "high", "middle", "low"]
    assert predicted["all_class_ids"].tolist() == [[0, 1, 2]] * 4
    probabilities = predicted["probabilities"]
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(4, device=device))
    torch.testing.assert_close(probabilities[3], torch.tensor([0.5, 0.25, 0.25], device=device))
    torch.testing.assert_close(head.to_logits(predicted), logits)


def test_two_classes_are_those_of_a_binary_head(device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 1, generator=random).to(device)
    labels = torch.tensor([0, 1, 1, 0, 1, 0], device=device)
    # its logit is of stopping at the first
    expected = th.BinaryClassHead().loss(labels, -logits)
    torch.testing.assert_close(th.OrdinalClassHead(2).loss(labels, logits), expected)


def test_labels_are_class_ids_or_names(device: torch.device) -> None:
    head = th.OrdinalClassHead(3, label_vocabulary=GRADES, name="grade")
    logits = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)).to(device)
    by_name = head.loss(["low", "high", "middle"], logits)
    assert head.loss([0, 2, 1], logits) == by_name
    with pytest.raises(ValueError, match=r"'grade': expected labels in \[0, 2\], got 3"):
        head.loss([0, 1, 3], logits)
    with pytest.raises(ValueError, match=r"'grade': expected labels to be integer class ids"):
        head.loss([0.0, 1.0, 2.0], logits)
    with pytest.raises(ValueError, match=r"'grade': expected labels from label_vocabulary"):
        head.loss(["low", "high", "best"], logits)
    wide = torch.zeros(3, 3, device=device)
    with pytest.raises(
        ValueError, match=r"'grade': expected labels as class ids, .* labels.argmax"
    ):
        head.loss(wide.long(), logits)


def test_a_confusion_matrix_is_kept(device: torch.device) -> None:
    head = th.OrdinalClassHead(3)
    logits = torch.tensor([[3.0, 0.0], [-3.0, -3.0], [-3.0, 3.0]], device=device)
    metrics = head.update_metrics(logits=logits, labels=[0, 2, 2])
    assert metrics.compute()["accuracy"].item() == pytest.approx(2 / 3)
    assert metrics.confusion_matrix().tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 1]]


def test_one_class_has_no_order() -> None:
    with pytest.raises(ValueError, match=r"^OrdinalClassHead: expected n_classes >= 2, got 1"):
        th.OrdinalClassHead(1)
