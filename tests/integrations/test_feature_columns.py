"""Feature columns read features as the originals' do, and the first layer puts them together."""

import functools
from math import nan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import torch_heads as th
from torch_heads.integrations import estimator as est
from torch_heads.integrations.estimator.networks import LinearModel

COLOURS = ["red", "green", "blue"]


@pytest.fixture
def colour() -> est.CategoricalColumn:
    return est.categorical_column_with_vocabulary_list("colour", COLOURS)


def embed(column: est.EmbeddingColumn, values: Any) -> tuple[Tensor, Tensor]:
    """Return what the column makes of values, and its vectors."""
    layer = est.DenseFeatures(column)
    [vectors] = layer.parameters()
    return layer({column.categorical_column.key: values}), vectors


# ---- numbers ----


@pytest.mark.parametrize(
    "values",
    [[1, 2], [[1.0], [2.0]], np.array([1, 2], dtype=np.uint8), torch.tensor([1.0, 2.0]).double()],
)
def test_numbers_may_come_in_any_form(values: Any) -> None:
    assert_close(est.numeric_column("x")({"x": values}), torch.tensor([[1.0], [2.0]]))


def test_numbers_of_any_shape_are_laid_side_by_side() -> None:
    column = est.numeric_column("x", shape=(2, 3))
    assert column.width == 6
    assert_close(column({"x": torch.arange(12.0).view(2, 2, 3)}), torch.arange(12.0).view(2, 6))


def test_a_default_stands_for_nan() -> None:
    column = est.numeric_column("x", shape=2, default_value=[5.0, 7.0])
    assert column({"x": [[nan, 1.0], [2.0, nan]]}).tolist() == [[5, 1], [2, 7]]


def test_numbers_are_normalized_after_the_default_in_their_own_shape() -> None:
    seen = []
    column = est.numeric_column(
        "x", default_value=3.0, normalizer_fn=lambda x: seen.append(x.shape) or (x - 1) / 2
    )
    assert column({"x": [nan, 5.0]}).tolist() == [[1], [2]]
    assert seen == [(2, 1)]


def test_numbers_are_read_in_their_dtype_before_they_become_floats() -> None:
    column = est.numeric_column("x", dtype=torch.int64)
    assert_close(column({"x": [1.9, -1.9]}), torch.tensor([[1.0], [-1.0]]))


def test_a_numeric_column_is_a_weight_column() -> None:
    doubled = est.numeric_column("w", normalizer_fn=lambda w: 2 * w)
    head = th.RegressionHead(weight_column=doubled)
    plain = th.RegressionHead()
    logits, labels = torch.tensor([[1.0], [2.0]]), [0.0, 0.0]
    weighed = head.loss(labels, logits, {"w": torch.tensor([1.0, 3.0])})
    assert weighed == plain.loss(labels, logits, weights=[2.0, 6.0])


# ---- categories ----


def test_ids_are_taken_as_they_are() -> None:
    column = est.categorical_column_with_identity("id", 4)
    assert column.ids({"id": torch.tensor([3, 0, -1], dtype=torch.int32)}).tolist() == [
        [3],
        [0],
        [-1],
    ]
    assert column.ids({"id": [[0, 1], [2, -1]]}).tolist() == [[0, 1], [2, -1]]


def test_ids_out_of_range_become_the_default_but_none_stays_none() -> None:
    column = est.categorical_column_with_identity("id", 4, default_value=2)
    assert column.ids({"id": [4, -1, -2, 3]}).tolist() == [[2], [-1], [2], [3]]


@pytest.mark.parametrize("as_given", [list, np.array, lambda names: np.array(names, dtype="S")])
def test_names_become_their_place_in_the_vocabulary(
    colour: est.CategoricalColumn, as_given: Any
) -> None:
    assert colour.ids({"colour": as_given(["blue", "red", "", "pink"])}).tolist() == [
        [2],
        [0],
        [-1],
        [-1],
    ]


@pytest.mark.parametrize(
    ("vocabulary", "values"),
    [
        ([b"red", b"blue"], ["blue", "red"]),
        (np.array(["red", "blue"], dtype="S"), ["blue", "red"]),
        (np.array(["red", "blue"]), [b"blue", b"red"]),
        (iter(["red", "blue"]), ["blue", "red"]),
        (torch.tensor([7, 5]), [5, 7]),
        (np.array([7, 5]), torch.tensor([5, 7])),
        ([torch.tensor(7), np.int64(5)], [5, 7]),
    ],
)
def test_a_vocabulary_may_come_in_any_form(vocabulary: Any, values: Any) -> None:
    column = est.categorical_column_with_vocabulary_list("x", vocabulary)
    assert column.ids({"x": values}).tolist() == [[1], [0]]
    assert {type(name) for name in column.vocabulary} <= {int, str}


