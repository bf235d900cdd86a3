"""`create_estimator_spec` in its three modes, and the step of training."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torch_heads as th
from tests.cases import Case, every_case


class Model(nn.Module):
    """Two layers and a head, with one batch."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(3, 4, device=device), nn.Linear(4, 1, device=device)
        self.head = th.RegressionHead()
        self.inputs = torch.randn(8, 3, device=device)
        self.labels = torch.randn(8, device=device)
        self.optimizer = torch.optim.SGD(self.parameters(), lr=0.1)

    def spec(self, mode: str = "train", **kwargs: Any) -> th.EstimatorSpec:
        logits = self.second(self.first(self.inputs).relu())
        return self.head.create_estimator_spec(None, mode, logits, self.labels, **kwargs)

    def values(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.named_parameters()}


@pytest.fixture
def model(device: torch.device) -> Model:
    return Model(device)


# ---- modes ----


def test_modes_have_the_originals_values() -> None:
    assert list(th.ModeKeys) == ["train", "eval", "infer"]


@every_case
def test_a_server_needs_neither_labels_nor_features(case: Case, device: torch.device) -> None:
    batch, head = case.batch.to(device), case.head(device, weight_column="w")
    needs_mask = any(isinstance(one, th.SequentialHeadWrapper) for one in head.modules())
    spec = head.create_estimator_spec(
        batch.features if needs_mask else None, th.ModeKeys.PREDICT, batch.logits
    )
    assert spec.mode == "infer"
    assert spec.loss is spec.train_op is None
    assert not spec.eval_metric_ops
    assert set(spec.predictions) >= set(head.all_prediction_keys())
    assert "serving_default" in spec.export_outputs
    assert isinstance(spec.export_outputs["predict"], th.PredictOutput)
    outputs = (th.ClassificationOutput, th.RegressionOutput, th.PredictOutput)
    assert all(isinstance(output, outputs) for output in spec.export_outputs.values())


@every_case
def test_evaluation_gives_the_loss_and_the_metrics_of_the_batch(
    case: Case, device: torch.device
) -> None:
    batch, head = case.batch.to(device), case.head(device, weight_column="w")
    extra = [torch.tensor(0.5, device=device)]
    spec = head.create_estimator_spec(
        batch.features, "eval", batch.logits, batch.labels, regularization_losses=extra
    )
    expected = head.loss(batch.labels, batch.logits, batch.features, regularization_losses=extra)
    assert spec.loss == expected
    metrics = head.metrics(regularization_losses=extra)
    head.update_metrics(metrics, batch.features, batch.logits, batch.labels, extra)
    assert spec.eval_metric_ops.compute() == metrics.compute()
    assert spec.train_op is spec.export_outputs is None
    assert spec.predictions.keys() == head.predictions(batch.logits).keys()


@every_case
def test_training_gives_the_loss_and_no_metrics(case: Case, device: torch.device) -> None:
    batch, head = case.batch.to(device), case.head(device, weight_column="w")
    spec = head.create_estimator_spec(
        batch.features, "train", batch.logits, batch.labels, train_op_fn=lambda loss: 2 * loss
    )
    assert spec.loss == head.loss(batch.labels, batch.logits, batch.features)
    assert spec.train_op == 2 * spec.loss
    assert not spec.eval_metric_ops
    assert spec.export_outputs is None


# ---- the step ----


def test_a_step_descends_and_returns_the_loss(model: Model) -> None:
    losses = []
    for _ in range(5):
        spec = model.spec(optimizer=model.optimizer)
        losses.append(spec.train_op())
        assert losses[-1] == spec.loss
    assert losses == sorted(losses, reverse=True)


def test_a_step_is_that_of_a_plain_loop(model: Model, device: torch.device) -> None:
    plain = Model(device)
    for _ in range(2):
        model.spec(optimizer=model.optimizer).train_op()
        plain.optimizer.zero_grad()
        plain.spec(train_op_fn=lambda loss: loss).loss.backward()
        plain.optimizer.step()
    torch.testing.assert_close(model.values(), plain.values(), rtol=0, atol=0)


