"""A user's ``model_fn``, and what it can be called with."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch_heads.functional.errors import preview, unexpected
from torch_heads.heads.spec import EstimatorSpec

ModelFn = Callable[..., EstimatorSpec]

OPTIONAL = ["labels", "mode", "params", "config", "model", "optimizer"]


class ModelFunction:
    """Calls a ``model_fn`` with those of the arguments that it takes.

    What is bound already stays so, and what has a default and another name keeps it.

    Args:
        who: the estimator's class, as errors say it.
        model_fn: takes ``features``, and any of the others.

    Raises:
        TypeError: if ``model_fn`` is not callable.
        ValueError: if it does not take ``features``, or needs something unknown.
    """

    def __init__(self, who: str, model_fn: Any) -> None:
        if not callable(model_fn):
            raise TypeError(unexpected(who, "model_fn", "to be callable", type(model_fn).__name__))
        self._model_fn = model_fn
        parameters = inspect.signature(model_fn).parameters.values()
        bound = model_fn.keywords if isinstance(model_fn, functools.partial) else {}
        free = [name for name in ["features", *OPTIONAL] if name not in bound]
        by_name = {parameter.name for parameter in parameters}
        rest = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        #: The names of the arguments that it takes.
        self.takes = [name for name in free if rest or name in by_name]
        self._in_order = [one for one in parameters if one.kind is one.POSITIONAL_ONLY]
        needs = [
            parameter.name
            for parameter in parameters
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
        if "features" not in self.takes or not set(needs) <= set(self.takes):
            expected = f"with the argument 'features', and optionally {preview(OPTIONAL)}"
            names = preview(parameter.name for parameter in parameters)
            raise ValueError(unexpected(who, "model_fn", expected, names))

    def __call__(self, given: Mapping[str, Any]) -> Any:
        """Return what ``model_fn`` makes of the arguments by name."""
        in_order = [given.get(parameter.name, parameter.default) for parameter in self._in_order]
        names = {parameter.name for parameter in self._in_order}
        return self._model_fn(
            *in_order, **{name: given[name] for name in self.takes if name not in names}
        )
