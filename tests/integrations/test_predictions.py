"""Predictions are written as lines of JSON, which any reader of JSON takes."""

import json
from math import inf, nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader

import torch_heads as th
from tests.integrations.disks import no_file_longer_than
from tests.integrations.trainers import expected_warnings, quiet_trainer
from torch_heads.integrations.lightning import HeadModule, PredictionWriter

ROWS = 5

pytestmark = expected_warnings


def refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def read(file: Path) -> list[dict[str, Any]]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def predicted(file: Path, head: th.Head, *logits: Tensor, **kwargs: Any) -> list[dict[str, Any]]:
    """Return what is written of logits, which come by one data loader each."""
    module = HeadModule(nn.Identity(), head)
    loaders = [DataLoader(part, batch_size=2) for part in logits]  # type: ignore[arg-type]
    trainer = quiet_trainer(callbacks=[PredictionWriter(file, **kwargs)])
    trainer.predict(module, loaders if logits[1:] else loaders[0], return_predictions=False)
    return read(file)


def nested() -> th.MultiHead:
    inner = th.MultiHead([th.BinaryClassHead(name="left"), th.RegressionHead(2, name="near")])
    return th.MultiHead([inner, th.MultiClassHead(3, label_vocabulary=[*"abc"], name="kind")])


def test_the_keys_of_heads_within_heads_are_those_of_the_served_model(tmp_path: Path) -> None:
    head, logits = nested(), torch.randn(ROWS, 6)
    lines = predicted(tmp_path / "p.jsonl", head, logits)
    served = head(logits)
    assert served.keys() == lines[0].keys() - {"kind/classes", "kind/all_classes"}
    for i, line in enumerate(lines):
        assert line["left_near/left/logistic"] == served["left_near/left/logistic"][i].item()
        assert (
            line["left_near/near/predictions"] == served["left_near/near/predictions"][i].tolist()
        )
        assert line["kind/classes"] == "abc"[served["kind/class_ids"][i]]


def test_several_data_loaders_follow_one_another(tmp_path: Path) -> None:
    logits = torch.arange(ROWS).float()[:, None]
    lines = predicted(tmp_path / "p.jsonl", th.RegressionHead(), logits[:3], logits[3:])
    assert lines == [{"predictions": i} for i in range(ROWS)]


def test_numbers_that_json_does_not_have_are_null(tmp_path: Path) -> None:
    logits = torch.tensor([[1.0, nan], [inf, -inf], [2.0, 3.0]])
    lines = predicted(tmp_path / "p.jsonl", th.RegressionHead(2), logits)
    assert [line["predictions"] for line in lines] == [[1, None], [None, None], [2, 3]]


def test_an_unknown_key_is_refused_before_the_file_is_touched(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text("{}")
    message = (
        r"PredictionWriter: expected keys among \['left_near/left/logits', .*'kind/all_classes'\],"
        r" got \['left/logits'\]"
    )
    keys = ["kind/classes", "left/logits"]
    with pytest.raises(ValueError, match=message):
        predicted(file, nested(), torch.randn(ROWS, 6), keys=keys)
    assert file.read_text() == "{}"


@pytest.mark.parametrize("keys", ["logits", [], ()])
def test_keys_are_a_list_of_names(keys: Any) -> None:
    with pytest.raises(ValueError, match="PredictionWriter: expected keys as a list of at least"):
        PredictionWriter(keys=keys)


class Failing(nn.Module):
    """A backbone that sees what is in a file, and fails at the third batch."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.seen: list[str] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(self.file.read_text())
        if len(self.seen) == 3:
            raise OSError("the data is gone")
        return x


def test_predictions_that_break_off_leave_the_earlier_ones(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text("earlier")
    module = HeadModule(Failing(file), th.RegressionHead())
    trainer = quiet_trainer(callbacks=[PredictionWriter(file)])
    rows: Any = torch.zeros(4, 1)
    with pytest.raises(OSError, match="the data is gone"):
        trainer.predict(module, DataLoader(rows), return_predictions=False)
    assert module.backbone.seen == ["earlier"] * 3
    assert file.read_text() == "earlier"
    assert [*tmp_path.iterdir()] == [file]


def test_predictions_on_a_full_disk_leave_the_earlier_ones(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    predicted(file, th.RegressionHead(), torch.zeros(2, 1))
    with no_file_longer_than(100), pytest.raises(OSError, match="too large"):
        predicted(file, th.RegressionHead(), torch.zeros(100, 1))
    assert len(read(file)) == 2
    assert [*tmp_path.iterdir()] == [file]


def test_a_link_goes_on_to_lead_to_the_predictions(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    link, file = tmp_path / "p.jsonl", tmp_path / "deep" / "q.jsonl"
    link.symlink_to(file)
    predicted(link, th.RegressionHead(), torch.zeros(2, 1))
    assert link.is_symlink()
    assert len(read(file)) == 2


def test_a_second_prediction_replaces_the_first_in_each_process(tmp_path: Path) -> None:
    writer = PredictionWriter(tmp_path / "deep" / "p.jsonl")
    trainer: Any = SimpleNamespace(world_size=2, global_rank=1)
    module = LightningModule()
    for value in (1.0, 2.0):
        writer.on_predict_start(trainer, module)
        given = {"predictions": torch.tensor([[value]])}
        writer.write_on_batch_end(trainer, module, given, None, None, 0, 0)
        writer.on_predict_end(trainer, module)
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["p.1.jsonl"]
    assert read(tmp_path / "deep" / "p.1.jsonl") == [{"predictions": 2.0}]
    writer.on_predict_start(trainer, module)
    writer.on_predict_end(trainer, module)
    assert read(tmp_path / "deep" / "p.1.jsonl") == []
