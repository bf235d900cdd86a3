"""States know what they mean: they load into heads that mean the same, by name, or are refused."""

import copy
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict
from torch.testing import assert_close
from torchmetrics import SpearmanCorrCoef
from torchmetrics.classification import MulticlassRecall

import torch_heads as th
from tests.cases import Case, every_case
from tests.mixture import mixture, random_batch
from torch_heads.computation.meaning import Meaning

PETS = ["cat", "dog", "owl"]


def made(name: str, vocabulary: Any = PETS, **options: Any) -> th.Head:
    kinds: dict[str, Callable[[], th.Head]] = {
        "even": lambda: th.BinaryClassHead(name="even", **options),
        "odd": lambda: th.BinaryClassHead(name="odd", thresholds=[0.3]),
        "pet": lambda: th.MultiClassHead(3, label_vocabulary=vocabulary, name="pet"),
        "tags": lambda: th.MultiLabelHead(3, label_vocabulary=vocabulary, name="tags"),
        "kilos": lambda: th.RegressionHead(name="kilos"),
        "count": lambda: th.PoissonRegressionHead(name="count"),
    }
    return kinds[name]()


def several(*names: str, vocabulary: Any = PETS, **options: Any) -> th.MultiHead:
    return th.MultiHead([made(name, vocabulary, **options) for name in names])


def batch(head: th.Head) -> tuple[Tensor, Any]:
    """Return logits, and labels by name, of each head the same in whatever order they are."""
    logits, labels = [], {}
    for target in head.computation.targets:
        random = torch.Generator().manual_seed(len(target.name or ""))
        logits.append(torch.randn(40, target.logits, generator=random))
        shape = (40,) if target.columns == 1 else (40, target.columns)
        most = int(min(target.family.highest, 5)) + 1
        labels[target.name] = torch.randint(most, shape, generator=random)
    return torch.cat(logits, -1), labels


def counted(head: th.Head) -> th.Head:
    logits, labels = batch(head)
    given = labels if isinstance(head, th.MultiHead) else labels[head.name]
    head.update_metrics(None, None, logits, given)
    head.metric_collection.persistent()
    return head


def states(head: th.Head) -> dict[str, Tensor]:
    tallies = head.metric_collection.tallies
    return {f"{n}.{key}": own for n, t in tallies.items() for key, own in t.metric_state.items()}


# ---- what a checkpoint knows ----


