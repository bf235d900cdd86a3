"""``show`` and ``run``: what a bundle is, and the predictions of files."""

import csv
import io
import json
import tracemalloc
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

import torch_heads as th
from tests.integrations.serving.exporting import (  # noqa: F401
    NAMES,
    _one_registry,
    mixture,
    network,
)
from torch_heads.integrations.serving import Bundle, export_bundle
from torch_heads.integrations.serving.cli import main
from torch_heads.integrations.serving.runner import predict_file
from torch_heads.integrations.serving.show import show

X = np.random.default_rng(0).normal(size=(100, 8)).round(3)
OUTPUTS = ["kind/classes", "kind/probabilities", "size/predictions"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "pets"
    return export_bundle(network(mixture()), folder, torch.zeros(2, 8))


@pytest.fixture
def bundle(path: Path) -> Bundle:
    return Bundle.load(path)


class Shop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.towns, self.head = nn.Embedding(2, 1), th.RegressionHead()

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return self.head(self.towns(features["town"]) * features["price"].unsqueeze(-1))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    example = {"town": ["Rom", "Ulm"], "price": torch.zeros(2)}
    folder = tmp_path_factory.mktemp("bundles") / "shop"
    export_bundle(Shop(), folder, example, lookups={"town": ["Rom", "Ulm"]})
    return Bundle.load(folder)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_it_prints_what_a_bundle_takes_and_answers(bundle: Bundle) -> None:
    console = Console(record=True, width=160)
    show(bundle, console)
    text = console.export_text()
    for words in [
        ["input", "float32", "[batch, 8]"],
        ["kind/classification", "classify", "scores = kind/probabilities", "kind/all_classes"],
        ["kind/probabilities", "float32", "[batch, 3]", "kind"],
        ["kind", "cat, dog, öwl"],
        ["model.onnx"],
    ]:
        assert any(all(word in line for word in words) for line in text.splitlines()), words


def test_no_name_in_a_bundle_steers_the_terminal(tmp_path: Path) -> None:
    names = ["\x1b[31mred", "\x1b]0;title\x07", "two\nlines"]
    head = th.MultiClassHead(3, label_vocabulary=names)
    path = export_bundle(nn.Sequential(nn.Linear(2, 3), head), tmp_path / "b", torch.zeros(2, 2))
    printed = io.StringIO()
    show(Bundle.load(path), Console(file=printed))
    assert r"\x1b[31mred, \x1b]0;title\x07, two\nlines" in printed.getvalue()


def test_what_many_heads_answer_is_printed_in_few_lines(tmp_path: Path) -> None:
    head = th.MultiHead([th.BinaryClassHead(name=f"h{i}") for i in range(101)])
    console = Console(record=True, width=160)
    show(Bundle.load(export_bundle(network(head), tmp_path / "many", torch.zeros(2, 8))), console)
    lines = console.export_text().splitlines()
    assert len(lines) < 200
    assert any("(707 in all)" in line for line in lines)
    assert any("stacked_5/classes" in line and "string" in line for line in lines)


@pytest.mark.parametrize("batch_size", [7, 4096])
def test_a_file_of_json_is_predicted(bundle: Bundle, tmp_path: Path, batch_size: int) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("\n".join(json.dumps(row) for row in X.tolist()) + "\n\n", "utf-8")
    assert predict_file(bundle, source, target, outputs=OUTPUTS, batch_size=batch_size) == 100
    expected = bundle(X, outputs=OUTPUTS)
    rows = lines_of(target)
    assert [list(row) for row in rows] == [OUTPUTS] * 100
    for name in OUTPUTS:
        found = np.array([row[name] for row in rows])
        if found.dtype.kind == "f":
            np.testing.assert_allclose(found, expected[name], 1e-6, 1e-6)
        else:
            np.testing.assert_array_equal(found, expected[name])


def test_a_file_of_csv_is_predicted(bundle: Bundle, shop: Bundle, tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    with source.open("w") as file:
        csv.writer(file).writerows([[f"x{i}" for i in range(8)], *X.tolist()])
    predict_file(bundle, source, target, outputs=OUTPUTS, batch_size=30)
    head, *rows = csv.reader(io.StringIO(target.read_bytes().decode(), newline=""))
    columns = [f"kind/probabilities[{i}]" for i in range(3)]
    assert head == ["kind/classes", *columns, "size/predictions[0]", "size/predictions[1]"]
    expected = bundle(X.astype("float32"), outputs=OUTPUTS)
    assert [row[0] for row in rows] == expected["kind/classes"][:, 0].tolist()
    found = np.array([row[1:4] for row in rows], float)
    np.testing.assert_allclose(found, expected["kind/probabilities"], 1e-6)
    source.write_text('town,price\nRom,1\n"Ulm",2.5\n')
    predict_file(shop, source, target)
    answers = shop({"town": ["Rom", "Ulm"], "price": [1.0, 2.5]})["outputs"]
    text = target.read_text().splitlines()
    assert text[0] == "predictions"
    np.testing.assert_allclose(np.array(text[1:], float), answers[:, 0], 1e-6)


def test_features_of_a_line_are_an_object(shop: Bundle, tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"price": 2, "town": "Ulm"}\n{"town": "Rom", "price": 1}\n')
    predict_file(shop, source, target)
    answers = shop({"town": ["Ulm", "Rom"], "price": [2, 1]})["outputs"]
    found = [row["predictions"] for row in lines_of(target)]
    np.testing.assert_allclose(found, answers, 1e-6)


def test_strings_and_numbers_are_not_mixed(shop: Bundle) -> None:
    for towns in (["Rom", 3], [3, "Rom"], [["Rom"], 3]):
        with pytest.raises(ValueError, match="town as strings, got"):
            shop({"town": towns, "price": [1.0, 2.0]})
    with pytest.raises(ValueError, match="price of type float32, got numbers with true or false"):
        shop({"town": ["Rom", "Ulm"], "price": [1.0, True]})


@pytest.mark.parametrize("given", [[True, False], np.array([True, False])])
def test_truth_values_are_no_whole_numbers(tmp_path: Path, given: Any) -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.head = nn.Embedding(2, 1), th.RegressionHead()

        def forward(self, ids: Tensor) -> dict[str, Tensor]:
            return self.head(self.words(ids))

    bundle = Bundle.load(export_bundle(Words(), tmp_path / "words", torch.tensor([0, 1])))
    assert bundle([1, 0])["outputs"].shape == (2, 1)
    with pytest.raises(ValueError, match="expected ids of type int64, got bool"):
        bundle(given)


def test_what_json_lacks_is_null(tmp_path: Path) -> None:
    bundle = Bundle.load(export_bundle(th.RegressionHead(2), tmp_path / "b", torch.zeros(2, 2)))
    source, target = tmp_path / "in.csv", tmp_path / "out.jsonl"
    source.write_text("a,b\nnan,1\ninf,2\n")
    predict_file(bundle, source, target)
    assert [row["predictions"] for row in lines_of(target)] == [[None, 1.0], [None, 2.0]]
    assert bundle([[nan, 1.0]])["outputs"].shape == (1, 2)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("in.jsonl", "[1, 2]\n", "rows 1 to 1: .*of shape"),
        ("in.jsonl", "{\n", "line 1 of JSON"),
        ("in.jsonl", f"{[0] * 8}, {[1] * 8}\n", "line 1 with one value of JSON, got ', .*after it"),
        ("in.jsonl", f"{[0] * 8}\n[0, 0, 0\n0, 0, 0, 0, 0]\n", "line 2 of JSON"),
        ("in.jsonl", "[" * 10**5, "line 1 of JSON"),
        ("in.jsonl", '{"input": 1, "input": 2}\n', "line 1 of JSON, got .* the key 'input' twice"),
        ("in.jsonl", '{"other": 1}\n', r"line 1 with \['input'\], got \['other'\]"),
        ("in.jsonl", f'\n{[0] * 8}\n{{"input": 1, "b": 2}}\n', r"line 3 with .* got .*'b'\]"),
        ("in.csv", "a,b\n1,2\n", "a head line with the columns"),
        ("in.csv", ",".join("abcdefgh") + "\n1,2\n", "line 2 of 8 columns"),
        ("in.csv", ",".join("abcdefgh") + '\n\n"1,2\n', "line 3 of CSV"),
        ("in.csv", "\xe4".encode("latin-1"), "line 1 in UTF-8"),
        ("in.jsonl", b"1\n\xff\n", "line 2 in UTF-8"),
        (
            "in.csv",
            "\n".join([",".join("abcdefgh"), ",".join("12345678"), "", "1,2,3,4,x,6,7,8"]),
            "run: expected input in line 4 of type float32, got .*'x'",
        ),
        ("in.txt", "", "a file of .jsonl or .csv"),
    ],
)
def test_a_file_of_another_form_is_refused_and_the_earlier_answer_stays(
    bundle: Bundle, tmp_path: Path, name: str, text: str | bytes, says: str
) -> None:
    source, target = tmp_path / name, tmp_path / "out.jsonl"
    source.write_bytes(text.encode() if isinstance(text, str) else text)
    target.write_text("before")
    with pytest.raises(ValueError, match=says):
        predict_file(bundle, source, target)
    assert target.read_text() == "before"


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl"])
def test_of_no_rows_there_is_a_head_line(bundle: Bundle, tmp_path: Path, name: str) -> None:
    source, target, lines = tmp_path / name, tmp_path / "out.csv", tmp_path / "out.jsonl"
    heads = {"in.csv": [",".join("abcdefgh")], "in.jsonl": []}
    source.write_text("\n".join(heads[name]))
    assert predict_file(bundle, source, target, outputs=OUTPUTS) == 0
    empty = target.read_text()
    row = "1,2,3,4,5,6,7,8"
    source.write_text("\n".join([*heads[name], row if heads[name] else f"[{row}]"]))
    assert predict_file(bundle, source, target, outputs=OUTPUTS) == 1
    assert empty.splitlines() == target.read_text().splitlines()[:1]
    source.write_text("\n".join(heads[name]))
    assert predict_file(bundle, source, lines) == 0
    assert lines.read_text() == ""
    with pytest.raises(KeyError, match=r"expected signature among .* got 'no'"):
        predict_file(bundle, source, lines, "no")


