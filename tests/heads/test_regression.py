"""The heads of real numbers, beyond what every head promises."""

import pytest
import torch
from torch import Tensor, nn

import torch_heads as th


def test_a_regression_of_two_columns_is_the_mean_of_two(device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(2, 5, 2, generator=random).to(device)
    columns = zip(labels.unbind(-1), logits.split(1, -1), strict=True)
    each = [th.RegressionHead().loss(*column) for column in columns]
    torch.testing.assert_close(th.RegressionHead(2).loss(labels, logits), sum(each) / 2)


def test_the_inverse_link_is_for_predictions_and_not_for_the_loss(device: torch.device) -> None:
    plain, linked = th.RegressionHead(), th.RegressionHead(inverse_link_fn=torch.exp)
    logits, labels = torch.tensor([[0.0], [1.0]], device=device), [2.0, 3.0]
    assert linked.loss(labels, logits) == plain.loss(labels, logits)
    assert list(plain.predictions(logits)) == ["predictions"]
    predictions = linked.predictions(logits)
    assert predictions.keys() == {"predictions", "logits"}
    assert torch.equal(predictions["predictions"], logits.exp())
    values = linked.update_metrics(None, None, logits, labels).compute()
    torch.testing.assert_close(values["prediction/mean"], logits.exp().mean())
    assert values["average_loss"] == plain.loss(labels, logits)


def test_a_logistic_regression_has_the_loss_of_a_binary_head(device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(6, 1, generator=random), torch.rand(6, generator=random)
    logits, labels = logits.to(device), labels.to(device)
    head, binary = th.LogisticRegressionHead(), th.BinaryClassHead()
    assert head.loss(labels, logits) == binary.loss(labels, logits)
    expected = binary.update_metrics(None, None, logits, labels).compute()
    actual = head.update_metrics(None, None, logits, labels).compute()
    assert actual == {key: expected[key] for key in actual}
    assert len(actual) == 3
    assert torch.equal(head.predictions(logits)["predictions"], torch.sigmoid(logits))


def test_the_full_poisson_loss_has_the_gradient_of_the_short_one(device: torch.device) -> None:
    logits = torch.tensor([[0.0], [-1], [1], [0.5]], device=device).requires_grad_()
    labels = torch.tensor([0, 1, 2, 5], device=device)
    full, short = (
        th.PoissonRegressionHead(compute_full_loss=full).loss(labels, logits)
        for full in [True, False]
    )
    assert full.item() == pytest.approx(1.914384, abs=1e-6)
    assert short.item() == pytest.approx(0.558721, abs=1e-6)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in [full, short]]
    torch.testing.assert_close(*gradients)


def test_a_poisson_head_predicts_rates(device: torch.device) -> None:
    logits = torch.tensor([[0.0, 2.0]], device=device)
    predictions = th.PoissonRegressionHead(2).predictions(logits)
    assert torch.equal(predictions["predictions"], logits.exp())
    assert torch.equal(predictions["logits"], logits)


class Distance(nn.Module):
    """A loss and a link of one's own, as modules."""

    def forward(self, labels: Tensor, logits: Tensor) -> Tensor:
        return (labels - logits).abs()


def test_a_link_sees_the_logits_as_they_came(device: torch.device) -> None:
    def shares(logits: Tensor) -> Tensor:
        return logits / logits.sum(1, keepdim=True)  # over the steps

    head = th.RegressionHead(inverse_link_fn=shares)
    logits = torch.tensor([[[1.0], [3.0]], [[2.0], [6.0]]], device=device)
    labels = torch.zeros(2, 2, device=device)
    metrics = head.update_metrics(logits=logits, labels=labels)
    assert metrics.compute()["prediction/mean"] == head.predictions(logits)["predictions"].mean()


def test_a_module_may_be_the_loss_or_the_link(device: torch.device) -> None:
    head = th.RegressionHead(loss_fn=Distance(), inverse_link_fn=nn.Softplus(), name="a")
    logits = torch.tensor([[3.0], [-1.0]], device=device)
    assert head.loss([0.0, 0.0], logits) == 2
    torch.testing.assert_close(
        head.predictions(logits)["predictions"], nn.functional.softplus(logits)
    )
    both = th.MultiHead([head, th.RegressionHead(name="b")]).to(device)
    assert both.losses({"a": [0.0, 0.0], "b": [0.0, 0.0]}, logits.expand(2, 2))["a"] == 2


def test_a_weight_that_is_learned_gets_its_gradient_at_zero(device: torch.device) -> None:
    weights = torch.tensor([0.0, 1.0], device=device, requires_grad=True)
    loss = th.RegressionHead().loss(
        [0.0, 0.0], torch.tensor([[2.0], [1.0]], device=device), weights=weights
    )
    loss.backward()
    assert weights.grad.tolist() == [2.0, 0.5]
