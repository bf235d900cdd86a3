"""A model as Lightning trains it: a step is what the spec of a batch says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any
from weakref import ref

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torch_heads.computation.computation import Computation
from torch_heads.computation.meaning import Meaning
from torch_heads.functional.errors import unexpected
from torch_heads.heads.saved import refuse_other_heads
from torch_heads.heads.spec import EstimatorSpec, ModeKeys
from torch_heads.integrations.estimator.checkpoint import Checkpoint
from torch_heads.integrations.estimator.inputs import InputBatch

OptimizerFn = Callable[[Iterable[Tensor]], Optimizer]
Call = Callable[[InputBatch, ModeKeys, Optimizer | None], EstimatorSpec]


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
        #: Whether a training is running, so that the weights are its own.
        self.in_training = False
        self._who, self._call, self._make_optimizer = who, call, optimizer
        self._optimizer: Optimizer | None = None
        self._saved_optimizer: tuple[str, dict[str, Any]] | None = None
        self._first: Checkpoint | None = None
        self._heads: Computation | None = None  # of the latest spec, maybe outside of the model
        self._loaded: tuple[Path | None, Any] = None, None  # a checkpoint, and its head's meaning
        # weakly, so that the weights are there twice only as long as they are needed
        self._held: ref[Checkpoint] | None = None

    def spec(self, batch: InputBatch, mode: ModeKeys) -> EstimatorSpec:
        """Return the spec of a batch that is on this module's device."""
        spec = self._call(batch, mode, self._optimizer)
        if spec.head is not None and spec.head.computation is not self._heads:
            self._check_heads(spec.head.computation)
            self._heads = spec.head.computation
        return spec

    def hold(self, checkpoint: Checkpoint) -> None:
        """Have the weights of a checkpoint, its steps, and when trained its optimizer.

        Raises:
            ValueError: if it is of another model.
            RuntimeError: if a training is running.
        """
        if self._held is not None and self._held() is checkpoint:
            return
        if self.in_training:
            given = "a call that needs those of a checkpoint"
            hint = "Call it before the training: predictions, for example, as a list."
            raise RuntimeError(unexpected(self._who, "weights", "to be trained", given, hint))
        self._first = self._first or self._as_it_is()
        self._held = None
        try:
            refuse_other_heads(self, checkpoint.weights)  # before anything is changed
            self.load_state_dict(checkpoint.weights)
        except (RuntimeError, ValueError) as error:
            raise ValueError(self._other_model(checkpoint.path, str(error))) from None
        self._loaded, self._heads = (checkpoint.path, checkpoint.meaning), None
        self.steps, self._saved_optimizer = checkpoint.steps, checkpoint.optimizer
        self._held = ref(checkpoint)

    def _check_heads(self, own: Computation) -> None:
        """Refuse heads that mean something else than those of the checkpoint."""
        path, meaning = self._loaded
        if meaning is not None:
            words = Meaning.of(own).difference(Meaning.read(own.title, meaning))
            if words is not None:
                raise ValueError(self._other_model(path, words))

    def _other_model(self, path: Path | None, words: str) -> str:
        return unexpected(self._who, "model_dir", "with checkpoints of this model", path, words)

    def restart(self) -> None:
        """Go back to before the first training, or the first checkpoint that was held."""
        if self._first is None:
            self._first = self._as_it_is()
        else:
            self.hold(self._first)

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

    def training_step(self, batch: InputBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch, whose ``train_op`` is then due."""
        self._held = None
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
        if self._heads is not None:
            checkpoint["meaning"] = Meaning.of(self._heads).to_tensor()

    def _as_it_is(self) -> Checkpoint:
        own = self._make_optimizer
        kept = (type(own).__name__, own.state_dict()) if isinstance(own, Optimizer) else None
        return Checkpoint(deepcopy(self.state_dict()), self.steps, deepcopy(kept))

    def _made(self, make: OptimizerFn) -> Optimizer:
        made = make(self.model.parameters())
        if not isinstance(made, Optimizer):
            expected, given = "to make a torch.optim.Optimizer", type(made).__name__
            raise TypeError(unexpected(self._who, "optimizer", expected, given))
        return made
