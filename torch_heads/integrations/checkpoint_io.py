"""How Lightning writes and reads checkpoints: whole, and no code."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer

from torch_heads.functional.errors import unexpected
from torch_heads.integrations.atomic import replacing

OTHER = "Give another checkpoint, or move this one away."


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there; reads tensors and plain data alone.

    So a kill or a full disk leaves the earlier checkpoint of the same name. What is not on a local
    disk is written as Lightning does.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint, and make the folder that it lies in."""
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        # first to memory, as in Lightning: torch.save says nothing useful where a disk is full
        whole = io.BytesIO()
        torch.save(checkpoint, whole)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(Path(path)) as file:
            file.write(whole.getbuffer())

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, location: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Return the content of a checkpoint of Lightning.

        Raises:
            ValueError: if it is none, or broken.
        """
        refusal = functools.partial(
            unexpected, "Checkpoint", str(path), "as a file in which Lightning saved"
        )
        try:
            found = super().load_checkpoint(path, map_location, weights_only is not False)
        except (FileNotFoundError, PermissionError, MemoryError):
            raise
        except Exception as error:  # of any type, as broken bytes may say anything
            if isinstance(error, UnpicklingError) and "Unsupported global" in str(error):
                hint = "If you trust it, load it with weights_only=False."
                raise ValueError(refusal("more than tensors and plain data", hint)) from error
            raise ValueError(refusal("a broken or another file", OTHER)) from error
        if not isinstance(found, dict) or "pytorch-lightning_version" not in found:
            raise ValueError(refusal("something else", OTHER))
        return found

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint, if it is still there."""
        with suppress(FileNotFoundError):  # another process may have been faster
            super().remove_checkpoint(path)


class AtomicCheckpoints(Callback):
    """Lets a trainer write and read by `AtomicCheckpointIO`, unless it has a way of its own."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Put it in place, before a checkpoint is read."""
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = AtomicCheckpointIO()
