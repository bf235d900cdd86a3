"""Logits as ``offset + scale * z``: what a head knows of its labels before any input is seen."""

import copy
import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_linnerud
from torch import Tensor, nn

import torch_heads as th
from tests.cases import CASES, Case
from tests.own_heads import LaplaceHead, QuartilesHead
from tests.simulated import fitted
from torch_heads.testing import PROMISES, Subject

KNOWN = [case for case in CASES if not case.has(LaplaceHead | QuartilesHead)]

every_case = pytest.mark.parametrize("case", KNOWN, ids=lambda case: case.about)


def with_prior(case: Case, device: torch.device) -> Callable[..., th.Head]:
    """Return what makes heads with the prior of the case's labels."""

    def make(**options: Any) -> th.Head:
        head = case.make(**{**options, "weight_column": None})
        fitted = head.to(device).fit_prior(case.batch.to(device).labels, case.batch.features)
        again = case.make(**options).to(device)
        again.load_state_dict(fitted.state_dict())
        return again

    return make


@pytest.mark.parametrize(
    "case",
    [case for case in KNOWN if case.about in ("multi", "new among others", "sequential survival")],
    ids=lambda case: case.about,
)
@pytest.mark.parametrize(
    "promise",
    [promise for promise in PROMISES if "meta device" not in promise],  # there are no labels there
)
def test_a_head_with_a_prior_keeps_its_promises(
    case: Case, promise: str, device: torch.device
) -> None:
    PROMISES[promise](Subject(with_prior(case, device), case.batch.to(device)))


@every_case
def test_at_zero_the_loss_is_that_of_the_prior(case: Case, device: torch.device) -> None:
    batch = case.batch.to(device)
    head = case.head(device).fit_prior(batch.labels, batch.features)
    zeros = torch.zeros_like(batch.logits)
    values = head.update_metrics(None, batch.features, zeros, batch.labels).compute()
    leaves = [module for module in head.modules() if isinstance(module, th.TensorHead)]
    for leaf in leaves:
        key = f"average_loss/{leaf.name}" if leaf.name else "average_loss"
        assert leaf.prior_loss is not None
        torch.testing.assert_close(values[key], leaf.prior_loss.float().cpu(), check_device=False)


RANDOM = torch.Generator().manual_seed(0)
COUNTS = torch.randint(6, (300,), generator=RANDOM)
NUMBERS = 40 + 5 * torch.randn(300, generator=RANDOM)
AMOUNTS = NUMBERS.div(10).exp() * (COUNTS > 2)

OPTIMAL: dict[str, tuple[th.Head, Tensor]] = {
    "binary": (th.BinaryClassHead(), COUNTS > 3),
    "classes": (th.MultiClassHead(6), COUNTS),
    "labels": (th.MultiLabelHead(2), torch.stack([COUNTS > 2, COUNTS > 4], -1)),
    "numbers": (th.RegressionHead(), NUMBERS),
    "shares": (th.LogisticRegressionHead(), COUNTS / 5),
    "counts": (th.PoissonRegressionHead(), COUNTS),
    "scales": (th.GaussianRegressionHead(beta=0), NUMBERS),
    "amounts": (th.ZeroInflatedLogNormalHead(), AMOUNTS),
    "grades": (th.OrdinalClassHead(6), COUNTS),
    "times": (th.SurvivalHead([35.0, 40.0, 45.0]), torch.stack([NUMBERS, COUNTS % 2], -1)),
}


@pytest.mark.parametrize(("head", "labels"), OPTIMAL.values(), ids=OPTIMAL.keys())
def test_no_constant_logits_have_a_lower_loss(head: th.Head, labels: Tensor) -> None:
    head = copy.deepcopy(head).fit_prior(labels)
    shift = torch.zeros(head.logits_dimension, dtype=torch.float64, requires_grad=True)
    [gradient] = torch.autograd.grad(head.loss(labels, shift.expand(300, -1)), shift)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-5)