def test_columns_of_one_name_are_refused(shop: Bundle, tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("town,price,town\nRom,1,Ulm\n")
    says = r"the columns \['town', 'price'\].* got \['town', 'price', 'town'\]"
    with pytest.raises(ValueError, match=says):
        predict_file(shop, source, target)
    source = tmp_path / "in.jsonl"
    source.write_text("3\n")
    with pytest.raises(ValueError, match=r"line 1 with \['town', 'price'\], got 3"):
        predict_file(shop, source, target)


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl"])
def test_a_mark_of_utf8_is_no_part_of_a_name(shop: Bundle, tmp_path: Path, name: str) -> None:
    text = "town,price\nUlm,2\n" if name == "in.csv" else '{"town": "Ulm", "price": 2}\n'
    (tmp_path / name).write_text(text, "utf-8-sig")
    assert predict_file(shop, tmp_path / name, tmp_path / "out.jsonl") == 1
    [found] = lines_of(tmp_path / "out.jsonl")
    expected = shop({"town": ["Ulm"], "price": [2.0]})["outputs"][0]
    np.testing.assert_allclose(found["predictions"], expected, 1e-6, 1e-6)


class Flags(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = th.RegressionHead()

    def forward(self, flag: Tensor, small: Tensor) -> dict[str, Tensor]:
        return self.head((flag.float() + small.float()).unsqueeze(-1))


def test_cells_are_of_the_type_of_the_input(tmp_path: Path) -> None:
    example = torch.tensor([True, False]), torch.zeros(2, dtype=torch.uint8)
    bundle = Bundle.load(export_bundle(Flags(), tmp_path / "b", example))
    source, target = tmp_path / "in.csv", tmp_path / "out.jsonl"
    source.write_text("small,flag\n2,True\n2,False\n2,0\n2,1\n")
    predict_file(bundle, source, target)
    assert [row["predictions"] for row in lines_of(target)] == [[3.0], [2.0], [2.0], [3.0]]
    for text, says in [
        ("2,no", "flag in line 3 of type bool, got 'no'"),
        ("300,1", "small in line 3 of type uint8"),
    ]:
        source.write_text(f"small,flag\n2,0\n{text}\n")
        with pytest.raises(ValueError, match=says):
            predict_file(bundle, source, target)


def test_memory_does_not_grow_with_the_file(bundle: Bundle, tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    peaks = []
    for copies in (10, 50):
        source.write_text("\n".join(json.dumps(row) for row in X.tolist() * copies), "utf-8")
        tracemalloc.start()
        predict_file(bundle, source, target, batch_size=500)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_the_commands_are_there(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps(X[0].tolist()))
    files = ["--input", str(source), "--output", str(tmp_path / "out.jsonl")]
    main(["run", str(path), *files, "--outputs", "kind/classes,indoors/logistic"])
    assert list(lines_of(tmp_path / "out.jsonl")[0]) == ["kind/classes", "indoors/logistic"]
    with pytest.raises(SystemExit, match="expected outputs among"):
        main(["run", str(path), *files, "--outputs", "no"])
    with pytest.raises(SystemExit, match="path to a folder"):
        main(["show", str(tmp_path / "no")])
    for port in ("-1", "70000"):
        with pytest.raises(SystemExit, match=rf"serve: expected port in \[0, 65535\], got {port}"):
            main(["serve", str(path), "--port", port])
    with pytest.raises(SystemExit, match="expected max_body >= 1, got 0"):
        main(["serve", str(path), "--max-body", "0"])
    capsys.readouterr()
    main(["show", str(path)])
    assert "kind/classification" in capsys.readouterr().out
