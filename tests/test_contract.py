"""What every head promises, whatever its numbers."""

import copy
import inspect
import io
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchmetrics import Metric

import torch_heads as th
from tests.cases import CASES, Case, every_case
from tests.own_heads import LaplaceHead
from torch_heads.testing import (
    FEATURES,
    PROMISES,
    Subject,
    assert_same,
    evaluate,
    loss_and_gradient,
)

# whose gradients grow with an exponential, or with its square, beyond what half precision holds
EXPONENTIAL = (
    th.PoissonRegressionHead
    | LaplaceHead
    | th.GaussianRegressionHead
    | th.NegativeBinomialRegressionHead
    | th.ZeroInflatedLogNormalHead
)


def test_no_head_is_missing_among_the_cases() -> None:
    public = [getattr(th, name) for name in th.__all__]
    concrete = {
        kind
        for kind in public
        if inspect.isclass(kind) and issubclass(kind, th.Head) and not inspect.isabstract(kind)
    }
    assert concrete == {kind for kind in concrete if any(case.has(kind) for case in CASES)}
    assert len(concrete) >= 14


@every_case
@pytest.mark.parametrize("promise", PROMISES)
def test_a_head_keeps_its_promises(case: Case, promise: str, device: torch.device) -> None:
    PROMISES[promise](Subject(case.make, case.batch.to(device)))


def for_each(head: th.Head, value: Tensor) -> Any:
    """Return the value for each head that is not a `MultiHead`, in dicts by name."""
    if isinstance(head, th.MultiHead):
        return {name: for_each(head[name], value) for name in head}
    if isinstance(head, th.SequentialHeadWrapper):
        return for_each(head.static_head, value)
    return value


@every_case
def test_weights_may_be_looked_up_computed_or_given(case: Case, device: torch.device) -> None:
    batch = case.batch.to(device)
    head = case.head(device)
    weights = for_each(head, batch.features["w"])
    expected = loss_and_gradient(case.head(device, weight_column="w"), batch)[0]
    computed = case.head(device, weight_column=lambda features: features["w"])
    assert_same(loss_and_gradient(computed, batch)[0], expected)
    assert_same(head.loss(batch.labels, batch.logits, batch.features, weights=weights), expected)


# ---- gradients and dtypes ----


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "case",
    [case for case in CASES if not case.has(EXPONENTIAL)],
    ids=lambda case: case.about,
)
def test_large_half_precision_logits_do_as_well_as_float32(
    case: Case, dtype: torch.dtype, device: torch.device
) -> None:
    batch = case.batch.to(device)
    half = (batch.logits.sign() * 1e4).to(dtype)
    head = case.head(device, weight_column="w")
    loss, gradient = loss_and_gradient(head, batch._replace(logits=half))
    expected, expected_gradient = loss_and_gradient(head, batch._replace(logits=half.float()))
    assert loss.dtype == torch.float32
    assert gradient.dtype == dtype
    assert loss.isfinite()
    assert gradient.isfinite().all()
    torch.testing.assert_close(loss, expected, rtol=0, atol=0)
    torch.testing.assert_close(gradient, expected_gradient.to(dtype), rtol=0, atol=0)
    torch.testing.assert_close(
        evaluate(head, batch._replace(logits=half)),
        evaluate(head, batch._replace(logits=half.float())),
        rtol=0,
        atol=0,
        equal_nan=True,
    )


@every_case
def test_autocast_changes_neither_the_loss_nor_the_metrics(
    case: Case, device: torch.device
) -> None:
    batch = case.batch.to(device)
    head = case.head(device, weight_column="w")
    expected = loss_and_gradient(head, batch), evaluate(head, batch)
    with torch.autocast(device.type, torch.bfloat16):
        actual = loss_and_gradient(head, batch), evaluate(head, batch)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@every_case
def test_a_model_cast_to_another_dtype_keeps_its_numbers(
    case: Case, dtype: torch.dtype, device: torch.device
) -> None:
    batch = case.batch.to(device)
    head = case.head(device, weight_column="w")
    expected = head.loss(batch.labels, batch.logits, batch.features), evaluate(head, batch)
    cast = case.head(device, weight_column="w").to(dtype)
    loss = cast.loss(batch.labels, batch.logits, batch.features)
    metrics = cast.metrics().to(dtype)
    cast.update_metrics(metrics, batch.features, batch.logits, batch.labels)
    values = metrics.compute()
    assert loss.dtype == torch.float32
    assert_same((loss, {key: values[key] for key in expected[1]}), expected)


@every_case
def test_metrics_live_inside_and_outside_of_inference_mode(
    case: Case, device: torch.device
) -> None:
    batch = case.batch.to(device)
    head = case.head(device)

    def update(metrics: nn.Module) -> None:
        head.update_metrics(metrics, batch.features, batch.logits, batch.labels)

    once = evaluate(head, batch)
    with torch.inference_mode():
        metrics = head.metrics()
        update(metrics)
        inside = metrics.compute()
    assert_same({key: inside[key] for key in once}, once)
    update(metrics)
    assert_same({key: metrics.compute()[key] for key in once}, evaluate(head, batch, batch))
    with torch.inference_mode():
        metrics.reset()
        update(metrics)
    metrics.reset()
    update(metrics)
    assert_same({key: metrics.compute()[key] for key in once}, once)


# ---- predictions ----


@every_case
def test_forward_gives_the_predictions_that_are_tensors(case: Case, device: torch.device) -> None:
    batch, head = case.batch.to(device), case.head(device)
    everything = head.predictions(batch.logits, keys=head.all_prediction_keys())
    assert list(everything) == head.all_prediction_keys()
    for value in everything.values():
        assert value.shape[: batch.logits.dim() - 1] == batch.logits.shape[:-1]
    tensors = [value for value in everything.values() if isinstance(value, Tensor)]
    forward = head(batch.logits)
    assert all(isinstance(key, str) for key in forward)
    torch.testing.assert_close(list(forward.values()), tensors, rtol=0, atol=0)