def test_quantiles_and_dispersions_start_near_their_best() -> None:
    for head, labels in [
        (th.QuantileRegressionHead(), NUMBERS),
        (th.NegativeBinomialRegressionHead(), (COUNTS * COUNTS).float()),
    ]:
        layer = fitted(head, torch.ones(300, 1, dtype=torch.float64), labels)
        best = head.loss(labels, layer(torch.ones(300, 1, dtype=torch.float64))).item()
        assert head.fit_prior(labels).prior_loss.item() < 1.1 * best


def small(**options: Any) -> th.MultiHead:
    return th.MultiHead(
        [
            th.BinaryClassHead(name="yes", missing_label=-1, **options),
            th.RegressionHead(2, name="size", missing_label=float("nan"), **options),
            th.MultiClassHead(3, name="kind", **options),
        ]
    )


def labels_of(rows: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    size = 500 + 100 * torch.randn(rows, 2, generator=random)
    size[torch.rand(rows, 2, generator=random) < 0.2] = torch.nan
    return {
        "yes": torch.randint(-1, 2, (rows,), generator=random),
        "size": size,
        "kind": torch.randint(3, (rows,), generator=random),
    }


def batches(labels: dict[str, Tensor], weights: Tensor, size: int) -> Iterator[Any]:
    for start in range(0, len(weights), size):
        rows = slice(start, start + size)
        yield {name: own[rows] for name, own in labels.items()}, None, weights[rows]


def states(head: th.Head) -> dict[str, Tensor]:
    leaves = [one for one in head.modules() if isinstance(one, th.TensorHead)]
    fields = ("prior_offset", "prior_scale", "prior_loss", "prior_origin")
    return {f"{leaf.name}.{field}": getattr(leaf, field) for leaf in leaves for field in fields}


def test_batches_are_the_whole_and_weights_are_rows() -> None:
    labels, random = labels_of(60), torch.Generator().manual_seed(1)
    weights = torch.randint(4, (60,), generator=random)
    whole = small().fit_prior(labels, weights=weights)
    parts = small().fit_prior(batches(labels, weights, 7))
    torch.testing.assert_close(states(parts), states(whole))
    repeated = {name: own.repeat_interleave(weights, 0) for name, own in labels.items()}
    torch.testing.assert_close(states(small().fit_prior(repeated)), states(whole))
    looked_up = small(weight_column="w").fit_prior(labels, {"w": weights})
    torch.testing.assert_close(states(looked_up), states(whole))


def test_missing_labels_are_not_there() -> None:
    labels = labels_of(60)
    head = small().fit_prior(labels)
    there = labels["yes"] >= 0
    alone = th.BinaryClassHead().fit_prior(labels["yes"][there])
    torch.testing.assert_close(head["yes"].prior_offset, alone.prior_offset)
    torch.testing.assert_close(head["yes"].prior_loss, alone.prior_loss)
    size = labels["size"].double().numpy()
    np.testing.assert_allclose(head["size"].prior_offset, np.nanmean(size, 0))
    np.testing.assert_allclose(head["size"].prior_scale, np.nanstd(size, 0))


def test_a_head_that_never_had_a_label_has_no_prior() -> None:
    labels = {name: own for name, own in labels_of(20).items() if name != "yes"}
    head = small().fit_prior(labels)
    assert head["yes"].prior_loss.isnan()
    assert head["yes"].prior_offset.tolist() == [0.0]
    assert head["yes"].prior_scale.tolist() == [1.0]


def test_what_was_never_seen_has_a_finite_prior() -> None:
    for head, labels in [
        (th.BinaryClassHead(), [1] * 9),
        (th.MultiClassHead(3), [0] * 9),
        (th.PoissonRegressionHead(), [0] * 9),
        (th.NegativeBinomialRegressionHead(), [0] * 9),
        (th.ZeroInflatedLogNormalHead(), [0.0] * 9),
        (th.RegressionHead(), [3.0] * 9),
        (th.GaussianRegressionHead(), [3.0] * 9),
        (th.OrdinalClassHead(4), [1] * 9),
        (th.SurvivalHead([1.0, 2.0]), [[0.5, 1]] * 9),
    ]:
        head.fit_prior(labels)
        assert head.prior_offset.abs().max() < 40
        assert (head.prior_scale > 0).all()
        assert head.prior_loss.isfinite()


def test_a_part_may_be_fitted_alone_and_the_whole_knows() -> None:
    head, labels = small(), labels_of(40)
    zeros = torch.zeros(3, head.logits_dimension)
    before = head(zeros)
    head["size"].fit_prior(labels["size"])
    after = head(zeros)
    assert torch.equal(after["yes/logistic"], before["yes/logistic"])
    expected = head["size"].prior_offset.float().expand(3, 2)
    torch.testing.assert_close(after["size/predictions"], expected)


def test_all_heads_that_share_a_part_know_its_prior() -> None:
    part = th.BinaryClassHead(name="a")
    wholes = [th.MultiHead([part, th.RegressionHead(name=name)]) for name in ("b", "c")]
    wholes.append(th.MultiHead([th.SequentialHeadWrapper(wholes[0])]))
    keys = ["/".join((*path, "logistic")) for path in (["a"], ["a"], ["a_b_sequential", "a"])]

    def starts() -> list[float]:
        shapes = [(1, 2), (1, 2), (1, 1, 2)]
        heads = zip(wholes, keys, shapes, strict=True)
        return [head(torch.zeros(shape))[key].item() for head, key, shape in heads]

    assert starts() == [0.5] * 3
    part.fit_prior([1, 1, 1, 0])
    assert starts() == pytest.approx([0.75] * 3)
    assert all("skill/a" in head.metrics() for head in wholes)
    assert all("skill/a" in head.metric_collection for head in wholes[1:])
    part.forget_prior()
    assert starts() == [0.5] * 3


def test_it_is_saved_copied_and_moved_without_rounding(device: torch.device) -> None:
    head, labels = small().to(device), labels_of(40)
    logits = torch.randn(5, head.logits_dimension, generator=torch.Generator().manual_seed(0))
    logits = logits.to(device)
    moved = {name: own.to(device) for name, own in labels.items()}
    expected = head.fit_prior(moved)(logits)
    file = io.BytesIO()
    torch.save(head.state_dict(), file)
    file.seek(0)
    loaded = small().to(device)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    outer = nn.Sequential(small()).to(device)
    outer.load_state_dict({f"0.{key}": value for key, value in head.state_dict().items()})
    for again in [loaded, outer[0], copy.deepcopy(head), copy.deepcopy(head).to(torch.bfloat16)]:
        torch.testing.assert_close(again(logits), expected, rtol=0, atol=0)
    plain = small().to(device)
    with pytest.raises(ValueError, match="a prior"):  # its logits mean something else
        head.load_state_dict(plain.state_dict())
    head.forget_prior().load_state_dict(plain.state_dict())
    torch.testing.assert_close(head(logits), plain(logits), rtol=0, atol=0)
    assert [*head.metric_collection] == [*plain.metric_collection]


def test_predictions_tell_the_logits_that_are_meant() -> None:
    head = th.BinaryClassHead().fit_prior([0] * 9 + [1])
    predicted = head(torch.zeros(1, 1))
    assert predicted["logistic"].item() == pytest.approx(0.1)
    torch.testing.assert_close(torch.sigmoid(predicted["logits"]), predicted["logistic"])
    normal = th.GaussianRegressionHead().fit_prior([1.0, 3.0])
    assert normal.quantile(torch.zeros(1, 2), 0.5).item() == pytest.approx(2.0)


def test_logits_of_predictions_are_those_before_the_prior() -> None:
    heads = {
        th.BinaryClassHead(): [0, 1, 1],
        th.MultiClassHead(3): [0, 1, 1, 2],
        th.RegressionHead(2): [[3.0, 50.0], [4.0, 70.0]],
        th.PoissonRegressionHead(): [0, 3, 9],
    }
    for head, labels in heads.items():
        head.fit_prior(labels)
        logits = torch.randn(4, head.logits_dimension, generator=torch.Generator().manual_seed(0))
        again, expected = head(head.to_logits(head(logits))), head(logits)
        means = again.keys() & {"logistic", "probabilities", "predictions"}
        for key in means:
            torch.testing.assert_close(again[key], expected[key], rtol=1e-4, atol=1e-4)
        assert means


def test_a_family_without_a_link_says_so() -> None:
    with pytest.raises(TypeError, match=r"^LaplaceHead 'far': no prior\. Laplace: the mean alone"):
        LaplaceHead(name="far").fit_prior([1.0, 2.0])


def test_what_is_refused_changes_nothing() -> None:
    head, labels = small(), labels_of(40)
    head.fit_prior(labels)
    before = {key: own.clone() for key, own in states(head).items()}
    with pytest.raises(ValueError, match=r"^RegressionHead 'x': expected labels to be finite"):
        th.RegressionHead(name="x").fit_prior(torch.tensor([1.0, float("nan")]))
    with pytest.raises(ValueError, match=r"^MultiClassHead 'kind': expected labels in \[0, 2\]"):
        head.fit_prior({**labels, "kind": labels["kind"] + 1})

    def broken(labels: Tensor, logits: Tensor) -> Tensor:
        raise RuntimeError("no loss")

    other = th.RegressionHead(loss_fn=broken)
    with pytest.raises(RuntimeError, match="no loss"):
        other.fit_prior([1.0, 2.0])
    assert other.prior_loss is None
    torch.testing.assert_close(states(head), before)


MANY = th.MultiHead(
    [th.RegressionHead(name="x", missing_label=-1), th.BinaryClassHead(name="y", missing_label=-1)]
)


@pytest.mark.parametrize(
    ("head", "labels", "weights"),
    [
        (th.RegressionHead(), [], None),
        (th.RegressionHead(), torch.zeros(0), None),
        (th.RegressionHead(2), torch.zeros(0, 2), None),
        (th.RegressionHead(missing_label=-1), [-1.0, -1.0], None),
        (th.MultiClassHead(3), [0, 1, 2], [0.0, 0.0, 0.0]),
        (th.BinaryClassHead(), iter([([],), ([],)]), None),
        (MANY, {"x": [-1, -1], "y": [-1, -1]}, None),
        (MANY, {"x": [1, 2], "y": [0, 1]}, [0.0, 0.0]),
    ],
)
def test_no_label_is_no_prior(head: th.Head, labels: Any, weights: Any) -> None:
    head = copy.deepcopy(head)
    with pytest.raises(
        ValueError, match=r"Head.*: expected labels with at least one that is there"
    ):
        head.fit_prior(labels, weights=weights)
    assert all(target.prior() is None for target in head.computation.targets)


@pytest.mark.parametrize("head", [th.RegressionHead(), th.MultiClassHead(3), MANY])
@pytest.mark.parametrize("labels", [5.0, None, "a", {}, torch.tensor(1.0), object(), {"x": None}])
def test_what_is_no_batch_of_labels_is_refused(head: th.Head, labels: Any) -> None:
    with pytest.raises(ValueError, match=r"^\w+Head.*: expected labels "):
        copy.deepcopy(head).fit_prior(labels)


def test_one_hot_labels_are_no_batch_of_two_dimensions() -> None:
    one_hot = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]])
    for head in [th.MultiClassHead(3, name="kind"), th.OrdinalClassHead(3, name="kind")]:
        both = th.MultiHead([head])
        for refused in [one_hot, one_hot.tolist(), one_hot.numpy(), one_hot[:1]]:
            with pytest.raises(ValueError, match=r"'kind': expected labels as class ids, got what"):
                head.fit_prior(refused)
            with pytest.raises(ValueError, match=r"argmax\(-1\).* give labels.flatten\(\)"):
                both.fit_prior({"kind": refused})
            assert head.prior_offset is None
        by_ids = copy.deepcopy(head).fit_prior([0, 1, 2, 2])
        assert head.fit_prior(one_hot.argmax(-1)).prior_offset.equal(by_ids.prior_offset)
        ids = torch.tensor([[1, 0, 0], [0, 1, 2]])
        assert head.fit_prior(ids).prior_offset.equal(head.fit_prior(ids.flatten()).prior_offset)
    gaps = th.MultiClassHead(3, missing_label=-1)
    gaps.fit_prior([[1, -1, -1], [0, 1, -1]])
    assert gaps.prior_offset.equal(th.MultiClassHead(3).fit_prior([1, 0, 1]).prior_offset)
    soft = th.MultiClassHead(3).fit_prior(one_hot.float())
    assert soft.prior_offset.equal(th.MultiClassHead(3).fit_prior([0, 1, 2, 2]).prior_offset)
    sequences = th.SequentialHeadWrapper(th.MultiClassHead(3))
    sequences.fit_prior([[1, 0, 0], [0, 1, 0]], {"sequence_length_mask": [1, 2]})
    own = th.MultiClassHead(3).fit_prior([1, 0, 1]).prior_offset
    assert sequences.static_head.prior_offset.equal(own)


