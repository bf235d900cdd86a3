"""The abstract estimator: train, evaluate and predict, from the spec of one batch."""

from __future__ import annotations

import functools
import logging
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import torch
from lightning.fabric import Fabric
from lightning.fabric.utilities import move_data_to_device
from torch import nn
from torch.optim import Optimizer

from torch_heads.functional.errors import class_of, preview, unexpected
from torch_heads.heads.base import Head
from torch_heads.heads.config import Functions
from torch_heads.heads.spec import EstimatorSpec, ModeKeys
from torch_heads.integrations.estimator.checkpoint import Checkpoint, checkpoints
from torch_heads.integrations.estimator.config import (
    EvalSpec,
    InputFn,
    RunConfig,
    TrainSpec,
    check_positive,
)
from torch_heads.integrations.estimator.evaluation import Evaluation
from torch_heads.integrations.estimator.exporters import Inputs, Lookups, check_exporters
from torch_heads.integrations.estimator.inputs import Batches, InputBatch, check_input_fn
from torch_heads.integrations.estimator.prediction import by_example
from torch_heads.integrations.estimator.serving import Tables
from torch_heads.integrations.estimator.step_module import OptimizerFn, StepModule
from torch_heads.integrations.estimator.training import Saver, fit, quiet, sole_training

logger = logging.getLogger(__name__)


