"""The networks of estimators, as a bundle takes them: from features to the logits of a head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from torch_heads.functional.errors import unexpected
from torch_heads.heads.base import Head
from torch_heads.heads.spec import EstimatorSpec, ModeKeys
from torch_heads.integrations.estimator.categorical_columns import CategoricalColumn, CategoryIds
from torch_heads.integrations.estimator.inputs import InputBatch
from torch_heads.integrations.estimator.known_columns import KnownColumns

Tables = dict[str, dict[str | None, int]]


class ColumnNetwork(nn.Module):
    """A network of feature columns, whose categories come as ids."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        known = [one for one in network.modules() if isinstance(one, KnownColumns)]
        columns = [getattr(c, "categorical_column", c) for one in known for c in one.columns]
        self._categorical = [one for one in columns if isinstance(one, CategoricalColumn)]

    @property
    def tables(self) -> Tables:
        """The id of each name, by feature.

        Raises:
            ValueError: if a vocabulary cannot be served.
        """
        named = [one for one in self._categorical if one.vocabulary is not None]
        return {one.key: one.table() for one in named}

    def forward(self, features: Mapping[str, Tensor]) -> Any:
        """Return the logits."""
        ids = {one.key: CategoryIds(features[one.key]) for one in self._categorical}
        return self.network({**features, **ids})


class FunctionNetwork(nn.Module):
    """A ``model_fn``, from features to the logits that it gives to its head.

    Args:
        who: the estimator's class, as errors say it.
        model: the modules that are trained.
        head: the head whose ``create_estimator_spec`` the function calls.
        call: returns the spec of a batch.
    """

    def __init__(
        self,
        who: str,
        model: nn.Module,
        head: Head,
        call: Callable[[InputBatch, ModeKeys, None], EstimatorSpec],
    ) -> None:
        super().__init__()
        self.model = model
        self._who, self._call, self._head = who, call, [head]  # not a part of this module

    def forward(self, features: Any) -> Any:
        """Return the logits.

        Raises:
            ValueError: if the function does not call the head.
        """
        [head] = self._head
        noted: list[Any] = []

        def note(features: Any, mode: str, logits: Any, *others: Any, **named: Any) -> Any:
            noted.append(logits)
            return EstimatorSpec(ModeKeys(mode), head(logits))

        vars(head)["create_estimator_spec"] = note
        try:
            self._call(InputBatch(features), ModeKeys.PREDICT, None)
        finally:
            del vars(head)["create_estimator_spec"]
        if not noted:
            expected, given = "to call create_estimator_spec of the head", "none"
            raise ValueError(unexpected(self._who, "model_fn", expected, given))
        return noted[-1]
