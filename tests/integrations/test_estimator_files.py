"""The files of an estimator survive kills, full disks and other processes; others are refused."""

import io
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import torch_heads as th
from tests.integrations.disks import no_file_longer_than, output, python
from tests.integrations.trainers import expected_warnings, quiet_trainer
from torch_heads.integrations.estimator import EvalSpec, TrainSpec, training
from torch_heads.integrations.estimator.checkpoint import Checkpoint
from torch_heads.integrations.lightning import HeadModule

pytestmark = expected_warnings

# a line through the origin, in this process and in others
LINE = """
import functools, os, signal, sys, torch, torch_heads as th
from torch_heads.integrations.estimator import Estimator, RunConfig

HEAD = th.RegressionHead()

def model_fn(features, labels, mode, model, optimizer):
    return HEAD.create_estimator_spec(features, mode, model(features["x"]), labels, optimizer)

def line(model_dir, **config):
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    model.register_buffer("ballast", torch.zeros(250_000))  # a megabyte
    config = {"save_checkpoints_steps": 1, "accelerator": "cpu"} | config
    adam = functools.partial(torch.optim.Adam, lr=0.01)
    return Estimator(model_fn, model, adam, model_dir, config=RunConfig(**config))

def batch():
    return {"x": torch.ones(1, 1)}, torch.ones(1)
"""
names: dict[str, Any] = {}
exec(LINE, names)
line, batch = names["line"], names["batch"]


def points(count: int) -> Callable[[], Iterator[Any]]:
    return lambda: (batch() for _ in range(count))


def numbers(folder: Path) -> list[int]:
    """Return the steps of the checkpoints in a folder, and find nothing else but a lock in it."""
    left = {path.name for path in folder.iterdir()} - {".lock"}
    steps = sorted(int(name.removeprefix("model-").removesuffix(".ckpt")) for name in left)
    assert {f"model-{step}.ckpt" for step in steps} == left
    return steps


# ---- kills ----

KILLED = (
    LINE
    + """
moment, model_dir = sys.argv[1:]
calls = 0

def dying(then):
    def call(*arguments):
        global calls
        calls += 1
        if calls == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return then(*arguments)
    return call

setattr(os, moment, dying(getattr(os, moment)))
line(model_dir, keep_checkpoint_max=1).train(lambda: (batch() for _ in range(9)))
"""
)


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_kill_while_saving_leaves_the_checkpoint_before(tmp_path: Path, moment: str) -> None:
    process = python(KILLED, moment, tmp_path)
    assert (output(process), process.returncode) == ("", -signal.SIGKILL)
    assert {path.name for path in tmp_path.glob("model-*")} == {"model-2.ckpt"}
    assert len([*tmp_path.glob(".model-3.ckpt-*")]) == 1
    assert line(tmp_path).evaluate(points(1))["global_step"] == 2
    line(tmp_path).train(points(1))
    assert numbers(tmp_path) == [2, 3]


TRAINED = (
    LINE
    + """
line(sys.argv[1], keep_checkpoint_max=1).train(lambda: (batch() for _ in range(10_000)))
"""
)


def test_evaluations_beside_a_training_do_not_fail_nor_does_it(tmp_path: Path) -> None:
    process = python(TRAINED, tmp_path)
    estimator = line(tmp_path)
    while estimator.latest_checkpoint() is None:
        assert process.poll() is None, output(process)
    seen = [estimator.evaluate(points(1))["global_step"] for _ in range(30)]
    assert process.poll() is None, output(process)
    assert seen == sorted(seen)
    assert len({*seen}) > 10
    with pytest.raises(ValueError, match="without another training, got one in"):
        estimator.train(points(1))
    process.kill()
    assert output(process) == ""
    before = estimator.evaluate(points(1))["global_step"]
    assert estimator.train(points(1)).evaluate(points(1))["global_step"] == before + 1


TERMINATED = (
    LINE
    + """
def input_fn():
    for i in range(10_000):
        if i == 5:
            print("training", flush=True)
        yield batch()

try:
    line(sys.argv[1], save_checkpoints_steps=10_000).train(input_fn)
finally:
    print("cleaned up")
print("not to be reached")
"""
)