class BaseEstimator(ABC):
    """Trains, evaluates and predicts by an ``input_fn``; keeps all that it learns in files.

    Every method starts from the latest checkpoint in ``model_dir`` that can be read; training
    leaves one there. So a new estimator on the same ``model_dir`` goes on where the last one ended.
    Where there is none yet, or none any more, training starts from the weights that the model came
    with.

    An ``input_fn`` takes nothing and returns an iterable of batches ``(features, labels)``: a
    generator, a list, a ``DataLoader``, or a ``Dataset`` whose items are batches. A tuple
    ``(features, labels)`` instead is one batch, at every step of training. NumPy arrays of numbers
    in it become tensors, and all go to the device of the model.

    Progress is logged by `logging`, at the level INFO, and on a terminal a bar shows it. Elsewhere
    there is one with Lightning's among the ``callbacks`` of the `RunConfig`.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | OptimizerFn | None,
        model_dir: str | Path | None,
        config: RunConfig | None,
        prior_of: Head | None = None,
    ) -> None:
        self.title = type(self).__name__
        if not isinstance(model, nn.Module):
            given = class_of(model)
            raise TypeError(unexpected(self.title, "model", "as a torch.nn.Module", given))
        if not isinstance(optimizer, Optimizer | None) and not callable(optimizer):
            expected, given = "as a callable of parameters", type(optimizer).__name__
            hint = "For example: `functools.partial(torch.optim.Adam, lr=1e-3)`."
            raise TypeError(unexpected(self.title, "optimizer", expected, given, hint))
        if not isinstance(config, RunConfig | None):
            given = class_of(config)
            raise TypeError(unexpected(self.title, "config", "as a RunConfig", given))
        if model_dir is None:
            model_dir = tempfile.mkdtemp()
            logger.warning("Using temporary folder as model directory: %s", model_dir)
        #: Where the checkpoints are.
        self.model_dir = Path(model_dir)
        #: How the estimator runs.
        self.config = config or RunConfig()
        self._prior_of = prior_of  # the head for which the first training takes a pass before
        self._module = StepModule(self.title, model, self._call, optimizer)

    @property
    def model(self) -> nn.Module:
        """The modules that are trained."""
        return self._module.model

    @abstractmethod
    def _call(
        self, batch: InputBatch, mode: ModeKeys, optimizer: Optimizer | None
    ) -> EstimatorSpec:
        """Return the spec of one batch."""

    def train(
        self, input_fn: InputFn, steps: int | None = None, max_steps: int | None = None
    ) -> Self:
        """Train until the input ends or the steps are done, save, and return the estimator.

        Args:
            input_fn: gives the batches, once: repeat them in it to see them more often.
            steps: how many steps to train, in addition to those of earlier trainings.
            max_steps: instead of ``steps``, up to which step to train, earlier trainings included.

        Raises:
            ValueError: if both numbers are given, one is not positive, there is no batch, the
                loss is NaN, no checkpoint that is there can be read, or another training runs in
                the same ``model_dir``.
        """
        return self._train(input_fn, steps, max_steps)

    def evaluate(
        self,
        input_fn: InputFn,
        steps: int | None = None,
        checkpoint_path: str | Path | None = None,
    ) -> dict[str, Any]:
        """Return the metrics, and with them ``loss`` and ``global_step``.

        ``loss`` is the mean of the batches' losses, in which a small last batch counts as a full
        one; the ``average_loss`` of a head is that of all examples.

        Args:
            input_fn: gives the batches.
            steps: how many of them to take; None for all.
            checkpoint_path: the checkpoint to evaluate; None for the latest.

        Raises:
            ValueError: if there is no checkpoint or no batch.
        """
        check_positive(self.title, "steps", steps)
        return self._evaluate(input_fn, steps, self._restore(checkpoint_path))

    def predict(
        self,
        input_fn: InputFn,
        predict_keys: Iterable[Any] | None = None,
        checkpoint_path: str | Path | None = None,
    ) -> Iterator[dict[Any, Any]]:
        """Yield the predictions of each example, as NumPy arrays by key.

        They are made batch by batch as they are drawn, with the weights of the checkpoint, also
        after further training.

        Args:
            input_fn: gives batches of features; labels are ignored.
            predict_keys: the keys to yield, or one key; None for all.
            checkpoint_path: the checkpoint to predict with; None for the latest.

        Raises:
            TypeError: if the predictions are no dict of tensors and arrays.
            ValueError: if there is no checkpoint, or a key is none of the predictions', or these
                differ in their number of examples.
            RuntimeError: if they are drawn by a training of this estimator.
        """
        one = isinstance(predict_keys, str)
        # a tuple is one key of a MultiHead, or several: the predictions tell
        keys = (predict_keys,) if one else tuple(predict_keys or ())
        checkpoint = self._restore(checkpoint_path)
        runs = self._runs(Batches(self.title, input_fn, ModeKeys.PREDICT, None), checkpoint)
        return (
            example for run in runs for example in by_example(self.title, run().predictions, keys)
        )

    def train_and_evaluate(self, train_spec: TrainSpec, eval_spec: EvalSpec) -> dict[str, Any]:
        """Train, evaluate at every checkpoint, and return the last evaluation.

        How often that is, `RunConfig` says.

        Raises:
            TypeError: if an exporter is none, or an ``input_fn`` not callable.
            ValueError: if two exporters have the same name; and as `train` and `evaluate` do.
        """
        latest: dict[str, Any] = {}

        exporters = check_exporters(self.title, eval_spec.exporters)

        def export(is_final: bool) -> None:
            for one in exporters:
                folder = self.model_dir / "export" / one.name
                one.export(self._export, folder, latest, is_final)

        def evaluate() -> None:
            latest.update(self._evaluate(eval_spec.input_fn, eval_spec.steps))
            export(is_final=False)

        check_positive(self.title, "steps", eval_spec.steps)
        check_input_fn(self.title, eval_spec.input_fn)
        self._train(train_spec.input_fn, None, train_spec.max_steps, evaluate)
        if not latest:
            latest.update(self.evaluate(eval_spec.input_fn, eval_spec.steps))
        export(is_final=True)
        return latest

    def export_saved_model(
        self,
        export_dir_base: str | Path,
        example: Any,
        checkpoint_path: str | Path | None = None,
        functions: Functions | None = None,
        *,
        inputs: Inputs | None = None,
        lookups: Lookups | None = None,
    ) -> Path:
        """Write a bundle with the weights of a checkpoint, and return its folder.

        It is a new one below ``export_dir_base``, named by the time in seconds, so that
        ``python -m torch_heads serve`` takes it for the latest version.

        Args:
            export_dir_base: where the versions are.
            example: features of a few examples by name, as `export_bundle` takes them; nothing of
                it is written but names, types and shapes. Names of categories are served as such.
            checkpoint_path: the checkpoint to export; None for the latest.
            functions: names for the functions of the head, as `head_config` takes them.
            inputs: the axes of the features by name, a size or a name where it is free:
                ``{"words": ["batch", "step", 300]}``. By default the first axis is free.
            lookups: of features that are strings, and categories of no column, the known ones, or
                the number of each; see `export_bundle`.

        Raises:
            ValueError: if there is no checkpoint, or a column cannot be served, or has names of its
                own and a lookup; and as `export_bundle` does.
        """
        self._restore(checkpoint_path)
        folder = Path(export_dir_base)
        return self._export(folder, example, functions, inputs=inputs, lookups=lookups)

    def _export(
        self,
        folder: Path,
        example: Any,
        functions: Functions | None = None,
        *,
        inputs: Inputs | None = None,
        lookups: Lookups | None = None,
    ) -> Path:
        """Write a bundle with the weights that there are."""
        from torch_heads.integrations.serving.export import export_bundle

        number = int(time.time())
        while (folder / str(number)).exists():
            number += 1
        network, head, tables = self._served()
        if twice := tables.keys() & (lookups or {}).keys():
            expected = "for features whose columns have no names"
            raise ValueError(unexpected(self.title, "lookups", expected, preview(sorted(twice))))
        before = self._module.device
        self._module.cpu()
        try:
            return export_bundle(
                network,
                folder / str(number),
                example,
                head=head,
                inputs=inputs,
                lookups={**tables, **(lookups or {})},
                functions=functions,
            )
        finally:
            self._module.to(before)

    @abstractmethod
    def _served(self) -> tuple[nn.Module, Head, Tables]:
        """Return what makes logits of features, the head, and the ids of names by feature."""

    def latest_checkpoint(self) -> Path | None:
        """Return the latest checkpoint in ``model_dir``; None where there is none."""
        return next(reversed(checkpoints(self.model_dir)), None)

    def _train(
        self,
        input_fn: InputFn,
        steps: int | None,
        max_steps: int | None,
        then: Callable[[], object] | None = None,
    ) -> Self:
        check_positive(self.title, "steps", steps)
        check_positive(self.title, "max_steps", max_steps)
        if None not in (steps, max_steps):
            raise ValueError(unexpected(self.title, "steps", "or max_steps", "both"))
        with sole_training(self.title, self.model_dir):
            checkpoint = Checkpoint.latest(self.model_dir, to_train=True)
            if checkpoint is None:
                self._restart(input_fn, steps or max_steps)
            else:
                self._module.hold(checkpoint)
            start = self._module.steps
            if max_steps is not None:
                steps = max_steps - start
                if steps <= 0:
                    logger.info("Not training: step %d of max_steps %d is saved.", start, max_steps)
                    return self
            batches = Batches(self.title, input_fn, ModeKeys.TRAIN, steps)
            saver = Saver(self.model_dir, self.config, then)
            logger.info("Training from step %d in %s", start, self.model_dir)
            fit(self._module, batches, self.model_dir, self.config, saver)
        done = self._module.steps - start
        if not done:
            raise ValueError(unexpected(self.title, "input_fn", "to give batches", "none"))
        if steps is not None and done < steps:
            logger.warning("The input ended after %d of %d steps.", done, steps)
        return self

    def _restart(self, input_fn: InputFn, steps: int | None) -> None:
        """Go back to before the first training, and show its labels to the head that asks."""
        head = self._prior_of
        if head is not None:
            head.forget_prior()
        self._module.restart()
        if head is not None:
            batches = Batches(self.title, input_fn, ModeKeys.EVAL, steps)
            head.fit_prior((batch.labels, batch.features) for batch in batches)

    def _evaluate(
        self, input_fn: InputFn, steps: int | None, checkpoint: Checkpoint | None = None
    ) -> dict[str, Any]:
        batches = Batches(self.title, input_fn, ModeKeys.EVAL, steps)
        values = Evaluation(self.title).over(self._runs(batches, checkpoint))
        values["global_step"] = self._module.steps
        shown = ", ".join(f"{key} = {values[key]}" for key in sorted(values))
        logger.info("Evaluated step %d: %s", self._module.steps, shown)
        return values

    def _restore(self, path: str | Path | None) -> Checkpoint:
        directory = self.model_dir
        found = Checkpoint.latest(directory) if path is None else Checkpoint.read(Path(path))
        if found is None:
            hint = "Train first, or look where the model was trained."
            given = f"none in {directory}"
            raise ValueError(unexpected(self.title, "model_dir", "with a checkpoint", given, hint))
        self._module.hold(found)
        return found

    def _runs(
        self, batches: Batches, checkpoint: Checkpoint | None
    ) -> Iterator[Callable[[], EstimatorSpec]]:
        """Yield what runs the model on each batch; without a checkpoint, as it is."""
        with quiet():
            device = Fabric(accelerator=self.config.accelerator, devices=1).device
        module, training, before = self._module, self._module.training, self._module.device

        def run(batch: InputBatch) -> EstimatorSpec:
            # each time: there may have been a training, or another checkpoint, in between
            if checkpoint is not None:
                module.hold(checkpoint)
            module.eval().to(device)
            with torch.no_grad():
                return module.spec(move_data_to_device(batch, device), batches.mode)

        try:
            for batch in batches:
                yield functools.partial(run, batch)
        finally:
            module.train(training).to(before)
