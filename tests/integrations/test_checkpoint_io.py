"""Checkpoints are whole after any kill and on full disks, and others are refused by their path."""

import io
import pickle
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins import TorchCheckpointIO
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import torch_heads as th
from tests.integrations.disks import output, python, small_disk
from tests.integrations.trainers import expected_warnings, quiet_trainer
from torch_heads.integrations.checkpoint_io import AtomicCheckpointIO
from torch_heads.integrations.lightning import HeadModule

pytestmark = expected_warnings

KILLED = """
import os, random, signal, sys, time, torch
from pathlib import Path
from lightning.pytorch.plugins import TorchCheckpointIO
from torch_heads.integrations.checkpoint_io import AtomicCheckpointIO

def checkpoint(step):
    weights = {"w": torch.full((1_000_000,), step)}
    return {"state_dict": weights, "global_step": step, "pytorch-lightning_version": "2.6.6"}

def is_whole(path):
    try:
        found = torch.load(path, weights_only=True)
    except Exception:
        return False
    return bool((found["state_dict"]["w"] == found["global_step"]).all())

path, name, times = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
checkpoints, broken, failed, read = {
    "Atomic": AtomicCheckpointIO, "Lightning": TorchCheckpointIO
}[name](), 0, 0, 0
torch.set_num_threads(1)
chance = random.Random(0)
checkpoints.save_checkpoint(checkpoint(0), path)
for _ in range(times):
    if not (process := os.fork()):
        for step in range(1_000_000):
            checkpoints.save_checkpoint(checkpoint(step), path)
    end = time.monotonic() + 0.05 + chance.random() * 0.1
    while time.monotonic() < end:
        failed, read = failed + (not is_whole(path)), read + 1
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    broken += not is_whole(path)
    checkpoints.save_checkpoint(checkpoint(0), path)
left = len([*path.parent.iterdir()]) - 1
print(f"{broken} broken after {times} kills, {failed} of {read} readings failed, {left} left")
"""


def kill(folder: Path, name: str, times: int) -> list[int]:
    """Return how many checkpoints were broken, how many readings failed, and what was left."""
    with small_disk(folder / "disk", 40 * 2**20) as disk:
        said = output(python(KILLED, disk / "last.ckpt", name, times, TMPDIR=str(folder)))
    found = re.fullmatch(r"(\d+) broken .* kills, (\d+) of \d+ .* failed, (\d+) left\n", said)
    assert found, said
    return [int(number) for number in found.groups()]


def test_a_checkpoint_is_whole_at_any_time_and_after_any_kill(tmp_path: Path) -> None:
    assert kill(tmp_path, "Atomic", 25) == [0, 0, 0]


def module(width: int = 8) -> HeadModule:
    return HeadModule(nn.Linear(width, 1), th.RegressionHead())


def data(width: int = 8) -> Any:
    return DataLoader(TensorDataset(torch.zeros(2, width), torch.zeros(2, 1)))


def fit(folder: Path, epochs: int, **kwargs: Any) -> Path:
    """Train, save after each epoch, and return the last checkpoint."""
    last = ModelCheckpoint(folder, filename="last", enable_version_counter=False)
    callbacks = [last, *kwargs.pop("callbacks", [])]
    options = {"enable_checkpointing": True, "callbacks": callbacks, "max_epochs": epochs}
    model = kwargs.pop("model", None) or module()
    quiet_trainer(**options).fit(model, data(), **kwargs)
    return folder / "last.ckpt"


class Ballast(HeadModule):
    """Fills a checkpoint in its second epoch."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["ballast"] = torch.zeros(self.current_epoch, 2**20)


def test_a_disk_that_fills_up_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 3 * 2**20) as disk:
        with pytest.raises(OSError, match="No space left"):
            fit(disk, 2, model=Ballast(nn.Linear(8, 1), th.RegressionHead()))
        assert [path.name for path in disk.iterdir()] == ["last.ckpt"]
        assert torch.load(disk / "last.ckpt")["epoch"] == 0
        assert torch.load(fit(disk, 2, ckpt_path=disk / "last.ckpt"))["epoch"] == 1


def test_no_checkpoint_passes_through_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert fit(tmp_path, 1).exists()


def test_a_way_of_ones_own_to_save_is_kept(tmp_path: Path) -> None:
    class Own(TorchCheckpointIO):
        pass

    trainer = quiet_trainer(plugins=[Own()])
    trainer.fit(module(), data())
    assert isinstance(trainer.strategy.checkpoint_io, Own)


class Danger:
    """What a checkpoint has no business to hold."""


def saved(content: Any) -> bytes:
    whole = io.BytesIO()
    torch.save(content, whole)
    return whole.getvalue()


WHOLE = saved({"state_dict": {"w": torch.ones(1000)}})
OTHERS = {
    "empty": (b"", "a broken or another file"),
    "first half": (WHOLE[: len(WHOLE) // 2], "a broken or another file"),
    "without its end": (WHOLE[:-5], "a broken or another file"),
    "text": (b"hello", "a broken or another file"),
    "zeros": (bytes(5000), "a broken or another file"),
    "pickle": (pickle.dumps({"a": 1}), "a broken or another file"),
    "weights alone": (WHOLE, "something else"),
    "a tensor": (saved(torch.ones(3)), "something else"),
    "an object": (
        saved({"pytorch-lightning_version": "2.6.6", "x": Danger()}),
        "more than tensors and plain data. If you trust it, load it with weights_only=False",
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_checkpoint_is_refused_by_its_path(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "some.ckpt"
    content, given = OTHERS[kind]
    path.write_bytes(content)
    message = f"Checkpoint: expected {path} as a file in which Lightning saved, got {given}."
    for call in (quiet_trainer().fit, quiet_trainer().validate):
        with pytest.raises(ValueError, match=re.escape(message)):
            call(module(), data(), ckpt_path=path)


def test_a_checkpoint_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.ckpt"):
        quiet_trainer().fit(module(), data(), ckpt_path=tmp_path / "missing.ckpt")


def test_the_checkpoint_of_another_model_is_named(tmp_path: Path) -> None:
    path = fit(tmp_path, 1)
    other = module(width=3)
    message = rf"HeadModule: expected ckpt_path {re.escape(str(path))} with the weights .*mismatch"
    with pytest.raises(ValueError, match=f"(?s){message}"):
        quiet_trainer().validate(other, data(width=3), ckpt_path=path)
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.load_state_dict(torch.load(path)["state_dict"])


def test_a_checkpoint_is_removed_once(tmp_path: Path) -> None:
    path = tmp_path / "one.ckpt"
    path.touch()
    for _ in range(2):
        AtomicCheckpointIO().remove_checkpoint(path)
    assert not path.exists()
