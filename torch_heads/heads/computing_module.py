"""A module that computes: how it is made, and the arguments that would make an equal one."""

from __future__ import annotations

import inspect
from abc import ABC, ABCMeta, abstractmethod
from functools import cached_property
from typing import Any, Self

from torch import nn

from torch_heads.computation.computation import Computation
from torch_heads.functional.errors import unexpected
from torch_heads.functional.own_code import give_own_code

METHODS = "forward", "loss", "update_metrics"  # of which each head has copies: they are compiled


class HeadType(ABCMeta):
    """Lets a head make its computation when its constructor has ended, and not before."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return a new head, with its computation."""
        head = super().__call__(*args, **kwargs)
        if "title" not in vars(head):
            expected, given = "to call super().__init__(...)", "one that does not"
            raise TypeError(unexpected(cls.__name__, "its constructor", expected, given))
        head._given = _given(head, inspect.signature(cls).bind(*args, **kwargs))
        head.computation = head._make_computation()
        head._complete()
        give_own_code(head, METHODS)
        return head

    @property
    def __signature__(cls) -> inspect.Signature:
        """The constructor's arguments, which ``__call__`` would hide."""
        constructor = inspect.signature(cls.__init__)  # type: ignore[misc]
        _, *others = constructor.parameters.values()
        return inspect.Signature(others)


class ComputingModule(nn.Module, ABC, metaclass=HeadType):
    """A module with a computation, which its constructor's arguments tell."""

    _given: dict[str, Any]

    def __init__(self, name: str | None = None) -> None:
        super().__init__()
        #: The head's class and name, as errors say it.
        self.title = head_title(type(self), name)
        self._name = name

    @cached_property
    def computation(self) -> Computation:
        """What the head computes; made when its constructor has ended.

        Raises:
            TypeError: if it is asked for before that.
        """
        expected, given = "to be used once its constructor has ended", "a use inside of it"
        hint = "What follows from all arguments, such as logits_dimension, is not known before."
        raise TypeError(unexpected(type(self).__name__, "a head", expected, given, hint))

    @abstractmethod
    def _make_computation(self) -> Computation:
        """Return what this head computes; called once, when its constructor has ended."""

    def _complete(self) -> None:
        """Make what needs the computation; called once, when there is one."""

    @property
    def name(self) -> str | None:
        """The head's name: the suffix of its metric keys, its key in a `MultiHead`."""
        return self._name

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments as they are now, by name: what makes an equal head."""
        return {name: self._argument_now(name, given) for name, given in self._given.items()}

    def _argument_now(self, name: str, given: Any) -> Any:
        """Return an argument of the constructor as it is now."""
        return getattr(self, name) if _keeps(self, name) else given

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the methods that are this object's own."""
        return {name: value for name, value in vars(self).items() if name not in METHODS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a copy, which has methods of its own."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        give_own_code(self, METHODS)

    def _replicate_for_data_parallel(self) -> Self:
        """Return what `torch.nn.DataParallel` runs on one device, with methods of its own."""
        replica: Self = super()._replicate_for_data_parallel()  # type: ignore[no-untyped-call]
        give_own_code(replica, METHODS)
        return replica


def _given(head: ComputingModule, bound: inspect.BoundArguments) -> dict[str, Any]:
    """Return the arguments of a head's constructor, without those that it keeps as attributes."""
    bound.apply_defaults()
    arguments = dict(bound.arguments)
    for name, parameter in bound.signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            arguments |= arguments.pop(name)
    return {name: None if _keeps(head, name) else one for name, one in arguments.items()}


def _keeps(head: ComputingModule, name: str) -> bool:
    """Return whether a head has an attribute of this name that is no method."""
    kind = getattr(type(head), name, None)
    return not callable(kind) and (isinstance(kind, property) or hasattr(head, name))


def head_title(kind: type, name: Any) -> str:
    """Return a head's class and name, as errors say it.

    Raises:
        TypeError: if the name is not a string.
    """
    if name is not None and not isinstance(name, str):
        raise TypeError(unexpected(kind.__name__, "name", "as a string", type(name).__name__))
    return f"{kind.__name__} {name!r}" if name else kind.__name__
