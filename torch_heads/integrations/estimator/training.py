"""The training of an estimator, as Lightning's Trainer runs it."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import SIGTERMException

from torch_heads.functional.errors import unexpected
from torch_heads.integrations.atomic import remove_unfinished
from torch_heads.integrations.checkpoint_io import AtomicCheckpointIO
from torch_heads.integrations.estimator.checkpoint import checkpoints
from torch_heads.integrations.estimator.config import RunConfig
from torch_heads.integrations.estimator.inputs import Batches
from torch_heads.integrations.estimator.step_module import StepModule
from torch_heads.integrations.lock import alone
from torch_heads.integrations.sigterm import with_its_code

logger = logging.getLogger(__name__)


class Saver(pl.Callback):
    """Saves checkpoints when they are due, at the end, and when training is interrupted.

    Args:
        directory: where to.
        config: when, and how many to keep.
        then: called after a checkpoint.
    """

    def __init__(
        self, directory: Path, config: RunConfig, then: Callable[[], object] | None = None
    ) -> None:
        self._directory, self._config, self._then = directory, config, then

    def setup(self, trainer: pl.Trainer, module: Any, stage: str) -> None:
        """Count from here: an interruption may come before the first batch."""
        self._saved, self._since = module.steps, monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the loss and save, where they are due."""
        every = self._config.log_step_count_steps
        if every is not None and batch_idx % every == 0:
            logger.info("loss = %g, step = %d", module.loss, module.steps)
        if self._config.is_due(module.steps - self._saved, monotonic() - self._since):
            self._save(trainer, module)

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Save the last step."""
        if module.steps > self._saved:
            self._save(trainer, module)
            logger.info("Loss for final step %d: %g", module.steps, module.loss)

    def on_exception(self, trainer: pl.Trainer, module: Any, exception: BaseException) -> None:
        """Save when interrupted or terminated, but not after an error."""
        self._then = None
        if isinstance(exception, (KeyboardInterrupt, SystemExit)):
            self.on_train_end(trainer, module)

    def _save(self, trainer: pl.Trainer, module: Any) -> None:
        trainer.save_checkpoint(self._directory / f"model-{module.steps}.ckpt")
        keep = self._config.keep_checkpoint_max or sys.maxsize
        for old in checkpoints(self._directory)[:-keep]:
            old.unlink(missing_ok=True)
        logger.info("Saved the checkpoint of step %d in %s", module.steps, self._directory)
        if self._then is not None:
            self._then()
        self._saved, self._since = module.steps, monotonic()


def fit(
    module: StepModule, batches: Batches, directory: Path, config: RunConfig, saver: Saver
) -> None:
    """Train a module on batches, to their end.

    Raises:
        SIGTERMException: if the process was to end meanwhile; all is saved, and the code is 143.
    """
    callbacks = [*config.callbacks, saver]
    with quiet():
        trainer = pl.Trainer(
            accelerator=config.accelerator,
            devices=1,
            max_epochs=1,
            logger=False,
            callbacks=callbacks,
            plugins=[AtomicCheckpointIO()],
            default_root_dir=directory,
            enable_checkpointing=False,
            enable_model_summary=False,
            # in a file or a notebook, a bar would only be in the way of what is logged
            enable_progress_bar=sys.stdout.isatty()
            or any(isinstance(one, pl.callbacks.ProgressBar) for one in callbacks),
        )
        module.train()
        module.in_training = True
        try:
            with with_its_code():
                trainer.fit(module, batches)
                if trainer.received_sigterm:  # after the last batch, where Lightning does not look
                    raise SIGTERMException
        finally:
            module.in_training = False


@contextmanager
def sole_training(who: str, directory: Path) -> Iterator[None]:
    """Let nobody else train in a directory, which is made, and remove what a kill left in it.

    Raises:
        ValueError: if another training runs there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    expected, given = "without another training", f"one in {directory}"
    hint = "Wait for its end, or train in another folder."
    with alone(directory / ".lock", unexpected(who, "model_dir", expected, given, hint)):
        remove_unfinished(directory)
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what Lightning says of itself."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # of Lightning 2.6's own use of torch.utils._pytree, on torch 2.13
            warnings.filterwarnings("ignore", r".*treespec, LeafSpec", FutureWarning)
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
