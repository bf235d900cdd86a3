"""Heads as plain data: what goes out comes back, and nothing else comes in.

More examples: ``pytest tests/heads/test_config.py --examples 10000``.
"""

import functools
import json
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, nan
from typing import Any

import pytest
import torch
import torchmetrics
import yaml
from jsonargparse import ArgumentParser
from torch import Tensor, nn

import torch_heads as th
from tests.cases import CASES, Case, every_case, hinge, huber, weights_of
from tests.own_heads import Laplace, LaplaceHead, QuartilesHead

CLASSES = [LaplaceHead, QuartilesHead]
FUNCTIONS = {
    f"{one.__module__}.{one.__name__}": one
    for one in (hinge, huber, weights_of, torch.sigmoid, torch.exp)
}
REDUCTIONS = ["sum_over_batch_size", "auto", "sum", "weighted_mean"]


def copy_of(head: th.Head, functions: Any = None) -> th.Head:
    """Return the head that comes back from strict JSON."""
    config = th.head_config(head, functions)
    text = json.dumps(config, allow_nan=False)
    assert json.loads(text) == config
    again = th.build_head(json.loads(text), {**FUNCTIONS, **(functions or {})}, CLASSES)
    assert th.head_config(again, functions) == config
    assert repr(again) == repr(head)
    return again


def assert_bit_equal(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)


# ---- random heads ----


def a_random_head(pick: random.Random, name: str | None, columns: list[str]) -> th.Head:
    """Return any head of a single target, with some of its arguments."""

    def maybe(value: Callable[[], Any]) -> Any:
        return value() if pick.random() < 0.5 else None

    def weights(count: int) -> list[float]:
        return [pick.random() * 3 for _ in range(count)]

    options: dict[str, Any] = {
        "name": name,
        "loss_reduction": pick.choice(REDUCTIONS),
        "weight_column": pick.choice([None, *columns, weights_of]),
        "missing_label": pick.choice([None, nan, -7.0, [nan, -2.0]]),
    }
    classes = pick.randint(2, 5)
    vocabulary = maybe(lambda: [f"ç{i}\n" for i in range(classes)])
    thresholds = maybe(lambda: sorted(pick.sample([0.1, 1 / 3, 0.5, 0.999], 2)))
    smoothing = pick.choice([0.0, 0.1])
    own_loss = pick.random() < 0.2
    kind = pick.choice(KINDS)
    if kind is th.MultiClassHead:
        options["missing_label"] = pick.choice(
            [None, -1, [-1, -100], *(["?"] if vocabulary else [])]
        )
        options |= {"label_vocabulary": vocabulary, "label_smoothing": smoothing}
        return kind(classes, class_weight=maybe(lambda: weights(classes)), **options)
    if kind is th.MultiLabelHead:
        chosen = maybe(lambda: pick.sample(range(classes), 2))
        options |= {"thresholds": thresholds, "classes_for_class_based_metrics": chosen}
        options |= {"class_weight": maybe(lambda: torch.tensor(weights(classes)))}
        options |= {"pos_weight": maybe(lambda: 2.5), "label_vocabulary": vocabulary}
        return kind(classes, label_smoothing=smoothing, **options)
    if kind is th.BinaryClassHead:
        names = maybe(lambda: ["no", "yes"])
        options |= {"thresholds": thresholds, "label_vocabulary": names}
        if own_loss:
            return kind(loss_fn=hinge, **options)
        return kind(pos_weight=maybe(lambda: 1.5), label_smoothing=smoothing, **options)
    if kind is th.LogisticRegressionHead:
        return kind(**options)
    width = pick.randint(1, 3)
    if kind is th.RegressionHead:
        options["loss_fn"] = huber if own_loss else None
        options["inverse_link_fn"] = maybe(lambda: torch.exp)
    if kind is th.PoissonRegressionHead:
        options["compute_full_loss"] = pick.random() < 0.5
    return kind(width, **options)


KINDS: list[Any] = [
    th.BinaryClassHead,
    th.LogisticRegressionHead,
    th.MultiClassHead,
    th.MultiLabelHead,
    th.PoissonRegressionHead,
    th.RegressionHead,
    LaplaceHead,
    QuartilesHead,
]


