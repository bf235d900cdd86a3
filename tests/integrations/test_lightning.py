"""A backbone and a head train, evaluate and predict under Lightning's trainer."""

import contextlib
import copy
import csv
import os
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import ReduceLROnPlateau
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.data import DataLoader
from torchmetrics.retrieval import RetrievalMRR

import torch_heads as th
from tests.cases import CASES, Case
from tests.integrations.launch import torchrun
from tests.integrations.trainers import expected_warnings, quiet_trainer
from tests.mixture import mixture, random_batch
from tests.processes import end_process
from torch_heads.integrations.lightning import HeadModule, RandomState, log
from torch_heads.integrations.lightning.batch import Batch
from torch_heads.integrations.lightning.window import count_labels

ROWS, SIZE = 37, 8  # the last batch is a small one
EVEN, LACKING = "val/auc/even", ["even", "digit"]

pytestmark = expected_warnings

NAMES = ["cat", "dog", "owl"]


def rows() -> list[dict[str, Any]]:
    """Return examples of the mixture one by one."""
    batch = random_batch(ROWS, torch.Generator().manual_seed(3))
    return [
        {
            "inputs": batch.logits[i],
            "labels": {name: values[i] for name, values in batch.labels.items()},
            "weights": {name: values[i] for name, values in batch.weights.items()},
        }
        for i in range(ROWS)
    ]


def loader(examples: list[dict[str, Any]] | None = None, size: int = SIZE) -> DataLoader[Any]:
    return DataLoader(examples or rows(), batch_size=size)  # type: ignore[arg-type]


def make_module(**kwargs: Any) -> HeadModule:
    torch.manual_seed(0)
    return HeadModule(nn.Linear(20, 20), mixture(), **kwargs)