def test_nothing_happens_before_the_step_is_called(model: Model) -> None:
    before = model.values()
    model.spec(optimizer=model.optimizer)
    torch.testing.assert_close(model.values(), before, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_step_clears_old_gradients(model: Model, device: torch.device) -> None:
    model.second.weight.grad = torch.full_like(model.second.weight, 1e6)
    model.spec(optimizer=model.optimizer).train_op()
    fresh = Model(device)
    fresh.spec(optimizer=fresh.optimizer).train_op()
    torch.testing.assert_close(model.values(), fresh.values(), rtol=0, atol=0)


@pytest.mark.parametrize("form", [list, tuple])
def test_only_trainable_variables_get_gradients(model: Model, form: type) -> None:
    before = model.values()
    variables = form(model.second.parameters())
    model.spec(optimizer=model.optimizer, trainable_variables=variables).train_op()
    after = model.values()
    assert {name for name in before if not torch.equal(before[name], after[name])} == {
        "second.weight",
        "second.bias",
    }
    assert all(parameter.grad is None for parameter in model.first.parameters())


def test_trainable_variables_may_be_frozen(model: Model) -> None:
    model.first.requires_grad_(False)
    before = model.values()
    model.spec(optimizer=model.optimizer, trainable_variables=list(model.parameters())).train_op()
    torch.testing.assert_close(model.first.weight, before["first.weight"], rtol=0, atol=0)
    assert not torch.equal(model.second.weight, before["second.weight"])


def test_a_loss_is_a_scalar() -> None:
    assert th.EstimatorSpec("eval", loss=torch.ones(1, 1)).loss == torch.tensor(1.0)
    with pytest.raises(ValueError, match=r"loss as a scalar, got shape \[2\]"):
        th.EstimatorSpec("eval", loss=torch.ones(2))


def test_no_trainable_variables_are_no_step(model: Model) -> None:
    before = model.values()
    spec = model.spec(optimizer=model.optimizer, trainable_variables=[])
    assert spec.train_op() == spec.loss
    torch.testing.assert_close(model.values(), before, rtol=0, atol=0)


def test_updates_run_after_the_backward_pass_and_before_the_step(model: Model) -> None:
    before, seen = model.values(), []

    def update() -> None:
        assert model.second.weight.grad is not None
        torch.testing.assert_close(model.values(), before, rtol=0, atol=0)
        seen.append(model.second.weight.grad.clone())

    model.spec(optimizer=model.optimizer, update_ops=[update, update]).train_op()
    assert len(seen) == 2
    expected = before["second.weight"] - 0.1 * seen[0]
    torch.testing.assert_close(model.second.weight.detach(), expected)


def test_an_update_may_clip_the_gradient(model: Model) -> None:
    before = model.values()

    def clip() -> None:
        nn.utils.clip_grad_norm_(model.parameters(), 1e-3)

    model.spec(optimizer=model.optimizer, update_ops=(clip,)).train_op()
    moved = [new - before[name] for name, new in model.values().items()]
    assert torch.stack([change.norm() for change in moved]).norm().item() <= 1.01e-4


def test_regularization_reaches_the_gradient(model: Model) -> None:
    penalty = 10 * model.first.weight.square().sum()
    model.spec(optimizer=model.optimizer, regularization_losses=[penalty]).train_op()
    plain = Model(model.inputs.device)
    plain.spec(optimizer=plain.optimizer).train_op()
    expected = plain.first.weight.grad + 20 * Model(model.inputs.device).first.weight
    torch.testing.assert_close(model.first.weight.grad, expected)


def test_updates_run_with_a_train_op_fn_too(model: Model) -> None:
    order = []
    spec = model.spec(
        train_op_fn=lambda loss: order.append("train") or "done",
        update_ops=[lambda: order.append("update")],
    )
    assert spec.train_op == "done"
    assert order == ["train", "update"]


def test_updates_belong_to_the_train_op_of_a_train_op_fn(model: Model) -> None:
    order: list[str] = []

    def step(loss: Tensor) -> str:
        loss.backward()
        order.append("train")
        return "done"

    def clip() -> None:
        assert model.first.weight.grad is not None
        order.append("clip")

    spec = model.spec(train_op_fn=lambda loss: partial(step, loss), update_ops=[clip])
    assert order == []
    assert spec.train_op() == "done"
    assert order == ["train", "clip"]


def test_a_train_op_fn_gets_the_loss(model: Model) -> None:
    seen = []
    spec = model.spec(train_op_fn=lambda loss: seen.append(loss) or "done")
    assert spec.train_op == "done"
    assert seen == [spec.loss]


def test_what_only_training_needs_is_not_looked_at_elsewhere(model: Model) -> None:
    for mode in ["eval", "infer"]:
        model.spec(mode, optimizer="SGD", train_op_fn=abs, update_ops=7)
