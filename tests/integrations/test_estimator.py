"""Estimators train, evaluate, predict and go on, as the originals do, on real data."""

import dataclasses
import functools
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from sklearn.datasets import load_diabetes, load_digits, load_wine
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import torch_heads as th
from torch_heads.integrations.estimator import (
    DNNEstimator,
    Estimator,
    EvalSpec,
    LinearEstimator,
    RunConfig,
    TrainSpec,
    categorical_column_with_identity,
    categorical_column_with_vocabulary_list,
    embedding_column,
    indicator_column,
    numeric_column,
)

ADAM = functools.partial(torch.optim.Adam, lr=0.01)
WINES = ["barbera", "barolo", "grignolino"]


@pytest.fixture(autouse=True)
def _a_fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _on_the_device_under_test(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    there = functools.partialmethod(RunConfig.__init__, accelerator=device.type)
    monkeypatch.setattr(RunConfig, "__init__", there)


@pytest.fixture(scope="module")
def wine() -> tuple[Tensor, dict[str, Any]]:
    """Return the chemistry of 178 wines, in random order, and what is to be told from it."""
    values, kinds = load_wine(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(values))
    values, kinds = values[order], kinds[order]
    values = torch.tensor((values - values.mean(0)) / values.std(0), dtype=torch.float32)
    # the colour's intensity, column 9, is one of the targets
    return values[:, :9], {"kind": np.array(WINES)[kinds], "colour": values[:, 9]}


def wine_head() -> th.MultiHead:
    kind = th.MultiClassHead(n_classes=3, label_vocabulary=WINES, name="kind")
    return th.MultiHead([kind, th.RegressionHead(name="colour")], head_weights=[1.0, 0.5])


def batches(wine: Any, size: int = 32, epochs: int = 1) -> Callable[[], Iterator[Any]]:
    features, labels = wine

    def input_fn() -> Iterator[Any]:
        for _ in range(epochs):
            for rows in torch.arange(len(features)).split(size):
                yield {"x": features[rows]}, {name: of[rows] for name, of in labels.items()}

    return input_fn


def model_fn(features: Any, labels: Any, mode: Any, params: Any, model: Any, optimizer: Any) -> Any:
    logits = model(features["x"])
    return params["head"].create_estimator_spec(features, mode, logits, labels, optimizer)


def wine_estimator(model_dir: Path, **given: Any) -> Estimator:
    """Return an estimator that knows nothing but what is in ``model_dir``."""
    head = wine_head()
    given = {"model_fn": model_fn, "optimizer": ADAM, "params": {"head": head}} | given
    model = given.pop("model", None) or nn.Linear(9, head.logits_dimension)
    return Estimator(model=model, model_dir=model_dir, **given)


def line(model_dir: Path, **given: Any) -> Estimator:
    """Return an estimator of a line through the origin, that starts at 0."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    head = th.RegressionHead()
    given = {"model_fn": model_fn, "params": {"head": head}, "optimizer": ADAM} | given
    return Estimator(model=model, model_dir=model_dir, **given)


def points(count: int) -> Callable[[], Iterator[Any]]:
    return lambda: (({"x": torch.ones(1, 1)}, torch.ones(1)) for _ in range(count))


# ---- the usage sections of the originals' documentation ----


def test_a_canned_estimator_learns_with_a_multi_label_head(tmp_path: Path) -> None:
    pixels, digits = load_digits(return_X_y=True)
    kinds = ["even", "prime", "loop"]
    members = [(0, 2, 4, 6, 8), (2, 3, 5, 7), (0, 6, 8, 9)]
    labels = np.stack([np.isin(digits, member) for member in members], axis=1)

    def input_fn(rows: slice, epochs: int) -> Iterator[Any]:
        for _ in range(epochs):
            yield from zip(
                ({"pixels": part} for part in np.array_split(pixels[rows], 10)),
                np.array_split(labels[rows], 10),
                strict=True,
            )

    my_head = th.MultiLabelHead(n_classes=3, label_vocabulary=kinds, thresholds=[0.5])
    my_estimator = DNNEstimator(
        head=my_head,
        hidden_units=[32],
        feature_columns=[numeric_column("pixels", shape=64, normalizer_fn=lambda x: x / 16)],
        optimizer=ADAM,
        model_dir=tmp_path,
    )
    my_estimator.train(lambda: input_fn(slice(1200), 10))
    values = my_estimator.evaluate(lambda: input_fn(slice(1200, None), 1))
    assert values.keys() == {*my_head.metrics(), "loss", "global_step"}
    assert values["global_step"] == 100
    assert values["accuracy/positive_threshold_0.5"] > 0.85
    predictions = list(my_estimator.predict(lambda: input_fn(slice(1200, None), 1)))
    assert len(predictions) == len(pixels) - 1200
    assert predictions[0]["classes"].tolist() == kinds
    right = np.stack([one["probabilities"] > 0.5 for one in predictions]) == labels[1200:]
    assert right.mean() == pytest.approx(values["accuracy/positive_threshold_0.5"])


class Towers(nn.Module):
    """A shared layer, and a layer of logits per head."""

    def __init__(self, head: th.MultiHead) -> None:
        super().__init__()
        self.shared = nn.Linear(9, 16)
        self.towers = nn.ModuleDict(
            {name: nn.Linear(16, head[name].logits_dimension) for name in head}
        )


def logits_by_name(model: Towers, features: Any) -> Any:
    hidden = model.shared(features["x"]).relu()
    return {name: tower(hidden) for name, tower in model.towers.items()}


def logits_in_one(model: Towers, features: Any) -> Any:
    return torch.cat(list(logits_by_name(model, features).values()), dim=-1)


@pytest.mark.parametrize("to_logits", [logits_by_name, logits_in_one])
def test_a_model_fn_with_a_multi_head_learns_from_a_dict_and_from_one_tensor_of_logits(
    wine: Any, tmp_path: Path, to_logits: Any
) -> None:
    head = wine_head()

    def model_fn(features: Any, labels: Any, mode: Any, model: Any, optimizer: Any) -> Any:
        logits = to_logits(model, features)
        return head.create_estimator_spec(
            features=features, mode=mode, logits=logits, labels=labels, optimizer=optimizer
        )

    estimator = Estimator(model_fn, Towers(head), ADAM, tmp_path)
    values = estimator.train(batches(wine, epochs=15)).evaluate(batches(wine))
    assert values.keys() == {*head.metrics(), "loss", "global_step"}
    assert values["accuracy/kind"] > 0.95
    assert values["average_loss/colour"] < 0.5  # the variance is 1
    [first, *_] = estimator.predict(batches(wine))
    assert first.keys() == set(head.all_prediction_keys())
    assert first["kind", "classes"].tolist() == [wine[1]["kind"][0]]
    # the other way to give logits, from the same checkpoint
    other = logits_in_one if to_logits is logits_by_name else logits_by_name
    to_logits = other
    assert estimator.evaluate(batches(wine)) == pytest.approx(values, rel=1e-5)


# ---- training ----


def test_a_new_estimator_goes_on_as_if_there_had_been_no_end(wine: Any, tmp_path: Path) -> None:
    pair = next(batches(wine)())
    start = nn.Linear(9, 4)

    def trained(model_dir: str, trainings: list[int]) -> Any:
        for steps in trainings:
            model = nn.Linear(9, 4)
            model.load_state_dict(start.state_dict())
            estimator = wine_estimator(tmp_path / model_dir, model=model)
            estimator.train(lambda: pair, steps=steps)
        return model.state_dict(), estimator.evaluate(lambda: pair)

    whole, parts = trained("whole", [6]), trained("parts", [1, 3, 2])
    # Adam's moments are in the checkpoint, too; else the second training would differ
    assert_close(parts, whole, rtol=0, atol=0)
    assert whole[1]["global_step"] == 6


def test_training_is_that_of_a_plain_loop(wine: Any, tmp_path: Path) -> None:
    model, plain = nn.Linear(9, 4), nn.Linear(9, 4)
    plain.load_state_dict(model.state_dict())
    head, optimizer = wine_head(), ADAM(plain.parameters())
    for features, labels in batches(wine)():
        optimizer.zero_grad()
        head.loss(labels, plain(features["x"])).backward()
        optimizer.step()
    wine_estimator(tmp_path, model=model).train(batches(wine))
    assert_close(model.state_dict(), plain.state_dict(), rtol=0, atol=0)


def test_steps_are_more_steps_and_max_steps_all_of_them(tmp_path: Path) -> None:
    def global_step(**given: int) -> int:
        estimator = line(tmp_path).train(points(9), **given)
        return estimator.evaluate(points(1))["global_step"]

    assert global_step(steps=2) == 2
    assert global_step(steps=2) == 4
    assert global_step(max_steps=5) == 5
    assert global_step(max_steps=5) == 5
    assert global_step() == 14


def test_no_more_batches_are_drawn_than_steps_are_made(tmp_path: Path) -> None:
    drawn = []

    def input_fn() -> Iterator[Any]:
        for batch in points(9)():
            drawn.append(batch)
            yield batch

    line(tmp_path).train(input_fn, steps=3)
    assert len(drawn) == 3
    line(tmp_path).evaluate(input_fn, steps=2)
    assert len(drawn) == 5


def test_an_input_that_ends_early_is_told(tmp_path: Path, caplog: Any) -> None:
    line(tmp_path).train(points(3), steps=5)
    assert "The input ended after 3 of 5 steps." in caplog.messages


def test_the_loss_and_the_checkpoints_are_logged(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    config = RunConfig(log_step_count_steps=2)
    sgd = functools.partial(torch.optim.SGD, lr=0.125)
    line(tmp_path, config=config, optimizer=sgd).train(points(4))
    assert [one for one in caplog.messages if one.startswith("loss = ")] == [
        "loss = 1, step = 1",
        "loss = 0.316406, step = 3",  # each step leaves 3/4 of the distance
    ]
    assert f"Saved the checkpoint of step 4 in {tmp_path}" in caplog.messages


def test_only_the_latest_checkpoints_are_kept(tmp_path: Path) -> None:
    (tmp_path / "model-best.ckpt").touch()
    config = RunConfig(save_checkpoints_steps=2, keep_checkpoint_max=3)
    estimator = line(tmp_path, config=config).train(points(5)).train(points(4))
    kept = [tmp_path / f"model-{name}.ckpt" for name in (7, 9, "best", 5)]
    assert {*tmp_path.glob("*")} - {tmp_path / ".lock"} == {*kept}
    assert estimator.latest_checkpoint() == tmp_path / "model-9.ckpt"
    assert estimator.evaluate(points(1), checkpoint_path=kept[0])["global_step"] == 7
    assert estimator.evaluate(points(1))["global_step"] == 9


def test_checkpoints_are_saved_after_a_time(tmp_path: Path) -> None:
    config = RunConfig(save_checkpoints_secs=1e-9, keep_checkpoint_max=None)
    line(tmp_path, config=config).train(points(7))
    assert len([*tmp_path.glob("*.ckpt")]) == 7


@pytest.mark.parametrize("interrupt", [signal.SIGINT, signal.SIGTERM])
def test_what_was_trained_before_an_interruption_is_kept(tmp_path: Path, interrupt: Any) -> None:
    def input_fn() -> Iterator[Any]:
        for i, batch in enumerate(points(20)()):
            if i == 7:
                os.kill(os.getpid(), interrupt)
            yield batch

    handler = signal.getsignal(interrupt)
    with pytest.raises(SystemExit) as stopped:
        line(tmp_path).train(input_fn)
    assert stopped.value.code == {signal.SIGINT: 1, signal.SIGTERM: 143}[interrupt]
    assert signal.getsignal(interrupt) == handler
    # one batch is drawn ahead
    assert 6 <= line(tmp_path).evaluate(points(1))["global_step"] <= 8


def test_an_interruption_before_the_first_batch_is_one(tmp_path: Path) -> None:
    def input_fn() -> Iterator[Any]:
        os.kill(os.getpid(), signal.SIGINT)
        yield from points(3)()

    with pytest.raises(SystemExit):
        line(tmp_path).train(input_fn)
    assert line(tmp_path).latest_checkpoint() is None


def test_a_killed_process_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    code = """
import os, signal, sys, torch, torch_heads as th
from torch_heads.integrations.estimator import Estimator, RunConfig
head = th.RegressionHead()
def model_fn(features, labels, mode, model, optimizer):
    return head.create_estimator_spec(features, mode, model(features["x"]), labels, optimizer)
def input_fn():
    for i in range(20):
        if i == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        yield {"x": torch.ones(1, 1)}, torch.ones(1)
model = torch.nn.Linear(1, 1, bias=False)
torch.nn.init.zeros_(model.weight)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
config = RunConfig(save_checkpoints_steps=3, accelerator="cpu")
Estimator(model_fn, model, optimizer, sys.argv[1], config=config).train(input_fn)
"""
    run = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "killed")]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGKILL, "", "")
    killed = line(tmp_path / "killed").train(points(20), max_steps=12)
    whole = line(tmp_path / "whole").train(points(12))
    assert {path.name for path in killed.model_dir.glob("*.ckpt")} == {
        f"model-{step}.ckpt" for step in (3, 6, 12)
    }
    assert_close(killed.model.state_dict(), whole.model.state_dict())


def test_an_error_leaves_no_checkpoint_behind(tmp_path: Path) -> None:
    def input_fn() -> Iterator[Any]:
        yield from points(3)()
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        line(tmp_path).train(input_fn)
    assert not [*tmp_path.glob("*.ckpt")]


def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    def input_fn() -> Iterator[Any]:
        yield from points(3)()
        yield {"x": torch.full((1, 1), torch.nan)}, torch.ones(1)

    estimator = line(tmp_path, config=RunConfig(save_checkpoints_steps=2))
    with pytest.raises(ValueError, match=r"Estimator: expected the loss as a number.*step 4"):
        estimator.train(input_fn)
    assert estimator.evaluate(points(1))["global_step"] == 2


def test_on_a_terminal_a_bar_shows_the_training(
    tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    line(tmp_path).train(points(3))
    assert "Epoch 0" in capsys.readouterr().out


def test_training_leaves_nothing_behind_and_prints_nothing(
    tmp_path: Path, monkeypatch: Any, capfd: Any
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    levels = [logging.getLogger(f"lightning.{name}").level for name in ("pytorch", "fabric")]
    estimator = line(tmp_path / "there" / "model").train(points(3))
    estimator.evaluate(points(1))
    assert not [*Path().iterdir()]
    left = {path.name for path in (tmp_path / "there/model").iterdir()}
    assert left == {".lock", "model-3.ckpt"}
    assert capfd.readouterr() == ("", "")
    after = [logging.getLogger(f"lightning.{name}").level for name in ("pytorch", "fabric")]
    assert after == levels


def test_a_progress_bar_and_a_callback_that_stops_are_those_of_lightning(
    tmp_path: Path, capsys: Any
) -> None:
    class Stop(Callback):
        def on_train_batch_end(self, trainer: Any, *others: Any) -> None:
            trainer.should_stop = trainer.callback_metrics["loss"] < 0.9

    config = RunConfig(callbacks=[TQDMProgressBar(), Stop()])
    sgd = functools.partial(torch.optim.SGD, lr=0.125)
    estimator = line(tmp_path, config=config, optimizer=sgd).train(points(9))
    assert "2/?" in capsys.readouterr().out
    assert estimator.evaluate(points(1))["global_step"] == 2


def test_without_a_model_dir_a_temporary_one_is_made_and_told(
    tmp_path: Path, monkeypatch: Any, caplog: Any
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    estimator = line(None)
    assert estimator.model_dir.parent == tmp_path
    assert caplog.messages == [f"Using temporary folder as model directory: {estimator.model_dir}"]


def test_training_and_evaluation_take_turns(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    estimator = line(tmp_path, config=RunConfig(save_checkpoints_steps=4))
    train = TrainSpec(points(99), max_steps=10)
    values = estimator.train_and_evaluate(train, EvalSpec(points(3), steps=2))
    evaluated = [one.partition(":")[0] for one in caplog.messages if "Evaluated" in one]
    assert evaluated == ["Evaluated step 4", "Evaluated step 8", "Evaluated step 10"]
    assert values == estimator.evaluate(points(1))
    assert estimator.train_and_evaluate(train, EvalSpec(points(3))) == values
    plain = line(tmp_path / "plain").train(points(10))
    assert_close(estimator.model.state_dict(), plain.model.state_dict(), rtol=0, atol=0)


def test_layers_and_gradients_are_in_training_mode_in_training_alone(tmp_path: Path) -> None:
    modes = []

    class Watch(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            assert torch.is_grad_enabled() == self.training
            modes.append(self.training)
            return super().forward(x)

    config = RunConfig(save_checkpoints_steps=2)
    given = {"params": {"head": th.RegressionHead()}, "config": config}
    estimator = Estimator(model_fn, Watch(1, 1), ADAM, tmp_path, **given)
    estimator.train_and_evaluate(TrainSpec(points(4)), EvalSpec(points(1)))
    assert modes == [True, True, False, True, True, False]
    predictions = estimator.predict(points(2))
    next(predictions)
    estimator.train(points(1))
    next(predictions)
    assert modes[-3:] == [False, True, False]


# ---- whose weights ----


def test_predictions_are_those_of_their_checkpoint_whatever_comes_in_between(
    tmp_path: Path,
) -> None:
    config = RunConfig(keep_checkpoint_max=1)
    estimator = line(tmp_path, config=config).train(points(1))
    first = estimator.predict(points(4))
    expected = next(first)
    estimator.train(points(2))  # which deletes the first checkpoint
    second = estimator.predict(points(2))
    assert next(second)["predictions"] != expected["predictions"]
    for predictions in [first, second, first]:
        next(predictions)
    assert next(first) == expected
    assert estimator.evaluate(points(1))["global_step"] == 3


def test_an_evaluation_keeps_its_checkpoint_while_its_input_predicts(tmp_path: Path) -> None:
    config = RunConfig(save_checkpoints_steps=2)
    estimator = line(tmp_path, config=config).train(points(4))
    old = {"checkpoint_path": tmp_path / "model-2.ckpt"}

    def input_fn() -> Iterator[Any]:
        predictions = estimator.predict(points(2), **old)
        yield from (({"x": torch.ones(1, 1)}, one["predictions"]) for one in predictions)

    [made] = {one["predictions"].item() for one in estimator.predict(points(2))}
    [given] = {one["predictions"].item() for one in estimator.predict(points(2), **old)}
    values = estimator.evaluate(input_fn)
    assert values["prediction/mean"] == pytest.approx(made)
    assert values["label/mean"] == pytest.approx(given)
    assert made != given
    assert values["global_step"] == 4


def test_a_training_that_draws_predictions_of_its_own_model_is_refused(tmp_path: Path) -> None:
    estimator = line(tmp_path).train(points(1))
    predictions = estimator.predict(points(3))
    next(predictions)

    def input_fn() -> Iterator[Any]:
        for one in predictions:
            yield {"x": torch.ones(1, 1)}, one["predictions"]

    with pytest.raises(RuntimeError, match=r"weights to be trained, got a call.*as a list"):
        estimator.train(input_fn)
    with pytest.raises(RuntimeError, match="weights to be trained, got a call"):
        estimator.train(lambda: (estimator.evaluate(points(1)) for _ in range(2)))
    drawn = [*estimator.predict(points(3))]
    data = [({"x": torch.ones(1, 1)}, one["predictions"]) for one in drawn]
    assert estimator.train(lambda: data).evaluate(points(1))["global_step"] == 4


def failing(count: int) -> Callable[[], Iterator[Any]]:
    def input_fn() -> Iterator[Any]:
        yield from points(count)()
        raise OSError("the disk is gone")

    return input_fn


@pytest.mark.parametrize("given", ["callable", "optimizer"])
def test_without_a_checkpoint_training_starts_from_the_first_weights(
    tmp_path: Path, given: str
) -> None:
    def made(name: str) -> Estimator:
        model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(model.weight)
        optimizer = ADAM if given == "callable" else ADAM(model.parameters())
        params = {"head": th.RegressionHead()}
        return Estimator(model_fn, model, optimizer, tmp_path / name, params)

    expected = made("plain").train(points(3)).model.state_dict()
    estimator = made("failed")
    with pytest.raises(OSError, match="the disk is gone"):
        estimator.train(failing(9))
    assert estimator.model.weight.item() != 0
    for _ in range(2):
        estimator.train(points(3))
        assert_close(estimator.model.state_dict(), expected, rtol=0, atol=0)
        assert estimator.evaluate(points(1))["global_step"] == 3
        shutil.rmtree(estimator.model_dir)


def test_after_a_failure_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    config = RunConfig(save_checkpoints_steps=2)
    estimator = line(tmp_path / "failed", config=config)
    with pytest.raises(OSError, match="the disk is gone"):
        estimator.train(failing(6))
    saved = int(estimator.latest_checkpoint().stem.partition("-")[2])
    assert saved > 0
    plain = line(tmp_path / "plain").train(points(saved + 3))
    estimator.train(points(3))
    assert_close(estimator.model.state_dict(), plain.model.state_dict())


# ---- evaluation ----


def test_evaluation_gives_the_metrics_of_all_examples_and_the_mean_loss_of_batches(
    wine: Any, tmp_path: Path
) -> None:
    estimator = wine_estimator(tmp_path).train(batches(wine))
    values = estimator.evaluate(batches(wine))
    head, metrics, losses = wine_head(), wine_head().metrics(), []
    for features, labels in batches(wine)():
        logits = estimator.model(features["x"])
        head.update_metrics(metrics, logits=logits, labels=labels)
        losses.append(head.loss(labels, logits).item())
    expected = {key: value.item() for key, value in metrics.compute().items()}
    expected |= {"loss": np.mean(losses), "global_step": 6}
    assert values == pytest.approx(expected, rel=1e-6)
    assert estimator.evaluate(batches(wine)) == values
    # a small last batch counts as a full one in the loss, and as what it is in the metrics
    whole = estimator.evaluate(batches(wine, size=1000))
    assert whole["average_loss/colour"] == pytest.approx(values["average_loss/colour"])
    assert whole["loss"] != pytest.approx(values["loss"])


def test_weights_among_the_features_are_used(tmp_path: Path) -> None:
    weighted = line(tmp_path, params={"head": th.RegressionHead(weight_column="w")})

    def input_fn() -> Iterator[Any]:
        yield {"x": np.ones((2, 1), np.float32), "w": np.array([1, 3])}, np.array([1.0, 5.0])

    values = weighted.train(input_fn).evaluate(input_fn)
    assert values["label/mean"] == 4.0


@pytest.mark.parametrize("kept", [True, False])
def test_metrics_of_ones_own_are_merged_over_batches(wine: Any, tmp_path: Path, kept: bool) -> None:
    head = wine_head()

    def collection() -> Any:
        return {"mean": torchmetrics.MeanMetric(), "error": torchmetrics.MeanAbsoluteError()}

    own = collection()

    def model_fn(features: Any, labels: Any, mode: Any, model: Any, optimizer: Any) -> Any:
        logits = model(features["x"])
        spec = head.create_estimator_spec(features, mode, logits, labels, optimizer)
        if mode != th.ModeKeys.EVAL:
            return spec
        metrics = own if kept else collection()
        metrics["mean"].update(labels["colour"])
        metrics["error"].update(logits[:, 3], labels["colour"])
        return th.EstimatorSpec(mode, loss=spec.loss, eval_metric_ops=metrics)

    estimator = Estimator(model_fn, nn.Linear(9, 4), ADAM, tmp_path).train(batches(wine))
    features, labels = wine
    error = (estimator.model(features)[:, 3] - labels["colour"]).abs().mean().item()
    for _ in range(2):
        values = estimator.evaluate(batches(wine))
        assert values["mean"] == pytest.approx(labels["colour"].mean().item(), abs=1e-5)
        assert values["error"] == pytest.approx(error, rel=1e-5)


def test_a_metric_that_cannot_be_merged_is_to_be_kept(tmp_path: Path) -> None:
    largest, kept = torchmetrics.MaxMetric(), True

    def model_fn(features: Any, labels: Any, mode: Any) -> Any:
        metric = largest if kept else torchmetrics.MaxMetric()
        metric.update(labels)
        return th.EstimatorSpec(mode, loss=torch.zeros(()), eval_metric_ops={"max": metric})

    line(tmp_path).train(points(1))
    estimator = Estimator(model_fn, nn.Linear(1, 1, bias=False), model_dir=tmp_path)
    for most in [3.0, 2.0]:
        data = [({}, torch.tensor([most, 0.0])), ({}, torch.tensor([1.0]))]
        assert estimator.evaluate(lambda data=data: data)["max"] == most
    kept = False
    with pytest.raises(ValueError, match=r"MaxMetric for 'max'. Return the same metric"):
        estimator.evaluate(lambda: data)


def test_a_collection_that_the_head_wraps_may_be_the_metrics(wine: Any, tmp_path: Path) -> None:
    head = wine_head()

    def model_fn(features: Any, labels: Any, mode: Any, model: Any, optimizer: Any) -> Any:
        logits = model(features["x"])
        spec = head.create_estimator_spec(features, mode, logits, labels, optimizer)
        if mode != th.ModeKeys.EVAL:
            return spec
        metrics = head.update_metrics(features=features, logits=logits, labels=labels)
        return th.EstimatorSpec(mode, loss=spec.loss, eval_metric_ops=metrics)

    trained = wine_estimator(tmp_path).train(batches(wine))
    estimator = Estimator(model_fn, nn.Linear(9, 4), ADAM, tmp_path)
    for _ in range(2):
        assert estimator.evaluate(batches(wine)) == trained.evaluate(batches(wine))


def label_mean(metric: Any, always: bool = False) -> Callable[..., Any]:
    """Return a ``model_fn`` that keeps a metric, and updates it in evaluations or always."""

    def model_fn(features: Any, labels: Any, mode: Any, model: Any, optimizer: Any) -> Any:
        head = th.RegressionHead()
        spec = head.create_estimator_spec(features, mode, model(features["x"]), labels, optimizer)
        if always or mode == th.ModeKeys.EVAL:
            metric.update(labels.squeeze())
        return dataclasses.replace(spec, eval_metric_ops={"mean": metric})

    return model_fn


def test_a_metric_that_saw_other_batches_forgets_them(tmp_path: Path) -> None:
    kept = torchmetrics.MeanMetric()
    estimator = line(tmp_path, model_fn=label_mean(kept, always=True), params=None)
    values = [{"x": torch.ones(1, 1)}, {"x": torch.ones(1, 1)}]
    data = [*zip(values, torch.tensor([[2.0], [6.0]]), strict=True)]
    estimator.train(points(3))  # which it saw
    assert estimator.evaluate(lambda: data)["mean"] == 4.0
    kept.update(50.0)
    assert estimator.evaluate(lambda: data)["mean"] == 4.0


def test_an_evaluation_that_breaks_off_leaves_nothing_in_the_metrics(tmp_path: Path) -> None:
    kept = torchmetrics.MeanMetric()
    estimator = line(tmp_path, model_fn=label_mean(kept), params=None).train(points(1))
    with pytest.raises(OSError, match="the disk is gone"):
        estimator.evaluate(failing(2))
    assert kept.update_count == 0


def test_a_metric_may_be_updated_several_times_per_batch(wine: Any, tmp_path: Path) -> None:
    def model_fn(features: Any, labels: Any, mode: Any) -> Any:
        metric = torchmetrics.MeanMetric()
        for label in labels["colour"]:
            metric.update(label)
        return th.EstimatorSpec(mode, loss=torch.zeros(()), eval_metric_ops={"mean": metric})

    line(tmp_path).train(points(1))
    estimator = Estimator(model_fn, nn.Linear(1, 1, bias=False), model_dir=tmp_path)
    expected = wine[1]["colour"].mean().item()
    assert estimator.evaluate(batches(wine))["mean"] == pytest.approx(expected, abs=1e-6)


def test_the_model_runs_once_per_batch_of_an_evaluation(wine: Any, tmp_path: Path) -> None:
    seen = []

    def counting(*, mode: Any, **others: Any) -> Any:
        seen.append(str(mode))
        return model_fn(mode=mode, **{name: others[name] for name in others if name != "config"})

    wine_estimator(tmp_path, model_fn=counting).train(batches(wine)).evaluate(batches(wine))
    assert seen == ["train"] * 6 + ["eval"] * 6


@pytest.mark.parametrize("kept", [True, False])
def test_metrics_of_ones_own_stand_beside_those_of_a_head(
    wine: Any, tmp_path: Path, kept: bool
) -> None:
    head, own = wine_head(), torchmetrics.MeanMetric()

    def model_fn(features: Any, labels: Any, mode: Any, model: Any, optimizer: Any) -> Any:
        logits = model(features["x"])
        spec = head.create_estimator_spec(features, mode, logits, labels, optimizer)
        if mode != th.ModeKeys.EVAL:
            return spec
        mean = own if kept else torchmetrics.MeanMetric()
        mean.update(labels["colour"])
        metrics = {**spec.eval_metric_ops, "mean": mean, "same": mean}
        return dataclasses.replace(spec, eval_metric_ops=metrics)

    plain = wine_estimator(tmp_path).train(batches(wine)).evaluate(batches(wine))
    estimator = Estimator(model_fn, nn.Linear(9, 4), ADAM, tmp_path)
    for _ in range(2):
        values = estimator.evaluate(batches(wine))
        assert values.pop("mean") == values.pop("same")
        assert values == pytest.approx(plain)


def test_without_metrics_an_evaluation_is_the_loss(tmp_path: Path) -> None:
    def model_fn(features: Any, labels: Any, mode: Any) -> Any:
        return th.EstimatorSpec(mode, loss=labels.mean(), eval_metric_ops=None)

    line(tmp_path).train(points(1))
    estimator = Estimator(model_fn, nn.Linear(1, 1, bias=False), model_dir=tmp_path)
    assert estimator.evaluate(points(2)) == {"loss": 1.0, "global_step": 1}


# ---- prediction ----


def test_predictions_come_one_by_one_and_when_asked_for(wine: Any, tmp_path: Path) -> None:
    estimator = wine_estimator(tmp_path).train(batches(wine))
    drawn = []

    def input_fn() -> Iterator[Any]:
        for features, _ in batches(wine, size=4)():
            drawn.append(features)
            yield features

    predictions = estimator.predict(input_fn)
    first = [next(predictions) for _ in range(4)]
    assert len(drawn) == 1
    assert torch.is_grad_enabled()
    head = wine_head()
    logits = estimator.model(wine[0][:4])
    expected = head.predictions(logits, head.all_prediction_keys())
    for key, values in expected.items():
        made = np.stack([one[key] for one in first])
        np.testing.assert_array_equal(
            made, np.asarray(values.detach()) if isinstance(values, Tensor) else values
        )
    name = first[0]["kind", "classes"][0]
    assert isinstance(name, str)
    assert len([*predictions]) == 178 - 4


def test_only_the_keys_asked_for_are_predicted(wine: Any, tmp_path: Path) -> None:
    estimator = wine_estimator(tmp_path).train(batches(wine))
    wanted = [("kind", "classes"), ("colour", "predictions")]
    assert list(next(estimator.predict(batches(wine), wanted))) == wanted
    with pytest.raises(ValueError, match=r"predict_keys among.*\('kind', 'logits'\).*'classes'"):
        next(estimator.predict(batches(wine), ["classes"]))


@pytest.mark.parametrize("keys", ["one", ["one"], iter(["one"]), ("one",)])
def test_the_keys_to_predict_may_come_in_any_form(tmp_path: Path, keys: Any) -> None:
    estimator = predicting({"one": torch.zeros(2), "two": torch.zeros(2)}, tmp_path)
    assert [list(one) for one in estimator.predict(points(2), keys)] == [["one"]] * 4


def test_a_pair_is_one_key_where_it_is_that_of_a_head(wine: Any, tmp_path: Path) -> None:
    estimator = wine_estimator(tmp_path).train(batches(wine))
    first = next(estimator.predict(batches(wine), ("kind", "classes")))
    assert list(first) == [("kind", "classes")]


def predicting(predictions: Any, tmp_path: Path) -> Estimator:
    """Return an estimator that predicts the same for every batch."""

    def model_fn(features: Any, mode: Any) -> Any:
        return th.EstimatorSpec(mode, predictions=predictions)

    line(tmp_path).train(points(1))
    return Estimator(model_fn, nn.Linear(1, 1, bias=False), model_dir=tmp_path)


@pytest.mark.parametrize(
    ("predictions", "says"),
    [
        (torch.zeros(3, 1), "predictions as a dict of tensors or arrays by name, got Tensor"),
        ([1, 2], "as a dict of tensors or arrays by name, got list"),
        ({}, "as a dict of tensors or arrays by name, got an empty one"),
        ({"a": 3.0}, "dense tensors or arrays with one entry per example, got float for 'a'"),
        ({"a": torch.tensor(1.0)}, r"got a tensor of \[\] for 'a'"),
        ({"a": None}, "got NoneType for 'a'"),
        ({"a": {"b": torch.zeros(2)}}, "got dict for 'a'"),
        ({"a": [[1], [2, 3]]}, "got list for 'a'"),
        ({"a": torch.eye(2).to_sparse()}, "got Tensor for 'a'"),
    ],
)
def test_predictions_that_cannot_be_taken_apart_are_refused(
    tmp_path: Path, predictions: Any, says: str
) -> None:
    with pytest.raises(TypeError, match=f"Estimator: expected .*{says}"):
        next(predicting(predictions, tmp_path).predict(points(1)))


def test_predictions_that_are_not_of_the_examples_are_refused(tmp_path: Path) -> None:
    def model_fn(features: Any, mode: Any) -> Any:
        outputs = {"one": torch.zeros(3), "other": torch.zeros(2)}
        return th.EstimatorSpec(mode, predictions=outputs)

    line(tmp_path).train(points(1))
    estimator = Estimator(model_fn, nn.Linear(1, 1, bias=False), model_dir=tmp_path)
    with pytest.raises(ValueError, match=r"one entry per example, got .'one': 3, 'other': 2."):
        next(estimator.predict(points(1)))


def test_half_precision_is_predicted_as_numpy_knows_it(tmp_path: Path) -> None:
    def model_fn(features: Any, mode: Any) -> Any:
        return th.EstimatorSpec(mode, predictions={"x": features["x"].bfloat16()})

    line(tmp_path).train(points(1))
    estimator = Estimator(model_fn, nn.Linear(1, 1, bias=False), model_dir=tmp_path)
    [made] = estimator.predict(points(1))
    assert made["x"].dtype == np.float32


# ---- input ----


class Batches(Dataset[Any]):
    """The batches as a dataset with places."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> Any:
        return self.items[place]


class Stream(IterableDataset[Any]):
    """The batches as a dataset without places."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


def as_loader(items: list[Any]) -> Any:
    x, y = torch.cat([x["x"] for x, _ in items]), torch.cat([y for _, y in items])
    rows = [({"x": x[i]}, y[i]) for i in range(len(x))]
    return DataLoader(Batches(rows), batch_size=2)


@pytest.mark.parametrize(
    "form",
    [
        list,
        iter,
        Batches,
        Stream,
        as_loader,
        lambda items: [list(batch) for batch in items],
        lambda items: [({"x": x["x"].numpy()}, y.numpy()) for x, y in items],
    ],
)
def test_batches_may_come_in_many_forms(form: Any, tmp_path: Path) -> None:
    items = [({"x": torch.tensor([[i], [i + 1.0]])}, torch.tensor([i, 2.0])) for i in range(4)]
    plain, other = line(tmp_path / "plain"), line(tmp_path / "other")
    expected = plain.train(lambda: items).evaluate(lambda: items)
    assert expected["global_step"] == 4
    values = other.train(lambda: form(items)).evaluate(lambda: form(items))
    assert values == expected
    predicted = [one["predictions"] for one in other.predict(lambda: form(items))]
    assert predicted == [one["predictions"] for one in plain.predict(lambda: items)]
    assert len(predicted) == 8


def test_one_batch_is_trained_on_at_every_step_and_evaluated_once(tmp_path: Path) -> None:
    def pair() -> Any:
        return {"x": torch.ones(2, 1)}, torch.ones(2)

    estimator = line(tmp_path).train(pair, steps=5)
    assert estimator.evaluate(pair)["global_step"] == 5
    assert len([*estimator.predict(pair)]) == 2
    assert len([*estimator.predict(lambda: {"x": torch.ones(3, 1)})]) == 3
    assert estimator.train(lambda: list(pair()), steps=1).evaluate(pair)["global_step"] == 6
    for one in [pair, lambda: list(pair())]:
        with pytest.raises(ValueError, match=r"steps or max_steps to be given.*of one batch"):
            estimator.train(one)


def test_a_list_of_features_and_labels_is_one_batch_and_one_of_features_two(
    wine: Any, tmp_path: Path
) -> None:
    features, labels = {"x": wine[0]}, wine[1]
    estimator = wine_estimator(tmp_path).train(lambda: [features, labels], steps=1)
    values = estimator.evaluate(lambda: [features, labels])
    assert values == estimator.evaluate(lambda: (features, labels))
    assert len([*estimator.predict(lambda: [features, features])]) == 2 * 178


@pytest.mark.parametrize("part", [lambda data: data, lambda data: Subset(data, range(2))])
def test_a_dataset_of_examples_is_to_be_batched(tmp_path: Path, part: Any) -> None:
    data = part(TensorDataset(torch.ones(4, 1), torch.ones(4)))
    says = r"to give batches, got single examples of a TensorDataset. Batch it: `DataLoader\("
    with pytest.raises(ValueError, match=says):
        line(tmp_path).train(lambda: data)
    estimator = LinearEstimator(th.RegressionHead(), numeric_column("x"), tmp_path)
    with pytest.raises(ValueError, match=r"as a dict by name, got Tensor. For example: `\(\{'x'"):
        estimator.train(lambda: DataLoader(data, batch_size=2))


def test_features_need_not_be_a_dict(tmp_path: Path) -> None:
    def model_fn(features: Any, labels: Any, mode: Any, model: Any, optimizer: Any) -> Any:
        head = th.RegressionHead()
        return head.create_estimator_spec({}, mode, model(features), labels, optimizer)

    data = TensorDataset(torch.ones(6, 1), torch.ones(6))
    estimator = Estimator(model_fn, nn.Linear(1, 1), ADAM, tmp_path)
    estimator.train(lambda: DataLoader(data, batch_size=2))
    alone = DataLoader(TensorDataset(torch.ones(6, 1)), batch_size=2)
    assert len([*estimator.predict(lambda: alone)]) == 6


# ---- the model_fn ----


def test_a_model_fn_gets_what_it_asks_for(tmp_path: Path) -> None:
    seen = []

    def model_fn(*, config: Any, labels: Any, params: Any, features: Any, mode: Any) -> Any:
        seen.append((features["x"].tolist(), labels, params, config, str(mode)))
        logits = model(features["x"])
        return th.RegressionHead().create_estimator_spec(features, mode, logits, labels, optimizer)

    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    config = RunConfig()
    estimator = Estimator(model_fn, model, optimizer, tmp_path, {"a": 1}, config)
    estimator.train(points(1)).evaluate(points(1))
    [*estimator.predict(points(1))]
    assert [mode for *_, mode in seen] == ["train", "eval", "infer"]
    for features, labels, params, given, mode in seen:
        assert (features, params, given) == ([[1.0]], {"a": 1}, config)
        assert labels is None if mode == "infer" else labels.tolist() == [1.0]


def in_order(
    features: Any, labels: Any, mode: Any, params: Any, model: Any, optimizer: Any, /
) -> Any:
    return model_fn(features, labels, mode, params, model, optimizer)


def with_a_gap(features: Any, scale: float = 1.0, labels: Any = None, /, **others: Any) -> Any:
    assert scale == 1.0
    others.pop("config")
    return model_fn(features, labels, **others)


def with_a_default(
    features: Any, labels: Any, mode: Any, params: Any, model: Any, optimizer: Any, rate: float = 2
) -> Any:
    assert rate == 2
    return model_fn(features, labels, mode, params, model, optimizer)


def with_all(*, config: Any, **others: Any) -> Any:
    return model_fn(**others)


class ModelFn:
    def __call__(self, features: Any, labels: Any, mode: Any, *args: Any, **others: Any) -> Any:
        return with_all(features=features, labels=labels, mode=mode, **others)


@pytest.mark.parametrize("given", [in_order, with_a_gap, with_a_default, with_all, ModelFn()])
def test_a_model_fn_is_called_as_it_can_be(tmp_path: Path, given: Any) -> None:
    expected = line(tmp_path / "plain").train(points(2)).evaluate(points(1))
    estimator = line(tmp_path / "given", model_fn=given)
    assert estimator.train(points(2)).evaluate(points(1)) == expected


def test_what_is_bound_already_is_not_given(tmp_path: Path) -> None:
    head = th.RegressionHead()
    bound = functools.partial(model_fn, params={"head": head})
    estimator = Estimator(bound, nn.Linear(1, 1), ADAM, tmp_path)
    assert estimator.train(points(2)).evaluate(points(1))["global_step"] == 2


def test_a_train_op_may_step_without_an_optimizer(tmp_path: Path) -> None:
    def model_fn(features: Any, labels: Any, mode: Any, model: Any) -> Any:
        def train_op_fn(loss: Tensor) -> Callable[[], None]:
            def step() -> None:
                [gradient] = torch.autograd.grad(loss, [model.weight])
                with torch.no_grad():
                    model.weight -= 0.1 * gradient

            return step

        return th.RegressionHead().create_estimator_spec(
            features, mode, model(features["x"]), labels, train_op_fn=train_op_fn
        )

    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    for steps in [2, 3]:
        estimator = Estimator(model_fn, model, model_dir=tmp_path).train(points(9), steps=steps)
    assert estimator.evaluate(points(1))["global_step"] == 5
    assert model.weight.item() == pytest.approx(1 - 0.8**5)


# ---- canned estimators ----


def diabetes() -> tuple[dict[str, Any], Any]:
    features, target = load_diabetes(return_X_y=True, scaled=False)
    sexes = np.array(["f", "m"])[features[:, 1].astype(int) - 1]
    named = {"age": features[:, 0], "bmi": features[:, 2], "sex": sexes}
    return named, (target - target.mean()) / target.std()


def diabetes_columns() -> list[Any]:
    return [
        numeric_column("age", normalizer_fn=lambda x: (x - 50) / 10),
        numeric_column("bmi", normalizer_fn=lambda x: (x - 25) / 5),
        categorical_column_with_vocabulary_list("sex", ["m", "f"]),
    ]


def ftrl(gradient_of: Any, size: int, rate: float, steps: int) -> Tensor:
    """Follow the regularized leader without penalties, as McMahan (2011) does."""
    weights, leader, squares = torch.zeros(size), torch.zeros(size), torch.full((size,), 0.1)
    for _ in range(steps):
        gradient = gradient_of(weights)
        more = squares + gradient**2
        leader += gradient - (more.sqrt() - squares.sqrt()) / rate * weights
        squares = more
        weights = -leader / (squares.sqrt() / rate)
    return weights


def test_a_linear_estimator_has_a_weight_per_number_and_category_and_learns_as_ftrl(
    tmp_path: Path,
) -> None:
    features, labels = diabetes()
    head = th.RegressionHead()
    columns = diabetes_columns()
    estimator = LinearEstimator(head, columns, tmp_path)
    estimator.train(lambda: (features, labels), steps=20)

    numbers = [column(features) for column in columns[:2]]
    sexes = torch.tensor([[name == "m", name == "f"] for name in features["sex"]]).float()
    matrix = torch.cat([*numbers, sexes, torch.ones(len(labels), 1)], dim=-1)

    def gradient_of(weights: Tensor) -> Tensor:
        weights = weights.clone().requires_grad_()
        head.loss(labels, (matrix @ weights).unsqueeze(-1)).backward()
        return weights.grad

    expected = matrix @ ftrl(gradient_of, 5, rate=0.2, steps=20)
    made = [one["predictions"] for one in estimator.predict(lambda: features)]
    assert_close(torch.tensor(np.concatenate(made)), expected, rtol=1e-4, atol=1e-5)
    assert estimator.evaluate(lambda: (features, labels))["average_loss"] < 0.75


def test_a_deep_estimator_reads_embeddings_and_several_heads(tmp_path: Path) -> None:
    features, labels = diabetes()
    heads = [th.RegressionHead(name="progress"), th.BinaryClassHead(name="fast")]
    *numbers, sex = diabetes_columns()
    head = th.MultiHead(heads)
    estimator = DNNEstimator(head, [8], [*numbers, embedding_column(sex, 2)], tmp_path, ADAM)
    targets = {"progress": labels, "fast": labels > 0}
    values = estimator.train(lambda: (features, targets), steps=150).evaluate(
        lambda: (features, targets)
    )
    assert values["auc/fast"] > 0.75
    assert values["average_loss/progress"] < 0.7
    sizes = sorted(tuple(weight.shape) for weight in estimator.model.parameters())
    assert sizes == [(2,), (2, 2), (2, 8), (8,), (8, 4)]


def test_the_deep_network_is_the_originals() -> None:
    columns = [numeric_column("x", shape=3)]
    estimator = DNNEstimator(
        th.MultiClassHead(n_classes=5), [400, 200], columns, "unused", dropout=0.5, batch_norm=True
    )
    layers = [*estimator.model["network"]][1:]
    one = ["Linear", "Apply", "Dropout", "BatchNorm"]
    assert [type(layer).__name__ for layer in layers] == [*one, *one, "Linear"]
    for layer in layers[::4]:
        bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
        assert layer.weight.abs().max() <= bound
        assert_close(layer.weight.std().item(), bound / 3**0.5, rtol=0.1, atol=0)
        assert not layer.bias.any()
    assert (layers[3].eps, layers[3].momentum) == (1e-3, 1e-3)


def test_an_estimator_knows_its_columns_by_name(tmp_path: Path) -> None:
    features, labels = diabetes()
    columns = diabetes_columns()
    pair = features, labels
    head = th.RegressionHead()

    def linear(columns: Any) -> Any:
        return LinearEstimator(head, columns, tmp_path / "linear", ADAM)

    def deep(columns: Any) -> Any:
        dense = [indicator_column(one) if hasattr(one, "num_buckets") else one for one in columns]
        return DNNEstimator(head, [4], dense, tmp_path / "deep", ADAM)

    for make in [linear, deep]:
        values = make(columns).train(lambda: pair, steps=20).evaluate(lambda: pair)
        assert make(columns[::-1]).evaluate(lambda: pair) == values
        assert make(reversed(columns)).evaluate(lambda: pair) == values
        other = [numeric_column("other"), *columns[1:]]
        with pytest.raises(ValueError, match=r"(?s)checkpoints of this model.*'age': 1"):
            make(other).evaluate(lambda: pair)
    sexes = categorical_column_with_vocabulary_list("gender", ["m", "f"])
    with pytest.raises(ValueError, match=r"(?s)columns {'gender': 2}, got {'sex': 2}"):
        linear([*columns[:2], sexes]).evaluate(lambda: pair)


@pytest.mark.parametrize("as_given", [list, tuple, iter, np.array])
def test_the_widths_of_layers_may_come_in_any_form(as_given: Any) -> None:
    columns = [numeric_column("x")]
    estimator = DNNEstimator(th.RegressionHead(), as_given([4, 3]), columns, "unused")
    shapes = [tuple(one.weight.shape) for one in estimator.model["network"][1::2]]
    assert shapes == [(4, 1), (3, 4), (1, 3)]


def test_a_batch_of_one_row_is_normalized_as_the_original_does(tmp_path: Path) -> None:
    columns = [numeric_column("x")]
    head = th.RegressionHead()
    estimator = DNNEstimator(head, [4], columns, tmp_path, ADAM, batch_norm=True)
    sizes = [3, 1]
    data = [({"x": torch.arange(1.0, 1 + n)}, torch.ones(n)) for n in sizes]
    assert estimator.train(lambda: data).evaluate(lambda: data)["global_step"] == 2
    norm = estimator.model["network"][3].train()
    nn.init.normal_(norm.bias)
    # a row without its mean is 0
    assert_close(norm(torch.randn(1, 4)), norm.bias.unsqueeze(0))
    plain = nn.BatchNorm1d(4, eps=1e-3, momentum=1e-3)
    plain.load_state_dict(norm.state_dict())
    rows = torch.randn(5, 4)
    assert_close(norm(rows), plain(rows))
    assert_close(norm.state_dict(), plain.state_dict())


def test_the_default_of_a_deep_estimator_is_the_originals_adagrad(tmp_path: Path) -> None:
    estimator = DNNEstimator(th.RegressionHead(), [], [numeric_column("x")], tmp_path)
    [weight, bias] = estimator.model.parameters()
    before = weight.item()
    estimator.train(points(1))
    gradient = 2 * (before - 1)
    expected = before - 0.001 * gradient / ((0.1 + gradient**2) ** 0.5 + 1e-7)
    assert weight.item() == pytest.approx(expected, rel=1e-5)
    assert bias.item() != 0


def test_hidden_units_are_dropped_in_training_alone(tmp_path: Path) -> None:
    made = []

    def watch(values: Tensor) -> Tensor:
        made.append(values.detach().cpu())
        return values

    columns = [numeric_column("x")]
    head = th.RegressionHead()
    estimator = DNNEstimator(head, [64, 64], columns, tmp_path, None, watch, dropout=0.5)
    estimator.train(points(1))
    network = estimator.model["network"]

    def whole() -> Any:
        first, second = network[1], network[4]
        return second(first(torch.ones(1, 1))).detach()

    estimator.evaluate(points(1))
    assert_close(made[-1], whole())
    assert not torch.allclose(made[1], made[-1], atol=1e-3)


def test_an_activation_may_be_a_module_that_learns(tmp_path: Path) -> None:
    columns = [numeric_column("x")]
    activation = nn.PReLU()
    DNNEstimator(th.RegressionHead(), [8], columns, tmp_path, ADAM, activation_fn=activation).train(
        points(3)
    )
    assert activation.weight.item() != 0.25


# ---- refusals ----


def wrong_spec(features: Any, labels: Any, mode: Any) -> Any:
    return "spec"


def wrong_mode(features: Any, labels: Any, mode: Any) -> Any:
    return th.EstimatorSpec("infer", predictions={})


def wrong_op(features: Any, labels: Any, mode: Any) -> Any:
    return th.EstimatorSpec(mode, loss=features["x"].sum(), train_op=3)


def no_labels(features: Any, mode: Any) -> Any:
    raise AssertionError("not to be called")


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"model_fn": 3}, TypeError, "model_fn to be callable, got int"),
        ({"model_fn": lambda labels: 0}, ValueError, r"the argument 'features'.*\['labels'\]"),
        ({"model_fn": lambda features, size: 0}, ValueError, "optionally .*got .*'size'"),
        ({"model_fn": lambda x, y, /: 0}, ValueError, r"the argument 'features'.*\['x', 'y'\]"),
        ({"model_fn": no_labels}, ValueError, "model_fn to take params"),
        ({"model": "net"}, TypeError, "model as a torch.nn.Module, got str"),
        ({"optimizer": "Adam"}, TypeError, "optimizer as a callable of parameters, got str. For"),
    ],
)
def test_an_estimator_that_makes_no_sense_is_refused(
    tmp_path: Path, given: Any, error: Any, says: str
) -> None:
    arguments = {"model_fn": model_fn, "model": nn.Linear(1, 1), "params": {}} | given
    with pytest.raises(error, match=f"Estimator: expected .*{says}"):
        Estimator(model_dir=tmp_path, **arguments)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"model_fn": wrong_spec}, TypeError, "model_fn to return an EstimatorSpec, got str"),
        ({"model_fn": wrong_mode}, ValueError, "a spec for the mode 'train', got 'infer'"),
        ({"model_fn": wrong_op}, TypeError, "train_op as a callable that runs one step, got int"),
        ({"model_fn": no_labels}, ValueError, "model_fn to take labels.*The input_fn gives labels"),
        (
            {"model_fn": model_fn, "params": {"head": th.RegressionHead()}, "optimizer": None},
            ValueError,
            "one of optimizer and train_op_fn to be given, got neither",
        ),
        (
            {"model_fn": model_fn, "params": {}, "optimizer": lambda parameters: "Adam"},
            TypeError,
            "optimizer to make a torch.optim.Optimizer, got str",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(
    tmp_path: Path, given: Any, error: Any, says: str
) -> None:
    estimator = line(tmp_path, **{"params": None} | given)
    with pytest.raises(error, match=says):
        estimator.train(points(1))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda e: e.train([]), TypeError, "input_fn to be callable, got list. Wrap it: `lambda"),
        (lambda e: e.train(lambda: 3), TypeError, "input_fn to give batches, got int"),
        (lambda e: e.train(list), ValueError, "input_fn to give batches, got none"),
        (lambda e: e.train(lambda: [(1, 2, 3)]), ValueError, r"\(features, labels\), got 3 parts"),
        (lambda e: e.train(points(1), steps=0), ValueError, "steps > 0, got 0"),
        (lambda e: e.train(points(1), steps=2.5), TypeError, "steps as a whole number, got 2.5"),
        (lambda e: e.train(points(1), max_steps=-1), ValueError, "max_steps > 0, got -1"),
        (lambda e: e.train(points(1), steps=1, max_steps=1), ValueError, "or max_steps, got both"),
        (lambda e: e.evaluate(points(1)), ValueError, "with a checkpoint, got none in .* Train"),
        (lambda e: e.predict(points(1)), ValueError, "with a checkpoint, got none in"),
        (lambda e: e.train(points(1)).evaluate(list), ValueError, "to give batches, got none"),
        (lambda e: e.train(points(1)).evaluate(points(1), 0), ValueError, "steps > 0, got 0"),
    ],
)
def test_calls_that_make_no_sense_are_refused(
    tmp_path: Path, call: Any, error: Any, says: str
) -> None:
    with pytest.raises(error, match=f"Estimator: expected .*{says}"):
        call(line(tmp_path))


@pytest.mark.parametrize(
    ("metrics", "error", "says"),
    [
        (3, TypeError, "eval_metric_ops as torchmetrics metrics by name, got int"),
        ({"a": 1.0}, TypeError, "as torchmetrics metrics, got float for 'a'"),
        ({"loss": torchmetrics.MeanMetric()}, ValueError, "without the key 'loss'"),
    ],
)
def test_metrics_that_cannot_be_merged_are_refused(
    tmp_path: Path, metrics: Any, error: Any, says: str
) -> None:
    def model_fn(features: Any, labels: Any, mode: Any) -> Any:
        return th.EstimatorSpec(mode, loss=torch.zeros(()), eval_metric_ops=metrics)

    line(tmp_path).train(points(1))
    estimator = Estimator(model_fn, nn.Linear(1, 1, bias=False), model_dir=tmp_path)
    with pytest.raises(error, match=says):
        estimator.evaluate(points(1))


def test_a_checkpoint_of_another_model_or_optimizer_is_refused(tmp_path: Path) -> None:
    line(tmp_path).train(points(1))
    head = th.RegressionHead()
    other = Estimator(model_fn, nn.Linear(2, 1), ADAM, tmp_path, {"head": head})
    with pytest.raises(ValueError, match=r"(?s)of this model, got .*model-1.ckpt.*size mismatch"):
        other.train(points(1))
    adagrad = line(tmp_path, optimizer=torch.optim.Adagrad)
    with pytest.raises(ValueError, match=r"optimizer Adam, as in the latest .*, got Adagrad"):
        adagrad.train(points(1))
    assert adagrad.evaluate(points(1))["global_step"] == 1


def test_a_checkpoint_of_heads_that_mean_otherwise_is_refused_before_a_step(
    wine: Any, tmp_path: Path
) -> None:
    wine_estimator(tmp_path).train(batches(wine))
    colour = th.RegressionHead(name="colour")
    kind = th.MultiClassHead(n_classes=3, label_vocabulary=WINES[::-1], name="kind")
    message = r"(?s)of this model, got .*ckpt.*'kind': .* the label_vocabulary .*grignolino"
    for head, says in [
        (th.MultiHead([kind, colour]), message),
        (th.MultiHead([colour, wine_head()["kind"]]), r"(?s)the heads \['colour', 'kind'\], got"),
    ]:
        other = wine_estimator(tmp_path, params={"head": head})
        for run in (other.train, other.evaluate, lambda fn, own=other: list(own.predict(fn))):
            with pytest.raises(ValueError, match=says):
                run(batches(wine))
    assert wine_estimator(tmp_path).evaluate(batches(wine))["global_step"] == 6


@pytest.mark.parametrize(
    "make", [LinearEstimator, functools.partial(DNNEstimator, hidden_units=[])]
)
def test_canned_estimators_know_what_their_heads_mean(make: Any, tmp_path: Path) -> None:
    def estimator(vocabulary: list[str]) -> Any:
        head = th.MultiClassHead(3, label_vocabulary=vocabulary)
        return make(head=head, feature_columns=[numeric_column("x")], model_dir=tmp_path)

    data = [({"x": torch.arange(3.0)}, ["a", "b", "c"])]
    estimator(["a", "b", "c"]).train(lambda: data)
    other = estimator(["b", "a", "c"])
    before = [value.clone() for value in other.model.parameters()]
    with pytest.raises(ValueError, match=r"(?s)model-1.ckpt.*label_vocabulary \['b', 'a', 'c'\]"):
        other.train(lambda: data)
    assert all(map(torch.equal, other.model.parameters(), before))


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"head": "binary"}, TypeError, "head as a head, got str"),
        ({"hidden_units": [0]}, ValueError, "hidden_units >= 1, got 0"),
        ({"hidden_units": 64}, TypeError, "hidden_units as a list of whole numbers, got 64"),
        ({"hidden_units": [64.0]}, TypeError, r"hidden_units as an int, got 64\.0"),
        ({"feature_columns": []}, ValueError, "feature_columns to be given"),
        (
            {"feature_columns": [categorical_column_with_identity("x", 2)]},
            TypeError,
            "Wrap it in embedding_column",
        ),
        ({"dropout": 1.0}, ValueError, r"dropout in \[0, 1\), got 1.0"),
        ({"dropout": "0.5"}, ValueError, r"dropout in \[0, 1\), got '0.5'"),
        ({"batch_norm": "no"}, TypeError, "batch_norm as True or False, got a str"),
        ({"fit_prior": "no"}, TypeError, "fit_prior as True or False, got a str"),
        ({"config": {"accelerator": "cpu"}}, TypeError, "config as a RunConfig, got dict"),
        ({"activation_fn": nn.ReLU}, TypeError, "activation_fn as a function or module, got"),
    ],
)
def test_a_deep_estimator_that_makes_no_sense_is_refused(given: Any, error: Any, says: str) -> None:
    arguments = {
        "head": th.RegressionHead(),
        "hidden_units": [1],
        "feature_columns": [numeric_column("x")],
    }
    with pytest.raises(error, match=says):
        DNNEstimator(**arguments | given, model_dir="unused")


def test_a_canned_estimator_reads_dicts_of_features(tmp_path: Path) -> None:
    estimator = LinearEstimator(th.RegressionHead(), numeric_column("x"), tmp_path)
    with pytest.raises(ValueError, match=r"LinearEstimator: expected features as a dict.*Tensor"):
        estimator.train(lambda: [(torch.ones(1, 1), torch.ones(1))])
    with pytest.raises(ValueError, match="sparse_combiner among"):
        LinearEstimator(th.RegressionHead(), numeric_column("x"), sparse_combiner="max")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"save_checkpoints_steps": 1, "save_checkpoints_secs": 1}, "or save_checkpoints_secs"),
        ({"save_checkpoints_steps": 0}, "save_checkpoints_steps > 0, got 0"),
        ({"save_checkpoints_secs": nan}, "save_checkpoints_secs > 0, got nan"),
        ({"keep_checkpoint_max": -1}, "keep_checkpoint_max >= 0, got -1"),
        ({"keep_checkpoint_max": 2.5}, "keep_checkpoint_max as an int, got 2.5"),
        ({"keep_checkpoint_max": "5"}, "keep_checkpoint_max as an int, got '5'"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(given: Any, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"RunConfig: expected .*{says}"):
        RunConfig(**given)


def test_another_head_or_model_is_not_taken_in_vain(tmp_path: Path) -> None:
    estimator = LinearEstimator(th.RegressionHead(), numeric_column("x"), tmp_path)
    with pytest.raises(AttributeError, match="head"):
        estimator.head = th.RegressionHead()  # type: ignore[misc]
    with pytest.raises(AttributeError, match="model"):
        estimator.model = nn.Linear(1, 1)  # type: ignore[misc]


def test_an_estimator_may_fit_the_prior_first(tmp_path: Path) -> None:
    values, target = load_diabetes(return_X_y=True)
    calls: list[int] = []

    def input_fn() -> Iterator[Any]:
        calls.append(1)
        for start in range(0, 400, 50):
            rows = slice(start, start + 50)
            yield {"x": torch.tensor(values[rows], dtype=torch.float32)}, target[rows]

    def make(fit_prior: bool, folder: str) -> DNNEstimator:
        columns = [numeric_column("x", values.shape[1])]
        return DNNEstimator(
            th.RegressionHead(), [8], columns, tmp_path / folder, ADAM, fit_prior=fit_prior
        )

    estimator = make(True, "prior").train(input_fn)
    assert len(calls) == 2
    assert estimator.head.prior_offset.item() == pytest.approx(target[:400].mean())
    found = estimator.evaluate(input_fn)
    assert -0.1 < found["skill"] < 1
    # a new one goes on with the prior of the checkpoint, and does not look again
    calls.clear()
    again = make(True, "prior")
    assert again.evaluate(input_fn)["skill"] == pytest.approx(found["skill"], rel=1e-5)
    again.train(input_fn)
    assert len(calls) == 2
    # from the start where the checkpoints are gone
    shutil.rmtree(tmp_path / "prior")
    assert again.train(input_fn).latest_checkpoint() is not None
    calls.clear()
    plain = make(False, "plain").train(input_fn)
    assert len(calls) == 1
    assert plain.evaluate(input_fn)["average_loss"] > found["average_loss"]


def test_an_estimator_of_a_model_fn_may_fit_the_prior_first(tmp_path: Path) -> None:
    values, target = load_diabetes(return_X_y=True)

    def input_fn() -> Any:
        return {"x": torch.tensor(values, dtype=torch.float32)}, target

    def make(fit_prior: bool = True, head: th.Head | None = None) -> Estimator:
        torch.manual_seed(0)
        network = nn.Linear(values.shape[1], 1)
        model = nn.ModuleDict({"network": network, "head": th.RegressionHead()})

        def model_fn(features: Any, labels: Any, mode: Any, model: Any, optimizer: Any) -> Any:
            logits = model["network"](features["x"])
            return model["head"].create_estimator_spec(features, mode, logits, labels, optimizer)

        return Estimator(model_fn, model, ADAM, tmp_path, head=head, fit_prior=fit_prior)

    estimator = make().train(input_fn, steps=20)
    assert estimator.model["head"].prior_offset.item() == pytest.approx(target.mean())
    found = estimator.evaluate(input_fn)
    assert found["skill"] == pytest.approx(1 - found["average_loss"] / target.var(), abs=1e-6)
    # another process reads it from the checkpoint
    assert make(fit_prior=False).evaluate(input_fn) == found
    with pytest.raises(ValueError, match="Estimator: expected head as a part of model, to fit"):
        make(head=th.RegressionHead())
    with pytest.raises(TypeError, match="Estimator: expected fit_prior as True or False, got a st"):
        make(fit_prior="no")