def test_none_is_no_category() -> None:
    make = est.categorical_column_with_vocabulary_list
    for given in [{}, {"default_value": 2}, {"num_oov_buckets": 3}]:
        column = make("colour", COLOURS, **given)
        for values in [["red", None, ""], np.array(["red", None, None], dtype=object)]:
            assert column.ids({"colour": values}).tolist() == [[0], [-1], [-1]]
    column = est.categorical_column_with_identity("id", 3, default_value=0)
    assert column.ids({"id": [2, None]}).tolist() == [[2], [-1]]


@pytest.mark.parametrize("as_row", [list, tuple, np.array])
def test_lists_of_different_lengths_are_filled_up_with_no_category(
    colour: est.CategoricalColumn, as_row: Any
) -> None:
    rows = [["red"], ["blue", "green"], []]
    expected = [[0, -1], [2, 1], [-1, -1]]
    assert colour.ids({"colour": [as_row(row) for row in rows]}).tolist() == expected
    numbers = [as_row(row) for row in [[0], [2, 1], []]]
    column = est.categorical_column_with_identity("id", 3)
    assert column.ids({"id": numbers}).tolist() == expected
    counts = est.indicator_column(column)({"id": numbers})
    assert counts.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert column.ids({"id": [[], []]}).shape == (2, 0)


def test_whole_numbers_may_be_names() -> None:
    column = est.categorical_column_with_vocabulary_list("zip", [8001, 3011])
    for values in [[3011, 8001, 1], torch.tensor([3011, 8001, 1]), [3011.0, 8001.0, nan]]:
        assert column.ids({"zip": values}).tolist() == [[1], [0], [-1]]


def test_a_default_or_buckets_take_the_names_out_of_the_vocabulary() -> None:
    make = est.categorical_column_with_vocabulary_list
    values = {"colour": ["pink", "", "red", "grey", "black", "white", "beige"]}
    default = make("colour", COLOURS, default_value=1)
    assert default.ids(values).flatten().tolist() == [1, -1, 0, 1, 1, 1, 1]
    one = make("colour", COLOURS, num_oov_buckets=1)
    assert (one.num_buckets, one.ids(values).flatten().tolist()) == (4, [3, -1, 0, 3, 3, 3, 3])
    ids = make("colour", COLOURS, num_oov_buckets=2).ids(values).flatten().tolist()
    assert ids[1:3] == [-1, 0]
    assert {*ids[:1], *ids[3:]} == {3, 4}


def test_an_indicator_counts_the_categories(colour: est.CategoricalColumn) -> None:
    column = est.indicator_column(colour)
    counts = column({"colour": [["red", "red"], ["blue", "pink"], ["", ""]]})
    assert counts.tolist() == [[2, 0, 0], [0, 0, 1], [0, 0, 0]]


# ---- embeddings ----


@pytest.mark.parametrize(("combiner", "divisor"), [("sum", 1), ("mean", 2), ("sqrtn", sqrt(2))])
def test_several_categories_are_combined(
    colour: est.CategoricalColumn, combiner: Any, divisor: float
) -> None:
    column = est.embedding_column(colour, 4, combiner)
    made, vectors = embed(column, [["red", "blue"], ["green", ""], ["", "pink"]])
    expected = [(vectors[0] + vectors[2]) / divisor, vectors[1], torch.zeros(4)]
    assert_close(made, torch.stack(expected))


def test_a_category_that_is_not_there_gets_no_gradient(colour: est.CategoricalColumn) -> None:
    made, vectors = embed(est.embedding_column(colour, 2), [["red", ""], ["pink", "blue"]])
    made.sum().backward()
    assert vectors.grad.tolist() == [[1, 1], [0, 0], [1, 1]]


def test_vectors_start_from_a_cut_normal_distribution() -> None:
    column = est.categorical_column_with_identity("id", 5000)
    _, vectors = embed(est.embedding_column(column, 4), [0])
    assert vectors.abs().max() <= 2 / sqrt(4)
    # of a normal distribution that is cut at two standard deviations, 0.88 remains of one
    assert_close(vectors.std().item(), 0.88 / sqrt(4), rtol=0.02, atol=0)


def test_vectors_may_start_from_anything_and_stay_there(colour: est.CategoricalColumn) -> None:
    known = torch.arange(6.0).view(3, 2)
    column = est.embedding_column(colour, 2, initializer=lambda w: w.copy_(known), trainable=False)
    made, vectors = embed(column, ["blue"])
    assert made.tolist() == [[4, 5]]
    assert not vectors.requires_grad


# ---- together ----


