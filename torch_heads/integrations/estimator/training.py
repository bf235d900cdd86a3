"""The training of an estimator, as Lightning's Trainer runs it, and its checkpoints."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torch_heads.functional.errors import unexpected
from torch_heads.heads.spec import EstimatorSpec, ModeKeys
from torch_heads.integrations.estimator.config import RunConfig
from torch_heads.integrations.estimator.inputs import Batch, Batches

logger = logging.getLogger(__name__)

OptimizerFn = Callable[[Iterable[Tensor]], Optimizer]
Call = Callable[[Batch, ModeKeys, Optimizer | None], EstimatorSpec]

CHECKPOINT = re.compile(r"model-(\d+)\.ckpt")


class StepModule(pl.LightningModule):
    """A model whose training step is the ``train_op`` of a spec.

    Args:
        who: the estimator's class, as errors say it.
        model: the modules to train.
        call: returns the spec of a batch.
        optimizer: an optimizer, or what makes one of the model's parameters; None where each
            ``train_op`` steps by itself.
    """

    def __init__(
        self, who: str, model: nn.Module, call: Call, optimizer: Optimizer | OptimizerFn | None
    ) -> None:
        super().__init__()
        self.model = model
        #: The number of steps so far, over all trainings.
        self.steps = 0
        self._who, self._call, self._make_optimizer = who, call, optimizer
        self._optimizer: Optimizer | None = None
        self._saved_optimizer: tuple[str, dict[str, Any]] | None = None

    def spec(self, batch: Batch, mode: ModeKeys) -> EstimatorSpec:
        """Return the spec of a batch that is on this module's device."""
        return self._call(batch, mode, self._optimizer)

    def configure_optimizers(self) -> Optimizer:
        """Return the optimizer, in the state of the checkpoint."""
        made = self._make_optimizer
        self._optimizer = made if made is None or isinstance(made, Optimizer) else self._made(made)
        if self._optimizer is None:
            # Lightning counts by the steps of an optimizer, and warns where there is none
            return torch.optim.SGD([torch.zeros(0, requires_grad=True)])
        if self._saved_optimizer is not None:
            (kind, state), self._saved_optimizer = self._saved_optimizer, None
            if kind != type(self._optimizer).__name__:
                given = type(self._optimizer).__name__
                expected = f"{kind}, as in the latest checkpoint"
                raise ValueError(unexpected(self._who, "optimizer", expected, given))
            self._optimizer.load_state_dict(state)
        return self._optimizer

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch, whose ``train_op`` is then due."""
        spec = self.spec(batch, ModeKeys.TRAIN)
        if spec.loss is None or not callable(spec.train_op):
            expected, given = "as a callable that runs one step", type(spec.train_op).__name__
            raise TypeError(unexpected(self._who, "train_op", expected, given))
        self._train_op = spec.train_op
        self.loss = spec.loss.item()  # read at every step, as in the originals
        if self.loss != self.loss:
            given = f"NaN at step {self.steps + 1}"
            raise ValueError(unexpected(self._who, "the loss", "as a number", given))
        self.log("loss", self.loss, prog_bar=True)
        return spec.loss

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Run the ``train_op``, which is the backward pass and the step in one."""
        self._train_op()
        self.steps += 1

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None
    ) -> None:
        """Run `training_step` and `backward`, which steps."""
        optimizer_closure()

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        """Leave the gradients to the ``train_op``."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Count the steps of all trainings, where Lightning counts those of one."""
        checkpoint["global_step"] = self.steps
        own = self._optimizer
        checkpoint["optimizer"] = None if own is None else type(own).__name__

    def restore(self, path: Path, with_optimizer: bool) -> None:
        """Load the model and the number of steps, and for training the optimizer's state.

        Raises:
            ValueError: if the checkpoint is of another model.
        """
        saved = torch.load(path, map_location="cpu", weights_only=True)
        try:
            self.load_state_dict(saved["state_dict"])
        except RuntimeError as error:
            expected, hint = "with checkpoints of this model", str(error)
            refusal = unexpected(self._who, "model_dir", expected, path, hint)
            raise ValueError(refusal) from None
        self.steps = saved["global_step"]
        if with_optimizer and saved["optimizer"] is not None:
            self._saved_optimizer = saved["optimizer"], saved["optimizer_states"][0]

    def _made(self, make: OptimizerFn) -> Optimizer:
        made = make(self.model.parameters())
        if not isinstance(made, Optimizer):
            expected, given = "to make a torch.optim.Optimizer", type(made).__name__
            raise TypeError(unexpected(self._who, "optimizer", expected, given))
        return made


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

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Count from here."""
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
            old.unlink()
        logger.info("Saved the checkpoint of step %d in %s", module.steps, self._directory)
        if self._then is not None:
            self._then()
        self._saved, self._since = module.steps, monotonic()


def checkpoints(directory: Path) -> list[Path]:
    """Return the checkpoints in a directory, the latest last."""
    found = {
        int(match[1]): path
        for path in directory.glob("*.ckpt")
        if (match := CHECKPOINT.fullmatch(path.name))
    }
    return [found[step] for step in sorted(found)]


def fit(
    module: StepModule, batches: Batches, directory: Path, config: RunConfig, saver: Saver
) -> None:
    """Train a module on batches, to their end."""
    with quiet():
        trainer = pl.Trainer(
            accelerator=config.accelerator,
            devices=1,
            max_epochs=1,
            logger=False,
            callbacks=[*config.callbacks, saver],
            default_root_dir=directory,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=sys.stdout.isatty(),
        )
        trainer.fit(module, batches)


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
