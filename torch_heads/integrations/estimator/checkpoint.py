"""Checkpoints: what a training starts from, and what it leaves in files."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_heads.functional.errors import unexpected
from torch_heads.integrations.checkpoint_io import OTHER, AtomicCheckpointIO

logger = logging.getLogger(__name__)

FILE_NAME = re.compile(r"model-(\d+)\.ckpt")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights, after how many steps they are, and the class and state of their optimizer.

    The optimizer is None where there is none, and where it is not needed; the path, where the
    weights were never in a file. ``meaning`` is that of the head, where a spec told it.
    """

    weights: dict[str, Any]
    steps: int
    optimizer: tuple[str, dict[str, Any]] | None
    path: Path | None = None
    meaning: Any = None

    @classmethod
    def read(cls, path: Path, to_train: bool = False) -> Checkpoint:
        """Return the checkpoint in a file, with its optimizer where it is to be trained.

        Raises:
            ValueError: if the file is broken, or of something else.
        """
        saved = AtomicCheckpointIO().load_checkpoint(path)
        try:
            weights, steps, kind = saved["state_dict"], saved["global_step"], saved["optimizer"]
            own = to_train and kind is not None
            optimizer = (kind, saved["optimizer_states"][0]) if own else None
        except (KeyError, IndexError):
            expected, given = "as a file in which an estimator saved", "one of another training"
            raise ValueError(unexpected("Checkpoint", str(path), expected, given, OTHER)) from None
        return cls(weights, steps, optimizer, path, saved.get("meaning"))

    @classmethod
    def latest(cls, directory: Path, to_train: bool = False) -> Checkpoint | None:
        """Return the latest checkpoint in a directory that can be read, None where there is none.

        Those that cannot be are told, and where it is to be trained renamed: they are of later
        steps, and would be taken for the latest again.

        Raises:
            ValueError: if none of those that are there can be read.
        """
        refused: dict[Path, ValueError] = {}
        gone: set[Path] = set()
        # looked for anew each time: a training in another process may save and remove some
        while left := [path for path in checkpoints(directory) if path not in {*refused, *gone}]:
            path = left[-1]
            try:
                found = cls.read(path, to_train)
            except FileNotFoundError:
                gone.add(path)
            except ValueError as error:
                refused[path] = error
            else:
                for other, refusal in refused.items():
                    logger.warning("%s Going on from %s.", refusal, path)
                    if to_train:
                        with suppress(FileNotFoundError):
                            other.replace(f"{other}.broken")
                return found
        for refusal in refused.values():
            raise refusal
        return None


def checkpoints(directory: Path) -> list[Path]:
    """Return the checkpoints in a directory, the latest last."""
    found = {
        int(match[1]): path
        for path in directory.glob("*.ckpt")
        if (match := FILE_NAME.fullmatch(path.name))
    }
    return [found[step] for step in sorted(found)]