@pytest.mark.parametrize("as_given", [list, reversed, iter, frozenset])
def test_columns_stand_in_the_order_of_their_names(
    colour: est.CategoricalColumn, as_given: Any
) -> None:
    ones = est.embedding_column(colour, 2, initializer=nn.init.ones_)
    columns = [est.numeric_column("x"), ones, est.indicator_column(colour)]
    layer = est.DenseFeatures(as_given(columns))
    assert layer.width == 6
    made = layer({"colour": ["green"], "x": [7], "unused": None})
    assert made.tolist() == [[1, 1, 0, 1, 0, 7]]


def test_weights_of_other_columns_are_refused() -> None:
    layer = est.DenseFeatures([est.numeric_column("a"), est.numeric_column("b", 2)])
    for columns in [
        [est.numeric_column("a"), est.numeric_column("c", 2)],
        [est.numeric_column("a", 2), est.numeric_column("b")],
    ]:
        says = r"feature columns \{'a': 1, 'b': 2\}, got \{'a'"
        with pytest.raises(ValueError, match=says):
            layer.load_state_dict(est.DenseFeatures(columns).state_dict())


def test_weights_are_those_of_a_vocabulary_in_its_order() -> None:
    def columns(names: list[str]) -> list[Any]:
        colour = est.categorical_column_with_vocabulary_list("colour", names)
        return [est.embedding_column(colour, 2), est.numeric_column("age")]

    saved = est.DenseFeatures(columns(["red", "blue"])).state_dict()
    est.DenseFeatures(columns(["red", "blue"])).load_state_dict(saved)
    says = r"of 'colour_embedding' with the vocabulary \['blue', 'red'\], got \['red', 'blue'\]"
    with pytest.raises(ValueError, match=says):
        est.DenseFeatures(columns(["blue", "red"])).load_state_dict(saved)


def test_names_and_sizes_may_be_numpys(tmp_path: Path) -> None:
    number = est.numeric_column(np.str_("age"), np.int64(2))
    ids = est.categorical_column_with_identity(np.str_("size"), np.int64(3))
    columns = [number, est.indicator_column(ids)]
    torch.save(est.DenseFeatures(columns).state_dict(), tmp_path / "layer.pt")
    saved = torch.load(tmp_path / "layer.pt", weights_only=True)
    est.DenseFeatures(columns).load_state_dict(saved)


def test_a_layer_of_numbers_and_ids_is_exported_with_a_free_batch_size() -> None:
    ids = [est.categorical_column_with_identity(key, 3) for key in ("i", "j")]
    columns = [est.embedding_column(ids[0], 2), est.indicator_column(ids[1])]
    layer = est.DenseFeatures([*columns, est.numeric_column("x", 2)])
    features = {"i": torch.tensor([0, 1, -1, 2]), "j": torch.tensor([2, 1, 0, -1])}
    features["x"] = torch.ones(4, 2)
    free = ({key: {0: torch.export.Dim("batch")} for key in features},)
    exported = torch.export.export(layer, (features,), dynamic_shapes=free).module()
    part = {key: values[:3] for key, values in features.items()}
    assert_close(exported(part), layer(part))


def test_what_a_layer_reads_goes_to_where_it_is(
    colour: est.CategoricalColumn, device: torch.device
) -> None:
    columns = [est.embedding_column(colour, 2), est.indicator_column(colour)]
    layer = est.DenseFeatures([*columns, est.numeric_column("x")]).to(device)
    made = layer({"colour": ["green"], "x": [1.0]})
    assert (made.device.type, made.shape) == (device.type, (1, 6))
    assert list(layer.state_dict()) == ["columns._extra_state", "embeddings.0.weight"]


def numbers(features: Any, **given: Any) -> Any:
    return est.numeric_column("x", **given)(features)


