"""Checkpoints: what a training starts from, and what it leaves in files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

FILE_NAME = re.compile(r"model-(\d+)\.ckpt")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights, after how many steps they are, and the class and state of their optimizer.

    The optimizer is None where there is none, and where it is not needed; the path, where the
    weights were never in a file.
    """

    weights: dict[str, Any]
    steps: int
    optimizer: tuple[str, dict[str, Any]] | None
    path: Path | None = None

    @classmethod
    def read(cls, path: Path, with_optimizer: bool) -> Checkpoint:
        """Return the checkpoint in a file."""
        saved = torch.load(path, map_location="cpu", weights_only=True)
        kind, optimizer = saved["optimizer"], None
        if with_optimizer and kind is not None:
            optimizer = kind, saved["optimizer_states"][0]
        return cls(saved["state_dict"], saved["global_step"], optimizer, path)


def checkpoints(directory: Path) -> list[Path]:
    """Return the checkpoints in a directory, the latest last."""
    found = {
        int(match[1]): path
        for path in directory.glob("*.ckpt")
        if (match := FILE_NAME.fullmatch(path.name))
    }
    return [found[step] for step in sorted(found)]
