"""Any backbone and any head as one `LightningModule`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.cli import LightningCLI, LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from torch_heads.functional.errors import unexpected
from torch_heads.functional.reductions import safe_divide
from torch_heads.heads.base import Head
from torch_heads.heads.multi import MultiHead
from torch_heads.integrations.lightning.batch import Batch
from torch_heads.integrations.lightning.resume import RandomState
from torch_heads.integrations.lightning.window import block_losses, count_labels, split_by_block
from torch_heads.metrics.tally import CallTally

MOST_LOGGED = 256  # values at once; Lightning takes 0.3 ms for each


class HeadModule(LightningModule):
    """Trains, evaluates and serves a backbone with a head.

    Batches are ``(inputs, labels)``, ``(inputs, labels, features_or_weights)``, or a dict with
    ``inputs``, ``labels``, ``features`` and ``weights``. The backbone is called with the inputs
    alone. It returns the logits, or a dict of logits by head name; with ``in_features``, hidden
    features ``[D0, ..., DN, in_features]``, from which a linear layer makes the logits.

    Logged are ``train/loss`` at every step, ``train/loss/<head>`` with the logger's steps, and for
    ``val`` and ``test`` every metric key, such as ``val/auc/even``, and ``val/loss``: the loss of
    the whole epoch, in which labels count and not batches. (Sums count as means over batches.)
    The metrics are those of `Head.metric_collection`, which stays readable after the epoch. More
    than `MOST_LOGGED` at once reach loggers and callbacks, but not the table of `Trainer.test`.

    Args:
        backbone: any module.
        head: any head.
        optimizer: makes the optimizer from the trainable parameters; by default AdamW.
        lr_scheduler: makes a scheduler from the optimizer, stepped after each epoch;
            `lightning.pytorch.cli.ReduceLROnPlateau` monitors a logged key.
        in_features: the width of the backbone's features, or ``"lazy"`` to take it from the first
            batch; None if the backbone returns logits.
        global_normalization: whether each head's loss is divided by the labels of all processes
            and all accumulated batches of an optimizer step, not of each batch for itself.
        report: a folder for a report of the test metrics (`torch_heads.integrations.report`).

    Raises:
        TypeError: if ``head`` is not a head.
        ValueError: if ``in_features`` is not allowed, or a batch is not what the head takes.

    >>> from torch_heads import BinaryClassHead
    >>> module = HeadModule(nn.Linear(8, 4), BinaryClassHead(), in_features=4)
    >>> list(module(torch.randn(2, 8)))
    ['logits', 'logistic', 'probabilities', 'class_ids', 'all_class_ids']
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: Head,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = None,
        *,
        in_features: int | Literal["lazy"] | None = None,
        global_normalization: bool = False,
        report: str | Path | None = None,
    ) -> None:
        super().__init__()
        title = type(self).__name__
        if not isinstance(head, Head):
            raise TypeError(unexpected(title, "head", "as a head", type(head).__name__))
        self.backbone = backbone
        self.head = head
        self.projection = _projection(title, in_features, head.logits_dimension)
        self.optimizer = optimizer or torch.optim.AdamW
        self.lr_scheduler = lr_scheduler
        self.global_normalization = global_normalization
        self.report = report
        self.epoch_loss = CallTally(sum(len(block.heads) for block in head.blocks()))
        self._window: list[Batch] = []  # of one optimizer step, under global_normalization

    def logits(self, inputs: Any) -> Any:
        """Return what the head takes, from what the backbone takes."""
        return self.projection(self.backbone(inputs))

    def forward(self, inputs: Any) -> dict[str, Tensor]:
        """Return the predictions that are tensors, in a flat dict: the model to be served."""
        predictions: dict[str, Tensor] = self.head(self.logits(inputs))
        return predictions

    def configure_optimizers(self) -> Any:
        """Return the optimizer of the trainable parameters, and the scheduler if there is one."""
        optimizer = self.optimizer([p for p in self.parameters() if p.requires_grad])
        scheduler = None if self.lr_scheduler is None else self.lr_scheduler(optimizer)
        return LightningCLI.configure_optimizers(self, optimizer, scheduler)

    def configure_callbacks(self) -> list[Callback]:
        """Return what makes a resumed run go on as the uninterrupted one, unless it is there."""
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        return [] if any(isinstance(one, RandomState) for one in callbacks) else [RandomState()]

    # Training.

    def on_train_epoch_start(self) -> None:
        """Drop the batches of a step that never came: the last epoch may have been stopped."""
        self._window.clear()
        strategy, k = self.trainer.strategy, self.trainer.accumulate_grad_batches
        known = isinstance(strategy, (SingleDeviceStrategy, DDPStrategy))
        if self.global_normalization and k > 1 and not known:
            raise ValueError(
                unexpected(
                    type(self).__name__,
                    "global_normalization",
                    "with one device, DDP, or accumulate_grad_batches=1",
                    f"{type(strategy).__name__} and accumulate_grad_batches={k}",
                )
            )

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss."""
        part = Batch.of(batch, self.head)
        if self.global_normalization:
            return self._normalized_step(part, batch_idx)
        losses = self._losses(part)
        loss = self.head.combine(losses)
        self._log_step(loss, losses)
        return loss

    def _losses(self, part: Batch, divisors: Tensor | None = None) -> list[Tensor]:
        return block_losses(self.head, part, self.logits(part.inputs), divisors)

    def _normalized_step(self, part: Batch, batch_idx: int) -> Tensor:
        """Return the loss of the last batch of an optimizer step; before, only keep the batches.

        The gradient of the first batch depends on the labels of the last, so that all forward
        passes wait for it. Then each is followed by its backward pass; the last one's, in which
        DDP averages what all have added up, is Lightning's.
        """
        self._window.append(part)
        k = self.trainer.accumulate_grad_batches
        if (batch_idx + 1) % k and not self.trainer.is_last_batch:
            return torch.zeros((), device=self.device, requires_grad=True)
        (*earlier, last), self._window = self._window, []
        strategy, processes = self.trainer.strategy, self.trainer.world_size
        divisors = count_labels(self.head, [*earlier, last], self.device)
        divisors = strategy.reduce(divisors, reduce_op="sum")
        seen = []
        for one in earlier:
            losses = self._losses(one, divisors)
            with torch.autocast(self.device.type, enabled=False):
                strategy.backward(self.head.combine(losses) * processes, None)
            seen.append([values.detach() for values in losses])
        losses = self._losses(last, divisors)
        loss = self.head.combine(losses) * processes  # of which DDP takes the mean
        total = [
            torch.stack(values).sum(0) * processes for values in zip(*seen, losses, strict=True)
        ]
        self._log_step(self.head.combine(total), total)
        return loss * k  # by which Lightning divides it, however short the last step of an epoch

    def _log_step(self, loss: Tensor, losses: Sequence[Tensor]) -> None:
        self.log("train/loss", loss, prog_bar=True)
        n: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        due = n > 0 and (self.trainer.global_step + 1) % n == 0
        if isinstance(self.head, MultiHead) and (due or self.trainer.is_last_batch):
            values = self.head.per_head(losses).detach().unbind()
            names = [f"train/loss/{name}" for name in self.head.names]
            self._log_all(dict(zip(names, values, strict=True)), due)

    def _log_all(self, values: dict[str, Tensor], due: bool) -> None:
        """Log values; so many that Lightning would be slow, straight to callbacks and loggers."""
        if len(values) <= MOST_LOGGED:
            self.log_dict(values)
            return
        self.trainer.callback_metrics.update(values)
        if due and self.loggers and not self.trainer.sanity_checking:
            numbers = torch.stack(list(values.values())).tolist()
            scalars = {"epoch": self.current_epoch, **dict(zip(values, numbers, strict=True))}
            for logger in self.loggers:
                logger.log_metrics(scalars, self.trainer.fit_loop.epoch_loop._batches_that_stepped)

    # Evaluation.

    def on_validation_epoch_start(self) -> None:
        """Forget what was evaluated before, a sanity check too."""
        self.head.metric_collection.reset()
        self.epoch_loss.reset()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Add the batch to the loss and the metrics of the epoch."""
        part = Batch.of(batch, self.head)
        logits = self.logits(part.inputs)
        losses = block_losses(self.head, part, logits)
        divisors = self.head.divisors(part.labels, logits, part.features, weights=part.weights)
        self.epoch_loss.prepare(divisors.device)
        self.epoch_loss.add((torch.cat([values.reshape(-1) for values in losses]), divisors))
        self.head.update_metrics(None, part.features, logits, part.labels, weights=part.weights)

    on_test_epoch_start, test_step = on_validation_epoch_start, validation_step

    def on_validation_epoch_end(self) -> None:
        """Log the loss and the metrics."""
        self._log_epoch("val")

    def on_test_epoch_end(self) -> None:
        """Log the loss and the metrics, and write the report."""
        self._log_epoch("test")
        if self.report is not None:
            from torch_heads.integrations.report import write_report

            page = write_report(self.head, self.head.metric_collection, self.report)
            rank_zero_info(f"Report of the test: {page}")

    def predict_step(self, batch: Any, batch_idx: int) -> dict[Any, Any]:
        """Return the predictions, with class names where the head has a ``label_vocabulary``."""
        return self.head.predictions(self.logits(Batch.of(batch, self.head).inputs))

    def _log_epoch(self, stage: str) -> None:
        sums = self.epoch_loss.compute()
        losses = split_by_block(self.head, safe_divide(sums[:, 0], sums[:, 1]))
        loss = self.head.combine(losses).reshape(()).to(torch.get_default_dtype())
        values = self.head.metric_collection.compute()
        with warnings.catch_warnings():
            # that these should be synced, which they are: each tally once, not each value
            warnings.filterwarnings("ignore", "It is recommended to use", PossibleUserWarning)
            self.log(f"{stage}/loss", loss, prog_bar=True)
            self._log_all({f"{stage}/{key}": value for key, value in values.items()}, due=True)
            self.trainer.callback_metrics  # noqa: B018  looked up here, it warns here


def _projection(title: str, in_features: int | str | None, out_features: int) -> nn.Module:
    if in_features is None:
        return nn.Identity()
    if in_features == "lazy":
        return nn.LazyLinear(out_features)
    if isinstance(in_features, bool) or not isinstance(in_features, int) or in_features < 1:
        expected = "as a positive integer, 'lazy' or None"
        raise ValueError(unexpected(title, "in_features", expected, repr(in_features)))
    return nn.Linear(in_features, out_features)