def test_labels_that_need_a_gradient_are_refused_in_words() -> None:
    for labels in ([torch.ones(1, requires_grad=True)] * 3, [[torch.ones((), requires_grad=True)]]):
        with pytest.raises(ValueError, match=r"labels as one tensor, got a list of tensors"):
            th.RegressionHead().fit_prior(labels)


def test_labels_on_the_meta_device_have_no_values() -> None:
    for head in (th.RegressionHead(name="x"), small()):
        given = torch.zeros(3, device="meta")
        with pytest.raises(ValueError, match=r"expected labels with values, .*got a meta tensor"):
            head.fit_prior(given if head.name == "x" else {"yes": given})


def test_a_model_that_is_built_on_the_meta_device_may_have_a_prior() -> None:
    labels = labels_of(40)
    expected = small().fit_prior(labels)
    with torch.device("meta"):
        head = small().fit_prior(labels)
    head.to_empty(device="cpu")
    logits = torch.randn(5, head.logits_dimension)
    torch.testing.assert_close(head(logits), expected(logits), rtol=0, atol=0)


def test_batches_are_tuples() -> None:
    with pytest.raises(ValueError, match=r"expected labels in batches that are tuples"):
        th.BinaryClassHead().fit_prior(iter([torch.ones(3)]))
    with pytest.raises(ValueError, match=r"expected labels with at least one batch"):
        th.BinaryClassHead().fit_prior(iter([]))


