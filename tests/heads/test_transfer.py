"""What both models have is carried over by name, and nothing else is."""

from typing import Any

import pytest
import torch
from torch import nn

import torch_heads as th
from torch_heads.integrations.lightning import HeadModule


def model(head: th.Head) -> nn.ModuleDict:
    last = nn.Linear(4, head.logits_dimension)
    return nn.ModuleDict({"backbone": nn.Linear(3, 4), "last": last, "head": head})


def pet(*names: str, kind: Any = th.MultiClassHead) -> th.Head:
    head: th.Head = kind(len(names), label_vocabulary=names, name="pet")
    return head


def even(vocabulary: list[str] | None = None) -> th.Head:
    return th.BinaryClassHead(name="even", label_vocabulary=vocabulary)


def carried(old: th.Head, new: th.Head) -> tuple[nn.ModuleDict, nn.ModuleDict, list[int | None]]:
    """Return both models, and of each row of the new one, which one of the old it is."""
    first, second = model(old), model(new)
    fresh = second["last"].weight.detach().clone()
    second.load_state_dict(th.transfer(second, first.state_dict(), "last"))
    rows: list[int | None] = []
    for i, (row, bias) in enumerate(zip(second["last"].weight, second["last"].bias, strict=True)):
        same = [j for j, other in enumerate(first["last"].weight) if row.equal(other)]
        assert same or row.equal(fresh[i])
        assert not same or bias == first["last"].bias[same[0]]
        rows.append(same[0] if same else None)
    assert second["backbone"].weight.equal(first["backbone"].weight)
    return first, second, rows


@pytest.mark.parametrize(
    ("old", "new", "rows"),
    [
        (pet("a", "b", "c"), pet("c", "d", "a"), [2, None, 0]),
        (pet("a", "b"), pet("b", "x", "a", "y"), [1, None, 0, None]),
        (pet("a", "b"), pet("b", "a", kind=th.MultiLabelHead), [None, None]),
        (pet("a", "b", kind=th.MultiLabelHead), pet("b", "z", kind=th.MultiLabelHead), [1, None]),
        (even(["no", "yes"]), even(["no", "yes"]), [0]),
        (even(["no", "yes"]), even(["yes", "no"]), [None]),
        (even(["no", "yes"]), even(), [0]),
        (even(), th.RegressionHead(name="even"), [None]),
        (th.RegressionHead(2, name="x"), th.RegressionHead(2, name="x"), [0, 1]),
        (th.RegressionHead(2, name="x"), th.RegressionHead(3, name="x"), [None] * 3),
        (
            th.MultiHead([pet("a", "b"), even(), th.RegressionHead(name="x")]),
            th.MultiHead([th.RegressionHead(name="x"), th.RegressionHead(name="y"), pet("b", "a")]),
            [3, None, 1, 0],
        ),
        (
            th.MultiHead([even(), th.MultiHead([pet("a", "b"), th.RegressionHead(name="x")])]),
            th.MultiHead([th.MultiHead([pet("b", "a"), th.RegressionHead(name="x")]), even()]),
            [2, 1, 3, 0],
        ),
    ],
)
def test_rows_follow_heads_and_classes(old: th.Head, new: th.Head, rows: list[Any]) -> None:
    first, second, found = carried(old, new)
    assert found == rows
    before = {key: value.clone() for key, value in second.state_dict().items()}
    th.transfer(second, first.state_dict(), "last")
    assert all(value.equal(before[key]) for key, value in second.state_dict().items())


def test_what_has_another_shape_or_name_stays() -> None:
    first, second = model(even()), model(even())
    second["backbone"] = nn.Linear(5, 4)
    second["more"] = nn.Linear(1, 1)
    first["head"].update_metrics(None, None, torch.zeros(2, 1), [1, 0])
    first["head"].metric_collection.persistent()
    states = th.transfer(second, first.state_dict(), "last")
    assert states.keys() == second.state_dict().keys()
    assert states["backbone.weight"].shape == (4, 5)
    assert states["backbone.bias"].equal(first["backbone"].bias)
    second.load_state_dict(states)


class Towers(nn.Module):
    def __init__(self, *heads: th.Head) -> None:
        super().__init__()
        layers = {str(one.name): nn.Linear(4, one.logits_dimension) for one in heads}
        self.towers, self.head = nn.ModuleDict(layers), th.MultiHead(heads)