def any_random_head(pick: random.Random) -> th.Head:
    """Return a head of one target, of several, of sequences, or nested ones."""
    form = pick.choice(["one", "one", "many", "nested", "steps"])
    columns = ["w", "v"]
    if form == "one":
        return a_random_head(pick, None if pick.random() < 0.5 else "one", columns)
    heads = [a_random_head(pick, f"h{i}", columns) for i in range(pick.randint(2, 4))]
    many = th.MultiHead(heads, head_weights=[pick.random() for _ in heads])
    if form == "nested":
        return th.MultiHead([many, a_random_head(pick, "up", columns)])
    if form == "steps":
        return th.SequentialHeadWrapper(many, pick.choice(["mask", "m"]), columns)
    return many


def labels_of(head: th.Head, logits: Tensor, generator: torch.Generator) -> Any:
    """Return random labels, some of them missing where they may be."""
    if isinstance(head, th.MultiHead):
        return {name: labels_of(head[name], logits, generator) for name in head}
    if isinstance(head, th.SequentialHeadWrapper):
        return labels_of(head.static_head, logits, generator)
    width = 2 if not isinstance(head, th.MultiClassHead) else head.n_classes
    shape = (*logits.shape[:-1], head.labels_dimension)
    return torch.randint(width, shape, generator=generator).to(
        torch.int64 if isinstance(head, th.MultiClassHead) else torch.float32
    )


def test_random_heads_round_trip_bit_by_bit(request: pytest.FixtureRequest) -> None:
    for seed in range(request.config.getoption("--examples")):
        pick, generator = random.Random(seed), torch.Generator().manual_seed(seed)
        head = any_random_head(pick)
        again = copy_of(head)
        rows = (3, 2) if isinstance(head, th.SequentialHeadWrapper) else (4,)
        logits = torch.randn(*rows, head.logits_dimension, generator=generator)
        labels = labels_of(head, logits, generator)
        features = {key: torch.rand(rows, generator=generator) for key in ("w", "v")}
        features |= dict.fromkeys(("mask", "m"), torch.tensor([[1, 1], [1, 0], [0, 1]]))
        assert_bit_equal(again(logits), head(logits))
        assert_bit_equal(again.loss(labels, logits, features), head.loss(labels, logits, features))
        assert list(again.metrics()) == list(head.metrics())


@every_case
def test_every_head_round_trips(case: Case) -> None:
    head, batch = case.head(weight_column="w"), case.batch
    again = copy_of(head)
    assert_bit_equal(again(batch.logits), head(batch.logits))
    assert_bit_equal(
        again.loss(batch.labels, batch.logits, batch.features),
        head.loss(batch.labels, batch.logits, batch.features),
    )


# ---- what is written ----


def test_only_what_differs_from_the_defaults_is_written() -> None:
    head = th.MultiHead([th.BinaryClassHead(name="a", thresholds=[0.5])])
    binary = {"name": "a", "thresholds": [0.5]}
    heads = [{"class_path": "torch_heads.BinaryClassHead", "init_args": binary}]
    assert th.head_config(head) == {
        "class_path": "torch_heads.MultiHead",
        "init_args": {"heads": heads},
    }


def test_head_weights_that_were_assigned_are_written() -> None:
    head = th.MultiHead([th.BinaryClassHead(name="a")])
    head.head_weights = nn.Parameter(torch.tensor([0.1]))
    again = copy_of(head)
    assert torch.equal(again.head_weights.float(), head.head_weights.detach())


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_numbers_that_json_lacks_are_written_as_in_yaml(value: float) -> None:
    if value == inf:
        config = th.head_config(th.RegressionHead(missing_label=value))
        assert config["init_args"] == {"missing_label": ".inf"}
    again = copy_of(th.RegressionHead(missing_label=value))
    torch.testing.assert_close(again.missing_label, value, equal_nan=True)


NUMBERS = [".nan", ".inf", "-.inf"]