def evaluated(module: HeadModule, *parts: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Return the loss and the metrics of examples, cut into batches part by part, by the head."""
    head, metrics = module.head, module.head.metrics()
    losses, divisors = [], []
    with torch.no_grad():
        for batch in [batch for part in parts for batch in loader(part)]:
            given = batch["labels"], module.backbone(batch["inputs"])
            head.update_metrics(metrics, None, given[1], given[0], weights=batch["weights"])
            divisors.append(head.divisors(*given, weights=batch["weights"]))
            losses.append((given, batch["weights"]))
        whole = sum(divisors)
        loss = sum(head.loss(*given, weights=by, divisors=whole) for given, by in losses)
        values = metrics.compute()
        for i, name in enumerate(head):  # of the epoch, where the metric is of its batches
            if not values[f"loss/{name}"].isnan():
                values[f"loss/{name}"] = sum(
                    head[name].loss(
                        labels[name],
                        logits[..., head.slices[name]],
                        weights=by.get(name),
                        divisors=whole[i : i + 1],
                    )
                    for (labels, logits), by in losses
                    if name in labels
                )
    return {"loss": loss, **values}


def small_head() -> th.MultiHead:
    return th.MultiHead(
        [
            th.BinaryClassHead(name="even", missing_label=torch.nan),
            th.RegressionHead(2, name="ink", missing_label=torch.nan),
        ]
    )


def unweighted(examples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: example[key] for key in ("inputs", "labels")} for example in examples]


# ---- what is logged ----


@pytest.mark.parametrize("stage", ["val", "test"])
def test_the_logged_metrics_are_those_of_all_rows_together(stage: str) -> None:
    module = make_module()
    trainer = quiet_trainer()
    run = trainer.validate if stage == "val" else trainer.test
    (found,) = run(module, loader(), verbose=False)
    wanted = {f"{stage}/{key}": value for key, value in evaluated(module, rows()).items()}
    assert list(found) == list(wanted)
    assert_close(
        {key: torch.tensor(value) for key, value in found.items()},
        wanted,
        rtol=1e-5,
        atol=1e-6,
        equal_nan=True,
    )


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "weighted_mean"])
def test_the_losses_of_heads_over_an_epoch_add_up_to_its_loss(reduction: str) -> None:
    options: dict[str, Any] = {"missing_label": -1, "loss_reduction": reduction}
    inner = [th.BinaryClassHead(name="b", **options), th.RegressionHead(name="c", **options)]
    heads = [th.BinaryClassHead(name="a", **options), th.MultiHead(inner, head_weights=[3.0, 5.0])]
    module = HeadModule(nn.Linear(4, 3), th.MultiHead(heads, head_weights=[0.5, 2.0]))
    x, y = torch.randn(10, 4), torch.randint(-1, 2, (10, 3))
    trainer = quiet_trainer()
    (found,) = trainer.validate(module, DataLoader([*zip(x, y, strict=True)], 4), verbose=False)
    total = 0.5 * found["val/loss/a"] + 2.0 * found["val/loss/b_c"]
    assert total == pytest.approx(found["val/loss"], rel=1e-5)
    parts = 3.0 * found["val/loss/b"] + 5.0 * found["val/loss/c"]
    assert parts == pytest.approx(found["val/loss/b_c"], rel=1e-5)
    if reduction != "sum":
        whole = module.head.losses(y, module.logits(x))
        assert found["val/loss/a"] == pytest.approx(whole["a"].item(), rel=1e-5)


def test_a_head_without_any_label_in_an_epoch_has_no_loss() -> None:
    heads = [th.BinaryClassHead(name=name, missing_label=-1) for name in "ab"]
    module = HeadModule(nn.Linear(4, 2), th.MultiHead(heads))
    examples = [(row, torch.tensor([1, -1])) for row in torch.randn(6, 4)]
    (found,) = quiet_trainer().validate(module, DataLoader(examples, 4), verbose=False)
    assert found["val/loss/b"] != found["val/loss/b"]
    assert found["val/loss/a"] == pytest.approx(found["val/loss"])


@pytest.mark.parametrize("spread", [False, True], ids=["one step", "global"])
def test_weights_of_a_multi_head_may_be_the_third_of_a_batch(spread: bool) -> None:
    head = th.MultiHead([th.BinaryClassHead(name="a"), th.RegressionHead(name="b")])
    module = HeadModule(nn.Linear(4, 2), head, global_normalization=spread)
    x, y, weights = torch.randn(8, 4), torch.ones(8, 2), torch.rand(8)
    batches = DataLoader([*zip(x, y, weights, strict=True)], 4)
    quiet_trainer(accumulate_grad_batches=2, max_epochs=1).fit(module, batches)
    (found,) = quiet_trainer().validate(module, batches, verbose=False)
    expected = head.loss(y, module.logits(x), weights=weights).item()
    assert found["val/loss"] == pytest.approx(expected, rel=1e-5)


def test_a_sanity_check_does_not_leak_into_the_metrics() -> None:
    module = make_module()
    trainer = quiet_trainer(num_sanity_val_steps=2)
    trainer.fit(module, loader(), loader())
    wanted = evaluated(module, rows())["label/coverage/even"]
    assert_close(trainer.callback_metrics["val/label/coverage/even"], wanted)
    assert module.head.metric_collection["auc/even"].update_count == 5


def test_training_logs_the_loss_of_every_step_and_of_every_head(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    trainer = quiet_trainer(logger=logger, log_every_n_steps=2, max_epochs=2)
    trainer.fit(make_module(), loader(), loader())
    with open(f"{logger.log_dir}/metrics.csv", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    trained = [line for line in lines if line["train/loss"]]
    assert [(line["epoch"], line["step"]) for line in trained] == [
        ("0", "1"),
        ("0", "3"),
        ("1", "5"),
        ("1", "7"),
        ("1", "9"),
    ]
    weights = dict(zip(mixture(), mixture().head_weights.tolist(), strict=True))
    for line in trained:
        losses = [float(line[f"train/loss/{name}"]) * by for name, by in weights.items()]
        assert float(line["train/loss"]) == pytest.approx(sum(losses), rel=1e-5)
    validated = [line for line in lines if line[EVEN]]
    assert [(line["epoch"], line["step"]) for line in validated] == [("0", "4"), ("1", "9")]


def test_accumulated_batches_are_logged_once(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    trainer = quiet_trainer(logger=logger, log_every_n_steps=1, accumulate_grad_batches=2)
    trainer.fit(make_module(), loader())
    with open(f"{logger.log_dir}/metrics.csv", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["step"] for line in lines if line["train/loss/ink"]] == ["0", "1", "2"]


class Monitored(Callback):
    """Keeps what callbacks see after each batch."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        self.seen.append(dict(trainer.callback_metrics))


def test_callbacks_see_the_loss_of_every_head_at_every_step() -> None:
    kept, module = Monitored(), make_module()
    quiet_trainer(callbacks=[kept], log_every_n_steps=2).fit(module, loader())
    assert len(kept.seen) == 5
    for values in kept.seen:
        losses = torch.stack([values[f"train/loss/{name}"] for name in module.head])
        loss = (losses * module.head.head_weights).sum()
        assert_close(loss, values["train/loss"], check_dtype=False)
    assert len({float(values["train/loss/ink"]) for values in kept.seen}) == 5


def test_losses_that_nobody_reads_are_not_taken_apart() -> None:
    class Reads(Callback):
        def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
            held = trainer._logger_connector._callback_metrics.__dict__["data"]
            seen.append("train/loss/ink" in held)
            if len(seen) == 3:
                seen.append("train/loss/ink" in trainer.callback_metrics)

    seen: list[bool] = []
    trainer = quiet_trainer(callbacks=[Reads()])
    trainer.fit(make_module(), loader())
    assert seen == [False, False, False, True, True, True]
    assert type(trainer.callback_metrics) is dict
    assert "train/loss/ink" in trainer.callback_metrics


def test_many_metrics_are_logged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    log = HeadModule.log
    monkeypatch.setattr(HeadModule, "log", lambda *a, **k: (names.append(a[1]), log(*a, **k)))
    module = make_module()
    (found,) = quiet_trainer().validate(module, loader(), verbose=False)
    assert names == ["val/loss"]
    assert len(found) == 1 + len(module.head.metric_collection) > 50


def test_checkpoints_within_an_epoch_may_follow_the_loss_of_a_head(tmp_path: Path) -> None:
    best = ModelCheckpoint(tmp_path, "{step}", monitor="train/loss/ink", save_top_k=-1)
    stop = EarlyStopping("train/loss/ink", patience=9)
    trainer = quiet_trainer(enable_checkpointing=True, callbacks=[best, stop], val_check_interval=2)
    trainer.fit(make_module(), loader(), loader())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["step=2.ckpt", "step=4.ckpt"]


def test_very_many_values_reach_the_loggers_and_the_callbacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few: dict[str, Tensor] = {}
    for most in (1000, 3):
        monkeypatch.setattr(log, "MOST_LOGGED", most)
        logger = CSVLogger(tmp_path, name=str(most))
        trainer = quiet_trainer(logger=logger, log_every_n_steps=2)
        trainer.fit(make_module(), loader(), loader())
        with open(f"{logger.log_dir}/metrics.csv", encoding="utf-8") as file:
            steps = {
                key: [(line["epoch"], line["step"], line[key]) for line in lines if line[key]]
                for lines in [list(csv.DictReader(file))]
                for key in ("train/loss/ink", EVEN, "val/loss")
            }
        logged = {"callbacks": trainer.callback_metrics, "steps": steps}
        if few:
            assert logged["steps"] == few["steps"]
            assert_close(logged["callbacks"], few["callbacks"], equal_nan=True)
        few = few or logged


@pytest.mark.parametrize("key", ["val/loss", EVEN, "val/average_loss/ink", "train/loss/ink"])
def test_training_stops_early_on_any_key(key: str) -> None:
    stop = EarlyStopping(key, mode="max", patience=1, min_delta=100.0)
    trainer = quiet_trainer(max_epochs=9, callbacks=[stop])
    trainer.fit(make_module(), loader(), loader())
    assert trainer.current_epoch == 2


def test_checkpoints_are_named_by_keys_with_slashes_and_dots(tmp_path: Path) -> None:
    key = "val/accuracy/positive_threshold_0.3/even"
    best = ModelCheckpoint(
        tmp_path,
        f"auc={{val/auc/even:.3f}}-accuracy={{{key}:.3f}}",
        monitor=key,
        mode="max",
        auto_insert_metric_name=False,
    )
    trainer = quiet_trainer(enable_checkpointing=True, callbacks=[best])
    trainer.fit(make_module(), loader(), loader())
    auc, accuracy = trainer.callback_metrics[EVEN], trainer.callback_metrics[key]
    (file,) = tmp_path.iterdir()
    assert file.name == f"auc={auc:.3f}-accuracy={accuracy:.3f}.ckpt"


# ---- several data loaders ----


@pytest.mark.parametrize("stage", ["val", "test", "fit"])
def test_the_metrics_are_those_of_all_data_loaders_together(stage: str) -> None:
    module, trainer = make_module(), quiet_trainer()
    parts = [rows()[:9], rows()[9:]]
    loaders = [loader(part) for part in parts]
    if stage == "fit":
        trainer.fit(module, loader(), loaders)
        stage = "val"
    else:
        (trainer.validate if stage == "val" else trainer.test)(module, loaders, verbose=False)
    found = {k: v for k, v in trainer.callback_metrics.items() if "dataloader_idx" not in k}
    assert_logged(found, stage, evaluated(module, *parts))


def test_each_of_several_data_loaders_has_metrics_of_its_own(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    module, trainer = make_module(), quiet_trainer(logger=logger)
    parts = [rows()[:9], rows()[9:]]
    tables = trainer.validate(module, [loader(part) for part in parts], verbose=False)
    with open(f"{logger.log_dir}/metrics.csv", encoding="utf-8") as file:
        logged = {key: value for line in csv.DictReader(file) for key, value in line.items()}
    for i, (table, part) in enumerate(zip(tables, parts, strict=True)):
        alone = quiet_trainer()
        alone.validate(make_module(), loader(part), verbose=False)
        for key, value in alone.callback_metrics.items():
            own = f"{key}/dataloader_idx_{i}"
            assert_close(trainer.callback_metrics[own], value, equal_nan=True)
            assert own in logged
            assert own in table
            assert key in logged
            assert key not in table or key == "val/loss"  # of all loaders together
        assert not any(f"dataloader_idx_{1 - i}" in key for key in table)


def test_one_data_loader_after_several_has_the_usual_keys() -> None:
    module, trainer = make_module(), quiet_trainer()
    trainer.validate(module, [loader(), loader()], verbose=False)
    [table] = trainer.test(module, loader(), verbose=False)
    assert "test/loss" in table
    assert not any("dataloader_idx" in key for key in table)


def test_predictions_come_by_data_loader() -> None:
    module, inputs = make_module(), torch.randn(5, 20)
    loaders = [DataLoader([part], batch_size=None) for part in (inputs[:2], inputs[2:])]
    found = quiet_trainer().predict(module, loaders)
    parts = [predictions["ink", "predictions"] for (predictions,) in found]
    assert_close(torch.cat(parts), module(inputs)["ink/predictions"])


# ---- what may be given ----


class Spread(nn.Linear):
    """Returns logits by head name."""

    def forward(self, inputs: Tensor) -> Any:
        logits = super().forward(inputs)
        return {"even": logits[:, :1], "ink": logits[:, 1:]}


def test_a_batch_may_come_in_any_form() -> None:
    single = th.BinaryClassHead(weight_column="w")
    head = th.MultiHead(
        [th.BinaryClassHead("w", name="even"), th.RegressionHead(2, callable_column, name="ink")]
    )
    labels = {"even": torch.ones(2), "ink": torch.ones(2)}
    weights, features = {"even": torch.ones(2)}, {"w": torch.ones(2)}
    x = torch.zeros(2, 3)
    assert Batch.of((x, labels), head) == Batch(x, labels)
    assert Batch.of([x, labels], head) == Batch(x, labels)
    assert Batch.of((x, labels, weights), head) == Batch(x, labels, None, weights)
    assert Batch.of((x, labels, features), head) == Batch(x, labels, features)
    assert Batch.of((x, 1, features), single) == Batch(x, 1, features)
    assert Batch.of((x, 1, {**features, "id": 3}), single).features == {**features, "id": 3}
    assert Batch.of((x, 1, {}), single) == Batch(x, 1, {})
    assert Batch.of((x, 1, [1.0, 2.0]), single) == Batch(x, 1, None, [1.0, 2.0])
    assert Batch.of({"inputs": x, "weights": weights}, head) == Batch(x, None, None, weights)
    assert Batch.of(x, head) == Batch(x)


def callable_column(features: Mapping[str, Any]) -> Any:
    return features["v"]


def test_features_are_those_that_a_head_reads() -> None:
    def reads(head: th.Head, *names: str) -> bool:
        try:
            return Batch.of((0, 1, dict.fromkeys(names, 2)), head).features is not None
        except ValueError:
            return False

    metric = th.metrics.Torchmetric(RetrievalMRR(), indexes="m")
    steps = th.SequentialHeadWrapper(th.RegressionHead(name="a"), feature_columns=["f"])
    own_loss = th.RegressionHead(loss_fn=lambda labels, logits, features: logits - labels)
    for head, name in [
        (th.BinaryClassHead(metrics={"own": metric}), "m"),
        (th.MultiHead([steps]), "sequence_length_mask"),
        (steps, "f"),
    ]:
        assert reads(head, name, "other")
        assert not reads(head, "other")
    assert reads(own_loss, "other")
    assert reads(th.RegressionHead(weight_column=callable_column), "other")


@pytest.mark.parametrize(
    ("head", "third", "message"),
    [
        (small_head, {"even": 1, "inc": 1}, r"got \['even', 'inc'\]. The nearest is 'ink'."),
        (small_head, {"Even": 1}, r"weights by head names \['even', 'ink'\] .*nearest is 'even'."),
        (th.BinaryClassHead, {"w": 1}, r"features of which it reads \[\], got \['w'\]"),
        (lambda: th.BinaryClassHead("weight"), {"Weight": 1}, r"The nearest is 'weight'."),
        (
            lambda: th.MultiHead([th.BinaryClassHead(callable_column, name="a")]),
            {"a": 1, "v": 1},
            r"expected a batch with features, or with weights by head names \['a'\] alone, got",
        ),
    ],
)
def test_a_dict_of_which_nothing_is_read_is_refused(
    head: Callable[[], th.Head], third: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Batch.of((1, 2, third), head())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((1, 2, 3, 4), r"a batch as \(inputs, labels\).*, got 4 parts"),
        ({"x": 1}, r"a batch as a dict with 'inputs' and at most .*, got \['x'\]"),
        ({"inputs": 1, "target": 2}, r"got \['inputs', 'target'\]"),
    ],
)
def test_a_batch_in_another_form_is_refused(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Batch.of(given, small_head())


@pytest.mark.parametrize(
    ("backbone", "in_features"),
    [
        (nn.Linear(4, 3), None),
        (Spread(4, 3), None),
        (nn.Linear(4, 7), 7),
        (nn.Linear(4, 7), "lazy"),
    ],
)
def test_a_backbone_gives_logits_or_features(backbone: nn.Module, in_features: Any) -> None:
    module = HeadModule(backbone, small_head(), in_features=in_features)
    assert module(torch.randn(3, 4))["even/logistic"].shape == (3, 1)
    labels = {"even": torch.ones(3), "ink": torch.ones(3, 2)}
    batches = DataLoader([(torch.randn(3, 4), labels)] * 2, batch_size=None)  # type: ignore[arg-type]
    trainer = quiet_trainer()
    trainer.fit(module, batches)
    assert module.projection(torch.randn(3, 7)).shape == (3, 3 if in_features else 7)
    assert trainer.callback_metrics["train/loss"].isfinite()


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="expected head as a head, got Linear"):
        HeadModule(nn.Linear(1, 1), nn.Linear(1, 1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected backbone as a module, got str"):
        HeadModule("resnet18", small_head())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected report as a folder, got 3"):
        HeadModule(nn.Linear(1, 1), small_head(), report=3)  # type: ignore[arg-type]
    plain = make_module(lr_scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau)
    with pytest.raises(TypeError, match=r"lightning.pytorch.cli.ReduceLROnPlateau, with the key"):
        plain.configure_optimizers()
    for flag in ("global_normalization", "fit_prior"):
        with pytest.raises(TypeError, match=f"expected {flag} as True or False, got a str"):
            HeadModule(nn.Linear(1, 1), small_head(), **{flag: "no"})  # type: ignore[arg-type]
    for wrong in (0, -3, True, 2.0, "eager", pd.NA, np.array(["lazy", "lazy"])):
        with pytest.raises(ValueError, match="expected in_features as a positive integer, 'lazy'"):
            HeadModule(nn.Identity(), small_head(), in_features=wrong)  # type: ignore[arg-type]
    for given, says in [(torch.zeros(2, 5), r"shape \[2, 5\]"), ({"hidden": 1}, "dict")]:
        module = HeadModule(nn.Identity(), small_head(), in_features=4)
        with pytest.raises(
            ValueError, match=rf"backbone to return .*in_features = 4\], got {says}"
        ):
            module.logits(given)


@pytest.mark.parametrize("argument", ["optimizer", "lr_scheduler"])
def test_what_cannot_make_an_optimizer_or_a_scheduler_is_refused(argument: str) -> None:
    backbone = nn.Linear(4, 3)
    for given in ("adam", torch.optim.SGD(backbone.parameters(), lr=0.1)):
        message = rf"HeadModule: expected {argument} as a callable .*, got {type(given).__name__}"
        with pytest.raises(TypeError, match=message):
            HeadModule(backbone, small_head(), **{argument: given})  # type: ignore[arg-type]


def test_another_head_is_refused_and_the_first_stays() -> None:
    head = th.BinaryClassHead(name="first")
    module = HeadModule(nn.Linear(4, 1), head)
    module.head = head
    module.backbone = nn.Linear(4, 1)
    with pytest.raises(ValueError, match="HeadModule: expected head as it was given, got another"):
        module.head = th.BinaryClassHead(name="second")
    assert module.head is head
    copied = copy.deepcopy(module)
    assert copied.head is not head


@pytest.mark.parametrize("first", ["sanity check", "validate", "test", "predict"])
def test_a_lazy_width_that_an_evaluation_found_can_be_trained(first: str) -> None:
    module = HeadModule(nn.Linear(20, 7), small_head(), in_features="lazy")
    batches = loader(unweighted(rows()))
    if first == "predict":
        quiet_trainer().predict(module, DataLoader(torch.randn(5, 20)))
    elif first != "sanity check":
        getattr(quiet_trainer(), first)(module, batches, verbose=False)
    trainer = quiet_trainer()
    trainer.fit(module, batches, batches)
    assert module.projection.weight.shape == (3, 7)
    assert trainer.optimizers[0].state[module.projection.weight]["exp_avg"].any()


def test_only_trainable_parameters_are_optimized() -> None:
    module = HeadModule(nn.Linear(20, 4).requires_grad_(False), mixture(), in_features=4)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    quiet_trainer().fit(module, loader())
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.param_groups[0]["params"] == list(module.projection.parameters())
    changed = [name for name, old in before.items() if not module.state_dict()[name].equal(old)]
    assert changed == ["projection.weight", "projection.bias"]


def test_a_scheduler_may_follow_any_logged_key() -> None:
    module = make_module(
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.5),
        lr_scheduler=lambda optimizer: ReduceLROnPlateau(
            optimizer, EVEN, mode="max", threshold=100.0, patience=0, factor=0.1
        ),
    )
    trainer = quiet_trainer(max_epochs=3)
    trainer.fit(module, loader(), loader())
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.5 * 0.1**2)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_the_metrics_hold_under_every_precision(precision: Any) -> None:
    module = make_module()
    wanted = evaluated(module, rows())
    trainer = quiet_trainer(precision=precision)
    trainer.validate(module, loader(), verbose=False)
    found = trainer.callback_metrics
    assert_close(found["val/loss"].float(), wanted["loss"], rtol=0.02, atol=0.02)
    # counts are exact, whatever the precision of the model is
    assert found["val/label/coverage/even"].float() == wanted["label/coverage/even"].float()


def test_a_compiled_backbone_trains() -> None:
    module = make_module()
    module.backbone.compile(backend="eager")
    quiet_trainer().fit(module, loader(), loader())
    plain = make_module()
    quiet_trainer().fit(plain, loader(), loader())
    assert_close(module.state_dict(), plain.state_dict())


def test_predictions_come_with_class_names() -> None:
    head = th.MultiHead(
        [
            th.MultiClassHead(n_classes=3, label_vocabulary=NAMES, name="kind"),
            th.RegressionHead(name="ink"),
        ]
    )
    module, inputs = HeadModule(nn.Linear(4, 4), head), torch.randn(5, 4)
    (whole,) = quiet_trainer().predict(module, DataLoader([inputs], batch_size=None))
    with_labels = quiet_trainer().predict(module, DataLoader([(inputs, {})], batch_size=None))
    assert set(whole["kind", "classes"].ravel()) <= set(NAMES)
    assert_close(whole["ink", "predictions"], module(inputs)["ink/predictions"])
    np.testing.assert_array_equal(with_labels[0]["kind", "classes"], whole["kind", "classes"])


def test_labels_may_be_class_names() -> None:
    head = th.MultiClassHead(n_classes=3, label_vocabulary=NAMES)
    examples = [(torch.randn(4), NAMES[i % 3]) for i in range(12)]
    for normalization in (False, True):
        module = HeadModule(nn.Linear(4, 3), head, global_normalization=normalization)
        trainer = quiet_trainer()
        batches = DataLoader(examples, batch_size=5)  # type: ignore[arg-type]
        trainer.fit(module, batches, batches)
        assert trainer.callback_metrics["val/average_loss"].isfinite()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.about)