def ids(features: Any) -> Any:
    return est.categorical_column_with_identity("x", 3).ids(features)


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        (lambda: numbers({"y": [1]}), ValueError, "numeric_column 'x'.*with 'x'.*'y'"),
        (lambda: numbers([1.0]), ValueError, "as a dict by name, got list"),
        (lambda: numbers({"x": ["a"]}), ValueError, "numeric, got strings"),
        (lambda: numbers({"x": [1, 2]}, shape=2), ValueError, r"\['B', 2\], got \[2\]"),
        (lambda: numbers({}, shape=0), ValueError, "shape >= 1, got 0"),
        (lambda: numbers({}, shape=True), TypeError, "shape as an int, got True"),
        (lambda: numbers({}, dtype=np.float32), TypeError, "dtype as a torch.dtype"),
        (lambda: numbers({}, normalizer_fn=3), TypeError, "normalizer_fn to be callable"),
        (
            lambda: numbers({}, shape=3, default_value=[1.0, 2.0]),
            ValueError,
            r"default_value as a number or of shape \[3\], got shape \[2\]",
        ),
        (lambda: numbers({}, default_value="1"), ValueError, "default_value to be numeric"),
        (lambda: est.numeric_column(3), TypeError, "key as a string, got int"),
        (lambda: ids({"x": [3]}), ValueError, r"ids in \[-1, 2\], got 3"),
        (lambda: ids({"x": [1.0]}), ValueError, "integer ids, got torch.float32"),
        (lambda: ids({"x": ["a"]}), ValueError, "strings. Strings need .*vocabulary_list"),
        (lambda: ids({"x": [[[1]]]}), ValueError, r"\[B\] or \[B, n\], got \[1, 1, 1\]"),
        (
            lambda: est.categorical_column_with_identity("x", 3, default_value=3),
            ValueError,
            r"default_value in \[0, 2\], got 3",
        ),
        (
            lambda: est.categorical_column_with_identity("x", 3, default_value=1.5),
            TypeError,
            "default_value as an int, got 1.5",
        ),
        *(
            (
                functools.partial(
                    est.categorical_column_with_vocabulary_list, "x", ["a", "b"], default_value=one
                ),
                TypeError,
                f"default_value as an int, got {one}",
            )
            for one in (0.5, None, True)
        ),
        (
            lambda: est.categorical_column_with_vocabulary_list("x", ["a", "a"]),
            ValueError,
            "each once",
        ),
        (
            lambda: est.categorical_column_with_vocabulary_list("x", "ab"),
            TypeError,
            "vocabulary_list as a list of names, got str",
        ),
        (
            lambda: est.categorical_column_with_vocabulary_list("x", {"a", "b"}),
            TypeError,
            "vocabulary_list as a list of names, got set",
        ),
        (
            lambda: est.categorical_column_with_vocabulary_list("x", ["a", ["b"]]),
            TypeError,
            r"of strings or whole numbers, got \['b'\] in it",
        ),
        (lambda: ids({"x": [[[1], [1, 2]]]}), ValueError, "got lists of lists of different"),
        (lambda: ids({"x": torch.eye(2).to_sparse()}), ValueError, "to be dense, got"),
        (
            lambda: est.categorical_column_with_vocabulary_list("x", ["a"], default_value=2),
            ValueError,
            "default_value",
        ),
        (
            lambda: est.categorical_column_with_vocabulary_list(
                "x", ["a"], default_value=0, num_oov_buckets=1
            ),
            ValueError,
            "num_oov_buckets",
        ),
        (
            lambda: est.embedding_column(est.numeric_column("x"), 2),
            TypeError,
            "as a CategoricalColumn, got NumericColumn",
        ),
        (
            lambda: est.embedding_column(est.categorical_column_with_identity("x", 3), 2, "max"),
            ValueError,
            "combiner among.*'max'",
        ),
        *(
            (
                functools.partial(
                    est.embedding_column, est.categorical_column_with_identity("x", 3), 2, **given
                ),
                TypeError,
                says,
            )
            for given, says in [
                ({"initializer": "zeros"}, "initializer to be callable, got str"),
                ({"trainable": "no"}, "trainable as True or False, got a str"),
            ]
        ),
        (lambda: est.DenseFeatures([]), ValueError, "feature_columns to be given"),
        (
            lambda: est.DenseFeatures([est.categorical_column_with_identity("x", 3)]),
            TypeError,
            "CategoricalColumn. Wrap it in embedding_column or indicator_column",
        ),
        (lambda: est.DenseFeatures([est.numeric_column("x")] * 2), ValueError, "'x' twice"),
        (
            lambda: numbers({"x": [1.0, 2.0]}, normalizer_fn=lambda x: torch.cat([x, x])),
            ValueError,
            r"normalizer_fn to return a tensor of shape \[2, 1\], got \[4, 1\]",
        ),
        (
            lambda: numbers({"x": [1.0]}, normalizer_fn=lambda x: None),
            TypeError,
            r"normalizer_fn to return a tensor of shape \[1, 1\], got NoneType",
        ),
    ],
)
def test_what_no_column_can_read_is_refused(wrong: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        wrong()


def test_features_of_fewer_examples_are_not_repeated(colour: est.CategoricalColumn) -> None:
    age, size = est.numeric_column("age"), est.categorical_column_with_identity("size", 3)
    layers = {
        "{'age': 2, 'colour_indicator': 1}": est.DenseFeatures([age, est.indicator_column(colour)]),
        "{'colour': 1, 'the others': 2}": LinearModel([age, colour], 1, "sum"),
        "{'colour': 1, 'size': 2}": LinearModel([colour, size], 1, "sum"),
    }
    features = {"age": [20.0, 30.0], "size": [0, 2], "colour": ["red"]}
    for rows, layer in layers.items():
        message = f"features with as many examples of each, got {rows}"
        with pytest.raises(ValueError, match=message):
            layer(features)
