"""Reports, trainers and estimators see torchmetrics' own metrics as they see the others."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import classification as tmc

import torch_heads as th
from tests.integrations.trainers import EXPECTED, quiet_trainer
from torch_heads.integrations.estimator import Estimator
from torch_heads.integrations.lightning import HeadModule
from torch_heads.integrations.report import print_report
from torch_heads.integrations.report.evaluation import evaluation

ROWS = 60

pytestmark = pytest.mark.filterwarnings(*EXPECTED)


def test_a_report_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    each = tmc.MulticlassAccuracy(3, average=None)
    heads = [
        th.BinaryClassHead(name="a", metrics={"exact": tmc.BinaryAUROC()}),
        th.MultiClassHead(3, name="c", metrics={"acc": each}),
    ]
    head = th.MultiHead(heads)
    labels = {"a": torch.arange(ROWS) % 2, "c": torch.arange(ROWS) % 3}
    logits = torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(0))
    metrics = head.update_metrics(None, None, logits, labels)
    values = metrics.compute()
    first, second = evaluation(head, metrics).tasks
    assert first.metrics["exact"] == pytest.approx(float(values["exact/a"]))
    assert second.metrics["acc/class1"] == pytest.approx(float(values["acc/class1/c"]))
    print_report(head, metrics)
    assert "acc/class1" in capsys.readouterr().out


def test_an_epoch_logs_it(tmp_path: Path) -> None:
    head = th.BinaryClassHead(metrics={"exact": tmc.BinaryAUROC()})
    module = HeadModule(nn.Linear(2, 1), head)
    inputs, labels = torch.randn(ROWS, 2), torch.arange(ROWS) % 2
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=25)
    (logged,) = quiet_trainer(default_root_dir=tmp_path).validate(module, loader, verbose=False)
    expected = tmc.BinaryAUROC()
    expected.update(module(inputs)["logistic"].squeeze(-1), labels)
    assert logged["val/exact"] == pytest.approx(float(expected.compute()))


def test_an_estimator_merges_it_over_batches(tmp_path: Path) -> None:
    inputs, labels = torch.randn(ROWS, 2), torch.arange(ROWS) % 2
    asked = {"exact": tmc.BinaryAUROC(), "each": tmc.BinaryStatScores()}
    head = th.BinaryClassHead(missing_label=-1, metrics=asked)

    def batches() -> Any:
        for rows in (slice(0, 25), slice(25, 40), slice(40, ROWS)):
            # the first batch is not labelled
            yield {"x": inputs[rows]}, labels[rows] if rows.start else -torch.ones(25)

    def model_fn(features: Any, labels: Any, mode: Any, model: Any, optimizer: Any) -> Any:
        return head.create_estimator_spec(features, mode, model(features["x"]), labels, optimizer)

    estimator = Estimator(model_fn, nn.Linear(2, 1), torch.optim.Adam, tmp_path)
    values = estimator.train(batches).evaluate(batches)
    preds = estimator.model(inputs[25:]).detach().sigmoid().squeeze(-1)
    exact, each = (metric(preds, labels[25:]) for metric in asked.values())
    assert values["exact"] == pytest.approx(float(exact))
    assert [values[f"each/{i}"] for i in range(5)] == each.tolist()
    assert head.metric_collection["exact"].rows == 0