def test_labels_of_any_form_are_counted_before_the_forward_pass(case: Case) -> None:
    head = case.head(weight_column="w")
    batch = Batch(None, case.batch.labels, case.batch.features)
    wanted = head.divisors(case.batch.labels, case.batch.logits, case.batch.features)
    found = count_labels(head, [batch, batch], pytest.fail, torch.device("cpu"))
    assert_close(found, 2 * wanted, check_dtype=False)


# ---- checkpoints ----


def test_a_checkpoint_holds_the_parameters_and_loads_without_trust(tmp_path: Path) -> None:
    module, path = make_module(), tmp_path / "module.ckpt"
    trainer = quiet_trainer()
    trainer.fit(module, loader(), loader())
    trainer.save_checkpoint(path)
    state = torch.load(path, weights_only=True)["state_dict"]
    assert [*state] == ["backbone.weight", "backbone.bias", "head._meaning"]
    loaded = HeadModule.load_from_checkpoint(path, backbone=nn.Linear(20, 20), head=mixture())
    inputs = torch.randn(3, 20)
    assert_close(loaded(inputs), module.eval()(inputs))


@pytest.mark.parametrize("in_features", [7, "lazy"])
def test_a_checkpoint_loads_without_what_was_given_before(tmp_path: Path, in_features: Any) -> None:
    module = HeadModule(nn.Linear(20, 7), mixture(), in_features=in_features, report=tmp_path)
    trainer, path = quiet_trainer(), tmp_path / "module.ckpt"
    trainer.fit(module, loader(), loader())
    trainer.save_checkpoint(path)
    loaded = HeadModule.load_from_checkpoint(path, backbone=nn.Linear(20, 7), head=mixture())
    inputs = torch.randn(3, 20)
    assert_close(loaded(inputs), module.eval()(inputs))
    with pytest.raises(RuntimeError, match="size mismatch for backbone"):
        HeadModule.load_from_checkpoint(path, backbone=nn.Linear(20, 8), head=mixture())