# ---- head_weights="prior" ----


def test_each_loss_is_divided_by_its_loss_at_the_prior() -> None:
    labels = labels_of(40)
    head = th.MultiHead([*small().heads], head_weights="prior")
    zeros = torch.zeros(40, head.logits_dimension)
    with pytest.raises(ValueError, match=r"'prior' with priors, got .* Call fit_prior"):
        head.loss(labels, zeros)
    head.fit_prior(labels)
    assert head.loss(labels, zeros).item() == pytest.approx(3.0, rel=1e-5)
    losses = head.losses(labels, zeros + 1)
    expected = sum(losses[name] / head[name].prior_loss for name in head)
    torch.testing.assert_close(head.loss(labels, zeros + 1), expected.float())
    again = head.head_weights
    head.fit_prior({name: own[:20] for name, own in labels.items()})
    assert not torch.equal(head.head_weights, again)
    head.head_weights = None
    torch.testing.assert_close(head.loss(labels, zeros), sum(head.losses(labels, zeros).values()))


def test_a_density_weighs_the_same_in_every_unit() -> None:
    random = torch.Generator().manual_seed(0)
    y = 5 + torch.randn(500, generator=random)
    spent = torch.where(torch.rand(500, generator=random) < 0.4, y.exp(), 0.0)
    found = []
    for unit in [1e-6, 1.0, 1e6]:
        heads = [th.GaussianRegressionHead(name="a"), th.ZeroInflatedLogNormalHead(name="b")]
        head = th.MultiHead(heads, head_weights="prior")
        found.append(head.fit_prior({"a": unit * y, "b": unit * spent}).head_weights)
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=0)
    torch.testing.assert_close(found[2], found[1], rtol=1e-4, atol=0)