@every_case
def test_a_checkpoint_loads_into_an_equal_model_and_no_counts_are_shared(
    case: Case, device: torch.device
) -> None:
    sample = case.batch.to(device)
    first, *others = (nn.Sequential(nn.Linear(2, 3), case.head(device)) for _ in range(3))
    first[1].update_metrics(None, sample.features, sample.logits, sample.labels)
    first[1].metric_collection.persistent()
    saved = first.state_dict()
    assert saved["1._meaning"].dtype == torch.uint8
    kept = copy.deepcopy(saved)
    for other in others:
        other.load_state_dict(saved)
        other[1].update_metrics(None, sample.features, sample.logits, sample.labels)
        assert_close(states(other[1]), {k: 2 * v for k, v in states(first[1]).items()})
    assert_close(dict(saved), dict(kept))
    del saved["1._meaning"]
    others[0].load_state_dict(saved)  # as earlier versions saved it
    assert_close(states(others[0][1]), states(first[1]))


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_safetensors_and_distributed_checkpoints_keep_it(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    def model(*names: str) -> nn.Sequential:
        return nn.Sequential(nn.Linear(2, 4), several(*names))

    first = model("even", "pet")
    save_file(first.state_dict(), tmp_path / "model.safetensors")
    found = load_file(tmp_path / "model.safetensors")
    model("even", "pet").load_state_dict(found)
    with pytest.raises(ValueError, match=r"heads \['odd', 'pet'\], got one of \['even', 'pet'\]"):
        model("odd", "pet").load_state_dict(found)

    dcp.save(get_model_state_dict(first), checkpoint_id=tmp_path / "dcp", no_dist=True)
    again = model("even", "pet")
    for other, error in ((again, None), (model("odd", "pet"), ValueError)):
        own = get_model_state_dict(other)
        dcp.load(own, checkpoint_id=tmp_path / "dcp", no_dist=True)
        if error is None:
            set_model_state_dict(other, own)
        else:
            with pytest.raises(error, match=r"got one of \['even', 'pet'\]"):
                set_model_state_dict(other, own)
    assert again[0].weight.equal(first[0].weight)


REFUSED: list[tuple[Callable[[], th.Head], Callable[[], th.Head], str]] = [
    (
        lambda: several("even", "kilos"),
        lambda: several("kilos", "even"),
        r"MultiHead \['even', 'kilos'\]: expected a checkpoint of the heads \['even', 'kilos'\], "
        r"got one of \['kilos', 'even'\]\. .*transfer",
    ),
    (lambda: several("even"), lambda: several("even", "kilos"), r"got one of \['even', 'kilos'\]"),
    (lambda: made("even"), lambda: made("odd"), r"of the heads \['even'\], got one of \['odd'\]"),
    (lambda: made("pet", PETS[::-1]), lambda: made("pet"), r"label_vocabulary \['owl', 'dog', 'ca"),
    (
        lambda: th.BinaryClassHead(label_vocabulary=["no", "yes"]),
        lambda: th.BinaryClassHead(label_vocabulary=["yes", "no"]),
        r"label_vocabulary \['no', 'yes'\], got one of \['yes', 'no'\]",
    ),
    (
        lambda: th.PoissonRegressionHead(name="x"),
        lambda: th.RegressionHead(name="x"),
        r"'x': expected a checkpoint of Poisson, 1 x 1 logits, got one of Normal, 1 x 1 logits",
    ),
    (
        lambda: th.RegressionHead(name="x", inverse_link_fn=torch.exp),
        lambda: th.RegressionHead(name="x"),
        r"'x': expected a checkpoint with an inverse_link_fn, got one without an inverse_link_f",
    ),
    (
        lambda: several("kilos", "even"),
        lambda: th.MultiHead(
            [th.RegressionHead(name="kilos", inverse_link_fn=torch.exp), made("even")]
        ),
        r"'kilos': expected a checkpoint without an inverse_link_fn, got one with an",
    ),
    (lambda: th.RegressionHead(2), lambda: th.RegressionHead(3), r"Normal, 2 x 1 .* 3 x 1 logits"),
    (
        lambda: th.MultiLabelHead(9, label_vocabulary=[*"abcdefghi"]),
        lambda: th.MultiLabelHead(9, label_vocabulary=[*"abcdefgih"]),
        r"the label_vocabulary with 'h' in place 7, got one with 'i'",
    ),
]


@pytest.mark.parametrize(("own", "saved", "message"), REFUSED)
def test_states_of_other_heads_are_refused_by_name(
    own: Callable[[], th.Head], saved: Callable[[], th.Head], message: str
) -> None:
    given = nn.ModuleDict({"head": saved()}).state_dict()
    for strict in (True, False):
        model = nn.ModuleDict({"head": own()})
        with pytest.raises(ValueError, match=message):
            model.load_state_dict(given, strict=strict)
    wrapped = nn.ModuleDict({"head": th.SequentialHeadWrapper(own())})
    with pytest.raises(ValueError, match=r"expected a checkpoint "):
        wrapped.load_state_dict(given)


@pytest.mark.parametrize(
    ("own", "saved"),
    [
        (lambda: th.BinaryClassHead(), lambda: made("even")),
        (lambda: made("pet", None), lambda: made("pet")),
        (lambda: made("pet"), lambda: made("pet", None)),
        (lambda: made("even", weight_column="w", missing_label=-1), lambda: made("even")),
        (lambda: made("even", loss_reduction="sum", pos_weight=3.0), lambda: made("even")),
        (lambda: th.LogisticRegressionHead(name="even"), lambda: made("even")),
        (
            lambda: th.PoissonRegressionHead(compute_full_loss=False),
            lambda: th.PoissonRegressionHead(),
        ),
        (
            lambda: th.RegressionHead(inverse_link_fn=torch.exp),
            lambda: th.RegressionHead(inverse_link_fn=torch.sigmoid),
        ),
        (lambda: th.SequentialHeadWrapper(made("pet")), lambda: made("pet")),
    ],
)
def test_what_a_checkpoint_does_not_say_or_only_the_loss_asks_for_is_no_difference(
    own: Callable[[], th.Head], saved: Callable[[], th.Head]
) -> None:
    model = nn.ModuleDict({"head": own()})
    model.load_state_dict(nn.ModuleDict({"head": saved()}).state_dict())


def test_a_checkpoint_that_does_not_say_whether_there_is_a_link_loads() -> None:
    own = Meaning.of(th.RegressionHead().computation).targets
    told = Meaning([replace(one, linked=None) for one in own]).to_tensor()
    for head in (th.RegressionHead(), th.RegressionHead(inverse_link_fn=torch.exp)):
        head.load_state_dict({"_meaning": told})


def test_a_broken_meaning_is_refused() -> None:
    head = made("even")
    for broken in (torch.zeros(1024, dtype=torch.uint8), torch.zeros(3), "text", None):
        state = {"_meaning": broken} if broken is not None else {"_meaning": torch.zeros(0)}
        says = "'even': expected the checkpoint's '_meaning' as byte"
        with pytest.raises(ValueError, match=says):
            head.load_state_dict(state)


def test_learned_weights_of_heads_are_loaded_where_they_are_learned() -> None:
    names = "even", "kilos"
    learned, plain = several(*names), several(*names)
    learned.head_weights = nn.Parameter(torch.tensor([2.0, 3.0]))
    plain.load_state_dict(learned.state_dict())
    assert plain.head_weights is None
    again = several(*names)
    again.head_weights = nn.Parameter(torch.ones(2))
    again.load_state_dict(plain.state_dict())
    assert again.head_weights.tolist() == [1.0, 1.0]
    again.load_state_dict(learned.state_dict())
    assert again.head_weights.tolist() == [2.0, 3.0]


# ---- counts by name ----


def test_counts_follow_heads_and_classes_into_another_order() -> None:
    saved = counted(several("odd", "pet", "kilos", "even", "tags", "count")).state_dict()
    order = [2, 0, 1]
    vocabulary = [PETS[i] for i in order]
    head = several("count", "tags", "even", "pet", "odd", "kilos", vocabulary=vocabulary)
    head.load_state_dict(saved)

    expected = several("count", "tags", "even", "pet", "odd", "kilos", vocabulary=vocabulary)
    logits, labels = batch(expected)
    parts = expected.as_logits(logits)
    for name in ("pet", "tags"):
        parts[name] = parts[name][:, order]
    labels["pet"] = torch.tensor([order.index(i) for i in range(3)])[labels["pet"]]
    labels["tags"] = labels["tags"][:, order]
    expected.update_metrics(None, None, parts, labels)
    assert_close(states(head), states(expected))
    assert_close(head.metric_collection.compute(), expected.metric_collection.compute())


@pytest.mark.filterwarnings("ignore:.*will save all targets and predictions")
def test_states_of_torchmetrics_own_follow_their_heads_but_not_classes() -> None:
    def measured(*names: str, vocabulary: Any = PETS) -> th.MultiHead:
        own = [
            th.RegressionHead(name="kilos", metrics=[SpearmanCorrCoef()]),
            th.MultiClassHead(
                3,
                name="pet",
                label_vocabulary=vocabulary,
                metrics={"recall": MulticlassRecall(3, average=None)},
            ),
        ]
        return th.MultiHead([own[own[0].name != name] for name in names])

    first, other = counted(measured("kilos", "pet")), measured("pet", "kilos")
    other.metric_collection.persistent()
    other.load_state_dict(first.state_dict())
    expected = first.metric_collection.compute()
    assert_close({key: other.metric_collection.compute()[key] for key in expected}, expected)
    assert expected["SpearmanCorrCoef/kilos"].isfinite()
    with pytest.raises(ValueError, match="'pet': expected a checkpoint of the label_vocabulary"):
        measured("kilos", "pet", vocabulary=PETS[::-1]).load_state_dict(first.state_dict())


def test_counts_without_confusions_follow_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch_heads.metrics.counted.MOST_CONFUSIONS", 4)
    saved = counted_alone(made("pet"), slice(None))
    head = made("pet", PETS[::-1])
    head.load_state_dict(saved.state_dict())
    assert_close(head.metric_collection.compute(), saved.metric_collection.compute())


def test_learned_weights_do_not_follow_into_another_order() -> None:
    learned = several("even", "kilos")
    learned.head_weights = nn.Parameter(torch.tensor([2.0, 3.0]))
    other = several("kilos", "even")
    other.head_weights = nn.Parameter(torch.ones(2))
    with pytest.raises(ValueError, match="of the heads"):
        other.load_state_dict(learned.state_dict())
    assert other.head_weights.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("kind", ["pet", "tags"])
def test_counts_of_a_single_head_follow_its_classes(kind: str) -> None:
    head = made(kind, PETS[::-1])
    head.load_state_dict(counted_alone(made(kind), slice(None)).state_dict())
    assert_close(states(head), states(counted_alone(made(kind, PETS[::-1]), [2, 1, 0])))


def counted_alone(head: th.Head, order: Any) -> th.Head:
    random = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(30, 3, generator=random), torch.eye(3)[torch.arange(30) % 3]
    ids, hot = labels[:, order].argmax(-1), labels[:, order]
    head.update_metrics(None, None, logits[:, order], ids if head.name == "pet" else hot)
    head.metric_collection.persistent()
    return head


@pytest.mark.parametrize(
    ("own", "saved", "message"),
    [
        (lambda: several("even", "kilos"), lambda: several("odd", "kilos"), "got one of .'odd'"),
        (
            lambda: th.BinaryClassHead(label_vocabulary=["no", "yes"]),
            lambda: th.BinaryClassHead(label_vocabulary=["yes", "no"]),
            "label_vocabulary",
        ),
        (
            lambda: ordered("high", "low", "mid"),
            lambda: counted(ordered("low", "mid", "high")),
            r"label_vocabulary \['high', 'low', 'mid'\], got one of \['low', 'mid', 'high'\]",
        ),
        (
            lambda: th.SequentialHeadWrapper(several("even", "kilos")),
            lambda: th.SequentialHeadWrapper(several("kilos", "even")),
            r"of the heads \['even', 'kilos'\], got one of \['kilos', 'even'\]",
        ),
        (
            lambda: made("even", thresholds=[0.4]),
            lambda: counted(several("even", thresholds=[0.3]))["even"],
            "metrics of scores cut at",
        ),
    ],
)
def test_counts_that_no_name_tells_apart_are_refused(
    own: Callable[[], th.Head], saved: Callable[[], th.Head], message: str
) -> None:
    head, given = own(), saved()
    if given.name == "even":
        given = th.BinaryClassHead(name="even", thresholds=[0.3])
        given.update_metrics(None, None, torch.zeros(2, 1), [1, 0])
        given.metric_collection.persistent()
    with pytest.raises(ValueError, match=message):
        head.load_state_dict(given.state_dict())


def test_what_a_head_means_is_asked_where_its_layer_is_loaded_elsewhere() -> None:
    net, x = nn.Linear(3, 3), torch.randn(50, 3)
    for saved, own in [
        (made("pet"), made("pet", PETS[::-1])),
        (made("tags"), made("tags", PETS[::-1])),
        (several("pet", "kilos"), several("pet", "kilos", vocabulary=PETS[::-1])),
        (several("even", "odd"), several("odd", "even")),
        (th.SequentialHeadWrapper(made("pet")), th.SequentialHeadWrapper(made("pet", PETS[::-1]))),
    ]:
        with pytest.raises(ValueError, match=r"expected a checkpoint of the .* got one of \["):
            own.load_state_dict(saved.state_dict())
    first, same = made("pet"), made("pet")
    same.load_state_dict(first.state_dict())
    assert (
        same.predictions(net(x))["classes"].tolist()
        == first.predictions(net(x))["classes"].tolist()
    )


def ordered(*classes: str) -> th.Head:
    return th.OrdinalClassHead(3, label_vocabulary=[*classes])


def test_counts_of_ordered_classes_follow_their_head() -> None:
    def graded(*names: str) -> th.MultiHead:
        grade = th.OrdinalClassHead(3, name="grade", label_vocabulary=["low", "mid", "high"])
        return th.MultiHead([grade if name == "grade" else made(name) for name in names])

    first, other = counted(graded("pet", "grade", "kilos")), graded("kilos", "grade", "pet")
    other.load_state_dict(first.state_dict())
    expected = first.metric_collection.compute()
    assert_close({key: other.metric_collection.compute()[key] for key in expected}, expected)


def kept(head: th.Head) -> Any:
    head.metric_collection.persistent()
    return head.metric_collection


@pytest.mark.parametrize(
    ("own", "saved", "message"),
    [
        (
            lambda: several("even", "odd"),
            lambda: several("odd", "even"),
            r"of the heads \['even', 'odd'\], got one of \['odd', 'even'\]\. .*follow the names",
        ),
        (lambda: made("tags", PETS[::-1]), lambda: made("tags"), "label_vocabulary .'owl', 'dog'"),
        (lambda: made("odd"), lambda: made("even"), r"of the heads \['odd'\], got one of"),
        (
            lambda: made("even", thresholds=[0.4]),
            lambda: made("even", thresholds=[0.3]),
            "metrics of scores cut at",
        ),
    ],
)
def test_a_collection_alone_asks_what_its_counts_mean(
    own: Callable[[], th.Head], saved: Callable[[], th.Head], message: str
) -> None:
    given, other = nn.ModuleDict({"kept": kept(counted(saved()))}), own()
    for collection in (kept(other), other.metrics(), copy.deepcopy(other.metrics())):
        collection.persistent()
        with pytest.raises(ValueError, match=message):
            nn.ModuleDict({"kept": collection}).load_state_dict(given.state_dict())
        assert not any(state.any() for state in collection.state_dict().values() if state.ndim > 1)
    inner = {f"metric_collection.{key}": own for key, own in given["kept"].state_dict().items()}
    if own().name == "even_odd":  # which go by the names, as a part of the head's own
        other.load_state_dict(inner)
        expected = given["kept"].compute()
        assert_close({key: other.metric_collection.compute()[key] for key in expected}, expected)


def test_a_collection_of_the_same_heads_loads_and_one_that_says_nothing_does() -> None:
    first = counted(several("even", "pet", "kilos"))
    told = first.metric_collection.state_dict()
    untold = {key: value for key, value in told.items() if key != "_meaning"}
    assert len(untold) == len(told) - 1
    for given in (told, untold):
        other = several("even", "pet", "kilos")
        kept(other).load_state_dict(given)
        assert_close(states(other), states(first))
        other = several("even", "pet", "kilos")
        part = kept(other["pet"])
        part.load_state_dict(first["pet"].metric_collection.state_dict())
        assert_close(part.compute(), first["pet"].metric_collection.compute())
    assert "_meaning" not in several("even").metrics().state_dict()


@pytest.mark.parametrize(
    ("own", "others", "says", "field"),
    [
        ({"missing_label": -1}, {"missing_label": -2}, "the missing_label [-2.0, nan]", "missing"),
        ({}, {"loss_reduction": "sum"}, "the loss sum", "loss"),
    ],
)
def test_counts_of_another_missing_label_or_loss_are_refused_and_weights_are_not(
    own: dict[str, Any], others: dict[str, Any], says: str, field: str
) -> None:
    head, other = th.RegressionHead(**own), th.RegressionHead(**others)
    weights = head.state_dict()
    head.update_metrics(logits=[[0.0], [0.0]], labels=[2.0, -1.0])
    head.metric_collection.persistent()
    counts = head.state_dict()
    with pytest.raises(ValueError, match=re.escape(f"with {says}, got one with")):
        th.RegressionHead(**others).load_state_dict(counts)
    th.RegressionHead(**others).load_state_dict(weights)
    targets = Meaning.of(head.computation).targets  # of which an earlier checkpoint says less
    told = Meaning([replace(one, **{field: None}) for one in targets]).to_tensor()
    other.load_state_dict({**counts, "_meaning": told, "metric_collection._meaning": told})
    assert_close(other.metric_collection.compute(), head.metric_collection.compute())


def test_counts_of_another_shape_are_refused() -> None:
    saved = counted(several("odd", "pet")).state_dict()
    del saved["_meaning"], saved["metric_collection._meaning"]
    head = several("even", "pet")
    with pytest.raises(ValueError, match=r"with metric_collection.bernoulli.scores of shape \["):
        head.load_state_dict(saved)
    assert not head.metric_collection.tallies["bernoulli"].update_called


# ---- the meta device ----


def heads_with_settings() -> th.MultiHead:
    heads = [
        th.BinaryClassHead(name="a", pos_weight=2.0, thresholds=[0.3]),
        th.MultiClassHead(3, name="b", class_weight=[1.0, 2.0, 3.0]),
        th.MultiClassHead(5, name="c", missing_label=-1, label_smoothing=0.1),
        th.RegressionHead(name="d"),
    ]
    return th.MultiHead(heads, head_weights=[1.0, 2.0, 3.0, 4.0])


def emptied(model: nn.Module, saved: Any) -> None:
    model.to_empty(device="cpu")
    model.load_state_dict(saved)


def assigned(model: nn.Module, saved: Any) -> None:
    model.load_state_dict(saved, assign=True)


def by_attributes(model: nn.Module, saved: Any) -> None:
    """Load as Hugging Face's ``from_pretrained`` does: one attribute after the other."""
    for key, value in model.state_dict(keep_vars=True).items():
        path, _, name = key.rpartition(".")
        owner = model.get_submodule(path)
        assert name in {**owner._parameters, **owner._buffers}, "which it could not find"
        given = saved.get(key, torch.empty_like(value, device="cpu"))
        setattr(owner, name, nn.Parameter(given) if name in owner._parameters else given)
    for owner in model.modules():
        assert not owner._non_persistent_buffers_set, "which would be left empty"


@pytest.mark.parametrize("touched", [False, True], ids=["new", "looked at"])
@pytest.mark.parametrize("load", [emptied, assigned, by_attributes], ids=lambda f: f.__name__)
def test_a_model_that_is_built_on_the_meta_device_computes_right(
    load: Callable[[nn.Module, Any], None], touched: bool
) -> None:
    usual = nn.Sequential(nn.Linear(2, 10), heads_with_settings())
    x, labels = torch.randn(4, 2), {"a": [1, 0, 1, 1], "b": [2, 1, 0, 0], "c": [4, -1, 0, 1]}
    labels["d"] = [0.5, 2, 3, 4]
    with torch.device("meta"):
        built = nn.Sequential(nn.Linear(2, 10), heads_with_settings())
        if touched:
            built(torch.zeros(1, 2))
            list(built.named_modules())
    saved = usual.state_dict()
    load(built, saved)
    for network, head in (usual, built):
        head.update_metrics(None, None, network(x), labels)
    assert built[1].loss(labels, built[0](x)) == usual[1].loss(labels, usual[0](x))
    assert_close(states(built[1]), states(usual[1]))
    assert_close(built[1].metric_collection.compute(), usual[1].metric_collection.compute())
    assert_close(dict(built.state_dict()), dict(saved))
    del saved["1._meaning"]
    load(built, saved)
    assert built[1].loss(labels, built[0](x)) == usual[1].loss(labels, usual[0](x))


def test_a_model_on_the_meta_device_is_all_there_until_it_is_moved_or_loaded() -> None:
    # tools that shard and load models tell by the devices of all states where these go
    def built() -> nn.Sequential:
        with torch.device("meta"):
            return nn.Sequential(nn.Linear(2, 10), heads_with_settings())

    model = built()
    assert {value.device.type for value in [*model.parameters(), *model.buffers()]} == {"meta"}
    model[0].to_empty(device="cpu")
    assert not any(value.is_meta for value in model.to("cpu").buffers())
    assert not any(value.is_meta for value in built().to_empty(device="cpu").buffers())
    model = built()
    saved = nn.Sequential(nn.Linear(2, 10), heads_with_settings()).state_dict()
    del saved["1._meaning"]
    model.load_state_dict(saved, assign=True)
    assert not any(value.is_meta for value in model.state_dict().values())
    assert not any(value.is_meta for value in model.buffers())


def test_learned_weights_get_memory_before_values() -> None:
    # as from_pretrained does with parameters that a checkpoint lacks, for its `_init_weights`
    with torch.device("meta"):
        head = several("even", "kilos")
        head.head_weights = nn.Parameter(torch.ones(2))
    head.head_weights = nn.Parameter(torch.tensor([float("nan"), 5e11]))
    with torch.no_grad():
        head.head_weights.copy_(torch.tensor([2.0, 3.0]))
    assert head.loss(torch.ones(1, 2), torch.zeros(1, 2)).item() == pytest.approx(
        2 * 0.6931 + 3, 1e-3
    )
    with pytest.raises(ValueError, match="head_weights as one finite number per head"):
        head.head_weights = nn.Parameter(torch.tensor([float("nan"), 1.0]))


def test_loading_by_attributes_refuses_what_means_otherwise() -> None:
    saved = nn.Sequential(nn.Linear(2, 2), several("even", "odd")).state_dict()
    with torch.device("meta"):
        other = nn.Sequential(nn.Linear(2, 2), several("odd", "even"))
    with pytest.raises(ValueError, match=r"of the heads \['odd', 'even'\], got"):
        by_attributes(other, saved)


def test_metrics_come_back_from_the_meta_device_empty() -> None:
    head, sample = mixture(), random_batch(8, torch.Generator().manual_seed(0))
    given = {"logits": sample.logits, "labels": sample.labels, "weights": sample.weights}
    expected = mixture().update_metrics(None, **given).compute()
    head.update_metrics(None, **given)
    head.to("meta").to_empty(device="cpu")
    assert_close(head.update_metrics(None, **given).compute(), expected, equal_nan=True)


def test_no_constructor_waits_for_a_value_of_a_meta_tensor() -> None:
    with torch.device("meta"):
        weights = torch.tensor([1.0, 2.0, 3.0])
        classes = th.MultiClassHead(3, name="c", class_weight=weights)
        heads = th.MultiHead([classes, th.BinaryClassHead(name="b")], head_weights=weights[:2])
        learned = th.MultiHead([made("even")], head_weights=nn.Parameter(weights[:1]))
        for given in ([weights[0], weights[1]], {"c": weights[0], "even": 2.0}):
            both = [th.MultiClassHead(3, name="c"), made("even")]
            assert th.MultiHead(both, head_weights=given).head_weights.is_meta
        for argument, kind in (
            ("cut_points", th.SurvivalHead),
            ("levels", th.QuantileRegressionHead),
        ):
            for given in (weights, [*weights]):
                with pytest.raises(ValueError, match=f"expected {argument} as a list of .* meta d"):
                    kind(**{argument: given})
        with pytest.raises(ValueError, match=r"expected missing_label as .* meta device"):
            th.RegressionHead(missing_label=weights)
        with pytest.raises(ValueError, match=r"expected thresholds .* meta device"):
            th.BinaryClassHead(thresholds=weights)
        with pytest.raises(ValueError, match=r"expected head_weights .* got a tensor of shape .3."):
            th.MultiHead([made("even")], head_weights=weights)
    with pytest.raises(ValueError, match="'c': expected class_weight with values, got a meta t"):
        classes.loss([0, 1], torch.zeros(2, 3))
    classes.class_weight = [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="expected head_weights with values, got a meta tensor"):
        heads.loss(torch.zeros(2, 2), torch.zeros(2, 4))
    heads.head_weights = [1.0, 2.0]
    assert heads.loss(torch.zeros(2, 2), torch.zeros(2, 4)).isfinite()
    learned.load_state_dict({"head_weights": torch.tensor([4.0])}, assign=True)
    assert learned.loss([[1.0]], torch.zeros(1, 1)).item() == pytest.approx(4 * 0.6931, rel=1e-3)


# ---- copies ----


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda head: pickle.loads(pickle.dumps(head))])
def test_a_copy_holds_counts_until_they_are_reset(copied: Callable[[th.Head], th.Head]) -> None:
    head = th.MultiHead([th.BinaryClassHead(name=f"task{i}") for i in range(50)])
    head.update_metrics(None, None, torch.zeros(2, 50), torch.zeros(2, 50))
    size = len(pickle.dumps(head))
    assert_close(states(copied(head)), states(head))
    head.metric_collection.reset()
    assert size - len(pickle.dumps(head)) > 200_000
    again = copied(head)
    for tally in again.metric_collection.tallies.values():
        assert tally.sums.untyped_storage().nbytes() == 8
    again.update_metrics(None, None, torch.zeros(2, 50), torch.zeros(2, 50))
    assert not head.metric_collection.tallies["bernoulli"].update_called


def test_a_head_that_is_taken_out_by_a_copy_knows_what_it_means() -> None:
    both = several("even", "kilos")
    assert [*both.state_dict()] == ["_meaning"]
    assert [*nn.ModuleDict({"head": both}).state_dict()] == ["head._meaning"]
    for alone in (both["even"], copy.deepcopy(both["even"])):
        with pytest.raises(ValueError, match=r"heads \['odd'\], got one of \['even'\]"):
            made("odd").load_state_dict(alone.state_dict())
