"""A prior goes with the states of its head, in whatever way these are saved and loaded."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed import checkpoint as dcp

import torch_heads as th
from tests.heads.test_saved import by_attributes
from torch_heads.integrations.lightning import HeadModule

LABELS = {"kilos": [400.0, 600.0, 800.0], "pet": [0, 0, 1], "sick": [0, 1, 1]}
PETS = ["cat", "dog", "owl"]


def heads(*names: str, pets: list[str] = PETS) -> th.MultiHead:
    made: dict[str, Callable[[], th.Head]] = {
        "kilos": lambda: th.RegressionHead(name="kilos"),
        "pet": lambda: th.MultiClassHead(len(pets), label_vocabulary=pets, name="pet"),
        "sick": lambda: th.BinaryClassHead(name="sick"),
    }
    return th.MultiHead([made[name]() for name in names])


def labels_of(head: th.MultiHead) -> dict[str, Any]:
    return {name: LABELS[name] if name != "pet" else ["cat", "cat", "dog"] for name in head}


def model(head: th.Head) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, head.logits_dimension), head)


def fitted(*names: str, **options: Any) -> nn.Sequential:
    head = heads(*names, **options)
    return model(head.fit_prior(labels_of(head)))


def through_dict(own: nn.Module, saved: nn.Module, _: Path) -> None:
    own.load_state_dict(saved.state_dict())


def through_attributes(own: nn.Module, saved: nn.Module, _: Path) -> None:
    by_attributes(own, saved.state_dict())


def through_files(own: nn.Module, saved: nn.Module, folder: Path) -> None:
    dcp.save(saved.state_dict(), checkpoint_id=folder, no_dist=True)
    states = own.state_dict()
    dcp.load(states, checkpoint_id=folder, no_dist=True)
    own.load_state_dict(states)


WAYS = [through_dict, through_attributes, through_files]

every_way = pytest.mark.parametrize("load", WAYS, ids=lambda way: way.__name__)
no_processes = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


@no_processes
@every_way
@pytest.mark.parametrize("names", [("kilos",), ("kilos", "pet", "sick")])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_prior_is_loaded_with_its_head(
    load: Callable[..., None], names: tuple[str, ...], device: str, tmp_path: Path
) -> None:
    saved, x = fitted(*names), torch.randn(5, 4)
    with torch.device(device):
        own = model(heads(*names))
    if device == "meta" and load is not through_attributes:
        own.to_empty(device="cpu")
    load(own, saved, tmp_path)
    torch.testing.assert_close(own(x), saved(x), rtol=0, atol=0)
    assert own(torch.zeros(1, 4))["kilos/predictions"].item() > 400
    assert own[1]["kilos"].prior_loss.item() == pytest.approx(2 / 3 * 200**2)
    assert [key for key in own[1].metrics() if "skill" in key] == [f"skill/{n}" for n in names]


@no_processes
@every_way
def test_a_head_with_a_prior_refuses_the_weights_of_one_without(
    load: Callable[..., None], tmp_path: Path
) -> None:
    own, saved = fitted("kilos", "sick"), model(heads("kilos", "sick"))
    says = r"^RegressionHead 'kilos': expected a checkpoint with a prior, as .*forget_prior\(\)"
    with pytest.raises(ValueError, match=says):
        load(own, saved, tmp_path)
    assert own[1]["kilos"].prior_offset.item() == 600.0
    own[1].forget_prior()
    load(own, saved, tmp_path / "again")
    x = torch.randn(5, 4)
    torch.testing.assert_close(own(x), saved(x), rtol=0, atol=0)


def test_it_does_so_without_strict_but_not_of_states_that_say_nothing() -> None:
    own, saved = fitted("kilos"), model(heads("kilos")).state_dict()
    with pytest.raises(ValueError, match="expected a checkpoint with a prior"):
        own.load_state_dict(saved, strict=False)
    del saved["1._meaning"]
    with pytest.raises(RuntimeError, match=r"Missing key.*1\._meaning"):
        own.load_state_dict(saved)
    own.load_state_dict({"0.bias": saved["0.bias"]}, strict=False)  # as of a backbone
    assert own[1]["kilos"].prior_offset.item() == 600.0


def test_a_head_module_refuses_before_its_backbone_is_changed() -> None:
    own = HeadModule(nn.Linear(2, 3), th.RegressionHead().fit_prior([1.0, 5.0]), in_features=3)
    before = own.backbone.weight.detach().clone()
    other = HeadModule(nn.Linear(2, 3), th.RegressionHead(), in_features=3)
    with pytest.raises(ValueError, match="expected a checkpoint with a prior"):
        own.load_state_dict(other.state_dict())
    assert own.backbone.weight.equal(before)
    other.load_state_dict(own.state_dict())
    assert other.head.prior_offset.item() == 3.0


def test_the_entry_has_one_size_with_and_without_a_prior() -> None:
    for head in (
        heads("kilos"),
        th.MultiHead([th.BinaryClassHead(name=f"b{i}") for i in range(9)]),
    ):
        labels = {name: [1e-300, 7e-300] if name == "kilos" else [0, 1] for name in head}
        before = head.state_dict()["_meaning"].shape
        assert head.fit_prior(labels).state_dict()["_meaning"].shape == before
    wide = th.RegressionHead(100)
    size = wide.state_dict()["_meaning"].shape
    wide.fit_prior(torch.randn(50, 100, dtype=torch.float64) * 1e-300)
    assert wide.state_dict()["_meaning"].shape == size


@pytest.mark.parametrize("prior", [[1.0], ["a"] * 4, {"a": 1}, 5, "abcd", [None] * 4, True])
def test_a_prior_of_no_numbers_is_refused(prior: Any) -> None:
    told = json.loads(heads("kilos").state_dict()["_meaning"].numpy().tobytes())
    told["heads"][0]["prior"] = prior
    broken = torch.tensor([*json.dumps(told).encode()], dtype=torch.uint8)
    with pytest.raises(ValueError, match="'_meaning' as bytes that say what its heads are"):
        heads("kilos").load_state_dict({"_meaning": broken})


def test_a_part_that_is_saved_alone_keeps_its_prior() -> None:
    whole = fitted("kilos", "sick")[1]
    for own in (whole["kilos"].state_dict(), nn.ModuleList([whole["kilos"]]).state_dict()):
        alone = th.RegressionHead(name="kilos")
        alone.load_state_dict({key.removeprefix("0."): value for key, value in own.items()})
        assert alone(torch.zeros(1, 1))["predictions"].item() == 600.0
    other = heads("kilos", "sick")
    other["kilos"].load_state_dict(whole["kilos"].state_dict())
    assert other(torch.zeros(1, 2))["kilos/predictions"].item() == 600.0


def test_priors_of_earlier_versions_were_states_of_their_own() -> None:
    saved = fitted("kilos", "sick")
    earlier = saved.state_dict()
    told = json.loads(earlier["1._meaning"].numpy().tobytes())
    for one in told["heads"]:
        del one["prior"]
    earlier["1._meaning"] = torch.tensor([*json.dumps(told).encode()], dtype=torch.uint8)
    x, plain = torch.randn(5, 4), model(heads("kilos", "sick"))
    plain.load_state_dict(earlier)  # of none
    for i, name in enumerate(saved[1]):
        for field in ("offset", "scale", "loss", "origin"):
            value = getattr(saved[1][name], f"prior_{field}")
            earlier[f"1.heads.{i}.prior_{field}"] = value
    for own in (model(heads("kilos", "sick")), copy.deepcopy(saved)):
        own.load_state_dict(earlier)
        torch.testing.assert_close(own(x), saved(x), rtol=0, atol=0)
    module = nn.ModuleDict({"last": saved[0], "head": heads("kilos", "sick")})
    states = {f"head{key[1:]}": value for key, value in earlier.items() if key[0] == "1"}
    with pytest.raises(ValueError, match="got those of an earlier version"):
        th.transfer(module, states, "last")


def test_priors_follow_counts_into_another_order() -> None:
    first = fitted("kilos", "pet")[1]
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    first.update_metrics(None, None, logits, labels_of(first))
    first.metric_collection.persistent()
    other = heads("pet", "kilos", pets=["owl", "cat", "dog"])
    other.load_state_dict(first.state_dict())
    turned = logits[:, [3, 1, 2, 0]]
    found, expected = other(turned), first(logits)
    torch.testing.assert_close(found["kilos/predictions"], expected["kilos/predictions"])
    turned = expected["pet/probabilities"][:, [2, 0, 1]]
    torch.testing.assert_close(found["pet/probabilities"], turned)
    torch.testing.assert_close(
        {key: other.metric_collection.compute()[key] for key in ("skill/pet", "skill/kilos")},
        {key: first.metric_collection.compute()[key] for key in ("skill/pet", "skill/kilos")},
    )


# ---- a new model on old weights ----


def named(head: th.Head) -> nn.ModuleDict:
    return nn.ModuleDict({"last": nn.Linear(4, head.logits_dimension), "head": head})


def predicted(one: nn.ModuleDict, x: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = one["head"](one["last"](x))
    return found


@pytest.mark.parametrize("old_fitted", [True, False])
@pytest.mark.parametrize("new_fitted", [True, False])
def test_rows_that_are_carried_over_mean_what_they_meant(
    old_fitted: bool, new_fitted: bool
) -> None:
    old, new = heads("kilos", "pet"), heads("sick", "pet", "kilos", pets=["owl", "cat", "dog"])
    if old_fitted:
        old.fit_prior(labels_of(old))
    if new_fitted:
        new.fit_prior({"kilos": [5.0, 6.0], "pet": ["owl", "dog"], "sick": [1, 1]})
    first, second, x = named(old), named(new), torch.randn(5, 4)
    kept = new["sick"].prior_offset
    second.load_state_dict(th.transfer(second, first.state_dict(), "last"))
    before, after = predicted(first, x), predicted(second, x)
    torch.testing.assert_close(after["kilos/predictions"], before["kilos/predictions"])
    torch.testing.assert_close(
        after["pet/probabilities"], before["pet/probabilities"][:, [2, 0, 1]]
    )
    if kept is None:
        assert new["sick"].prior_offset is None
    else:
        assert new["sick"].prior_offset.equal(kept)
    if old_fitted:
        assert new["kilos"].prior_loss.equal(old["kilos"].prior_loss)
    elif new_fitted:  # what the new labels cost at the best constant
        assert new["kilos"].prior_loss.item() == 0.25


def test_a_class_that_is_new_has_the_prior_that_it_has() -> None:
    old, new = heads("pet"), heads("pet", pets=["fox", "dog", "cat"])
    old.fit_prior({"pet": ["cat", "dog", "owl", "owl"]})
    new.fit_prior({"pet": ["fox", "fox", "dog", "cat"]})
    fox = new["pet"].prior_offset[0].item()
    first, second = named(old), named(new)
    second.load_state_dict(th.transfer(second, first.state_dict(), "last"))
    cat, dog, _ = old["pet"].prior_offset.tolist()
    assert new["pet"].prior_offset.tolist() == [fox, dog, cat]


def test_heads_with_layers_of_their_own_keep_their_priors() -> None:
    old, new = (nn.ModuleDict({"kilos": nn.Linear(4, 1), "head": heads("kilos")}) for _ in "ab")
    old["head"].fit_prior({"kilos": LABELS["kilos"]})
    for layer in (None, {"kilos": "kilos"}):
        own = copy.deepcopy(new)
        own.load_state_dict(th.transfer(own, old.state_dict(), layer))
        found, expected = (one["head"](one["kilos"](torch.ones(1, 4))) for one in (own, old))
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
