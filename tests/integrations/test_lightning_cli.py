"""The main job runs from a configuration, and goes on after it was interrupted."""

import json
import math
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from torch.testing import assert_close

import torch_heads as th
import torch_heads.__main__
from tests.integrations.trainers import expected_warnings
from tests.own_heads import LaplaceHead
from torch_heads.integrations.lightning.cli import main

ROOT = Path(torch_heads.__file__).parents[1]
CONFIG = str(ROOT / "examples" / "digits.yaml")
EPOCHS, SECONDS = 5, 90
COMMON = [
    f"--config={CONFIG}",
    "--trainer.accelerator=cpu",
    f"--trainer.max_epochs={EPOCHS}",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]

pytestmark = expected_warnings


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a training in a folder, in which it writes."""
    return subprocess.Popen(
        [sys.executable, "-m", "torch_heads", "fit", *COMMON, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Return what a process printed, when it has ended."""
    try:
        output, _ = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    return output


def interrupt(process: subprocess.Popen[str], last: Path, number: signal.Signals) -> str:
    """Interrupt a process in the epoch after it wrote a checkpoint; return what it printed."""
    before = last.stat().st_mtime_ns if last.exists() else 0
    end = time.monotonic() + SECONDS
    while not last.exists() or last.stat().st_mtime_ns == before:
        assert process.poll() is None, finish(process)
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(number)
    return finish(process)


def run(folder: Path, command: str, *arguments: str) -> Any:
    """Run the command line in this process and in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["torch_heads"])
        return main([command, *COMMON, *arguments])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an uninterrupted run."""
    path = tmp_path_factory.mktemp("whole")
    with warnings.catch_warnings(action="ignore"):  # a fixture is outside of its tests' filters
        run(path, "fit")
    return path


def test_an_interrupted_run_goes_on_to_the_result_of_an_uninterrupted_one(
    whole: Path, tmp_path: Path
) -> None:
    last = tmp_path / "runs" / "digits" / "checkpoints" / "last.ckpt"
    output = interrupt(start(tmp_path), last, signal.SIGINT)
    assert "KeyboardInterrupt" in output, output
    stopped = torch.load(last)["epoch"]
    interrupt(start(tmp_path, "--ckpt_path=last"), last, signal.SIGKILL)
    assert stopped < torch.load(last)["epoch"] < EPOCHS - 1
    output = finish(start(tmp_path, "--ckpt_path=last"))
    assert f"max_epochs={EPOCHS}` reached" in output, output
    found, expected = (
        torch.load(f / "runs" / "digits" / "checkpoints" / "last.ckpt") for f in (tmp_path, whole)
    )
    for key in ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers"):
        assert_close(found[key], expected[key], rtol=0, atol=0)
    assert metrics_of(tmp_path, 2) == metrics_of(whole, 0)


def metrics_of(folder: Path, version: int) -> list[str]:
    """Return the names of what was logged, and the metrics of the last epoch to the last digit."""
    file = folder / "runs" / "digits" / f"version_{version}" / "metrics.csv"
    lines = file.read_text(encoding="utf-8").splitlines()
    return [lines[0], lines[-1]]


def test_a_trained_model_is_tested(whole: Path) -> None:
    best = "--ckpt_path=runs/digits/checkpoints/best.ckpt"
    metrics = run(whole, "test", best, "--model.report=pictures").trainer.callback_metrics
    assert metrics["test/accuracy/digit"] > 0.9
    assert metrics["test/auc/even"] > 0.95
    assert (whole / "pictures" / "report.html").exists()
    validated = run(whole, "validate", best).trainer.callback_metrics
    assert validated["val/accuracy/digit"] == metrics["test/accuracy/digit"]


def test_predictions_are_written_with_class_names(whole: Path) -> None:
    run(whole, "predict", "--ckpt_path=runs/digits/checkpoints/best.ckpt")
    file = whole / "runs" / "digits" / "predictions.jsonl"
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 360
    assert {line["digit/classes"] for line in lines} > {"zero", "five", "nine"}
    assert all(0 <= line["even/logistic"] <= 1 for line in lines)
    assert len(lines[0]["segments/probabilities"]) == 7


def test_sigterm_ends_a_run_with_the_code_of_a_signal(tmp_path: Path) -> None:
    last = tmp_path / "runs" / "digits" / "checkpoints" / "last.ckpt"
    process = start(tmp_path)
    interrupt(process, last, signal.SIGTERM)
    assert process.returncode == 143
    assert torch.load(last)["epoch"] < EPOCHS - 1


def test_a_checkpoint_brings_states_and_no_configuration(whole: Path) -> None:
    best = whole / "runs" / "digits" / "checkpoints" / "best.ckpt"
    saved = torch.load(best)
    saved["hyper_parameters"] = {
        "report": "elsewhere",
        "head": {"class_path": "torch_heads.RegressionHead"},
        "backbone": {"class_path": "wsgiref.Backbone"},
    }
    torch.save(saved, whole / "foreign.ckpt")
    given, own = (
        run(whole, "test", f"--ckpt_path={path}").trainer for path in ("foreign.ckpt", best)
    )
    assert given.callback_metrics == own.callback_metrics
    assert given.lightning_module.report is None
    assert not (whole / "elsewhere").exists()
    assert "wsgiref" not in sys.modules