@pytest.mark.parametrize("missing", [None, ".nan", ["-.inf", ".inf"]])
def test_names_may_read_as_numbers(missing: Any) -> None:
    names = ["cat", *(one for one in NUMBERS if one not in (missing or ""))]
    head = th.MultiHead(
        [
            th.MultiClassHead(
                len(names),
                label_vocabulary=names,
                name=".nan",
                missing_label=missing,
                weight_column="-.inf",
                class_weight=dict.fromkeys(names, 2.0),
            ),
            th.BinaryClassHead(name="b", missing_label=[nan, inf]),
        ]
    )
    written = th.head_config(head)["init_args"]["heads"][0]["init_args"]
    assert (written["name"], written["label_vocabulary"]) == (".nan", names)
    again = copy_of(head)
    assert again[".nan"].label_vocabulary == tuple(names)
    assert again[".nan"].missing_label == head[".nan"].missing_label
    assert again[".nan"].weight_column == "-.inf"
    assert repr(again["b"].missing_label) == repr(head["b"].missing_label)


@pytest.mark.parametrize("text", [*NUMBERS, "\\.nan", "\\\\-.inf", "\\", "\\x", "nan", ".NaN"])
def test_a_string_comes_back_as_it_was(text: str) -> None:
    head = Measured(Laplace(), [text, {text: text}, nan], name=text)
    config = json.loads(json.dumps(th.head_config(head), allow_nan=False))
    again = th.build_head(config, classes=[Measured, Laplace])
    assert repr(again.extra) == repr([text, {text: text}, nan])
    assert again.name == text


def test_the_class_path_of_a_head_is_where_it_is_imported_from() -> None:
    for name in th.__all__:
        kind = getattr(th, name)
        if isinstance(kind, type) and issubclass(kind, th.Head):
            one = next((c.head() for c in CASES if type(c.head()) is kind), None)
            assert one is None or th.head_config(one)["class_path"] == f"torch_heads.{name}"


def test_functions_are_written_by_their_path() -> None:
    config = th.head_config(th.RegressionHead(loss_fn=huber, weight_column=weights_of))
    assert config["init_args"] == {
        "weight_column": {"function": "tests.cases.weights_of"},
        "loss_fn": "tests.cases.huber",
    }


def test_functions_may_be_given_names() -> None:
    half, third = functools.partial(scaled, by=0.5), functools.partial(scaled, by=1 / 3)
    heads = [th.RegressionHead(name=name, loss_fn=fn) for name, fn in [("a", half), ("b", third)]]
    head = th.MultiHead(heads)
    with pytest.raises(ValueError, match=r"different import paths, got 'functools.partial' twice"):
        th.head_config(head)
    again = copy_of(head, {"half": half, "third": third})
    assert again["a"].loss_fn is half
    assert again["b"].loss_fn is third


def scaled(labels: Tensor, logits: Tensor, by: float) -> Tensor:
    return by * (labels - logits).square()


AUC = th.metrics.AUC()


@dataclass(frozen=True)
class Between(th.metrics.Reading):
    """A reading of one's own, with fields of every kind."""

    levels: tuple[float, ...] = (0.5,)
    inner: th.metrics.Reading = AUC
    named: str = "x"

    def read(self, sums: th.metrics.Sums) -> Tensor:
        return self.inner.read(sums)


class Measured(th.TensorHead):
    """A head that takes readings, by key or in a list, and a family."""

    def __init__(self, family: th.Family, extra: Any = None, **options: Any) -> None:
        super().__init__(family, **options)
        self.extra = extra


@pytest.mark.parametrize(
    "extra",
    [
        ["f1", Between(levels=(0.1, nan), inner=th.metrics.Accuracy(threshold=0.3))],
        {"mine": Between(), "theirs": th.metrics.AUC(column=1)},
    ],
)
def test_readings_and_families_are_plain_data(extra: Any) -> None:
    head = Measured(Laplace(), extra, missing_label=-1, name="m")
    config = json.loads(json.dumps(th.head_config(head), allow_nan=False))
    again = th.build_head(config, classes=[Measured, Laplace, Between])
    assert repr(again.extra) == repr(extra)
    assert again.family == head.family
    assert again.missing_label == -1
    for lacking in (Measured, Laplace, Between):
        classes = {Measured, Laplace, Between} - {lacking}
        with pytest.raises(ValueError, match=f"class_path among .* got '.*{lacking.__name__}'"):
            th.build_head(config, classes=classes)


