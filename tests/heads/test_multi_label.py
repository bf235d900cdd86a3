"""`MultiLabelHead`, beyond what every head promises."""

import pytest
import torch

import torch_heads as th

RANDOM = torch.Generator().manual_seed(0)
LOGITS = 2 * torch.randn(40, 3, generator=RANDOM)
LABELS = torch.randint(2, (40, 3), generator=RANDOM)
WEIGHTS = torch.rand(40, generator=RANDOM)


def evaluate(
    head: th.Head, logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
) -> dict[str, torch.Tensor]:
    return head.update_metrics(None, None, logits, labels, weights=weights).compute()


def test_the_loss_is_the_mean_of_binary_ones(device: torch.device) -> None:
    logits, labels, weights = LOGITS.to(device), LABELS.to(device), WEIGHTS.to(device)
    columns = zip(logits.split(1, -1), labels.unbind(-1), strict=True)
    each = [th.BinaryClassHead().loss(y, z, weights=weights) for z, y in columns]
    actual = th.MultiLabelHead(3).loss(labels, logits, weights=weights)
    torch.testing.assert_close(actual, torch.stack(each).mean())


def test_metrics_are_those_of_all_pairs_of_example_and_class(device: torch.device) -> None:
    logits, labels, weights = LOGITS.to(device), LABELS.to(device), WEIGHTS.to(device)
    pairs = logits.reshape(-1, 1), labels.flatten(), weights.repeat_interleave(3)
    expected = evaluate(th.BinaryClassHead(thresholds=[0.3]), *pairs)
    actual = evaluate(th.MultiLabelHead(3, thresholds=[0.3]), logits, labels, weights)
    torch.testing.assert_close(actual, {key: expected[key] for key in actual})


def test_metrics_of_a_class_are_those_of_its_column(device: torch.device) -> None:
    logits, labels, weights = LOGITS.to(device), LABELS.to(device), WEIGHTS.to(device)
    head = th.MultiLabelHead(3, classes_for_class_based_metrics=[2, 0])
    values = evaluate(head, logits, labels, weights)
    for i in [0, 2]:
        expected = evaluate(th.BinaryClassHead(), logits[:, i, None], labels[:, i], weights)
        assert values[f"auc/class{i}"] == expected["auc"]
        assert values[f"auc_precision_recall/class{i}"] == expected["auc_precision_recall"]
        torch.testing.assert_close(
            values[f"probability_mean/class{i}"], expected["prediction/mean"]
        )
    assert "auc/class1" not in values


@pytest.mark.parametrize("classes", [["b", "a"], [1, 0], ("b", 0)], ids=repr)
def test_metrics_of_a_class_have_its_name(classes: list[int | str]) -> None:
    head = th.MultiLabelHead(
        3,
        label_vocabulary=["a", "b", "c.d"],
        classes_for_class_based_metrics=classes,
        name="h",
    )
    kinds = ["probability_mean", "auc", "auc_precision_recall"]
    expected = [f"{kind}/{i}/h" for i in "ba" for kind in kinds]
    fine = ["roc_auc", "average_precision"]
    expected += [f"{kind}{i}/h" for i in ["", "/b", "/a"] for kind in fine]
    assert list(head.metrics())[3:] == expected


def test_the_weight_of_an_example_counts_for_each_of_its_classes(device: torch.device) -> None:
    scores = torch.tensor([[0.6, 0.5], [0.4, 0.9]], device=device)
    head = th.MultiLabelHead(2, thresholds=[0.5])
    weights, labels = torch.tensor([1.0, 3.0], device=device), [[1, 0], [1, 1]]
    values = evaluate(head, scores.logit(), labels, weights)
    assert values["accuracy/positive_threshold_0.5"] == 0.625


def test_multi_hot_labels_do_where_there_is_a_vocabulary(device: torch.device) -> None:
    logits = LOGITS[:2].to(device)
    named = th.MultiLabelHead(3, label_vocabulary=["a", "b", "c"])
    plain = th.MultiLabelHead(3).loss([[1, 0, 1], [0, 0, 0]], logits)
    for labels in [[[1, 0, 1], [0, 0, 0]], [["a", "c"], []], [[2, 0], []]]:
        assert named.loss(labels, logits) == plain


def test_the_names_of_all_classes_have_every_batch_dimension(device: torch.device) -> None:
    head = th.MultiLabelHead(3, label_vocabulary=["a", "b", "c"])
    classes = head.predictions(torch.zeros(2, 4, 3, device=device))["classes"]
    assert classes.shape == (2, 4, 3)
    assert (classes == ["a", "b", "c"]).all()


def test_a_set_of_nothing_but_the_missing_label_is_a_row_without_one(device: torch.device) -> None:
    head = th.MultiLabelHead(3, missing_label=-1)
    logits = torch.tensor([[1.0, -2.0, 0.5], [0.5, 1.0, -1.0]], device=device)
    expected = head.loss([[2]], logits[1:])
    jagged = [torch.tensor([-1], device=device), torch.tensor([2], device=device)]
    for labels in (
        [[-1], [2]],
        torch.sparse_coo_tensor(
            [[0, 1], [0, 0]], [-1, 2], (2, 1), device=device, check_invariants=True
        ),
        torch.nested.nested_tensor(jagged, layout=torch.jagged),
    ):
        assert head.loss(labels, logits) == expected
    with pytest.raises(ValueError, match=r"in \[0, 2\], got -1"):  # padding is not a missing row
        head.loss([[-1, 1], [2]], logits)


@pytest.mark.parametrize("shape", [(6,), (6, 1), (2, 3), (3, 2), (3, 2, 1), (2, 1, 3)], ids=str)
def test_a_prior_takes_classes_of_every_shape_by_name(shape: tuple[int, ...]) -> None:
    labels = torch.randint(2, (6, 3), generator=torch.Generator().manual_seed(0))
    expected = th.MultiLabelHead(3).fit_prior(labels)
    by_name = {i: labels[:, i].view(shape) for i in range(3)}
    found = th.MultiLabelHead(3).fit_prior(by_name)
    torch.testing.assert_close(found.prior_offset, expected.prior_offset)
    torch.testing.assert_close(found.prior_loss, expected.prior_loss)