def test_sigterm_ends_a_script_as_a_signal_does_after_saving(tmp_path: Path) -> None:
    process = python(TERMINATED, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "training\n"
    process.send_signal(signal.SIGTERM)
    assert output(process) == "cleaned up\n"
    assert process.returncode == 143
    [saved] = numbers(tmp_path)
    assert line(tmp_path).evaluate(points(1))["global_step"] == saved >= 5


def test_sigterm_in_the_last_evaluation_is_not_forgotten(tmp_path: Path) -> None:
    def input_fn() -> Iterator[Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        yield batch()

    estimator = line(tmp_path, save_checkpoints_steps=100)
    with pytest.raises(SystemExit) as stopped:
        estimator.train_and_evaluate(TrainSpec(points(3)), EvalSpec(input_fn))
    assert stopped.value.code == 143
    assert numbers(tmp_path) == [3]
    assert estimator.train(points(1)).evaluate(points(1))["global_step"] == 4


# ---- full disks, and files that are gone ----


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    line(tmp_path, keep_checkpoint_max=1).train(points(2))
    with no_file_longer_than(2**19), pytest.raises(OSError, match="too large"):
        line(tmp_path, keep_checkpoint_max=1).train(points(1))
    assert numbers(tmp_path) == [2]
    line(tmp_path).train(points(1))
    assert numbers(tmp_path) == [2, 3]


def test_an_old_checkpoint_that_is_gone_is_no_loss(tmp_path: Path, monkeypatch: Any) -> None:
    there = training.checkpoints
    gone = tmp_path / "model-0.ckpt"
    monkeypatch.setattr(training, "checkpoints", lambda folder: [gone, *there(folder)])
    line(tmp_path, keep_checkpoint_max=1).train(points(2))
    assert numbers(tmp_path) == [2]


def test_a_checkpoint_that_is_replaced_while_it_is_looked_for_is_not_missed(
    tmp_path: Path, monkeypatch: Any
) -> None:
    line(tmp_path).train(points(1))
    read = Checkpoint.read

    def late(path: Path, to_train: bool = False) -> Checkpoint:
        monkeypatch.setattr(Checkpoint, "read", read)
        line(tmp_path, keep_checkpoint_max=1).train(points(2))
        return read(path, to_train)

    estimator = line(tmp_path)
    monkeypatch.setattr(Checkpoint, "read", late)
    assert estimator.evaluate(points(1))["global_step"] == 3


# ---- two trainings ----


def test_a_second_training_is_refused_while_the_first_one_runs(tmp_path: Path) -> None:
    refused = []

    def input_fn() -> Iterator[Any]:
        for _ in range(3):
            with pytest.raises(ValueError, match=re.escape(f"got one in {tmp_path}. Wait")) as info:
                line(tmp_path).train(points(1))
            refused.append(info)
            yield batch()

    line(tmp_path).train(input_fn)
    assert len(refused) == 3
    assert line(tmp_path).train(points(1)).evaluate(points(1))["global_step"] == 4


# ---- broken and foreign files ----


def foreign() -> bytes:
    """Return a checkpoint of Lightning that is of no estimator."""
    module = HeadModule(nn.Linear(1, 1, bias=False), th.RegressionHead())
    trainer = quiet_trainer()
    trainer.strategy.connect(module)
    content = io.BytesIO()
    torch.save(trainer._checkpoint_connector.dump_checkpoint(weights_only=False), content)
    return content.getvalue()


OTHERS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "half": lambda whole: whole[: len(whole) // 2],
    "without its end": lambda whole: whole[:-5],
    "text": lambda whole: b"hello",
    "of another training": lambda whole: foreign(),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_the_newest_checkpoint_that_can_be_read_is_taken_and_told(
    tmp_path: Path, caplog: Any, kind: str
) -> None:
    line(tmp_path).train(points(3))
    good, bad = tmp_path / "model-2.ckpt", tmp_path / "model-3.ckpt"
    bad.write_bytes(OTHERS[kind](bad.read_bytes()))
    assert line(tmp_path).evaluate(points(1))["global_step"] == 2
    assert next(line(tmp_path).predict(points(1)))["predictions"] > 0
    assert numbers(tmp_path) == [1, 2, 3]
    caplog.clear()
    estimator = line(tmp_path, keep_checkpoint_max=1, save_checkpoints_steps=5)
    estimator.train(points(2), max_steps=4)
    [told] = caplog.messages
    assert re.fullmatch(rf"Checkpoint: expected {bad} as a file in .*Going on from {good}\.", told)
    assert estimator.evaluate(points(1))["global_step"] == 4
    whole = line(tmp_path / "whole").train(points(4)).model
    torch.testing.assert_close(estimator.model.state_dict(), whole.state_dict())
    shutil.rmtree(tmp_path / "whole")
    (tmp_path / "model-3.ckpt.broken").unlink()
    assert numbers(tmp_path) == [4]


def test_a_broken_checkpoint_does_not_outlive_the_good_ones(tmp_path: Path) -> None:
    line(tmp_path).train(points(3))
    (tmp_path / "model-3.ckpt").write_bytes(b"")
    with pytest.raises(OSError, match="too large"), no_file_longer_than(2**19):
        line(tmp_path, keep_checkpoint_max=1).train(points(1))
    assert line(tmp_path, keep_checkpoint_max=1).latest_checkpoint() == tmp_path / "model-2.ckpt"


@pytest.mark.parametrize("kind", OTHERS)
def test_a_checkpoint_that_was_asked_for_is_refused_by_its_path(tmp_path: Path, kind: str) -> None:
    estimator = line(tmp_path).train(points(1))
    path = tmp_path / "other.ckpt"
    path.write_bytes(OTHERS[kind]((tmp_path / "model-1.ckpt").read_bytes()))
    message = f"Checkpoint: expected {re.escape(str(path))} as a file in which .*, got .*another"
    for call in (estimator.evaluate, estimator.predict):
        with pytest.raises(ValueError, match=message):
            call(points(1), checkpoint_path=path)


def test_where_no_checkpoint_can_be_read_nothing_is_started_anew(tmp_path: Path) -> None:
    for step in (1, 2):
        (tmp_path / f"model-{step}.ckpt").write_bytes(b"")
    for call in (line(tmp_path).train, line(tmp_path).evaluate):
        with pytest.raises(ValueError, match=rf"{tmp_path}/model-2.ckpt as .* move this one away"):
            call(points(1))
    assert numbers(tmp_path) == [1, 2]
