"""Class names and ids, and the checks of their values."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torch_heads as th
from torch_heads.functional.labels import MISSING_NAME, class_ids
from torch_heads.functional.values import check_values, whole_numbers

NAMES = ["zero", "one", "two", "three"]


@pytest.mark.parametrize(
    "names",
    [
        [["two"], ["zero"]],
        [[b"two"], [b"zero"]],
        np.array([["two"], ["zero"]]),
        np.array([[b"two"], [b"zero"]]),
        np.array([["two"], ["zero"]], dtype=object),
    ],
    ids=["list", "list of bytes", "array", "array of bytes", "array of objects"],
)
def test_names_become_ids_in_their_own_shape(names: Any) -> None:
    ids = class_ids("head", names, NAMES)
    assert ids.tolist() == [[2], [0]]
    assert ids.dtype == np.int64


@given(places=st.lists(st.integers(0, 3), min_size=6, max_size=6))
@settings(deadline=None, max_examples=20)
def test_names_are_the_ids_of_the_vocabulary(places: list[int], device: torch.device) -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, generator=random).to(device)
    ids = np.array(places).reshape(2, 3)
    names = np.array(NAMES)[ids]
    plain = th.MultiClassHead(4).loss(ids, logits)
    for given_names in [names, names.tolist(), names[..., None], names.astype(bytes)]:
        head = th.MultiClassHead(4, label_vocabulary=NAMES)
        assert torch.equal(head.loss(given_names, logits), plain)


@given(
    vocabulary=st.lists(st.text(max_size=20), min_size=1, max_size=8, unique=True),
    others=st.lists(st.text(max_size=20), max_size=3),
    data=st.data(),
)
@settings(deadline=None, max_examples=200)
def test_names_in_an_array_are_those_of_the_list_that_numpy_makes_of_it(
    vocabulary: list[str], others: list[str], data: st.DataObject
) -> None:
    names = data.draw(st.lists(st.sampled_from([*vocabulary, *others]), min_size=1, max_size=9))
    every = np.zeros(len(names), dtype=bool)
    mask = torch.from_numpy(every)  # all is padding, so that no name is refused
    arrays = [np.array(names), np.array(names, "<U30"), np.array(names, ">U30")[::-1][::-1]]
    if not any("\ud800" <= letter <= "\udfff" for name in names for letter in name):
        arrays.append(np.array([name.encode() for name in names]))
    for array in arrays:
        written = [name.decode() if isinstance(name, bytes) else name for name in array.tolist()]
        known = {name: i for i, name in enumerate(vocabulary)}
        expected = [known.get(name, MISSING_NAME) for name in written]
        for given_names in [array, array.astype(object), array.tolist()]:
            assert class_ids("head", given_names, vocabulary, mask=mask).tolist() == expected
        for bad in [name for name, i in zip(written, expected, strict=True) if i < 0][:1]:
            with pytest.raises(ValueError, match="from label_vocabulary") as refusal:
                class_ids("head", array, vocabulary)
            assert f"got {bad!r}." in str(refusal.value)


@pytest.mark.parametrize("count", [2, 3, 300])
def test_names_of_many_characters_are_told_apart_by_each_of_them(count: int) -> None:
    vocabulary = [f"{'long ' * (i % 7)}{chr(9000 + i)}{'er' * (i % 5)}{i}" for i in range(count)]
    ids = np.arange(1000) % count
    array = np.array(vocabulary)[ids]
    assert class_ids("head", array, vocabulary).tolist() == ids.tolist()
    for place in range(len(array[500])):
        wrong = array.copy()
        wrong[500] = f"{wrong[500][:place]}~{wrong[500][place + 1 :]}"
        with pytest.raises(ValueError, match="~"):
            class_ids("head", wrong, vocabulary)


@pytest.mark.parametrize("form", [list, np.array, lambda names: np.array(names, dtype=object)])
def test_a_missing_name_has_no_class(form: Any) -> None:
    assert class_ids("head", form(["two", "?", "one"]), NAMES, "?").tolist() == [2, MISSING_NAME, 1]
    assert class_ids("head", form([b"two", b"?"]), NAMES, "?").tolist() == [2, MISSING_NAME]


def test_padding_may_have_any_name(device: torch.device) -> None:
    mask = torch.tensor([True, False], device=device)
    assert class_ids("head", ["one", ""], NAMES, mask=mask)[0] == 1
    with pytest.raises(ValueError, match="'nine'"):
        class_ids("head", ["nine", ""], NAMES, mask=mask)


@pytest.mark.parametrize("bad", [-1.0, 1.5, torch.nan, torch.inf])
@pytest.mark.parametrize("high", [1.0, torch.tensor([1.0, 3.0])], ids=["one", "per column"])
def test_a_value_out_of_range_is_refused(bad: float, high: Any) -> None:
    fine = torch.tensor([[0.0, 1.0], [0.5, 0.0]])
    check_values("head", "labels", fine, 0.0, high)
    says = "without gaps, got nan in row 1" if bad != bad else f"in .*{bad}"
    with pytest.raises(ValueError, match=f"head: expected labels {says}"):
        check_values("head", "labels", fine.index_fill(0, torch.tensor(1), bad), 0.0, high)


def test_whole_floats_are_ids(device: torch.device) -> None:
    floats = torch.tensor([0.0, 2.0, 1e6], device=device)
    assert whole_numbers("head", "labels", floats).tolist() == [0, 2, 1_000_000]
    ids = torch.tensor([1, 2], dtype=torch.int32, device=device)
    assert whole_numbers("head", "labels", ids) is ids