def test_heads_with_layers_of_their_own() -> None:
    first = Towers(pet("a", "b"), even())
    second = Towers(even(), pet("b", "c", "a"), th.RegressionHead(name="x"))
    states = th.transfer(second, first.state_dict(), {"pet": "towers.pet"})
    assert states["towers.pet.weight"][[2, 0]].equal(first.towers["pet"].weight)
    assert states["towers.even.weight"].equal(first.towers["even"].weight)
    with pytest.raises(ValueError, match="layer for 'pet', which is not as it was, got none"):
        th.transfer(second, first.state_dict())
    same = Towers(pet("a", "b"), th.RegressionHead(name="x"))
    assert th.transfer(same, first.state_dict())["towers.pet.weight"].equal(
        first.towers["pet"].weight
    )


@pytest.mark.parametrize(
    ("change", "layer", "error", "message"),
    [
        ({}, "lost", KeyError, r"layer among \['backbone', 'last'\], got 'lost'"),
        ({}, "head", KeyError, r"layer among \['backbone', 'last'\], got 'head'"),
        ({}, "", KeyError, r"layer among \['backbone', 'last'\], got ''"),
        ({}, "backbone", ValueError, r"layer with 1 rows of 'backbone.weight', .*, got \[4, 3\]"),
        ({}, 5, TypeError, "layer as the name of a module, or a dict of these by head, got int"),
        ({}, ["last"], TypeError, "layer as the name of a module, .*, got list"),
        ({}, {"Even": "last"}, ValueError, r"of \['even'\], got 'Even'. The nearest is 'even'"),
        ({}, {"even": 5}, KeyError, r"layer among \['backbone', 'last'\], got 5"),
        (
            {"last.weight": None, "last.bias": None},
            "last",
            ValueError,
            r"state_dict with the layer 'last', got \['backbone.weight'",
        ),
        (
            {"head._meaning": None},
            "last",
            ValueError,
            r"state_dict with 'head._meaning', which says",
        ),
        (
            {"head._meaning": torch.zeros(9)},
            "last",
            ValueError,
            r"'even': expected the checkpoint's",
        ),
    ],
)
def test_what_cannot_be_carried_is_refused(
    change: dict[str, Any], layer: Any, error: type[Exception], message: str
) -> None:
    states = {**model(even()).state_dict(), **change}
    states = {key: value for key, value in states.items() if value is not None}
    with pytest.raises(error, match=message):
        th.transfer(model(even()), states, layer)


def test_a_layer_of_all_heads_has_to_be_named_where_its_rows_move() -> None:
    def heads(*names: str) -> th.MultiHead:
        return th.MultiHead([th.RegressionHead(name=name) for name in names])

    states = model(heads("a", "b")).state_dict()
    says = r"layer to be named, since 'last.weight' has a row .* layer='last', or \{\} where"
    for names in ("ba", "abc", "a", "cd"):
        with pytest.raises(ValueError, match=says):
            th.transfer(model(heads(*names)), states)
    same = th.transfer(model(heads("a", "b")), states)
    assert same["last.weight"].equal(states["last.weight"])
    assert "last.weight" in th.transfer(model(heads("b", "a")), states, {})


def test_all_parameters_of_a_layer_are_carried_those_of_modules_in_it_too() -> None:
    first, second = (model(pet(*names)) for names in ("abc", "cda"))
    for one in (first, second):
        nn.utils.parametrizations.weight_norm(one["last"])
    second.load_state_dict(th.transfer(second, first.state_dict(), "last"))
    assert second["last"].weight[[0, 2]].equal(first["last"].weight[[2, 0]])
    assert second["last"].bias[[0, 2]].equal(first["last"].bias[[2, 0]])
    second["all"] = nn.Sequential(second["backbone"], second["last"])
    first["all"] = nn.Sequential(first["backbone"], first["last"])
    with pytest.raises(ValueError, match=r"layer with 3 rows of 'all\.0\.\w+', .*, got \[4"):
        th.transfer(second, first.state_dict(), "all")


def test_a_lazy_layer_is_refused_until_its_shape_is_known() -> None:
    old, new = (HeadModule(nn.Linear(3, 4), even(), in_features="lazy") for _ in range(2))
    old(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"model with 'projection\.weight' of a shape that is kn"):
        th.transfer(new, old.state_dict(), "projection")
    new(torch.zeros(2, 3))
    states = th.transfer(new, old.state_dict(), "projection")
    assert states["projection.weight"].equal(old.projection.weight)


def test_a_model_has_one_head() -> None:
    states = model(even()).state_dict()
    for other in (nn.Linear(2, 2), even(), nn.ModuleList([even(), even()])):
        with pytest.raises(ValueError, match="transfer: expected model with one head in it, got"):
            th.transfer(other, states, "last")
    with pytest.raises(TypeError, match="transfer: expected model as a module, got NoneType"):
        th.transfer(None, states, "last")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"transfer: expected state_dict as a dict of .* got str"):
        th.transfer(model(even()), "old.pt", "last")  # type: ignore[arg-type]