def named_head(*names: str, vocabulary: list[str] | None = None) -> th.MultiHead:
    made = {
        "pet": th.MultiClassHead(3, label_vocabulary=vocabulary or NAMES, name="pet"),
        "even": th.BinaryClassHead(name="even"),
        "odd": th.BinaryClassHead(name="odd"),
    }
    return th.MultiHead([made[name] for name in names])


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (
            named_head("odd", "even", "pet"),
            r"of the heads \['odd', 'even', 'pet'\], got one of \['even', 'odd', 'pet'\]",
        ),
        (
            named_head("even", "odd", "pet", vocabulary=["dog", "cat", "owl"]),
            r"'pet': expected a checkpoint of the label_vocabulary \['dog', 'cat', 'owl'\], got",
        ),
    ],
)
def test_a_checkpoint_of_heads_that_mean_otherwise_changes_nothing(
    tmp_path: Path, head: th.MultiHead, message: str
) -> None:
    module, path = HeadModule(nn.Linear(2, 5), named_head("even", "odd", "pet")), tmp_path / "m"
    examples = [(row, torch.tensor([1, 0, 2])) for row in torch.randn(4, 2)]
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(module, DataLoader(examples, 2))
    trainer.save_checkpoint(path)
    other = HeadModule(nn.Linear(2, 5), head)
    before = other.backbone.weight.detach().clone()
    with pytest.raises(ValueError, match=message):
        other.load_state_dict(torch.load(path)["state_dict"])
    for run in (quiet_trainer().fit, quiet_trainer().test):
        with pytest.raises(ValueError, match=f"ckpt_path {path}.*{message}"):
            run(other, DataLoader(examples, 2), ckpt_path=path)
    assert other.backbone.weight.equal(before)
    earlier = torch.load(path)["state_dict"]
    del earlier["head._meaning"]
    other.load_state_dict(earlier)  # which says nothing