def test_metrics_of_every_form_come_back() -> None:
    metrics = {"mine": "f1", "theirs": th.metrics.Accuracy(threshold=0.3)}
    heads = [th.BinaryClassHead(name="a", metrics=metrics), th.BinaryClassHead(name="b")]
    mean = {"mean": th.metrics.MeanOverHeads("roc_auc")}
    head = th.MultiHead(heads, metrics=mean)
    assert list(copy_of(head).metrics()) == list(head.metrics())
    theirs = torchmetrics.MeanAbsolutePercentageError()
    fed = th.BinaryClassHead(metrics={"fed": th.metrics.Torchmetric(theirs, preds="logistic")})
    written = th.head_config(fed)["init_args"]["metrics"]["fed"]["init_args"]
    assert written["preds"] == "logistic"
    again = th.build_head(th.head_config(fed), {written["metric"]["function"]: theirs})
    assert list(again.metrics()) == list(fed.metrics())
    config = th.head_config(th.RegressionHead(metrics=["r2", theirs]))
    path = "torchmetrics.regression.mape.MeanAbsolutePercentageError"
    assert config["init_args"] == {"metrics": ["r2", {"function": path}]}
    with pytest.raises(ValueError, match=f"expected functions for '{path}'"):
        th.build_head(config)
    assert th.build_head(config, {path: theirs}).arguments["metrics"] == ["r2", theirs]


def test_what_can_be_called_stands_by_its_class_and_is_given_again() -> None:
    metric = nn.Identity()
    config = th.head_config(Measured(Laplace(), {"mine": metric}))
    path = "torch.nn.modules.linear.Identity"
    assert config["init_args"]["extra"] == {"mine": {"function": path}}
    again = th.build_head(config, {path: metric}, [Measured, Laplace])
    assert again.extra["mine"] is metric


@pytest.mark.parametrize(
    "extra", [object(), b"x", {1: "a"}, {"class_path": "x"}, [{"function": "f"}]]
)
def test_what_is_no_plain_data_is_refused(extra: Any) -> None:
    with pytest.raises(TypeError, match="Measured: expected extra as plain data"):
        th.head_config(Measured(Laplace(), extra))


class Forgetful(th.TensorHead):
    def __init__(self, beta: float, **options: Any) -> None:
        super().__init__(Laplace(), **options)


def test_an_argument_need_not_be_kept_by_the_head() -> None:
    config = th.head_config(Forgetful(0.5, name="a"))
    assert config["init_args"] == {"beta": 0.5, "name": "a"}
    assert th.build_head(config, classes=[Forgetful]).arguments == {"beta": 0.5, "name": "a"}


def test_what_is_no_head_has_no_configuration() -> None:
    with pytest.raises(TypeError, match="head as a head, got Linear"):
        th.head_config(nn.Linear(1, 1))


# ---- what is read ----


BINARY = "torch_heads.BinaryClassHead"


