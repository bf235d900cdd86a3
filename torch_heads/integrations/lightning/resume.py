"""What a resumed run needs beyond what Lightning keeps in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class RandomState(Callback):
    """Keeps the state of PyTorch's random generators in checkpoints.

    A run resumed from the end of an epoch then shuffles, drops out and augments as the
    uninterrupted run does. NumPy's and Python's generators are not kept.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget what an earlier run loaded and, evaluating or interrupted, did not put back."""
        self._loaded = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the CPU's generator and of those of all CUDA devices."""
        return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the states until the run begins: to build and load a model may draw numbers."""
        self._loaded = state_dict

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the states back, before the first data loader draws its seed."""
        if self._loaded:
            torch.set_rng_state(self._loaded["cpu"])
            if len(self._loaded["cuda"]) == torch.cuda.device_count():
                torch.cuda.set_rng_state_all(self._loaded["cuda"])

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Let the states go on from there."""
        self._loaded = {}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put them back again if the epoch was over: then a loader was made in vain, and drew."""
        self.on_fit_start(trainer, pl_module)


class PlateauValues(Callback):
    """Keeps in checkpoints what schedulers that follow a metric have to see at the epoch's end.

    Lightning saves before they step, and does not step them in a resumed run, which has no metrics.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, float] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget what an earlier run loaded."""
        self._loaded = {}

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the metrics that are followed."""
        seen = trainer.callback_metrics
        followed = [one.monitor for one in trainer.lr_scheduler_configs if one.reduce_on_plateau]
        checkpoint["plateau_values"] = {key: float(seen[key]) for key in followed if key in seen}

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep them until the run begins."""
        self._loaded = checkpoint.get("plateau_values", {})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the step that is missing if the checkpoint was saved after the last epoch."""
        self._catch_up(trainer, trainer.current_epoch, self._loaded)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Forget what was loaded: this epoch goes on, and has values of its own."""
        self._loaded = {}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the step that Lightning leaves out at the end of the epoch that was resumed."""
        values = trainer.callback_metrics if trainer.fit_loop.restarting else {}
        self._catch_up(trainer, trainer.current_epoch + 1, self._loaded or values)

    def _catch_up(self, trainer: Trainer, epochs: int, values: Mapping[str, Any]) -> None:
        for one in trainer.lr_scheduler_configs:
            due = one.reduce_on_plateau and one.interval == "epoch" and one.monitor in values
            if due and one.scheduler.last_epoch < epochs // one.frequency:
                one.scheduler.step(float(values[one.monitor]))  # type: ignore[arg-type,index]
