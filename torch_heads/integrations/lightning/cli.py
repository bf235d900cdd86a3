"""The command line: a trainer, a `HeadModule` and its data from a configuration."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.cli import LightningCLI

from torch_heads.integrations.lightning.module import HeadModule


def main(args: Any = None) -> LightningCLI:
    """Run ``fit``, ``validate``, ``test`` or ``predict``, and return what ran it.

    Args:
        args: the arguments as a list; by default those of the command line.
    """
    return LightningCLI(
        HeadModule,
        args=args,
        seed_everything_default=0,
        auto_configure_optimizers=False,
        save_config_kwargs={"overwrite": True},
        parser_kwargs={"prog": "python -m torch_heads"},
    )