def test_a_broken_checkpoint_is_named(whole: Path) -> None:
    (whole / "empty.ckpt").touch()
    with pytest.raises(ValueError, match=r"expected empty\.ckpt as a file .* a broken or another"):
        run(whole, "test", "--ckpt_path=empty.ckpt")


def test_the_message_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_heads.__main__, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"needs lightning and jsonargparse: pip install 'torch-h"):
        torch_heads.__main__.main()


def test_a_head_of_ones_own_stands_in_a_configuration() -> None:
    own = {"class_path": "tests.own_heads.LaplaceHead"}
    heads = [own | {"init_args": {"name": name, "missing_label": -1.0}} for name in ("a", "b")]
    config = {"class_path": "torch_heads.MultiHead", "init_args": {"heads": heads}}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--head", type=th.Head)
    head = parser.instantiate(parser.parse_args(["--head", json.dumps(config)])).head
    assert [type(one) for one in head.heads] == [LaplaceHead] * 2
    assert len(head.computation.groups) == 1
    assert head["b"].missing_label == -1.0


def plain_huber(input, target):  # type: ignore[no-untyped-def]
    """Return a loss without a word of types."""
    return torch.nn.functional.huber_loss(input, target, reduction="none")


def plain_exp(logits):  # type: ignore[no-untyped-def]
    """Return an inverse link without a word of types."""
    return logits.exp()


MODULE = {"class_path": "torch.nn.HuberLoss", "init_args": {"reduction": "none", "delta": 0.5}}


@pytest.mark.parametrize(
    ("arguments", "loss", "prediction"),
    [
        ({"loss_fn": f"{__name__}.plain_huber"}, 5.5, -2.0),
        ({"loss_fn": "torch.nn.functional.smooth_l1_loss"}, 5.5, -2.0),
        ({"loss_fn": MODULE}, 2.875, -2.0),
        ({"inverse_link_fn": f"{__name__}.plain_exp"}, 36.0, math.exp(-2)),
        ({"inverse_link_fn": "torch.exp"}, 36.0, math.exp(-2)),
        ({"inverse_link_fn": {"class_path": "torch.nn.ReLU"}}, 36.0, 0.0),
    ],
)
def test_functions_and_modules_of_ones_own_stand_in_a_configuration(
    arguments: dict[str, Any], loss: float, prediction: float, tmp_path: Path
) -> None:
    one = {"class_path": "torch_heads.RegressionHead", "init_args": {"name": "a", **arguments}}
    config = {"class_path": "torch_heads.MultiHead", "init_args": {"heads": [one]}}
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps({"head": config}), encoding="utf-8")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_argument("--head", type=th.Head)
    parsed = parser.parse_args([f"--config={file}"])
    again = parser.parse_string(parser.dump(parsed))  # as what a run keeps of it
    for given in (parsed, again):
        head = parser.instantiate(given).head
        logits = torch.tensor([[-2.0]])
        assert head.loss(torch.tensor([[4.0]]), logits).item() == pytest.approx(loss)
        assert head(logits)["a/predictions"].item() == pytest.approx(prediction)


def test_heads_of_distributions_grades_and_times_stand_in_a_configuration() -> None:
    kinds: dict[str, dict[str, Any]] = {
        "QuantileRegressionHead": {"levels": [0.1, 0.9], "label_dimension": 2},
        "GaussianRegressionHead": {"beta": 0.0},
        "NegativeBinomialRegressionHead": {"missing_label": -1},
        "ZeroInflatedLogNormalHead": {"metrics": ["r2"]},
        "OrdinalClassHead": {"n_classes": 3, "label_vocabulary": ["low", "middle", "high"]},
        "SurvivalHead": {"cut_points": [1, 2.5], "weight_column": "w"},
    }
    heads = [
        {"class_path": f"torch_heads.{kind}", "init_args": {"name": kind.lower(), **arguments}}
        for kind, arguments in kinds.items()
    ]
    arguments = {"heads": heads, "head_weights": "prior"}
    config = {"class_path": "torch_heads.MultiHead", "init_args": arguments}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--head", type=th.Head)
    head = parser.instantiate(parser.parse_args(["--head", json.dumps(config)])).head
    assert [type(one).__name__ for one in head.heads] == [*kinds]
    assert head["quantileregressionhead"].levels == (0.1, 0.9)
    assert head["survivalhead"].cut_points == (1.0, 2.5)
    with pytest.raises(ValueError, match="fit_prior"):
        print(head.head_weights)


def test_the_help_names_the_commands_of_bundles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(tmp_path, "--help")
    assert "show, run and serve, each with --help" in " ".join(capsys.readouterr().out.split())
