"""The command line: a trainer, a `HeadModule` and its data from a configuration."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.cli import LightningCLI

from torch_heads.integrations.lightning.module import HeadModule
from torch_heads.integrations.sigterm import with_its_code

ABOUT = (
    "Train, evaluate and predict from a configuration. What is exported has commands of its own:"
    " show, run and serve, each with --help."
)


class HeadCLI(LightningCLI):
    """A command line whose configuration is the user's alone."""

    def _parse_ckpt_path(self) -> None:
        """Leave the ``hyper_parameters`` in a checkpoint alone: others may have written it."""


def main(args: Any = None) -> LightningCLI:
    """Run ``fit``, ``validate``, ``test`` or ``predict``, and return what ran it.

    Args:
        args: the arguments as a list; by default those of the command line.

    Raises:
        SIGTERMException: if the process was to end meanwhile; its exit code is 143.
    """
    with with_its_code():
        return HeadCLI(
            HeadModule,
            args=args,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={"prog": "python -m torch_heads", "description": ABOUT},
        )
