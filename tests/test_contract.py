"""What every head promises, whatever its numbers."""

import copy
import inspect
import io
import pickle
import shutil
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchmetrics import Metric

import torch_heads as th
from tests.cases import CASES, ROWS, Batch, Case

REDUCTIONS = ["sum_over_batch_size", "sum", "weighted_mean"]
FEATURES = 5  # of the small models

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.about)
every_dense_case = pytest.mark.parametrize(
    "case", [case for case in CASES if case.dense], ids=lambda case: case.about
)
every_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)


def loss_and_gradient(head: th.Head, batch: Batch) -> tuple[Tensor, Tensor]:
    logits = batch.logits.detach().requires_grad_()
    loss = head.loss(batch.labels, logits, batch.features)
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


def evaluate(head: th.Head, *batches: Batch) -> dict[str, Tensor]:
    """Return the metrics over some batches, without the means over update calls."""
    metrics = head.metrics()
    for batch in batches:
        head.update_metrics(metrics, batch.features, batch.logits, batch.labels)
    return {key: value for key, value in metrics.compute().items() if not key.startswith("loss/")}


def assert_same(actual: object, expected: object) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


def test_no_head_is_missing_among_the_cases() -> None:
    public = [getattr(th, name) for name in th.__all__]
    concrete = {
        kind
        for kind in public
        if inspect.isclass(kind) and issubclass(kind, th.Head) and not inspect.isabstract(kind)
    }
    assert concrete == {kind for kind in concrete if any(case.has(kind) for case in CASES)}
    assert len(concrete) >= 8


# ---- weights ----


@every_reduction
@every_case
def test_a_weight_of_one_is_no_weight(case: Case, reduction: str, device: torch.device) -> None:
    batch = case.batch.to(device).weighted([1.0] * ROWS)
    plain = case.head(device, loss_reduction=reduction)
    weighted = case.head(device, loss_reduction=reduction, weight_column="w")
    assert_same(loss_and_gradient(weighted, batch), loss_and_gradient(plain, batch))
    assert_same(evaluate(weighted, batch), evaluate(plain, batch))


@every_case
def test_a_weight_of_zero_is_a_row_removed(case: Case, device: torch.device) -> None:
    batch = case.batch.to(device)
    weights = [1.5, 0.0, 1.0, 0.0, 0.5, 2.0, 1.0]
    kept = [row for row, weight in enumerate(weights) if weight]
    dropped = batch.weighted(weights)
    for reduction in ["sum", "weighted_mean"]:
        head = case.head(device, loss_reduction=reduction, weight_column="w")
        loss, gradient = loss_and_gradient(head, dropped)
        rest_loss, rest_gradient = loss_and_gradient(head, dropped.take(kept))
        assert_same(loss, rest_loss)
        assert_same(gradient[kept], rest_gradient)
        assert not gradient[[1, 3]].any()
    assert_same(evaluate(head, dropped), evaluate(head, dropped.take(kept)))


@every_case
def test_a_row_of_weight_zero_may_hold_nan(case: Case, device: torch.device) -> None:
    batch = case.batch.to(device).weighted([0.0, *[1.0] * (ROWS - 1)])
    broken = batch._replace(
        logits=batch.logits.index_fill(0, torch.tensor(0).to(device), torch.nan)
    )
    head = case.head(device, loss_reduction="weighted_mean", weight_column="w")
    assert_same(loss_and_gradient(head, broken), loss_and_gradient(head, batch))
    assert_same(evaluate(head, broken), evaluate(head, batch))


@every_case
def test_a_weight_of_two_is_a_row_twice(case: Case, device: torch.device) -> None:
    batch = case.batch.to(device)
    weights = [2.0, 1.0, 1.0, 3.0, 1.0, 2.0, 1.0]
    repeated = batch.take([row for row, weight in enumerate(weights) for _ in range(int(weight))])
    for reduction in ["sum", "weighted_mean"]:
        weighted = case.head(device, loss_reduction=reduction, weight_column="w")
        plain = case.head(device, loss_reduction=reduction)
        assert_same(
            loss_and_gradient(weighted, batch.weighted(weights))[0],
            loss_and_gradient(plain, repeated)[0],
        )
    assert_same(evaluate(weighted, batch.weighted(weights)), evaluate(plain, repeated))


@every_case
def test_all_weights_zero_give_zero_and_no_nan(case: Case, device: torch.device) -> None:
    batch = case.batch.to(device).weighted([0.0] * ROWS)
    for reduction in REDUCTIONS:
        head = case.head(device, loss_reduction=reduction, weight_column="w")
        loss, gradient = loss_and_gradient(head, batch)
        assert loss == 0
        assert not gradient.any()
    assert not any(evaluate(head, batch).values())


def for_each(head: th.Head, value: Tensor) -> Any:
    """Return the value for each head that is not a `MultiHead`, in dicts by name."""
    if isinstance(head, th.MultiHead):
        return {name: for_each(head[name], value) for name in head.names}
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


# ---- batches ----


@every_case
@given(cuts=st.lists(st.integers(0, ROWS), max_size=4))
@settings(deadline=None, max_examples=15)
def test_batches_may_be_cut_anywhere(case: Case, device: torch.device, cuts: list[int]) -> None:
    batch = case.batch.to(device)
    head = case.head(device, weight_column="w")
    edges = [0, *sorted(cuts), ROWS]
    parts = [batch.take(range(*pair)) for pair in pairwise(edges)]
    assert_same(evaluate(head, *parts), evaluate(head, batch))


