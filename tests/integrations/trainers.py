"""Trainers that print and write nothing, and the warnings of Lightning that tests must expect."""

from typing import Any

import pytest
from lightning.pytorch import Trainer

EXPECTED = [
    # Lightning 2.6 uses what PyTorch will remove
    "ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning",
    # advice that does not fit tests: they are small, run on the CPU, and often lack a part
    "ignore:The '[a-z]+_dataloader' does not have many workers",
    "ignore:You defined a `validation_step` but have no `val_dataloader`",
    "ignore:GPU available but not used",
    "ignore:Checkpoint directory .* exists and is not empty",
]

expected_warnings = [pytest.mark.filterwarnings(warning) for warning in EXPECTED]


def quiet_trainer(**kwargs: Any) -> Trainer:
    """Return a trainer on the CPU."""
    silent = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return Trainer(**{"accelerator": "cpu", "max_epochs": 1} | silent | kwargs)
