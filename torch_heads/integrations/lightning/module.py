"""Any backbone and any head as one `LightningModule`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.cli import LightningCLI, LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities import CombinedLoader, rank_zero_info
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, distributed, nn

from torch_heads.computation.inputs import Inputs
from torch_heads.functional.arguments import check_flag
from torch_heads.functional.errors import class_of, unexpected
from torch_heads.heads.base import Head
from torch_heads.heads.config import Functions
from torch_heads.heads.multi import MultiHead
from torch_heads.heads.saved import refuse_other_heads
from torch_heads.integrations.checkpoint_io import AtomicCheckpoints
from torch_heads.integrations.lightning.batch import Batch
from torch_heads.integrations.lightning.epoch import Epoch
from torch_heads.integrations.lightning.log import log_epoch, log_step
from torch_heads.integrations.lightning.projection import make_projection, project
from torch_heads.integrations.lightning.resume import PlateauValues, RandomState
from torch_heads.integrations.lightning.window import (
    batch_divisors,
    count_labels,
    target_losses,
)
from torch_heads.metrics.agreement import Agreement


class HeadModule(LightningModule):
    """Trains, evaluates and serves a backbone with a head.

    Batches are ``(inputs, labels)``, ``(inputs, labels, features_or_weights)``, or a dict with
    ``inputs``, ``labels``, ``features`` and ``weights``. The backbone is called with the inputs
    alone. It returns the logits, or a dict of logits by head name; with ``in_features``, hidden
    features ``[D0, ..., DN, in_features]``, from which a linear layer makes the logits.

    Logged are ``train/loss`` and ``train/loss/<head>`` at every step, and for ``val`` and ``test``
    every metric key, such as ``val/auc/even``, and ``val/loss``: the loss of the whole epoch, in
    which labels count and not batches; under ``loss_reduction="sum"``, the mean of the batches'
    sums. So are ``val/loss/<head>``, which times the head weights add up to it. Several data
    loaders count as one, and each also has keys such as ``val/auc/even/dataloader_idx_1``. The
    metrics of all are those of `Head.metric_collection`, which stays readable after the epoch. More
    than 256 of them, and ``train/loss/<head>``, reach loggers and callbacks alone, and
    not the table of `Trainer.test`.

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
        fit_prior: whether to take one pass over the labels of the training first, for
            `Head.fit_prior`; not where the head has a prior, as one from a checkpoint.
        report: a folder for a report of the test metrics (`torch_heads.integrations.report`).

    Raises:
        TypeError: if ``backbone`` is not a module, ``head`` not a head, ``report`` not a folder,
            ``optimizer`` or ``lr_scheduler`` not callable, or a truth value anything else.
        ValueError: if ``in_features`` is not allowed, a batch is not what the head takes, or
            another head is assigned.

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
        fit_prior: bool = False,
        report: str | Path | None = None,
    ) -> None:
        super().__init__()
        title = type(self).__name__
        if not isinstance(backbone, nn.Module):
            given = class_of(backbone)
            raise TypeError(unexpected(title, "backbone", "as a module", given))
        if not isinstance(head, Head):
            raise TypeError(unexpected(title, "head", "as a head", class_of(head)))
        if report is not None and not isinstance(report, (str, Path)):
            raise TypeError(unexpected(title, "report", "as a folder", repr(report)))
        for name, maker in {"optimizer": optimizer, "lr_scheduler": lr_scheduler}.items():
            if maker is not None and not callable(maker):
                expected, given = "as a callable that makes one", type(maker).__name__
                raise TypeError(unexpected(title, name, expected, given))
        self.backbone = backbone
        self.head = head
        self.projection = make_projection(title, in_features, head.logits_dimension)
        self.optimizer = torch.optim.AdamW if optimizer is None else optimizer
        self.lr_scheduler = lr_scheduler
        self.global_normalization = check_flag(title, "global_normalization", global_normalization)
        self.fit_prior = check_flag(title, "fit_prior", fit_prior)
        self.report = report
        self.agreement = Agreement(title, head.computation.counted)
        self._epoch = Epoch(head, self.agreement)
        self._by_loader: list[Epoch] = []  # where there are several
        self._step_keys = (
            [f"train/loss/{name}" for name in head] if isinstance(head, MultiHead) else []
        )
        self._window: list[Batch] = []  # of one optimizer step, under global_normalization

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse another head: the metrics and the keys are those of the first."""
        if name == "head" and vars(self).get("_modules", {}).get(name, value) is not value:
            expected, given = "as it was given", f"another {type(value).__name__}"
            hint = "Make a HeadModule of the backbone and the other head."
            raise ValueError(unexpected(type(self).__name__, "head", expected, given, hint))
        super().__setattr__(name, value)

    def logits(self, inputs: Any) -> Any:
        """Return what the head takes, from what the backbone takes."""
        features = self.backbone(inputs)
        if isinstance(self.projection, nn.Identity):
            return features
        return project(self.projection, features)

    def forward(self, inputs: Any) -> dict[str, Tensor]:
        """Return the predictions that are tensors, in a flat dict: the model to be served."""
        predictions: dict[str, Tensor] = self.head(self.logits(inputs))
        return predictions

    def export(
        self,
        path: str | Path,
        example: Any,
        *,
        inputs: Sequence[str] | Mapping[str, Sequence[int | str]] | None = None,
        lookups: Mapping[str, Any] | None = None,
        program: bool = False,
        functions: Functions | None = None,
    ) -> Path:
        """Write backbone and head as a bundle, and return its folder.

        Args:
            path: the folder.
            example: inputs of a few rows: a tensor, or a dict of features by name.
            inputs: the name of an input that is a tensor, by default ``inputs``, or the axes of
                each by name; see `export_bundle`, as for what follows.
            lookups: of features that are strings.
            program: whether to write a program of torch, too.
            functions: names for the functions of the head.

        Raises:
            TypeError: as `export_bundle` does.
            ValueError: as `export_bundle` does.
        """
        from torch_heads.integrations.serving.export import export_bundle

        plain = isinstance(self.projection, nn.Identity)
        network = self.backbone if plain else nn.Sequential(self.backbone, self.projection)
        usual = None if isinstance(example, Mapping) else ["inputs"]
        return export_bundle(
            network,
            path,
            example,
            head=self.head,
            inputs=usual if inputs is None else inputs,
            lookups=lookups,
            program=program,
            functions=functions,
        )

    def configure_optimizers(self) -> Any:
        """Return the optimizer of the trainable parameters, and the scheduler if there is one."""
        optimizer = self.optimizer([p for p in self.parameters() if p.requires_grad])
        scheduler = None if self.lr_scheduler is None else self.lr_scheduler(optimizer)
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau) and not hasattr(
            scheduler, "monitor"
        ):
            expected = "as lightning.pytorch.cli.ReduceLROnPlateau, with the key to monitor"
            given = f"{type(scheduler).__module__}.ReduceLROnPlateau"
            raise TypeError(unexpected(type(self).__name__, "lr_scheduler", expected, given))
        return LightningCLI.configure_optimizers(self, optimizer, scheduler)

    def configure_callbacks(self) -> list[Callback]:
        """Return what makes a resumed run go on as an uninterrupted one, unless it is there."""
        there = {type(one) for one in self.trainer.callbacks}  # type: ignore[attr-defined]
        wanted = RandomState, PlateauValues, AtomicCheckpoints
        return [kind() for kind in wanted if kind not in there]

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load weights, and name the checkpoint that a trainer has them from if they do not fit."""
        weight = state_dict.get("projection.weight")
        if isinstance(self.projection, nn.Identity) and isinstance(weight, Tensor):
            width = weight.shape[-1]  # so that whoever loads need not know it
            out = self.head.logits_dimension
            self.projection = make_projection(type(self).__name__, width, out).to(self.device)
        trainer = self._trainer
        path = None if trainer is None or trainer.state.stopped else trainer.ckpt_path
        try:
            refuse_other_heads(self, state_dict)  # before the backbone is changed
            return super().load_state_dict(state_dict, strict, assign)
        except (RuntimeError, ValueError) as error:
            if path is None:
                raise
            who, expected = type(self).__name__, "with the weights of this backbone and head"
            raise ValueError(
                unexpected(who, f"ckpt_path {path}", expected, "others", str(error))
            ) from None

    # Training.

    def on_fit_start(self) -> None:
        """Refuse processes whose heads differ, before they add up the first loss; fit the prior."""
        if distributed.is_available() and distributed.is_initialized():
            self.agreement.reach(self.device)
        targets = self.head.computation.targets
        if self.fit_prior and any(target.prior() is None for target in targets):
            with isolate_rng():  # or the order of the training would be another one
                self.head.fit_prior(self._all_labels()).to(self.device)
            rank_zero_info("The head knows the prior of its labels.")

    def _all_labels(self) -> Iterator[tuple[Any, Any, Any]]:
        """Yield labels, features and weights of each batch of the training."""
        source = self.trainer.fit_loop._data_source
        for batch, *_ in CombinedLoader(source.dataloader()):
            part = Batch.of(batch, self.head)
            yield part.labels, part.features, part.weights

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
        losses = target_losses(self.head, part, self.logits(part.inputs))
        loss = self.head.computation.total_loss(losses)
        self._log_step(loss, losses)
        return loss

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
        logits = None if earlier else self.logits(last.inputs)
        divisors = (
            count_labels(self.head, [*earlier, last], self.logits, self.device)
            if logits is None
            else batch_divisors(self.head, last, logits)
        )
        divisors = strategy.reduce(divisors, reduce_op="sum")
        seen = []
        for one in earlier:
            losses = target_losses(self.head, one, self.logits(one.inputs), divisors)
            with torch.autocast(self.device.type, enabled=False):
                strategy.backward(self.head.computation.total_loss(losses) * processes, None)
            seen.append(losses.detach())
        logits = self.logits(last.inputs) if logits is None else logits
        losses = target_losses(self.head, last, logits, divisors)
        loss = self.head.computation.total_loss(losses) * processes  # of which DDP takes the mean
        total = torch.stack([*seen, losses]).sum(0) * processes
        self._log_step(self.head.computation.total_loss(total), total)
        return loss * k  # by which Lightning divides it, however short the last step of an epoch

    def _log_step(self, loss: Tensor, losses: Tensor) -> None:
        each = None
        if isinstance(self.head, MultiHead):
            each = self.head.computation.head_losses(losses).detach()
        log_step(self, loss.detach(), self._step_keys, each)

    # Evaluation.

    def on_validation_epoch_start(self) -> None:
        """Forget what was evaluated before, a sanity check too."""
        count = self.trainer._evaluation_loop.num_dataloaders
        count = 0 if count == 1 else count
        if len(self._by_loader) != count:
            self._by_loader = [Epoch(self.head, self.agreement, own=True) for _ in range(count)]
        for epoch in [self._epoch, *self._by_loader]:
            epoch.reset()

    @torch.no_grad()
    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Add the batch to the metrics of the epoch: those of all data loaders, and of its own."""
        part = Batch.of(batch, self.head)
        logits = self.logits(part.inputs)
        inputs = Inputs(part.labels, logits, part.features, part.weights)
        measured = self.head.computation.measure(inputs, observe=True, divide=True)
        self._epoch.record(measured)
        if self._by_loader:
            self._by_loader[dataloader_idx].record(measured)

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

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[Any, Any]:
        """Return the predictions, with class names where the head has a ``label_vocabulary``."""
        return self.head.predictions(self.logits(Batch.of(batch, self.head).inputs))

    def _log_epoch(self, stage: str) -> None:
        log_epoch(self, stage, self._epoch.values(), [one.values() for one in self._by_loader])
