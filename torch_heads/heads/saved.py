"""The states of a head: what they mean stands beside them, and is asked before they are loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Self

import torch
from torch import Tensor, nn

from torch_heads.computation.meaning import Meaning, class_orders
from torch_heads.computation.prior_meaning import saved_priors
from torch_heads.computation.target import TargetPrior
from torch_heads.functional.errors import unexpected
from torch_heads.heads.metric_owner import MetricOwner
from torch_heads.metrics.carry import carry, check_states
from torch_heads.metrics.collection import FED
from torch_heads.metrics.saved import MEANING

METRICS = "metric_collection."


class SavedHead(MetricOwner):
    """A head that says in its ``state_dict`` what its states mean, and asks what it loads.

    The entry ``_meaning`` is a buffer, so that whatever saves tensors keeps it; that of a head in
    another one is part of the other's. Checkpoints without it load. Priors stand in it, too.
    """

    def _complete(self) -> None:
        super()._complete()
        # where other buffers are made: a model on the meta device is all there
        self._tell(torch.get_default_device())

    def _tell(self, device: torch.device) -> None:
        """Make the entry on a device."""
        self._buffers[MEANING] = Meaning.of(self.computation).to_tensor().to(device)

    def _in_order(self, paths: Sequence[tuple[str, ...]]) -> SavedHead | None:
        """Return a copy of this head with its heads in another order; None where it has none."""
        return deepcopy(self) if [*paths] == [*Meaning.of(self.computation).paths] else None

    def __setattr__(self, name: str, value: Any) -> None:
        """Ask what is loaded by assignment, as Hugging Face's ``from_pretrained`` does."""
        if name == MEANING and name in self.__dict__.get("_buffers", ()):
            if not isinstance(value, Tensor):
                given = type(value).__name__
                raise TypeError(unexpected(self.title, name, "as a tensor of a checkpoint", given))
            self._take_if_told(value)
            self._tell(value.device)
        else:
            super().__setattr__(name, value)

    def _take_if_told(self, saved: Tensor) -> None:
        try:
            read = Meaning.read(self.title, saved)
        except ValueError:  # memory that nobody has written to, for an entry that was not there
            return
        Meaning.of(self.computation).refuse(read)
        self._keep_priors(saved_priors(self.computation, read))
        self._renew_all_priors()

    def _keep_priors(self, priors: Sequence[TargetPrior | None]) -> None:
        for target, prior in zip(self.computation.targets, priors, strict=True):
            target.keep_prior(prior)

    def _renew_all_priors(self) -> None:
        """Look again which priors there are."""

    def _take_earlier(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Take out of states what earlier versions saved otherwise."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a copy, which is a head of its own until another one adopts it."""
        super().__setstate__(state)
        if MEANING not in self._buffers:
            self._tell(torch.get_default_device())
        self._adopt(again=True)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if not _is_told(destination, prefix):
            # written anew: `to_empty` and the like leave nothing of a buffer, but for its device
            told, own = Meaning.of(self.computation).to_tensor(), self._buffers.get(MEANING)
            destination[prefix + MEANING] = (
                told if own is None or own.is_meta else told.to(own.device)
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._materialize()
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call,no-any-return]

    def _materialize(self) -> None:
        """Make an entry on the meta device again, from which nothing could be moved."""
        own = self._buffers.get(MEANING)
        if own is not None and own.is_meta:
            self._tell(torch.device("cpu"))

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        *args: Any,
    ) -> None:
        counted = state_dict.pop(prefix + METRICS + MEANING, None)
        told = state_dict.pop(prefix + MEANING, None)
        saved = counted if told is None else told
        states = {
            key.removeprefix(prefix): value
            for key, value in state_dict.items()
            if key.startswith(prefix + METRICS)
        }
        if saved is not None:
            before = states
            alone = not prefix and len(states) == len(state_dict)
            states = self._carried(Meaning.read(self.title, saved), states, alone)
            if states is not before:
                for key in before:
                    del state_dict[prefix + key]
                state_dict.update({prefix + key: value for key, value in states.items()})
        priors = [target.prior() for target in self.computation.targets]
        earlier = has_earlier_priors(state_dict, prefix)
        known = told is not None or earlier or all(prior is None for prior in priors)
        if told is not None and not earlier:
            priors = saved_priors(self.computation, Meaning.read(self.title, told))
        if states:
            collection = self.metric_collection  # made here, so that its states find their place
            check_states(self.title, collection, states, METRICS)
        self._keep_priors(priors)
        self._take_earlier(state_dict, prefix)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, *args
        )
        if known and prefix + MEANING in missing_keys:
            missing_keys.remove(prefix + MEANING)
        self._materialize()

    def _carried(self, saved: Meaning, states: dict[str, Any], alone: bool) -> dict[str, Any]:
        """Return the states of the metrics by the names of these heads and their classes.

        Args:
            saved: what they mean.
            states: the states as they were saved.
            alone: whether nothing else is loaded: weights go by the order of heads and classes.
                States of which there are none may be those of a layer that is loaded elsewhere.

        Raises:
            ValueError: if they mean something else.
        """
        words = Meaning.of(self.computation).difference(saved, counts=bool(states))
        if words is None:
            return states
        orders = class_orders(self.computation, saved) if alone and states else None
        before = None if orders is None else self._in_order(saved.paths)
        if orders is None or before is None:
            raise ValueError(words)
        fed = {key: own for key, own in states.items() if key.startswith(METRICS + FED)}
        moved = [one for one in self.computation.targets if (one.name or "") in orders]
        if fed and any(one.torchmetrics for one in moved):  # which do not say whose a class is
            raise ValueError(words)
        before.load_state_dict(states, strict=False)
        own = self.metrics()
        carry(own, before.metric_collection, orders)
        return fed | {
            f"{METRICS}{name}.{state}": values
            for name, tally in own.tallies.items()
            for state, values in tally.metric_state.items()
        }


def refuse_other_heads(model: nn.Module, state_dict: Mapping[str, Any]) -> None:
    """Refuse a model's states whose heads mean something else, before any of them is loaded.

    Raises:
        ValueError: by the name of the first such head, with what differs.
    """
    for name, head in model.named_modules():
        saved = state_dict.get(f"{name}.{MEANING}" if name else MEANING)
        if isinstance(head, SavedHead) and saved is not None:
            read = Meaning.read(head.title, saved)
            Meaning.of(head.computation).refuse(read)
            if not has_earlier_priors(state_dict, f"{name}." if name else ""):
                saved_priors(head.computation, read)


def has_earlier_priors(state_dict: Mapping[str, Any], prefix: str) -> bool:
    """Return whether there are priors beside what heads mean, as earlier versions saved them."""
    return any(key.startswith(prefix) and key.endswith("prior_offset") for key in state_dict)


def _is_told(destination: Mapping[str, Any], prefix: str) -> bool:
    """Return whether a head of which this one is a part has said what it means."""
    path = prefix.split(".")[:-1]
    return any(".".join([*path[:i], MEANING]) in destination for i in range(len(path)))