def test_a_nested_head_weighs_as_a_whole() -> None:
    labels = labels_of(40)
    inner = th.MultiHead([small()["yes"], small()["size"]], head_weights="prior")
    head = th.MultiHead([inner, small()["kind"]], head_weights="prior")
    given = {"yes_size": {"yes": labels["yes"], "size": labels["size"]}, "kind": labels["kind"]}
    head.fit_prior(given)
    zeros = torch.zeros(40, head.logits_dimension)
    assert head.losses(given, zeros)["yes_size"].item() == pytest.approx(2.0, rel=1e-5)
    assert head.loss(given, zeros).item() == pytest.approx(2.0, rel=1e-5)


# ---- skill ----


def test_skill_is_how_much_less_the_loss_is_than_at_the_prior(device: torch.device) -> None:
    labels = {name: own.to(device) for name, own in labels_of(40).items()}
    head = small().to(device)
    logits = torch.randn(40, head.logits_dimension, generator=torch.Generator().manual_seed(0))
    logits = logits.to(device)
    before = [*head.metrics()]
    assert not any("skill" in key for key in before)
    head.update_metrics(None, None, logits, labels)
    head.fit_prior(labels)
    found = head.metric_collection.compute()  # and goes on with what was counted
    assert {*found} - {*before} == {"skill/yes", "skill/size", "skill/kind"}
    for name in head:
        skill = 1 - found[f"average_loss/{name}"].cpu() / head[name].prior_loss.cpu()
        assert found[f"skill/{name}"].item() == pytest.approx(skill.item(), rel=1e-5)
    assert [*head["size"].metric_collection][-1] == "skill/size"
    metrics = head.update_metrics(head.metrics(), None, torch.zeros_like(logits), labels)
    for name in head:
        assert metrics.compute()[f"skill/{name}"].item() == pytest.approx(0, abs=1e-5)
    with pytest.raises(ValueError, match=r"expected eval_metrics made by its metrics\(\)"):
        small().update_metrics(metrics, None, logits, labels)


