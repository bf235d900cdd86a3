"""What a checkpoint of other heads holds for a new model: weights, and rows of logits by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torch_heads.computation.meaning import Meaning
from torch_heads.computation.prior_meaning import with_priors_of
from torch_heads.functional.containers import nearest
from torch_heads.functional.errors import class_of, preview, unexpected
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
            heads have layers of their own, a dict of these by the name of the head, for those that
            do not mean what they meant.

    Raises:
        ValueError: if the model has not one head, the checkpoint does not say what its heads are,
            a layer does not have a row for each logit, a head means something else than the one of
            its name and has no layer, one layer of all heads is not named though its rows move, or
            a parameter of the model is lazy.
        KeyError: if there is no such layer.
        TypeError: if an argument is of another type.

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
    if not isinstance(state_dict, Mapping):
        given = type(state_dict).__name__
        raise TypeError(unexpected(WHO, "state_dict", "as a dict of states by name", given))
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
    if isinstance(layer, str):
        _carry_rows(model, layer, before, after, state_dict, found)
        return found
    layers = _by_head(layer, after.heads)
    for one in after.heads:
        old, new = before.of_head(one), after.of_head(one)
        if one in layers and old.targets:
            _carry_rows(model, layers[one], old, new, state_dict, found)
        elif old.targets and _moves(old, new):
            expected, given = f"for {one!r}, which is not as it was", "none"
            raise ValueError(unexpected(WHO, "layer", expected, given))
    if layer is None and _moves(before, after):
        _refuse_shared(model, before, after, state_dict)
    return found


def _by_head(layer: Any, heads: Sequence[str]) -> Mapping[str, Any]:
    """Return the layers of heads by name."""
    if not (layer is None or isinstance(layer, Mapping)):
        expected = "as the name of a module, or a dict of these by head"
        raise TypeError(unexpected(WHO, "layer", expected, type(layer).__name__))
    layers = layer or {}
    for name in layers:
        if name not in heads:
            hint = nearest(name, heads)
            raise ValueError(
                unexpected(WHO, "layer", f"by head, of {preview(heads)}", repr(name), hint)
            )
    return layers


def _refuse_shared(
    model: nn.Module, before: Meaning, after: Meaning, saved: Mapping[str, Any]
) -> None:
    """Refuse to guess that no layer is that of all heads, where the rows of one would move."""
    for key, own in model.named_parameters():
        theirs = saved.get(key)
        if theirs is not None and _has_rows(own, after) and _has_rows(theirs, before):
            expected = f"to be named, since {key!r} has a row for each logit"
            owner = key.rpartition(".")[0]
            hint = f"layer={owner!r}, or {{}} where heads have layers of their own."
            raise ValueError(unexpected(WHO, "layer", expected, None, hint))


def _carry_rows(
    model: nn.Module,
    layer: str,
    before: Meaning,
    after: Meaning,
    saved: Mapping[str, Any],
    found: dict[str, Tensor],
) -> None:
    """Put rows of a layer's saved parameters where their logits stand now."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    own = {key: values for key, values in parameters.items() if key.startswith(f"{layer}.")}
    if not own:
        layers = dict.fromkeys(key.rpartition(".")[0] for key in parameters)
        raise KeyError(unexpected(WHO, "layer", f"among {preview(layers, 40)}", repr(layer)))
    known = [key for key in own if key in saved]
    if not known:
        expected = f"with the layer {layer!r}"
        raise ValueError(unexpected(WHO, "state_dict", expected, preview(saved, 40)))
    for key in known:
        for values, meaning in ((saved[key], before), (own[key], after)):
            if not _has_rows(values, meaning):
                expected = f"with {meaning.logits} rows of {key!r}, one for each logit"
                raise ValueError(unexpected(WHO, "layer", expected, [*values.shape]))
        found[key] = own[key].detach().clone()
        for row, place in _rows(before, after):
            found[key][row] = saved[key][place]


def _has_rows(values: Any, meaning: Meaning) -> bool:
    """Return whether a parameter has a row for each logit."""
    return tuple(values.shape[:1]) == (meaning.logits,)


def _only_head(model: nn.Module) -> tuple[str, SavedHead]:
    """Return the one head in a model, and its name there."""
    if not isinstance(model, nn.Module):
        raise TypeError(unexpected(WHO, "model", "as a module", class_of(model)))
    found = [(n, one) for n, one in model.named_modules() if isinstance(one, SavedHead)]
    outer = [(n, one) for n, one in found if not any(n.startswith(f"{own}.") for own, _ in found)]
    if len(outer) != 1 or not outer[0][0]:
        given = preview(type(one).__name__ for _, one in outer)
        raise ValueError(unexpected(WHO, "model", "with one head in it", given))
    return outer[0]


def _moves(before: Meaning, after: Meaning) -> bool:
    """Return whether a logit is new, gone, or in another place."""
    same = [(i, i) for i in range(before.logits)]
    return before.logits != after.logits or [*_rows(before, after)] != same


def _rows(before: Meaning, after: Meaning) -> Iterator[tuple[int, int]]:
    """Yield each logit that means what one meant before, with the place of that one."""
    starts = dict(zip(before.paths, before.starts, strict=True))
    known = dict(zip(before.paths, before.targets, strict=True))
    for target, start in zip(after.targets, after.starts, strict=True):
        old = known.get(target.path)
        if old is not None:
            for row, place in target.shared_logits(old):
                yield start + row, starts[target.path] + place
