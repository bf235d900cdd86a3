"""Predictions as a file of JSON lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter


class PredictionWriter(BasePredictionWriter):
    """Writes what `HeadModule.predict_step` returns: a line of JSON for each example.

    Keys are ``head/key``, or plain keys for a single head. What has one element is written as
    that, not as a list. Every process writes a file of its own, with its number before the suffix
    where there are several.

    Args:
        path: the file; its folder is made, and what was in it is lost.
        keys: which keys to write; by default all.
    """

    def __init__(
        self, path: str | Path = "predictions.jsonl", keys: Sequence[str] | None = None
    ) -> None:
        super().__init__("batch")
        self.path = Path(path)
        self.keys = keys

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin an empty file."""
        if trainer.world_size > 1:
            self.path = self.path.with_suffix(f".{trainer.global_rank}{self.path.suffix}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("", encoding="utf-8")

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Mapping[Any, Any],
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Add a line for each example of the batch."""
        named = {
            key if isinstance(key, str) else "/".join(key): value.tolist()
            for key, value in prediction.items()
        }
        keys = named if self.keys is None else self.keys
        with self.path.open("a", encoding="utf-8") as file:
            for row in zip(*(named[key] for key in keys), strict=True):
                line = {key: _plain(value) for key, value in zip(keys, row, strict=True)}
                file.write(json.dumps(line) + "\n")


def _plain(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value