def test_the_skill_of_a_density_is_that_in_every_unit() -> None:
    random = torch.Generator().manual_seed(0)
    y, z = 5 + torch.randn(500, generator=random), torch.randn(500, 2, generator=random)
    found = []
    for unit in [1e-6, 1.0, 1e6]:
        head = th.GaussianRegressionHead().fit_prior(unit * y)
        metrics = head.update_metrics(None, None, 0.1 * z, unit * y)
        found.append(metrics.compute()["skill"].item())
    assert found == pytest.approx([found[1]] * 3, abs=1e-3)


def test_a_loaded_head_has_its_skill_and_its_counts() -> None:
    labels = labels_of(40)
    head = small().fit_prior(labels)
    logits = torch.randn(40, head.logits_dimension, generator=torch.Generator().manual_seed(0))
    head.update_metrics(None, None, logits, labels)
    head.metric_collection.persistent()
    loaded = small()
    loaded.load_state_dict(head.state_dict())
    torch.testing.assert_close(loaded.metric_collection.compute(), head.metric_collection.compute())
    one = small()
    one["size"].load_state_dict(head["size"].state_dict())
    assert [key for key in one.metrics() if "skill" in key] == ["skill/size"]


# ---- what it is for ----


NUMBER_HEADS = {
    "squared error": th.RegressionHead,
    "gaussian": th.GaussianRegressionHead,
    "location as by squared errors": partial(th.GaussianRegressionHead, beta=1.0),
}


def trained(unit: float, prior: bool, make: Any = th.RegressionHead) -> Tensor:
    """Return predicted pulses, in the first unit, of a network trained on them and on a class."""
    data = load_linnerud()
    x = torch.tensor((data.data - data.data.mean(0)) / data.data.std(0), dtype=torch.float32)
    weight, _, pulse = torch.tensor(data.target, dtype=torch.float32).T
    labels = {"pulse": unit * pulse, "heavy": (weight > 180).float()}
    heads = [make(name="pulse"), th.BinaryClassHead(name="heavy")]
    head = th.MultiHead(heads, head_weights="prior" if prior else None)
    if prior:
        head.fit_prior(labels)
    torch.manual_seed(0)
    width = head.logits_dimension
    network = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, width))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        head.loss(labels, network(x)).backward()
        optimizer.step()
    predicted: Tensor = head(network(x))["pulse/predictions"].detach()
    return predicted / unit


