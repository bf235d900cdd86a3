"""`MultiHead`, beyond that it equals its heads one by one."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn

import torch_heads as th


@pytest.fixture
def head(device: torch.device) -> th.MultiHead:
    return th.MultiHead(
        [
            th.MultiClassHead(3, name="digit", label_vocabulary=["zero", "one", "two"]),
            th.BinaryClassHead(name="even"),
            th.RegressionHead(2, name="ink"),
        ],
        head_weights=[1.0, 0.5, 2.0],
    ).to(device)


def test_heads_are_child_modules_reachable_by_name(head: th.MultiHead) -> None:
    assert isinstance(head["even"], th.BinaryClassHead)
    assert len(head) == 3
    assert head["even"] in set(head.modules())
    assert [child.name for child in head.heads] == ["digit", "even", "ink"]
    assert head.name == "digit_even_ink"
    with pytest.raises(KeyError, match=r"digit.*'odd'"):
        head["odd"]


def test_it_is_as_wide_as_its_heads_together(head: th.MultiHead) -> None:
    assert head.logits_dimension == 3 + 1 + 2
    assert head.labels_dimension == 1 + 1 + 2


def test_stacked_logits_stand_in_the_order_of_the_heads(
    head: th.MultiHead, device: torch.device
) -> None:
    logits = torch.arange(12.0, device=device).view(2, 6)
    predictions = head.predictions(logits, keys=["logits"])
    assert predictions[("digit", "logits")].tolist() == [[0, 1, 2], [6, 7, 8]]
    assert predictions[("even", "logits")].tolist() == [[3], [9]]
    assert head.predictions(logits, keys=[("ink", "predictions")]).keys() == {
        ("ink", "predictions")
    }
    assert head(logits)["ink/predictions"].tolist() == [[4, 5], [10, 11]]


def test_names_of_classes_are_asked_for_or_come_with_a_vocabulary(
    head: th.MultiHead, device: torch.device
) -> None:
    logits = torch.zeros(2, 6, device=device)
    assert ("digit", "classes") in head.predictions(logits)
    assert ("even", "classes") not in head.predictions(logits)
    assert head.predictions(logits, keys=["classes"]).keys() == {
        ("digit", "classes"),
        ("even", "classes"),
    }
    assert not any(key.endswith("classes") for key in head(logits))


def test_head_weights_are_for_the_sum_only(device: torch.device) -> None:
    children = [th.RegressionHead(name="a"), th.RegressionHead(name="b")]
    head = th.MultiHead(children, head_weights=[0.1, 10]).to(device)
    labels, logits = torch.zeros(1, 2, device=device), torch.ones(1, 2, device=device)
    assert head.losses(labels, logits) == {"a": 1, "b": 1}
    total = head.loss(labels, logits, regularization_losses=[0.5])
    assert total.item() == pytest.approx(10.6)
    values = head.update_metrics(None, None, logits, labels).compute()
    assert values["loss/a"] == values["loss/b"] == values["average_loss/b"] == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_head_weights_are_as_precise_as_the_loss(dtype: torch.dtype, device: torch.device) -> None:
    head = th.MultiHead([th.RegressionHead(name="a")], head_weights=[0.1]).to(device)
    logits = torch.ones(1, 1, dtype=dtype, device=device)
    loss = head.loss(torch.zeros(1, 1, device=device), logits)
    assert loss == torch.tensor(0.1, dtype=dtype)


def test_no_head_weights_may_be_an_empty_list(device: torch.device) -> None:
    head = th.MultiHead([th.RegressionHead(name="a")], head_weights=[]).to(device)
    assert head.loss({"a": [0.0]}, torch.ones(1, 1, device=device)) == 1


def test_the_loss_of_a_head_is_averaged_over_calls(device: torch.device) -> None:
    head = th.MultiHead([th.RegressionHead(name="a")]).to(device)
    for logits in [[[1.0], [1.0]], [[2.0]]]:
        labels = {"a": torch.zeros(len(logits), device=device)}
        head.update_metrics(None, None, torch.tensor(logits, device=device), labels)
    values = head.metric_collection.compute()
    assert values["loss/a"] == 2.5  # a small last batch counts as a full one
    assert values["average_loss/a"] == 2  # and here it does not


def test_metrics_come_in_the_order_of_the_heads(head: th.MultiHead) -> None:
    keys = list(head.metrics())
    assert keys[:3] == ["loss/digit", "loss/even", "loss/ink"]
    owners = [key.rpartition("/")[2] for key in keys[3:]]
    assert owners == sorted(owners)
    assert len(set(keys)) == len(keys)


def test_keys_of_nested_heads_are_nested(device: torch.device) -> None:
    inner = th.MultiHead([th.RegressionHead(name="a"), th.RegressionHead(name="b")])
    outer = th.MultiHead([inner, th.RegressionHead(name="c")]).to(device)
    logits = torch.tensor([[1.0, 2, 3]], device=device)
    predictions = outer.predictions(logits)
    assert predictions[("a_b", ("b", "predictions"))].tolist() == [[2]]
    assert outer(logits).keys() == {"a_b/a/predictions", "a_b/b/predictions", "c/predictions"}
    assert set(outer.metrics()) >= {"loss/a_b", "loss/a", "average_loss/a", "average_loss/c"}
    assert outer["a_b"]["a"] is inner.heads[0]


def test_each_head_may_have_its_own_rows_where_logits_are_a_dict(device: torch.device) -> None:
    children = [
        th.BinaryClassHead(name="a"),
        th.BinaryClassHead(name="b"),
        th.RegressionHead(name="c"),
    ]
    head = th.MultiHead(children).to(device)
    random = torch.Generator().manual_seed(0)
    rows = {"a": 5, "b": 2, "c": 3}
    logits = {name: torch.randn(n, 1, generator=random).to(device) for name, n in rows.items()}
    labels = {name: torch.randint(2, (n,), generator=random).to(device) for name, n in rows.items()}
    losses = head.losses(labels, logits)
    values = head.update_metrics(None, None, logits, labels).compute()
    for child in children:
        name = child.name
        torch.testing.assert_close(losses[name], child.loss(labels[name], logits[name]))
        own = child.update_metrics(child.metrics(), None, logits[name], labels[name]).compute()
        torch.testing.assert_close({key: values[key] for key in own}, own, equal_nan=True)


def test_more_labels_and_logits_than_heads_do_no_harm(
    head: th.MultiHead, device: torch.device
) -> None:
    labels = {"digit": ["one"], "even": [1], "ink": [[1.0, 2.0]]}
    logits = head.as_logits(torch.ones(1, 6, device=device))
    more = {"other": None}
    assert head.loss(labels | more, logits | more) == head.loss(labels, logits)


def test_class_ids_may_stand_among_floats(device: torch.device) -> None:
    head = th.MultiHead([th.MultiClassHead(3, name="a"), th.RegressionHead(name="b")]).to(device)
    labels = torch.tensor([[2.0, 0.5], [0.0, 1.5]], device=device)
    logits = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)).to(device)
    split = {"a": torch.tensor([2, 0], device=device), "b": labels[:, 1]}
    assert head.loss(labels, logits) == head.loss(split, logits)
    with pytest.raises(ValueError, match=r"as class ids, got 2\.25"):  # on CUDA, an assertion
        head.cpu().loss(labels.cpu() + 0.25, logits.cpu())


def test_ids_are_checked_whatever_the_model_is_cast_to() -> None:
    head = th.MultiHead([th.MultiClassHead(1000, name="a"), th.MultiClassHead(3, name="b")])
    for dtype in [torch.bfloat16, torch.float16]:
        head.to(dtype)  # in bfloat16, 999 is 1000
        logits = torch.zeros(1, 1003)
        with pytest.raises(ValueError, match="1000"):
            head.loss({"a": [1000], "b": [0]}, logits)
        head.loss({"a": [999], "b": [2]}, logits)


def test_a_model_of_a_backbone_and_a_head_learns(head: th.MultiHead, device: torch.device) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, head.logits_dimension), head)
    model.to(device)
    inputs = torch.randn(16, 4, device=device)
    labels = {
        "digit": [["zero", "one", "two"][i % 3] for i in range(16)],
        "even": (inputs[:, 0] > 0).to(device),
        "ink": inputs[:, :2] * 3,
    }
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = head.loss(labels, model[:-1](inputs))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert model(inputs)["digit/class_ids"].shape == (16, 1)


def test_names_are_looked_up_and_walked_as_in_a_dict() -> None:
    head = th.MultiHead([th.BinaryClassHead(name="a"), th.RegressionHead(name="b")])
    assert "a" in head
    assert "c" not in head
    assert list(head) == ["a", "b"]


def test_labels_of_no_head_at_all_are_a_typo(device: torch.device) -> None:
    head = th.MultiHead([th.BinaryClassHead(name="a", missing_label=-1)])
    with pytest.raises(ValueError, match=r"labels by head names \['a'\], got \['A'\]"):
        head.loss({"A": [1]}, torch.zeros(1, 1, device=device))


def test_the_masks_of_sequences_are_served(device: torch.device) -> None:
    wrapped = th.SequentialHeadWrapper(th.BinaryClassHead(name="a"), "mask")
    head = th.MultiHead([wrapped, th.RegressionHead(name="b")])
    features = {"mask": torch.ones(2, 3, device=device)}
    spec = head.create_estimator_spec(features, "infer", torch.zeros(2, 3, 2, device=device))
    assert spec.predictions["a_sequential", "mask"] is features["mask"]


def test_a_label_misses_as_its_own_dtype_writes_it(device: torch.device) -> None:
    heads = [th.RegressionHead(missing_label=-99.1, name="a"), th.RegressionHead(name="b")]
    labels = torch.tensor([-99.1, 1.0], dtype=torch.bfloat16, device=device)
    logits = torch.zeros(2, 2, device=device)
    for other in (labels * 0, torch.zeros(2, device=device)):
        losses = th.MultiHead(heads).to(device).losses({"a": labels, "b": other}, logits)
        assert losses["a"] == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("missing", [None, float("nan")], ids=str)
def test_the_labels_of_a_head_are_not_rounded_to_the_dtype_of_anothers(
    dtype: torch.dtype, missing: float | None, device: torch.device
) -> None:
    heads = [th.RegressionHead(name=name, missing_label=missing) for name in ("a", "b")]
    many = torch.tensor([2**24 + 1, 70_001], device=device)
    few = torch.tensor([1.0, 2.0], dtype=dtype, device=device)
    logits = torch.zeros(2, 2, dtype=torch.float64, device=device)
    alone = heads[0].loss(many, logits[:, :1])
    both = th.MultiHead(heads).to(device)
    assert both.losses({"a": many, "b": few}, logits)["a"] == alone
    if missing is not None:
        assert both.losses({"a": many}, logits)["a"] == alone


@pytest.mark.parametrize("several", [False, True])
def test_a_large_id_that_means_missing_may_stand_among_floats(
    several: bool, device: torch.device
) -> None:
    names = ("a", "b") if several else ("a",)
    classes = [th.MultiClassHead(3, name=name, missing_label=2**31 - 1) for name in names]
    head = th.MultiHead([*classes, th.BinaryClassHead(name="c")]).to(device)
    written = torch.tensor([[0.0] * len(names) + [1], [2**31 - 1] * len(names) + [0]])
    logits = torch.zeros(2, head.logits_dimension, device=device)
    metrics = head.update_metrics(None, None, logits, written.to(device)).compute()
    assert metrics["label/coverage/a"] == 0.5
    assert metrics["average_loss/a"] == pytest.approx(math.log(3))


@pytest.mark.parametrize("widths", [[4, 8], [8, 4], [4, 3], [3, 3]], ids=str)
def test_classes_of_any_number_leave_the_logits_as_they_are(
    widths: list[int], device: torch.device
) -> None:
    heads = [th.MultiClassHead(n, name=f"of_{i}") for i, n in enumerate(widths)]
    given = torch.arange(2.0 * sum(widths), device=device).view(2, -1)
    logits = given.clone().requires_grad_()
    labels = torch.ones(2, 2, dtype=torch.int64, device=device)
    th.MultiHead(heads).to(device).loss(labels, logits).backward()
    assert torch.equal(logits, given)
    assert logits.grad is not None
    assert (logits.grad != 0).all()


def test_stacked_labels_go_with_dicts_of_logits_at_any_depth(device: torch.device) -> None:
    inner = th.MultiHead([th.BinaryClassHead(name="a"), th.BinaryClassHead(name="b")])
    head = th.MultiHead([inner, th.RegressionHead(name="ink")]).to(device)
    logits = torch.arange(6.0, device=device).view(2, 3)
    labels = torch.ones(2, 3, device=device)
    a, b, ink = logits.split(1, dim=-1)
    by_name = {"a_b": {"a": a, "b": b}, "ink": ink}
    torch.testing.assert_close(head.loss(labels, by_name), head.loss(labels, logits))


def test_stacked_labels_of_other_rows_than_the_logits_of_a_head_are_refused(
    device: torch.device,
) -> None:
    others = {
        "binary": th.BinaryClassHead(name="b"),  # computed as one with the first
        "regression": th.RegressionHead(name="b"),
        "sequence": th.SequentialHeadWrapper(th.RegressionHead(name="b")),
    }
    for kind, other in others.items():
        head = th.MultiHead([th.BinaryClassHead(name="a"), other]).to(device)
        step = (1,) if kind == "sequence" else ()
        logits = {
            "a": torch.zeros(1, *step, 1, device=device),
            other.name: torch.zeros(3, *step, 1, device=device),
        }
        labels = torch.ones(1, *step, 2, device=device)  # of one row, for logits of three
        features = {"sequence_length_mask": torch.ones(3, 1, device=device)}
        for call in (
            lambda: head.loss(labels, logits, features),  # noqa: B023
            lambda: head.update_metrics(None, features, logits, labels),  # noqa: B023
        ):
            with pytest.raises(ValueError, match=r"'b': expected labels of shape \[3.*got \[1"):
                call()


def test_a_head_of_one_target_alone_nests(device: torch.device) -> None:
    inner = th.MultiHead([th.RegressionHead(2, name="ink")])
    head = th.MultiHead([inner], head_weights=[2.0]).to(device)
    logits, labels = torch.ones(3, 2, device=device), torch.zeros(3, 2, device=device)
    assert head.loss(labels, logits) == 2
    assert head.losses(labels, logits) == {"ink": 1}


def test_other_heads_are_refused_after_they_are_computed_as_one(head: th.MultiHead) -> None:
    another = th.BinaryClassHead(name="odd")
    changes = [
        lambda: head.heads.append(another),
        lambda: head.heads.insert(0, another),
        lambda: head.heads.__setitem__(1, another),
        lambda: head.heads.__delitem__(1),
        lambda: head.heads.pop(1),
        lambda: head.heads.extend([another]),
        lambda: setattr(head.heads, "1", another),
        lambda: head.heads.register_module("1", another),
        lambda: delattr(head.heads, "1"),
        lambda: setattr(head, "heads", nn.ModuleList([another])),
        lambda: delattr(head, "heads"),
        lambda: head.add_module("heads", nn.ModuleList([another])),
        lambda: head.register_module("heads", nn.ModuleList([another])),
        lambda: head.set_submodule("heads.1", another),
        lambda: head.__setitem__("even", another),
        lambda: head.__delitem__("even"),
    ]
    for change in changes:
        with pytest.raises(TypeError, match=r"^MultiHead .*: expected heads as .* was made"):
            change()
    assert [child.name for child in head.heads] == ["digit", "even", "ink"]
    assert [child.name for child in head.heads[1:].append(another)] == ["even", "ink", "odd"]


def test_the_collection_of_a_child_is_its_part(device: torch.device) -> None:
    inner = th.MultiHead([th.RegressionHead(name="a"), th.BinaryClassHead(name="b")])
    wrapped = th.SequentialHeadWrapper(th.BinaryClassHead(name="c"), "mask")
    head = th.MultiHead([inner, th.RegressionHead(name="d")]).to(device)
    logits = torch.tensor([[1.0, 2.0, 3.0]], device=device)
    values = head.update_metrics(None, None, logits, torch.ones(1, 3, device=device)).compute()
    for child in [inner, head["d"], inner["a"], inner["b"]]:
        own = child.metric_collection.compute()
        expected = {key: values[key] for key in child.metrics()}
        torch.testing.assert_close(own, expected, rtol=0, atol=0, equal_nan=True)
        with pytest.raises(ValueError, match=r"Update the whole, by the head that made it"):
            child.update_metrics(None, None, logits[:, : child.logits_dimension], [[1.0] * 3])
    assert head.metric_collection["d"].compute() == head["d"].metric_collection.compute()
    assert inner["b"].metric_collection.curves().best_threshold().f_score == 1
    both = th.MultiHead([wrapped])
    assert list(both["c_sequential"].metric_collection) == list(wrapped.metrics())
    assert wrapped.static_head.metric_collection.keys() == wrapped.metrics().keys()


def test_a_nested_head_has_its_losses_and_means_among_its_metrics(device: torch.device) -> None:
    leaves = [th.BinaryClassHead(name="a"), th.BinaryClassHead(name="b")]
    inner = th.MultiHead(leaves, metrics=[th.metrics.MeanOverHeads("roc_auc")])
    middle = th.MultiHead([inner, th.RegressionHead(name="c")])
    head = th.MultiHead([middle, th.RegressionHead(name="d")]).to(device)
    logits = torch.linspace(-1, 1, 20, device=device).view(5, 4)
    labels = torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0], device=device).view(5, 1).expand(5, 4)
    found = head.update_metrics(head.metrics(), None, logits, labels)
    own = inner.update_metrics(inner.metrics(), None, logits[:, :2], labels[:, :2])
    for part in [found["a_b"], found["a_b_c"]["a_b"], head.metric_collection["a_b"]]:
        assert [*part] == [*inner.metrics()]
    torch.testing.assert_close(found["a_b"].compute(), own.compute())
    assert {"loss/a", "loss/b", "mean_roc_auc"} <= {*own}
    assert [*found["a_b_c"]] == [*middle.metrics()]
    assert [*found["a_b"].part(["loss/a"])] == ["loss/a"]


def test_a_collection_of_another_head_is_refused_at_once(head: th.MultiHead) -> None:
    with pytest.raises(ValueError, match=r"expected eval_metrics made by its metrics\(\)"):
        head.metric_collection = th.BinaryClassHead().metrics()
    with pytest.raises(TypeError, match="made by its metrics"):
        head.metric_collection = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="on the head of which this one is a part"):
        head["even"].metric_collection = head["even"].metrics()
    head.metric_collection = own = head.metrics()
    assert head.metric_collection is own


def test_weights_of_all_label_columns_stand_side_by_side(device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    heads = [
        th.MultiLabelHead(2, name="a"),
        th.SurvivalHead([1.0, 2.0], name="b"),
        th.RegressionHead(2, name="c", missing_label=-1),
    ]
    head = th.MultiHead([th.MultiHead(heads), th.BinaryClassHead(name="d")]).to(device)
    labels = torch.randint(2, (6, 7), generator=random).to(device)
    logits = torch.randn(6, 7, generator=random).to(device)
    weights = torch.rand(6, 6, generator=random).to(device)
    inner = {"a": weights[:, :2], "b": weights[:, 2:3], "c": weights[:, 3:5]}
    expected = head.loss(labels, logits, weights={"a_b_c": inner, "d": weights[:, 5:]})
    for given in (weights, weights.tolist()):
        torch.testing.assert_close(head.loss(labels, logits, weights=given), expected)
    for given in (weights[:, 0], weights[:, :1]):
        torch.testing.assert_close(
            head.loss(labels, logits, weights=given),
            head.loss(labels, logits, weights=weights[:, :1].expand(6, 6)),
        )
    with pytest.raises(ValueError, match=r"'d': expected weights of .*, got \[6, 7\]"):
        head.loss(labels, logits, weights=torch.ones(6, 7, device=device))
    two = th.MultiHead([th.RegressionHead(name=name) for name in "ef"]).to(device)
    square, zeros = torch.rand(2, 2, generator=random).to(device), torch.zeros(2, 2, 2).to(device)
    torch.testing.assert_close(  # of the first dimensions, as ever
        two.loss(zeros, zeros + 1, weights=square), 2 * square.mean()
    )


def test_weights_of_heads_may_be_assigned_and_learned(device: torch.device) -> None:
    head = th.MultiHead([th.RegressionHead(name="a"), th.RegressionHead(name="b")]).to(device)
    labels = torch.zeros(1, 2, device=device)
    logits = torch.tensor([[1.0, 2.0]], device=device)
    assert head.loss(labels, logits) == 1 + 4
    head.head_weights = [3.0, 0.5]
    assert head.loss(labels, logits) == 3 + 2
    head.head_weights = nn.Parameter(torch.tensor([2.0, 1.0], device=device))
    head.loss(labels, logits).backward()
    assert head.head_weights.grad.tolist() == [1, 4]
    assert [name for name, _ in head.named_parameters()] == ["head_weights"]
    head.head_weights = None
    assert head.loss(labels, logits) == 1 + 4
    assert not list(head.parameters())
    with pytest.raises(ValueError, match="one finite number per head"):
        head.head_weights = [1.0]
    two = nn.Parameter(torch.tensor(2.0))
    for lost in ({"a": two, "b": 1.0}, [two, 1.0], nn.ParameterList([two, two]), two * 1):
        with pytest.raises(TypeError, match=r"head_weights without a gradient, got .* one nn"):
            head.head_weights = lost
    assert head.head_weights is None
    head.head_weights = {"b": two.detach(), "a": 1.0}
    assert head.loss(labels, logits) == 1 + 8


def test_learned_weights_of_heads_that_are_deleted_are_missed(device: torch.device) -> None:
    heads = [th.RegressionHead(name="a"), th.RegressionHead(name="b")]
    weights = nn.Parameter(torch.tensor([1.0, 3.0]))
    head = th.MultiHead(heads, weights).to(device)
    del head.head_weights  # as torch.nn.utils.parametrize does
    logits = torch.ones(1, 2, device=device)
    with pytest.raises(ValueError, match="head_weights to be assigned again, or None for 1"):
        head.loss(torch.zeros_like(logits), logits)
    for factors, loss in ((weights, 4), (None, 2)):
        head.head_weights = factors
        assert head.loss(torch.zeros_like(logits), logits) == loss


def test_weights_that_are_refused_leave_those_of_the_prior() -> None:
    heads = [th.RegressionHead(name="a"), th.RegressionHead(name="b")]
    head = th.MultiHead(heads, head_weights="prior").fit_prior({"a": [1.0, 3.0], "b": [0.0, 4.0]})
    with pytest.raises(TypeError, match="head_weights"):
        head.head_weights = ["much", 1.0]
    assert head.head_weights.tolist() == [1.0, 0.25]


def test_an_average_of_probabilities_becomes_logits(device: torch.device) -> None:
    head = th.MultiHead(
        [
            th.BinaryClassHead(name="a"),
            th.MultiClassHead(3, name="b"),
            th.PoissonRegressionHead(2, name="c"),
            th.MultiLabelHead(2, name="d"),
            th.RegressionHead(name="e"),
        ]
    ).to(device)
    random = torch.Generator().manual_seed(0)
    models = [torch.randn(4, head.logits_dimension, generator=random).to(device) for _ in "ab"]
    first, second = map(head, models)
    averages = {key: (first[key] + second[key]) / 2 for key in first if "ids" not in key}
    again = head(head.to_logits(averages))
    for key in ["a/logistic", "b/probabilities", "c/predictions", "d/probabilities"]:
        torch.testing.assert_close(again[key], averages[key])
    nested = {name: {} for name in head}
    for (name, key), value in head.predictions(models[0]).items():
        nested[name][key] = value
    torch.testing.assert_close(head.to_logits(nested), head.to_logits(first))
    torch.testing.assert_close(head["a"].to_logits(first["a/logistic"]), models[0][:, :1])
    with pytest.raises(ValueError, match=r"'b'.*expected predictions with 'probabilities'"):
        head["b"].to_logits({"logits": models[0][:, 1:4]})
    linked = th.RegressionHead(inverse_link_fn=torch.exp)
    with pytest.raises(TypeError, match="an inverse_link_fn has no inverse that is known"):
        linked.to_logits({"predictions": models[0][:, :1]})


def test_logits_are_told_by_keys_of_names_with_slashes(device: torch.device) -> None:
    names = ["a/b", "a", "a/b/c"]
    inner = th.MultiHead([th.BinaryClassHead(name=name) for name in names])
    head = th.MultiHead([th.RegressionHead(name="x/y"), inner]).to(device)
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).to(device)
    for predictions in (head(logits), head.predictions(logits)):
        torch.testing.assert_close(head.to_logits(predictions), logits)
    with pytest.raises(ValueError, match=r"'x/y': expected predictions with 'predictions', got \["):
        head.to_logits({"logistic": logits, ("a", "b", "c"): logits, 3: logits})


def test_means_that_no_logits_have_are_refused(device: torch.device) -> None:
    tensor = partial(torch.tensor, device=device)
    for head, key, values in (
        (th.BinaryClassHead(name="a"), "logistic", [[0.5], [1.5]]),
        (th.MultiLabelHead(2, name="a"), "probabilities", [[0.5, -0.1]]),
        (th.MultiClassHead(2, name="a"), "probabilities", [[-0.5, 1.5]]),
        (th.OrdinalClassHead(3, name="a"), "probabilities", [[0.2, 0.2, torch.inf]]),
    ):
        with pytest.raises(ValueError, match=rf"'a': expected predictions\['{key}'\] in \[0, 1\]"):
            head.to_logits({key: tensor(values)})
    with pytest.raises(ValueError, match=r"expected predictions\['predictions'\] >= 0, got -1"):
        th.PoissonRegressionHead().to_logits(tensor([[-1.0]]))
    rounded = [[1 + 1e-7], [0.5], [torch.nan]]  # the first is above 1, the last is padding
    found = th.BinaryClassHead().to_logits(tensor(rounded))
    assert found[0] > 80
    assert found[1] == 0
    assert found[2].isnan()


@pytest.mark.parametrize("prior", [False, True])
def test_means_of_another_shape_are_refused(prior: bool) -> None:
    size, odds = th.RegressionHead(2, name="size"), th.BinaryClassHead(name="odds")
    if prior:
        size.fit_prior([[1.0, 2.0], [3.0, 8.0]])
    says = r"'size': expected predictions that tell logits of shape \[D0, ..., DN, 2\], got \["
    for shape in ((5, 1), (3,), (2, 3), ()):
        with pytest.raises(ValueError, match=says):
            size.to_logits(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"that tell logits of shape .* 3\], got \[4, 2\]"):
        th.MultiClassHead(3).to_logits({"probabilities": torch.ones(4, 2) / 2})
    says = r"'odds': expected predictions\['probabilities'\] of shape \[D0, ..., DN, 2\], got \["
    for given in (torch.ones(4, 1), torch.tensor(0.5), torch.ones(2, 3), [0.5]):
        with pytest.raises(ValueError, match=says):
            odds.to_logits({"probabilities": given})
    assert odds.to_logits({"probabilities": [[0.5, 0.5]]}).tolist() == [[0.0]]
    both = {"odds/logistic": torch.ones(1, 1), "size/predictions": torch.ones(2, 2)}
    with pytest.raises(ValueError, match=r"of one batch \[1\], got those of 'size' of \[2\]"):
        th.MultiHead([odds, size]).to_logits(both)


def test_some_predictions_may_be_asked_for_alone(head: th.MultiHead, device: torch.device) -> None:
    logits = torch.zeros(2, 6, device=device)
    assert list(head(logits, keys=["even/logistic", "ink/predictions"])) == [
        "even/logistic",
        "ink/predictions",
    ]
    assert head(logits, keys=[]).keys() == head(logits).keys()
    assert head.predictions(logits, keys=[]).keys() == head.predictions(logits).keys()
    assert list(head(logits, keys=["probabilities"])) == [
        "digit/probabilities",
        "even/probabilities",
    ]
    with pytest.raises(ValueError, match=r"prediction keys among .*got 'classes'"):
        head(logits, keys=["classes"])


def test_weights_of_heads_that_are_edited_or_learned_count(device: torch.device) -> None:
    heads = [th.BinaryClassHead(name=name) for name in "ab"]
    logits, labels = torch.zeros(2, 2, device=device), torch.ones(2, 2, device=device)
    head = th.MultiHead(heads, head_weights=[1.0, 1.0]).to(device)
    once = head.loss(labels, logits) / 2
    assert head.head_weights is not None
    head.head_weights[0] = 3.0
    torch.testing.assert_close(head.loss(labels, logits), 4 * once)
    learned = nn.Parameter(torch.tensor([2.0, 5.0], device=device))
    for other in (th.MultiHead(copy.deepcopy(heads), head_weights=learned), head):
        other.head_weights = learned
        loss = other.loss(labels, logits)
        torch.testing.assert_close(loss, 7 * once)
        [gradient] = torch.autograd.grad(loss, learned)
        torch.testing.assert_close(gradient, once.expand(2))
    with torch.no_grad():
        learned[1] = 0.0
    torch.testing.assert_close(head.loss(labels, logits), 2 * once)


def test_the_columns_of_each_head_are_told(head: th.MultiHead) -> None:
    assert head.slices == {"digit": slice(0, 3), "even": slice(3, 4), "ink": slice(4, 6)}


def test_a_head_that_is_built_on_the_meta_device_computes_right() -> None:
    def make() -> th.MultiHead:
        heads = [
            th.BinaryClassHead(name="a", pos_weight=2.0, thresholds=[0.3]),
            th.MultiClassHead(3, name="b", class_weight=[1.0, 2.0, 3.0]),
            th.MultiClassHead(5, name="c", missing_label=-1, label_smoothing=0.1),
        ]
        return th.MultiHead(heads, head_weights=[1.0, 2.0, 3.0])

    with torch.device("meta"):
        built = make()
    usual = make()
    labels, logits = {"a": [1], "b": [2], "c": [4]}, torch.arange(9.0).view(1, 9)
    assert built.head_weights.tolist() == [1, 2, 3]
    assert built.loss(labels, logits) == usual.loss(labels, logits)
    values = [head.update_metrics(None, None, logits, labels).compute() for head in (built, usual)]
    torch.testing.assert_close(*values, rtol=0, atol=0, equal_nan=True)
