"""What a checkpoint of other heads holds for a new model: weights, and rows of logits by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torch_heads.computation.meaning import Meaning
from torch_heads.computation.prior_meaning import with_priors_of
from torch_heads.functional.errors import preview, unexpected
from torch_heads.heads.saved import SavedHead, has_earlier_priors
from torch_heads.metrics.saved import MEANING

WHO = "transfer"


def transfer(
    model: nn.Module,
    state_dict: Mapping[str, Any],
    layer: str | Mapping[str, str] | None = None,
) -> dict[str, Tensor]:
    """Return the states of a model, with all that fits out of a checkpoint of another one.

    That is what has the same name and shape; and of what makes the logits, the rows of the heads
    that both have, and of the classes that both vocabularies have, by name, with their priors. All
    else stays as it is in the model, which is not changed: give it what is returned.

    Args:
        model: the new model, with one head in it.
        state_dict: that of the old model.
        layer: the name of the module whose parameters have a row for each logit, in both; or, where
            heads have layers of their own, these by the name of the head.

    Raises:
        ValueError: if the model has not one head, the checkpoint does not say what its heads are,
            a layer does not have a row for each logit, a head means something else than the one of
            its name and has no layer, or a parameter of the model is lazy.
        KeyError: if there is no such layer.

    >>> import torch
    >>> from torch_heads import BinaryClassHead, MultiHead, RegressionHead
    >>> def model(*heads):
    ...     return nn.ModuleDict({"last": nn.Linear(8, len(heads)), "head": MultiHead(heads)})
    >>> old = model(BinaryClassHead(name="click"), RegressionHead(name="price"))
    >>> new = model(RegressionHead(name="price"), BinaryClassHead(name="buy"))
    >>> states = transfer(new, old.state_dict(), layer="last")
    >>> new.load_state_dict(states)
    <All keys matched successfully>
    >>> torch.equal(new["last"].weight[0], old["last"].weight[1])
    True
    """
    name, head = _only_head(model)
    told = f"{name}.{MEANING}"
    if told not in state_dict:
        expected, given = f"with {told!r}, which says what its heads are", preview(state_dict)
        raise ValueError(unexpected(WHO, "state_dict", expected, given))
    if has_earlier_priors(state_dict, f"{name}."):
        expected, given = f"with its priors in {told!r}", "those of an earlier version"
        hint = "Load it into the model that it is of, and take the state_dict of that."
        raise ValueError(unexpected(WHO, "state_dict", expected, given, hint))
    before, after = Meaning.read(head.title, state_dict[told]), Meaning.of(head.computation)
    found: dict[str, Tensor] = dict(model.state_dict())
    for key, value in state_dict.items():
        own = found.get(key)
        if own is None or key.startswith(f"{name}."):
            continue
        if is_lazy(own):
            expected, hint = f"with {key!r} of a shape that is known", "Call it on a batch first."
            raise ValueError(unexpected(WHO, "model", expected, "a lazy one", hint))
        if own.shape == value.shape:
            found[key] = value
    found[told] = with_priors_of(before, after).to_tensor().to(found[told].device)
    if layer is None:
        layer = {}
    if isinstance(layer, str):
        _carry_rows(model, layer, before, after, state_dict, found)
        return found
    for one in after.heads:
        old, new = before.of_head(one), after.of_head(one)
        if one in layer and old.targets:
            _carry_rows(model, layer[one], old, new, state_dict, found)
        elif old.targets and [*_rows(old, new)] != [(i, i) for i in range(old.logits)]:
            expected, given = f"for {one!r}, which is not as it was", "none"
            raise ValueError(unexpected(WHO, "layer", expected, given))
    return found


def _carry_rows(
    model: nn.Module,
    layer: str,
    before: Meaning,
    after: Meaning,
    saved: Mapping[str, Any],
    found: dict[str, Tensor],
) -> None:
    """Put rows of a layer's saved parameters where their logits stand now."""
    named = dict(model.named_modules())
    if layer not in named:
        expected = f"among {preview([*named][1:], 40)}"
        raise KeyError(unexpected(WHO, "layer", expected, repr(layer)))
    own = dict(model.state_dict())
    for name, _ in named[layer].named_parameters(recurse=False):
        key = f"{layer}.{name}"
        given = saved.get(key)
        if given is None:
            continue
        for values, meaning in ((given, before), (own[key], after)):
            if len(values) != meaning.logits:
                expected = f"with {meaning.logits} rows of {key!r}, one for each logit"
                raise ValueError(unexpected(WHO, "layer", expected, len(values)))
        found[key] = own[key].clone()
        for row, place in _rows(before, after):
            found[key][row] = given[place]


def _only_head(model: nn.Module) -> tuple[str, SavedHead]:
    """Return the one head in a model, and its name there."""
    found = [(n, one) for n, one in model.named_modules() if isinstance(one, SavedHead)]
    outer = [(n, one) for n, one in found if not any(n.startswith(f"{own}.") for own, _ in found)]
    if len(outer) != 1 or not outer[0][0]:
        given = preview(type(one).__name__ for _, one in outer)
        raise ValueError(unexpected(WHO, "model", "with one head in it", given))
    return outer[0]


def _rows(before: Meaning, after: Meaning) -> Iterator[tuple[int, int]]:
    """Yield each logit that means what one meant before, with the place of that one."""
    starts = dict(zip(before.paths, before.starts, strict=True))
    known = dict(zip(before.paths, before.targets, strict=True))
    for target, start in zip(after.targets, after.starts, strict=True):
        old = known.get(target.path)
        if old is not None:
            for row, place in target.shared_logits(old):
                yield start + row, starts[target.path] + place
