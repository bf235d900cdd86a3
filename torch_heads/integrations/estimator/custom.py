"""The estimator of a user's ``model_fn``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from torch_heads.functional.arguments import check_flag
from torch_heads.functional.errors import preview, unexpected
from torch_heads.heads.base import Head
from torch_heads.heads.spec import EstimatorSpec, ModeKeys
from torch_heads.integrations.estimator.base import BaseEstimator
from torch_heads.integrations.estimator.config import RunConfig
from torch_heads.integrations.estimator.inputs import InputBatch
from torch_heads.integrations.estimator.model_function import ModelFn, ModelFunction
from torch_heads.integrations.estimator.serving import FunctionNetwork, Tables
from torch_heads.integrations.estimator.step_module import OptimizerFn
from torch_heads.integrations.head_of import head_of


class Estimator(BaseEstimator):
    """Trains, evaluates and predicts by a ``model_fn`` that makes an `EstimatorSpec` of a batch.

    ``model_fn`` takes ``features`` and what it wants of ``labels`` (None to predict), ``mode``,
    ``params``, ``config``, ``model`` and ``optimizer``, in any order: its parameters have these
    names, and with ``**kwargs`` it gets all. It is called for every batch, so layers and
    optimizers are made outside of it. In TRAIN, the spec's ``train_op`` is a callable that runs
    one step: what `Head.create_estimator_spec` gives, with the ``optimizer``. In EVAL,
    ``eval_metric_ops`` are torchmetrics metrics by name that have seen the batch: new ones, or the
    same at each batch, which are reset before and after an evaluation; None means no metrics.

    Args:
        model_fn: returns the spec of a batch.
        model: the modules to train, in ``nn.ModuleDict`` or the like where there are many.
        optimizer: an optimizer of torch, or a callable that makes one of the model's parameters;
            ``model_fn`` gets it as ``optimizer``. Its state is in the checkpoints, and so are its
            learning rates, which a checkpoint brings back. None for a ``train_op`` that steps
            with something else.
        model_dir: where the checkpoints are; a temporary directory by default.
        params: what ``model_fn`` gets as ``params``.
        config: how to run.
        head: the head whose `create_estimator_spec` ``model_fn`` calls, which only
            `export_saved_model` needs to know, and only if it is not the only one in ``model``.
        fit_prior: whether the first training takes a pass over its batches first, for
            `Head.fit_prior`. The head is then a part of ``model``, whose checkpoints keep it.

    Raises:
        TypeError: if ``model_fn`` is not callable, or ``model``, ``optimizer``, ``config`` or
            ``fit_prior`` of another type.
        ValueError: if ``model_fn`` does not take ``features``, or needs something unknown, or
            ``params`` are given but not taken, or a prior is to be fitted of a head that is no
            part of ``model``.

    >>> import tempfile, torch, torch_heads as th
    >>> head = th.BinaryClassHead()
    >>> def model_fn(features, labels, mode, model, optimizer):
    ...     logits = model(features["x"])
    ...     return head.create_estimator_spec(features, mode, logits, labels, optimizer)
    >>> def input_fn():
    ...     return {"x": torch.tensor([[-1.0], [1.0]])}, torch.tensor([0, 1])
    >>> with tempfile.TemporaryDirectory() as model_dir:
    ...     model = nn.Linear(1, head.logits_dimension)
    ...     estimator = Estimator(model_fn, model, torch.optim.Adam, model_dir)
    ...     values = estimator.train(input_fn, steps=2).evaluate(input_fn)
    >>> values["global_step"], sorted(values)[:3]
    (2, ['accuracy', 'accuracy_baseline', 'auc'])
    """

    def __init__(
        self,
        model_fn: ModelFn,
        model: nn.Module,
        optimizer: Optimizer | OptimizerFn | None = None,
        model_dir: str | Path | None = None,
        params: Mapping[str, Any] | None = None,
        config: RunConfig | None = None,
        head: Head | None = None,
        fit_prior: bool = False,
    ) -> None:
        who = type(self).__name__
        self._model_fn = ModelFunction(who, model_fn)
        if params is not None and "params" not in self._model_fn.takes:
            taken = preview(self._model_fn.takes)
            raise ValueError(unexpected(who, "model_fn", "to take params", taken))
        #: What ``model_fn`` gets as ``params``.
        self.params = dict(params or {})
        self._head = head
        own = head_of(who, model, head) if check_flag(who, "fit_prior", fit_prior) else None
        if own is not None and all(part is not own for part in model.modules()):
            expected = "as a part of model, to fit and keep its prior"
            raise ValueError(unexpected(who, "head", expected, own.title))
        super().__init__(model, optimizer, model_dir, config, own)

    def _call(
        self, batch: InputBatch, mode: ModeKeys, optimizer: Optimizer | None
    ) -> EstimatorSpec:
        labels = None if mode is ModeKeys.PREDICT else batch.labels
        if labels is not None and "labels" not in self._model_fn.takes:
            taken = preview(self._model_fn.takes)
            hint = "The input_fn gives labels."
            raise ValueError(unexpected(self.title, "model_fn", "to take labels", taken, hint))
        given = {
            "features": batch.features,
            "labels": labels,
            "mode": mode,
            "params": dict(self.params),
            "config": self.config,
            "model": self.model,
            "optimizer": optimizer,
        }
        spec = self._model_fn(given)
        if not isinstance(spec, EstimatorSpec):
            expected = "to return an EstimatorSpec"
            raise TypeError(unexpected(self.title, "model_fn", expected, type(spec).__name__))
        if spec.mode != mode:
            expected = f"to return a spec for the mode {str(mode)!r}"
            raise ValueError(unexpected(self.title, "model_fn", expected, repr(str(spec.mode))))
        return spec

    def _served(self) -> tuple[nn.Module, Head, Tables]:
        head = head_of(self.title, self.model, self._head)
        return FunctionNetwork(self.title, self.model, head, self._call), head, {}