@pytest.mark.parametrize("unit", [100.0, 10_000.0])
@pytest.mark.parametrize("kind", NUMBER_HEADS)
def test_in_every_unit_the_predictions_are_the_same(unit: float, kind: str) -> None:
    make = NUMBER_HEADS[kind]
    same, other = trained(unit, True, make), trained(1.0, True, make)
    torch.testing.assert_close(same, other, rtol=1e-4, atol=0)
    if kind == "squared error":
        apart = (trained(unit, False) / trained(1.0, False) - 1).abs()
        assert apart.median() > 0.1


def test_rare_events_start_at_their_frequency() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(100_000, 8, generator=random)
    y = (torch.rand(100_000, generator=random) < torch.sigmoid(x[:, 0] - 7.5)).float()
    ratios = []
    for prior in [False, True]:
        head = th.BinaryClassHead()
        at_prior = th.BinaryClassHead().fit_prior(y).prior_loss
        if prior:
            head.fit_prior(y)
        torch.manual_seed(0)
        layer = nn.Linear(8, 1)
        nn.init.zeros_(layer.weight)
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
        for step in range(50):
            rows = slice(1000 * step, 1000 * (step + 1))
            optimizer.zero_grad()
            head.loss(y[rows], layer(x[rows])).backward()
            optimizer.step()
        ratios.append(head.loss(y, layer(x)).item() / at_prior.item())
    assert 0.0005 < y.mean() < 0.002
    assert ratios[1] <= 1.05 < 10 < ratios[0]


def test_where_the_prior_leaves_no_loss_there_is_no_skill() -> None:
    head = th.RegressionHead()
    head.fit_prior([[3.0], [3.0]])
    values = head.update_metrics(logits=[[1.0], [0.0]], labels=[[3.0], [3.0]]).compute()
    assert values["skill"].isnan()


@pytest.mark.parametrize("label", [0.1, 0.7, 1e8 + 0.1])
@pytest.mark.parametrize("loss_fn", [None, nn.L1Loss(reduction="none")])
def test_labels_that_are_all_the_same_leave_no_loss_of_rounding(label: float, loss_fn: Any) -> None:
    head = th.RegressionHead(loss_fn=loss_fn).fit_prior(iter([([label] * 7,), ([label] * 6,)]))
    assert head.prior_offset.tolist() == [label]
    assert head.prior_loss == 0
    values = head.update_metrics(logits=[[1.0]], labels=[[label + 1]]).compute()
    assert values["skill"].isnan()
    heads = [th.RegressionHead(name="a"), th.RegressionHead(name="b")]
    both = th.MultiHead(heads, head_weights="prior")
    both.fit_prior({"a": [label] * 7, "b": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]})
    with pytest.raises(ValueError, match="with a loss of 'a' at the prior that is above 0, got 0"):
        both.loss({"a": [label], "b": [1.0]}, torch.zeros(1, 2))


def test_the_mean_skill_is_there_once_a_prior_is_known() -> None:
    heads = [th.RegressionHead(name="a"), th.BinaryClassHead(name="b")]
    head = th.MultiHead(heads, metrics=[th.metrics.MeanOverHeads("skill")])
    assert "mean_skill" not in head.metrics()
    labels = {"a": [1.0, 3.0, 5.0], "b": [0, 1, 1]}
    head.fit_prior(labels)
    values = head.update_metrics(None, None, torch.randn(3, 2), labels).compute()
    torch.testing.assert_close(values["mean_skill"], (values["skill/a"] + values["skill/b"]) / 2)
    head.forget_prior()
    assert "mean_skill" not in head.metrics()
