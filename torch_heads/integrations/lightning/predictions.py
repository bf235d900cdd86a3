"""Predictions as a file of JSON lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from torch_heads.functional.errors import preview, unexpected
from torch_heads.integrations.atomic import replacing


class PredictionWriter(BasePredictionWriter):
    """Writes what `HeadModule.predict_step` returns: a line of JSON for each example.

    Keys are ``head/key``, or plain keys for a single head. What has one element is written as
    that, not as a list; NaN and infinities, which JSON does not have, as null. Several data loaders
    follow one another. Every process writes a file of its own, with its number before the suffix
    where there are several.

    Args:
        path: the file; its folder is made, and what was in it is replaced when all is predicted.
        keys: which keys to write; by default all.

    Raises:
        ValueError: if the keys are no list of names; in the first batch, if there is no such key.
    """

    def __init__(
        self, path: str | Path = "predictions.jsonl", keys: Sequence[str] | None = None
    ) -> None:
        super().__init__("batch")
        if isinstance(keys, str) or (keys is not None and not keys):
            expected = "as a list of at least one name"
            raise ValueError(unexpected(type(self).__name__, "keys", expected, repr(keys)))
        self.path = Path(path)
        self.keys = keys
        self._writing = ExitStack()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a file, which replaces the one before at the end."""
        path = self._path(trainer).resolve()  # a link goes on to lead where it does
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writing = ExitStack()
        self._file = self._writing.enter_context(replacing(path))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the file into its place, and say where it is."""
        self._writing.close()
        rank_zero_info(f"Predictions: {self._path(trainer)}")

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave the file as it was before, in whatever the trainer was interrupted."""
        self._writing.__exit__(type(exception), exception, exception.__traceback__)

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
        named = {_flat(key): value for key, value in prediction.items()}
        keys = list(named) if self.keys is None else self.keys
        unknown = [key for key in keys if key not in named]
        if unknown:
            expected = f"among {preview(named, 40)}"
            raise ValueError(unexpected("PredictionWriter", "keys", expected, preview(unknown)))
        rows = zip(*(_plain(named[key]) for key in keys), strict=True)
        lines = [json.dumps(dict(zip(keys, row, strict=True)), allow_nan=False) for row in rows]
        self._file.write("".join(f"{line}\n" for line in lines).encode())

    def _path(self, trainer: Trainer) -> Path:
        own = f".{trainer.global_rank}{self.path.suffix}"
        return self.path.with_suffix(own) if trainer.world_size > 1 else self.path


def _flat(key: Any) -> str:
    return key if isinstance(key, str) else "/".join(map(_flat, key))


def _plain(values: Tensor | np.ndarray[Any, Any]) -> list[Any]:
    """Return a value for each row, with None for what JSON does not have."""
    array = values.cpu().numpy() if isinstance(values, Tensor) else values
    if array.dtype.kind == "f":
        array = np.where(np.isfinite(array), array.astype(object), np.array(None))
    return [row[0] if isinstance(row, list) and len(row) == 1 else row for row in array.tolist()]