@every_case
@given(order=st.permutations(range(ROWS)))
@settings(deadline=None, max_examples=8)
def test_the_order_of_rows_changes_nothing(
    case: Case, device: torch.device, order: list[int]
) -> None:
    batch = case.batch.to(device)
    head = case.head(device, weight_column="w")
    loss, gradient = loss_and_gradient(head, batch)
    permuted_loss, permuted_gradient = loss_and_gradient(head, batch.take(order))
    assert_same(permuted_loss, loss)
    assert_same(permuted_gradient, gradient[order])
    assert_same(evaluate(head, batch.take(order)), evaluate(head, batch))


@every_reduction
@every_case
def test_an_empty_batch_has_no_loss_and_leaves_the_metrics_alone(
    case: Case, reduction: str, device: torch.device
) -> None:
    batch = case.batch.to(device)
    head = case.head(device, loss_reduction=reduction, weight_column="w")
    loss, gradient = loss_and_gradient(head, batch.take([]))
    assert loss == 0
    assert gradient.shape == batch.logits[:0].shape
    assert not any(evaluate(head, batch.take([])).values())
    assert_same(evaluate(head, batch, batch.take([])), evaluate(head, batch))


# ---- gradients and dtypes ----


@every_reduction
@every_case
def test_the_gradient_is_that_of_the_loss(case: Case, reduction: str, device: torch.device) -> None:
    batch = case.batch.to(device)
    head = case.head(device, loss_reduction=reduction, weight_column="w")

    def loss(logits: Tensor) -> Tensor:
        return head.loss(batch.labels, logits, batch.features)

    logits = batch.logits.double().requires_grad_()
    assert loss(logits).dtype == torch.float64
    torch.autograd.gradcheck(loss, logits, fast_mode=True, nondet_tol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "case",
    [case for case in CASES if not case.has(th.PoissonRegressionHead)],  # exp overflows
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
        assert value.shape[:-1] == batch.logits.shape[:-1]
    tensors = [value for value in everything.values() if isinstance(value, Tensor)]
    forward = head(batch.logits)
    assert all(isinstance(key, str) for key in forward)
    torch.testing.assert_close(list(forward.values()), tensors, rtol=0, atol=0)


@every_case
def test_predictions_may_be_asked_for_one_by_one(case: Case, device: torch.device) -> None:
    head, logits = case.head(device), case.batch.logits.to(device)
    for key in head.all_prediction_keys():
        assert list(head.predictions(logits, keys=[key])) == [key]


# ---- compiled and exported ----


@every_dense_case
def test_compiled_without_a_break_the_numbers_are_the_same(
    case: Case, device: torch.device
) -> None:
    torch.compiler.reset()  # since all heads share the code, and so its few compiled variants
    batch = case.batch.to(device)
    head = case.head(device, weight_column="w")
    logits = batch.logits.detach().requires_grad_()
    compiled = torch.compile(head.loss, fullgraph=True, backend="aot_eager")
    loss = compiled(batch.labels, logits, batch.features)
    gradient = torch.autograd.grad(loss, logits)[0]
    assert_same((loss.detach(), gradient), loss_and_gradient(head, batch))
    forward = torch.compile(head, fullgraph=True, backend="aot_eager")
    assert_same(forward(batch.logits), head(batch.logits))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
@pytest.mark.skipif(not any(map(shutil.which, ["g++", "clang++"])), reason="needs a C++ compiler")
def test_compiled_to_machine_code_the_loss_is_the_same(device: torch.device) -> None:
    case = next(case for case in CASES if case.about == "multi-label")
    batch, head = case.batch.to(device), case.head(device)
    compiled = torch.compile(head.loss, fullgraph=True)
    assert_same(compiled(batch.labels, batch.logits), head.loss(batch.labels, batch.logits))


@every_case
def test_a_model_with_a_head_is_exported_with_a_free_batch_size(
    case: Case, device: torch.device
) -> None:
    model = small_model(case, device)
    shape = case.batch.logits.shape[1:-1]
    inputs = torch.randn(ROWS, *shape, FEATURES, device=device)
    free = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(model, (inputs,), dynamic_shapes=free).module()
    for rows in [2, ROWS, 11]:
        inputs = torch.randn(rows, *shape, FEATURES, device=device)
        assert_same(program(inputs), model(inputs))


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
    assert list(model.state_dict()) == ["0.weight", "0.bias"]
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


@every_case
def test_a_copy_of_a_head_is_a_head_of_its_own(case: Case, device: torch.device) -> None:
    batch = case.batch.to(device)
    head = case.head(device, weight_column="w")
    head.update_metrics(None, batch.features, batch.logits, batch.labels)
    before = head.metric_collection.compute()
    for again in copies(head):
        assert_same(again.metric_collection.compute(), before)
        assert_same(loss_and_gradient(again, batch), loss_and_gradient(head, batch))
        part = batch.take([0, 1])
        again.update_metrics(None, part.features, part.logits, part.labels)
        changed = again.metric_collection.compute()
        assert any(changed[key] != before[key] for key in before)
        assert_same(head.metric_collection.compute(), before)
        assert_same(evaluate(again, batch), evaluate(head, batch))


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


@every_case
def test_a_fresh_collection_warns_and_reads_zero(case: Case) -> None:
    with pytest.warns(UserWarning, match="before the ``update``"):
        values = case.head().metrics().compute()
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