class Interrupt(Callback):
    """Stops a run in the middle of an epoch."""

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        if trainer.current_epoch == 2 and trainer.global_step % 5 == 3:
            raise RuntimeError("the machine is gone")


@pytest.mark.parametrize("after_training", [True, False], ids=["epoch", "validation"])
def test_a_resumed_run_shuffles_and_drops_out_as_the_uninterrupted_one(
    tmp_path: Path, after_training: bool
) -> None:
    def fit(folder: Path, *callbacks: Callback, **kwargs: Any) -> Mapping[str, Tensor]:
        torch.manual_seed(1)
        backbone = nn.Sequential(nn.Linear(20, 20), nn.Dropout(0.5))
        module = HeadModule(backbone, mixture())
        train = DataLoader(rows(), SIZE, shuffle=True)  # type: ignore[arg-type]
        last = ModelCheckpoint(folder, "last", save_on_train_epoch_end=after_training)
        trainer = quiet_trainer(
            max_epochs=4, callbacks=[last, *callbacks], enable_checkpointing=True
        )
        trainer.fit(module, train, loader(), **kwargs)
        return {**module.state_dict(), **trainer.callback_metrics}

    whole = fit(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="the machine is gone"):
        fit(tmp_path / "cut", Interrupt())
    resumed = fit(tmp_path / "cut", ckpt_path=tmp_path / "cut" / "last.ckpt")
    assert_close(resumed, whole, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("after_training", [True, False], ids=["epoch", "validation"])
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_resumed_run_has_the_learning_rate_of_the_uninterrupted_one(
    tmp_path: Path, cut: int, after_training: bool
) -> None:
    def fit(folder: str, epochs: int, **kwargs: Any) -> tuple[float, Tensor]:
        torch.manual_seed(1)
        module = HeadModule(
            nn.Linear(20, 20),
            mixture(),
            partial(torch.optim.SGD, lr=0.01),
            # as if a lower loss were worse, so that the rate falls in every epoch
            lambda optimizer: ReduceLROnPlateau(optimizer, "val/loss", "max", 0.5, patience=0),
        )
        last = ModelCheckpoint(tmp_path / folder, "last", save_on_train_epoch_end=after_training)
        trainer = quiet_trainer(max_epochs=epochs, callbacks=[last], enable_checkpointing=True)
        trainer.fit(module, loader(), loader(), **kwargs)
        return trainer.optimizers[0].param_groups[0]["lr"], module.backbone.weight.detach()

    fit("cut", cut)
    resumed = fit("cut", 5, ckpt_path=tmp_path / "cut" / "last.ckpt")
    assert resumed[0] < 0.01
    assert_close(resumed, fit("whole", 5), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch")
def test_a_plateau_is_followed_in_an_epoch_that_was_resumed_in_its_middle(tmp_path: Path) -> None:
    def fit(folder: str, epochs: int, **kwargs: Any) -> float:
        module = make_module(
            optimizer=partial(torch.optim.SGD, lr=0.01),
            lr_scheduler=lambda optimizer: ReduceLROnPlateau(
                optimizer, "val/loss", "max", 0.5, patience=0
            ),
        )
        middle = ModelCheckpoint(tmp_path / folder, "middle", every_n_train_steps=7)
        trainer = quiet_trainer(max_epochs=epochs, callbacks=[middle], enable_checkpointing=True)
        trainer.fit(module, loader(), loader(), **kwargs)
        return trainer.optimizers[0].param_groups[0]["lr"]

    fit("cut", 2)  # of 5 batches each
    assert fit("cut", 4, ckpt_path=tmp_path / "cut" / "middle.ckpt") == fit("whole", 4) < 0.01


class AtStart(Callback):
    """Keeps the random state with which a training starts."""

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.state = torch.get_rng_state()


def state_at_start(states: RandomState) -> Tensor:
    module, kept = make_module(), AtStart()
    torch.manual_seed(7)
    quiet_trainer(callbacks=[states, kept]).fit(module, loader())
    return kept.state


class Fail(Callback):
    """Stops an evaluation."""

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        raise RuntimeError("the machine is gone")


@pytest.mark.parametrize("callbacks", [[], [Fail()]], ids=["evaluated", "failed"])
def test_a_random_state_is_put_back_only_in_the_run_that_loads_it(
    tmp_path: Path, callbacks: list[Callback]
) -> None:
    path, states = tmp_path / "module.ckpt", RandomState()
    trainer = quiet_trainer(callbacks=[states])
    trainer.fit(make_module(), loader())
    trainer.save_checkpoint(path)
    evaluator = quiet_trainer(callbacks=[states, *callbacks])
    with contextlib.suppress(RuntimeError):
        evaluator.validate(make_module(), loader(), ckpt_path=path, verbose=False)
    assert_close(state_at_start(states), state_at_start(RandomState()))


def test_the_report_of_a_test_is_written(tmp_path: Path) -> None:
    module = HeadModule(nn.Linear(20, 3), small_head(), report=tmp_path / "report")
    quiet_trainer().test(module, loader(unweighted(rows())), verbose=False)
    assert (tmp_path / "report" / "report.html").stat().st_size > 1000


# ---- two processes ----


def without(example: dict[str, Any]) -> dict[str, Any]:
    labels = {name: value for name, value in example["labels"].items() if name not in LACKING}
    return {**example, "labels": labels}


# 19 and 18 rows, in uneven last batches; some heads have no labels at all in the second process
SHARES = [rows()[0::2], [without(example) for example in rows()[1::2]]]


def work(rank: int, folder: str) -> dict[str, Any]:
    """Return what one of two processes sees."""
    heads = [th.RegressionHead(name="ab"[rank]), th.RegressionHead(name="ba"[rank])]
    other = HeadModule(nn.Linear(20, 2), th.MultiHead(heads))
    with pytest.raises(ValueError, match="of the same heads in the same order") as refused:
        quiet_trainer(strategy="ddp", devices=2).fit(other, loader())
    module = make_module()
    trainer = quiet_trainer(strategy="ddp", devices=2, use_distributed_sampler=False)
    trainer.fit(module, loader(SHARES[rank]), loader(SHARES[rank]))
    fitted = dict(trainer.callback_metrics)
    data = rows()
    sampler = UnrepeatedDistributedSampler(
        data, num_replicas=trainer.world_size, rank=trainer.global_rank, shuffle=False
    )
    trainer = quiet_trainer(strategy="ddp", devices=2)
    trainer.test(module, DataLoader(data, SIZE, sampler=sampler), verbose=False)
    tested = dict(trainer.callback_metrics)
    trainer.test(module, DataLoader(data, SIZE), verbose=False)
    padded = dict(trainer.callback_metrics)
    found = {"fitted": fitted, "tested": tested, "padded": padded, "state": module.state_dict()}
    return {**found, "refused": str(refused.value)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder where two processes left their results."""
    path = tmp_path_factory.mktemp("lightning")
    torchrun(__file__, path)
    return path


def two_processes(folder: Path, key: str) -> list[Any]:
    return [torch.load(folder / f"{rank}.pt")[key] for rank in range(2)]


def the_same_module(folder: Path) -> HeadModule:
    module = make_module()
    module.load_state_dict(two_processes(folder, "state")[0])
    return module


def assert_logged(found: Mapping[str, Tensor], stage: str, wanted: Mapping[str, Tensor]) -> None:
    named = {f"{stage}/{key}": value for key, value in wanted.items()}
    actual = {key: value for key, value in found.items() if key.startswith(stage)}
    assert_close(actual, named, rtol=1e-6, atol=1e-6, equal_nan=True, check_dtype=False)


def test_validation_in_two_processes_counts_as_in_one(folder: Path) -> None:
    wanted = evaluated(the_same_module(folder), *SHARES)
    assert not wanted["auc/even"].isnan()  # which has no labels in the second process
    for found in two_processes(folder, "fitted"):
        assert_logged(found, "val", wanted)


def test_processes_whose_heads_differ_do_not_begin_to_train(folder: Path) -> None:
    for said in two_processes(folder, "refused"):
        assert re.search(r"HeadModule: .*got a \(Normal.* in process 0 and b \(Normal", said)


def test_an_unrepeated_sampler_tests_each_row_once(folder: Path) -> None:
    wanted = evaluated(the_same_module(folder), rows()[0::2], rows()[1::2])
    for found in two_processes(folder, "tested"):
        assert_logged(found, "test", wanted)


def test_lightnings_own_sampler_counts_a_row_twice(folder: Path) -> None:
    """If this fails, the documentation has a warning too many."""
    wanted = evaluated(the_same_module(folder), rows()[0::2], [*rows()[1::2], rows()[0]])
    for found in two_processes(folder, "padded"):
        assert_logged(found, "test", wanted)


if __name__ == "__main__":
    rank = int(os.environ["RANK"])
    torch.save(work(rank, sys.argv[1]), f"{sys.argv[1]}/{rank}.pt")
    end_process()


def test_a_module_fits_the_prior_of_its_labels_first() -> None:
    module, plain = make_module(fit_prior=True), make_module()
    quiet_trainer(max_epochs=1).fit(module, loader())
    whole = mixture()
    batch = random_batch(ROWS, torch.Generator().manual_seed(3))
    whole.fit_prior(batch.labels, weights=batch.weights)
    for name in whole:
        assert_close(module.head[name].prior_offset.cpu(), whole[name].prior_offset)
        assert_close(module.head[name].prior_loss.cpu(), whole[name].prior_loss)
    quiet_trainer(max_epochs=1).fit(plain, loader())
    assert plain.head["ink"].prior_loss is None
    # it is in the checkpoint, and not fitted again
    before = {key: own.clone() for key, own in module.state_dict().items() if "prior" in key}
    again = make_module(fit_prior=True)
    again.load_state_dict(module.state_dict())
    quiet_trainer(max_epochs=1).fit(again, loader(rows()[:9]))
    assert_close({key: again.state_dict()[key] for key in before}, before)


def test_the_pass_over_the_labels_leaves_the_order_of_the_training() -> None:
    seen: list[list[Tensor]] = []
    for fit_prior in [False, True]:
        order: list[Tensor] = []

        class Noting(nn.Linear):
            def forward(self, inputs: Tensor, order: list[Tensor] = order) -> Tensor:
                order.append(inputs.detach().clone())
                return super().forward(inputs)

        torch.manual_seed(0)
        module = HeadModule(Noting(20, 20), mixture(), fit_prior=fit_prior)
        torch.manual_seed(1)
        shuffled = DataLoader(rows(), batch_size=SIZE, shuffle=True)  # type: ignore[arg-type]
        quiet_trainer(max_epochs=2).fit(module, shuffled)
        seen.append(order)
    assert_close(seen[0], seen[1])