@pytest.mark.parametrize(
    ("config", "error", "says"),
    [
        ({"class_path": "os.system"}, ValueError, "class_path among .* got 'os.system'"),
        ({"class_path": "torch_heads.heads.binary.BinaryClassHead"}, ValueError, "class_path"),
        ({"class_path": "torch_heads.TensorHead"}, ValueError, "class_path among"),
        ({"class_path": ["x"]}, ValueError, "class_path among"),
        ({"class_path": "torch_heads.families.Bernoulli"}, TypeError, "a head's class_path"),
        ({"init_args": {}}, TypeError, "a head's class_path, got .'init_args'"),
        ([], TypeError, "a head's class_path"),
        ("torch_heads.BinaryClassHead", TypeError, "a head's class_path"),
        ({"class_path": BINARY, "init_args": []}, TypeError, "a dict of init_args"),
        ({"class_path": BINARY, "code": "x"}, TypeError, "class_path and a dict"),
        ({"class_path": BINARY, "init_args": {1: 2}}, TypeError, "init_args by name"),
        ({"class_path": BINARY, "init_args": {"x": 2}}, ValueError, "unexpected keyword.*'x'"),
        ({"class_path": "torch_heads.MultiClassHead"}, ValueError, "missing .*'n_classes'"),
        (
            {"class_path": BINARY, "init_args": {"loss_fn": "os.system"}},
            ValueError,
            "functions for",
        ),
        (
            {"class_path": BINARY, "init_args": {"weight_column": {"function": "os.system"}}},
            ValueError,
            "expected functions for 'os.system'",
        ),
        ({"class_path": BINARY, "init_args": {"thresholds": [7]}}, ValueError, r"in \(0, 1\)"),
    ],
)
def test_a_foreign_configuration_is_refused(config: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        th.build_head(config)


def test_a_deep_configuration_is_refused() -> None:
    config: Any = {"class_path": BINARY}
    for _ in range(50):
        inner = {"static_head": config}
        config = {"class_path": "torch_heads.SequentialHeadWrapper", "init_args": inner}
    with pytest.raises(ValueError, match="of at most 50 levels, got more"):
        th.build_head(config)


def test_a_configuration_of_endless_lists_is_refused() -> None:
    thresholds: Any = [0.5]
    for _ in range(10**5):
        thresholds = [thresholds]
    with pytest.raises(ValueError, match="few levels"):
        th.build_head({"class_path": BINARY, "init_args": {"thresholds": thresholds}})


@pytest.mark.parametrize(
    "given", [5, None, "LaplaceHead", LaplaceHead, [LaplaceHead()], {"a": 1}, [None]], ids=repr
)
def test_classes_that_are_none_are_refused(given: Any) -> None:
    with pytest.raises(TypeError, match=r"^build_head: expected classes as a list of classes"):
        th.build_head({"class_path": BINARY}, classes=given)


@pytest.mark.parametrize("given", [5, [huber], huber, "f"])
def test_functions_without_names_are_refused(given: Any) -> None:
    for call in (th.head_config, th.build_head):
        of: Any = th.BinaryClassHead() if call is th.head_config else {"class_path": BINARY}
        says = f"^{call.__name__}: expected functions as a dict of them by name, got "
        with pytest.raises(TypeError, match=says):
            call(of, given)


def test_nothing_is_imported() -> None:
    code = (
        "import sys, torch_heads as th; before = set(sys.modules)\n"
        "try:\n    th.build_head({'class_path': 'http.server.HTTPServer'})\n"
        "except ValueError:\n    print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- in a configuration file ----


@pytest.mark.filterwarnings("ignore:.*instantiate_classes")
@pytest.mark.parametrize(
    "head",
    [
        th.MultiHead(
            [
                th.MultiClassHead(3, name="a", label_vocabulary=["x", "y", "z"], missing_label="?"),
                th.RegressionHead(name="b", loss_fn=huber, missing_label=[nan, -1.0]),
                th.PoissonRegressionHead(name="c", compute_full_loss=False),
            ],
            head_weights=[1.0, 0.5, 0.1],
        ),
        th.SequentialHeadWrapper(th.BinaryClassHead("w"), "mask", ["w"]),
        th.MultiLabelHead(3, class_weight=[1.0, 2.0, 3.0], missing_label=nan),
        th.MultiClassHead(3, label_vocabulary=[".nan", ".inf", "-.inf"], name=".nan"),
    ],
    ids=lambda head: type(head).__name__,
)
def test_it_stands_in_a_configuration_file(head: th.Head, tmp_path: Any) -> None:
    config = th.head_config(head)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"head": config}))
    parser = ArgumentParser()
    parser.add_argument("--config", action="config")
    parser.add_argument("--head", type=th.Head)
    made = parser.instantiate(parser.parse_args(["--config", str(path)])).head
    assert th.head_config(made) == config
    assert repr(made) == repr(head)


def test_weights_by_the_prior_are_asked_for_until_there_is_one() -> None:
    def make() -> th.MultiHead:
        return th.MultiHead([th.BinaryClassHead(name="a")], head_weights="prior")

    config = th.head_config(make())
    assert config["init_args"]["head_weights"] == "prior"
    again, head = th.build_head(config), make()
    for one in (again, head):
        one.fit_prior({"a": [0, 0, 0, 1]})
    labels, logits = {"a": [1, 0]}, torch.zeros(2, 1)
    assert again.loss(labels, logits) == head.loss(labels, logits)
    assert th.head_config(head)["init_args"]["head_weights"] == pytest.approx(
        head.head_weights.tolist()
    )


def test_a_class_of_a_module_that_is_gone_is_no_obstacle() -> None:
    class Gone(th.RegressionHead):
        pass

    Gone.__module__ = "a_module_that_is_gone"
    head = th.build_head({"class_path": "torch_heads.RegressionHead"})
    assert type(head) is th.RegressionHead