@every_case
def test_predictions_may_be_asked_for_one_by_one(case: Case, device: torch.device) -> None:
    head, logits = case.head(device), case.batch.logits.to(device)
    for key in head.all_prediction_keys():
        assert list(head.predictions(logits, keys=[key])) == [key]


# ---- models ----


def small_model(case: Case, device: torch.device) -> nn.Sequential:
    torch.manual_seed(0)
    head = case.head(device)
    return nn.Sequential(nn.Linear(FEATURES, head.logits_dimension), head).to(device)


@every_case
def test_a_model_learns(case: Case, device: torch.device) -> None:
    batch = case.batch.to(device)
    linear, head = small_model(case, device)
    inputs = torch.randn(*batch.logits.shape[:-1], FEATURES, device=device)
    optimizer = torch.optim.Adam(linear.parameters(), lr=0.05)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = head.loss(batch.labels, linear(inputs), batch.features)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@every_case
def test_a_model_does_not_save_what_its_head_can_make_again(
    case: Case, device: torch.device
) -> None:
    batch = case.batch.to(device)
    model = small_model(case, device)
    head = model[1]
    head.update_metrics(None, batch.features, batch.logits, batch.labels)
    assert list(model.state_dict()) == ["0.weight", "0.bias", "1._meaning"]
    assert not list(head.parameters())


@every_case
def test_a_model_saves_its_metrics_on_request(case: Case, device: torch.device) -> None:
    batch = case.batch.to(device)
    head = case.head(device)
    head.update_metrics(None, batch.features, batch.logits, batch.labels)
    head.metric_collection.persistent()
    file = io.BytesIO()
    torch.save(head.state_dict(), file)
    file.seek(0)
    again = case.head(device)
    again.load_state_dict(torch.load(file))
    expected = head.metric_collection.compute()
    torch.testing.assert_close(again.metric_collection.compute(), expected, rtol=0, atol=0)


def copies(value: nn.Module) -> Iterator[nn.Module]:
    yield copy.deepcopy(value)
    yield pickle.loads(pickle.dumps(value))


# ---- metric collections ----


@every_case
def test_a_copy_of_a_collection_counts_for_itself(case: Case, device: torch.device) -> None:
    batch = case.batch.to(device)
    head = case.head(device)
    metrics = head.update_metrics(head.metrics(), batch.features, batch.logits, batch.labels)
    before = metrics.compute()
    for again in [*copies(metrics), metrics.clone()]:
        assert_same(again.compute(), before)
        part = batch.take([0, 1])
        head.update_metrics(again, part.features, part.logits, part.labels)
        assert_same(metrics.compute(), before)
        again.reset()
        head.update_metrics(again, batch.features, batch.logits, batch.labels)
        assert_same(again.compute(), before)


@every_case
def test_each_metric_of_a_collection_stands_for_itself(case: Case, device: torch.device) -> None:
    batch, head = case.batch.to(device), case.head(device)
    metrics = head.update_metrics(None, batch.features, batch.logits, batch.labels)
    values = metrics.compute()
    assert list(metrics) == list(metrics.keys()) == list(values)
    assert len(metrics) == len(values)
    assert [key for key, _ in metrics.items()] == list(values)
    for (key, metric), value in zip(metrics.items(), metrics.values(), strict=True):
        assert isinstance(metric, Metric)
        assert key in metrics
        assert metric is value is metrics[key]
        assert values[key].shape == ()
        assert metric.compute() == values[key]


# what tf.estimator does not have is NaN without labels
UNDEFINED = (
    "roc_auc",
    "average_precision",
    "mean_absolute_error",
    "crps",
    "interval_coverage",
    "pinball_loss",
    "quantile_coverage",
    "cohen_kappa",
    "concordance",
)


@every_case
def test_a_fresh_collection_warns_and_reads_zero_as_in_tf_estimator(case: Case) -> None:
    with pytest.warns(UserWarning, match="before the ``update``"):
        values = case.head().metrics().compute()
    ours = {key for key in values if key.startswith(UNDEFINED)}
    assert all(values.pop(key).isnan() for key in ours)
    assert not any(values.values())


@pytest.mark.parametrize(
    "case", [case for case in CASES if not case.has(th.MultiHead)], ids=lambda case: case.about
)
def test_a_name_is_added_to_every_metric_key(case: Case) -> None:
    head = case.head()
    name = head.name and head.name.removesuffix("_sequential")
    for key in head.metrics():
        assert key.endswith(f"/{name}") if name else not key.endswith("/")


# ---- regularization ----


@every_case
def test_regularization_is_added_to_the_loss_and_averaged_over_calls(
    case: Case, device: torch.device
) -> None:
    batch, head = case.batch.to(device), case.head(device, weight_column="w")
    extra = [torch.tensor(1.5, device=device), 0.25]
    plain = head.loss(batch.labels, batch.logits, batch.features)
    regularized = head.loss(batch.labels, batch.logits, batch.features, regularization_losses=extra)
    assert_same(regularized, plain + 1.75)
    metrics = head.metrics(regularization_losses=extra)
    for losses in [extra, [0.25], []]:
        head.update_metrics(metrics, batch.features, batch.logits, batch.labels, losses)
    values = metrics.compute()
    [key] = values.keys() - head.metrics().keys()
    assert key.startswith("regularization_loss")
    assert_same(values[key], torch.tensor(2.0 / 3, device=device))
    once = evaluate(head, batch)
    assert_same({key: values[key] for key in once}, once)  # and nowhere else
