"""A bundle is what was written, or it is refused in words; no code in it is run."""

import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import torch_heads as th
from tests.cases import huber
from tests.integrations.serving.exporting import (  # noqa: F401
    NAMES,
    _one_registry,
    mixture,
    network,
)
from torch_heads.integrations.serving import (
    Bundle,
    export_bundle,
    manifest_check,
    pruning,
    rest,
    runtime,
    v2,
)
from torch_heads.integrations.serving.pruning import pruned
from torch_heads.integrations.serving.runtime import OnnxRuntime
from torch_heads.integrations.serving.signature_file import from_json

X = np.zeros((2, 8), np.float32)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle with a program, which no test changes."""
    folder = tmp_path_factory.mktemp("bundles") / "pets"
    return export_bundle(network(mixture()), folder, torch.zeros(2, 8), program=True)


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """Return a copy of it, to be changed."""
    return Path(shutil.copytree(written, tmp_path / "pets"))


@pytest.fixture(scope="module")
def written_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle of a head alone, which has a state."""
    folder = tmp_path_factory.mktemp("bundles") / "pets"
    return export_bundle(with_prior(1.0), folder, torch.zeros(2, 3))


def with_prior(factor: float) -> th.Head:
    labels = torch.tensor([[1.0, 2.0, 3.0], [3.0, 5.0, 9.0]])
    return th.RegressionHead(3).fit_prior(factor * labels)


def rewrite(folder: Path, header: bytes) -> None:
    """Write another header, in a file as long, so that the graph finds its weights."""
    path = folder / "model.safetensors"
    path.write_bytes(header.ljust(path.stat().st_size, b"\0"))
    change(folder, nothing, sign=True)


@pytest.fixture
def alone(written_alone: Path, tmp_path: Path) -> Path:
    """Return a copy of it, to be changed."""
    return Path(shutil.copytree(written_alone, tmp_path / "pets"))


def change(folder: Path, edit: Callable[[dict[str, Any]], object], sign: bool = False) -> None:
    """Change a signature, and let it agree with the files, as an attacker would."""
    path = folder / "signature.json"
    content = json.loads(path.read_text("utf-8"))
    edit(content)
    if sign:
        for name in content["files"]:
            data = (folder / name).read_bytes()
            content["files"][name] = [len(data), sha256(data).hexdigest()]
    path.write_text(json.dumps(content), "utf-8")


def nothing(content: dict[str, Any]) -> None:
    """Change nothing but the digests."""


# ---- what it says of itself ----


def test_it_says_what_it_takes_and_answers(written: Path) -> None:
    bundle = Bundle.load(str(written))
    assert bundle.manifest.inputs["input"].shape == ("batch", 8)
    assert bundle.vocabularies == {"kind": tuple(NAMES)}
    assert bundle.signatures["serving_default"].method == "classify"
    assert bundle.signatures["size/regression"].outputs == {"outputs": "size/predictions"}
    assert bundle.outputs["kind/probabilities"].columns == "kind"
    assert bundle.outputs["kind/classes"].dtype == "string"


def test_predictions_may_be_asked_for_by_name(written: Path) -> None:
    bundle = Bundle.load(written)
    answer = bundle(X, outputs=["size/predictions", "kind/classes"])
    assert list(answer) == ["size/predictions", "kind/classes"]
    assert set(answer["kind/classes"].ravel()) <= set(NAMES)


def test_what_is_not_there_is_refused(written: Path) -> None:
    bundle = Bundle.load(written)
    with pytest.raises(KeyError, match=r"Bundle 'pets': expected signature among .* got 'no'"):
        bundle(X, "no")
    with pytest.raises(KeyError, match=r"got 'Kind'. The nearest is 'kind'."):
        bundle(X, "Kind")
    with pytest.raises(ValueError, match="outputs as a list of at least one name, got 'kind/sc"):
        bundle(X, outputs="kind/scores")
    with pytest.raises(ValueError, match=r"outputs as a list of at least one name, got \[\]"):
        bundle(X, outputs=[])
    with pytest.raises(KeyError, match=r"expected outputs among .* got 'no'"):
        bundle(X, outputs=["no"])
    other: Any
    for other in [["kind"], {"kind": 1}, ("kind",), None]:
        with pytest.raises(KeyError, match=r"expected signature among .* got "):
            bundle(X, other)
    for other in [3, [["kind/scores"]], [None]]:
        with pytest.raises(ValueError, match="outputs as a list of at least one name, got"):
            bundle(X, outputs=other)
    with pytest.raises(FileNotFoundError, match="path to a folder"):
        Bundle.load(written / "no")


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"other": X}, r"inputs named \['input'\], got \['other'\]"),
        ({"input": X, "more": X}, "inputs named"),
        ({}, "inputs named"),
        (X[0], r"input of shape \['batch', 8\], got \[8\]"),
        (X[:, :3], r"input of shape \['batch', 8\], got \[2, 3\]"),
        ([["a"] * 8], "input of type float32, got strings"),
        ([[1, 2, 3, True, 5, 6, 7, 8]], "float32, got numbers with true or false among them"),
        ([[1.0], [1.0, 2.0]], r"input of shape \['batch', 8\]"),
        ([[None] * 8], "of type float32, got values of another kind"),
        (X.astype(complex), "of type float32, got complex"),
    ],
)
def test_inputs_of_another_kind_are_refused(written: Path, inputs: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Bundle.load(written)(inputs)


def test_numbers_of_other_types_are_taken_where_they_are_the_same(written: Path) -> None:
    bundle = Bundle.load(written)
    expected = bundle(X + 1)["scores"]
    for one in [torch.ones(2, 8), [[1] * 8] * 2, np.ones((2, 8)), np.ones((2, 8), np.int8)]:
        np.testing.assert_array_equal(bundle(one)["scores"], expected)
    assert bundle([] if False else np.zeros((0, 8)))["scores"].shape == (0, 3)


def test_an_unexpected_vocabulary_is_refused(written: Path) -> None:
    Bundle.load(written, vocabularies={"kind": NAMES})
    with pytest.raises(ValueError, match=r"the vocabulary 'kind' to be \['dog'.*got \['cat'"):
        Bundle.load(written, vocabularies={"kind": [NAMES[1], NAMES[0], NAMES[2]]})
    with pytest.raises(ValueError, match=r"the vocabulary 'other' to be .* got None"):
        Bundle.load(written, vocabularies={"other": ["a"]})


def test_a_head_with_functions_comes_back_with_these(tmp_path: Path) -> None:
    head = th.RegressionHead(loss_fn=huber)
    bundle = Bundle.load(export_bundle(head, tmp_path / "b", torch.zeros(2, 1)))
    assert bundle.head({"tests.cases.huber": huber}).loss_fn is huber
    with pytest.raises(ValueError, match=r"expected functions for 'tests.cases.huber'"):
        bundle.head()


def test_a_bundle_that_is_replaced_answers_as_before(folder: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(folder)
    before = bundle(X)["scores"]
    torch.manual_seed(1)
    other = nn.Sequential(nn.Linear(8, 3), th.MultiClassHead(3, label_vocabulary=["x", "y", "z"]))
    export_bundle(other, folder, torch.zeros(2, 8))
    np.testing.assert_array_equal(bundle(X)["scores"], before)
    assert bundle(X, "kind/predict").keys() >= {"logits", "classes"}
    assert Bundle.load(folder)(X)["classes"][0].tolist() == ["x", "y", "z"]


def test_only_what_is_asked_for_is_computed(written: Path) -> None:
    bundle = Bundle.load(written)
    whole = bundle(X, outputs=list(bundle.outputs))
    for name in bundle.outputs:
        np.testing.assert_array_equal(bundle(X, outputs=[name])[name], whole[name])
    parts = [onnx.load_from_string(pruned(written / "model.onnx", [name])) for name in whole]
    sizes = {name: len(one.graph.node) for name, one in zip(whole, parts, strict=True)}
    assert sizes["size/predictions"] < sizes["kind/classes"]
    every = onnx.load(written / "model.onnx", load_external_data=False)
    assert max(sizes.values()) < len(every.graph.node)


def test_strings_of_many_heads_are_made_only_when_they_are_asked_for(
    written_many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(written_many, tmp_path / "pets"))
    strings = {name for name, one in Bundle.load(folder).outputs.items() if "stacked" in name}
    strings = {name for name in strings if name.endswith("classes")}
    assert len(strings) == 4
    made: list[set[str]] = []

    def noting(path: Path, outputs: Any) -> bytes:
        made.append({*outputs})
        return pruned(path, outputs)

    monkeypatch.setattr(pruning, "pruned", noting)
    small = Bundle.load(folder)
    expected = small(X, outputs=[*strings])
    assert made == [strings]
    assert small(X)["classes"].tolist() == [["no 0", "yes 0"]] * 2
    small(X, "predict")
    assert strings.isdisjoint(set().union(*made[1:]))
    made.clear()
    monkeypatch.setattr(runtime, "MEMORY", 0)  # so that its weights are many
    large = Bundle.load(folder)
    usual = set(large.manifest.stacked) - strings
    assert made == [usual]
    for name in ("serving_default", "predict", "stacked", "kind/classification"):
        large(X, name)
    assert made == [usual]
    for _ in range(2):
        for name in strings:
            np.testing.assert_array_equal(large(X, outputs=[name])[name], expected[name])
    assert made == [usual, set(large.manifest.stacked)]
    late = Bundle.load(folder)
    export_bundle(network(mixture()), folder, torch.zeros(2, 8))
    assert late(X)["classes"].tolist() == [["no 0", "yes 0"]] * 2
    with pytest.raises(ValueError, match="another bundle has taken its place"):
        late(X, outputs=[*strings])


# ---- files that are not what was written ----


@pytest.mark.parametrize("name", ["signature.json", "model.onnx", "model.safetensors", "model.pt2"])
def test_a_file_that_is_missing_or_changed_is_refused(folder: Path, name: str) -> None:
    path = folder / name
    content = path.read_bytes()
    middle = len(content) // 2
    for other in [
        content[:middle],
        content[:-1],
        b"",
        content[:middle] + b"\0" + content[middle + 1 :],
    ]:
        if other == content:
            continue
        path.write_bytes(other)
        with pytest.raises(ValueError, match=f"Bundle 'pets': expected .*{name}|expected|JSON"):
            Bundle.load(folder)
    path.unlink()
    with pytest.raises(ValueError, match=f"expected {name} in the folder"):
        Bundle.load(folder)
    elsewhere = folder.parent / "elsewhere"
    elsewhere.write_bytes(content)
    path.symlink_to(elsewhere)
    with pytest.raises(ValueError, match=f"expected {name} in the folder"):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("model.onnx", "model.onnx as a graph with its weights"),
        ("model.safetensors", "model.safetensors with a header of at most|within the file"),
    ],
)
@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_truncated_file_with_a_new_digest_is_refused(
    folder: Path, name: str, says: str, keep: int
) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:keep])
    change(folder, nothing, sign=True)
    with pytest.raises(ValueError, match=says):
        Bundle.load(folder)


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "a/../../secret"])
def test_weights_outside_of_the_folder_are_refused(folder: Path, location: str) -> None:
    (folder.parent / "secret").write_bytes(bytes(10**5))
    graph = onnx.load(folder / "model.onnx", load_external_data=False)
    for one in graph.graph.initializer:
        for entry in one.external_data:
            if entry.key == "location":
                entry.value = location
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    change(folder, nothing, sign=True)
    with pytest.raises(ValueError, match=r"model.onnx as a graph with its weights"):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda s: s.update(format=3), "format 2, got 3. A newer version"),
        (lambda s: s.update(format=1), "format 2, got 1. Export the model again"),
        (lambda s: s.update(format="2"), "format 2, got 2. A newer"),
        (lambda s: s.update(format=True), "format 2, got True"),
        (lambda s: s.pop("format"), "format 2, got None"),
        (lambda s: s.update(inputs=[]), "inputs as a dict, got list"),
        (lambda s: s["inputs"]["input"].update(dtype="object"), "a dtype among"),
        (lambda s: s["inputs"]["input"].update(shape=[-1, 8]), "a shape of sizes"),
        (lambda s: s["outputs"]["kind/logits"].update(size="0"), "whole numbers"),
        (lambda s: s.update(places={"a": [0]}), r"places 'a' as \[kind, column\], got \[0\]"),
        (lambda s: s.update(places={"a": [0, 0.5]}), r"as \[kind, column\]"),
        (lambda s: s.update(places={"a": [0, 0]}), "as one of 0 kinds"),
        (lambda s: s.update(kinds={}), "kinds as a list"),
        (lambda s: s["signatures"]["kind"].update(method="eval"), "a method among"),
        (lambda s: s["signatures"]["kind"].update(outputs={"a": 1}), "as a string"),
        (lambda s: s["files"].update({"../x": [1, "x"]}), r"files with \['model.onnx'"),
        (lambda s: s["files"].update({"/etc/hostname": [1, "x"]}), r"files with"),
        (lambda s: s["files"].pop("model.onnx"), "files with"),
        (lambda s: s["files"].update({"model.onnx": "x"}), r"as \[bytes, sha256\]"),
        (lambda s: s.update(vocabularies={"kind": "abc"}), "as a list of strings"),
    ],
)
def test_a_signature_of_another_form_is_refused(folder: Path, edit: Any, says: str) -> None:
    change(folder, edit)
    with pytest.raises(ValueError, match=says):
        Bundle.load(folder)


STRINGS = {"dtype": "string", "shape": ["batch", 1]}


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda s: s.update(inputs={}), "inputs with at least one, got none"),
        (lambda s: s["inputs"]["input"].update(shape=[]), "inputs 'input' with an axis"),
        (lambda s: s["inputs"]["input"].update(dtype="string"), "with a lookup where"),
        (
            lambda s: s["inputs"]["input"].update(dtype="string", lookup=["a"], numbers=[0.5]),
            "with a whole number for each known string",
        ),
        (lambda s: s["outputs"]["kind/classes"].update(names="nope"), r"among \['kind'\].*'nope'"),
        (lambda s: s["outputs"]["kind/logits"].update(columns="nope"), r"among \['kind'\].*'nope'"),
        (lambda s: s["outputs"]["kind/classes"].update(ids="kind/classes"), "of whole numbers"),
        (lambda s: s["outputs"]["kind/classes"].update(ids="kind/nope"), "of whole numbers"),
        (lambda s: s["outputs"]["kind/classes"].update(ids="kind/logits"), "of whole numbers"),
        (lambda s: s["outputs"]["kind/classes"].update(shape=[]), "as strings with an axis"),
        (lambda s: s["outputs"]["kind/classes"].update(dtype="int64"), "as strings with an axis"),
        (lambda s: s["outputs"]["kind/logits"].update(ids="kind/class_ids"), "with names"),
        (lambda s: s["outputs"]["indoors/classes"].update(names=-1), "at most .* names, got -1"),
        (lambda s: s["outputs"]["indoors/classes"].update(names=10**9), "at most .* names"),
        (lambda s: s["outputs"]["indoors/classes"].update(names=True), "with whole numbers"),
        (lambda s: s["outputs"]["kind/logits"].update(size=10**30), "with whole numbers"),
        (lambda s: s["outputs"].update({"lone/x": STRINGS | {"names": ["a"]}}), "beside a"),
        (lambda s: s["outputs"].update({"more": STRINGS}), "with a tensor 'more', got"),
        (lambda s: s["outputs"]["kind/logits"].update(tensor="t"), "with a tensor 't', got"),
        (lambda s: s["signatures"]["kind"].update(outputs={}), "outputs of 'classify', got"),
        (lambda s: s["signatures"]["size"].update(outputs={"a": "x"}), "outputs of 'regress'"),
        (lambda s: s["signatures"]["size"].update(outputs={"outputs": "x"}), "got 'x'"),
        (lambda s: s.update(stacked={"s": {"dtype": "float32", "shape": []}}), "with an axis"),
    ],
)
def test_a_signature_that_contradicts_itself_is_refused(folder: Path, edit: Any, says: str) -> None:
    change(folder, edit)
    with pytest.raises(ValueError, match=f"Bundle 'pets': expected .*{says}"):
        Bundle.load(folder)


def test_names_that_are_fewer_than_the_ids_are_refused(folder: Path) -> None:
    change(folder, lambda content: content["vocabularies"].update(kind=[]))
    graph = onnx.load(folder / "model.onnx", load_external_data=False)
    del graph.graph.output[[one.name for one in graph.graph.output].index("kind/classes")]
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    change(folder, nothing, sign=True)
    with pytest.raises(ValueError, match=r"the graph to answer as its signature.json says"):
        Bundle.load(folder)(X, outputs=["kind/classes"])


@pytest.mark.parametrize(
    ("name", "dtype", "came"),
    [("kind/logits", "int64", "float32"), ("kind/logits", "float64", "float32")],
)
def test_a_graph_that_answers_in_another_type_is_refused(
    folder: Path, name: str, dtype: str, came: str
) -> None:
    change(folder, lambda content: content["outputs"][name].update(dtype=dtype))
    with pytest.raises(ValueError, match=rf"as its signature.json says, got types \['{came}'\]"):
        Bundle.load(folder)(X, outputs=[name])


def test_a_graph_that_answers_with_numbers_for_strings_is_refused(folder: Path) -> None:
    graph = onnx.load(folder / "model.onnx", load_external_data=False)
    for node in graph.graph.node:
        for i, one in enumerate(node.output):
            if one == "kind/classes":
                node.output[i] = "strings"
    graph.graph.node.append(onnx.helper.make_node("Identity", ["kind/logits"], ["kind/classes"]))
    [output] = [one for one in graph.graph.output if one.name == "kind/classes"]
    output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    change(folder, nothing, sign=True)
    with pytest.raises(ValueError, match=r"as its signature.json says, got types \['float32'\]"):
        Bundle.load(folder)(X, outputs=["kind/classes"])


@pytest.fixture(scope="module")
def written_many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle of many heads, some of which share tensors."""
    own = [
        th.BinaryClassHead(name=f"h{i}", label_vocabulary=[f"no {i}", f"yes {i}"])
        for i in range(100)
    ]
    head = th.MultiHead([*own, th.MultiClassHead(3, name="kind", label_vocabulary=NAMES)])
    folder = tmp_path_factory.mktemp("bundles") / "pets"
    return export_bundle(network(head), folder, torch.zeros(2, 8))


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda s, k: k["outputs"]["/logits"].update(shape=[]), "with an axis"),
        (lambda s, k: k["outputs"]["/classes"].update(shape=[]), "with an axis"),
        (lambda s, k: k["outputs"]["/classes"].update(ids="/classes"), "of whole numbers"),
        (lambda s, k: k["outputs"]["/logits"].update(tensor="logits"), "a tensor of its type"),
        (lambda s, k: k["outputs"]["/classes"].update(tensor="stacked_0/logits"), "of its type"),
        (lambda s, k: k["outputs"]["/classes"].pop("tensor"), "a tensor of its type"),
        (lambda s, k: k["outputs"]["/classes"].update(names="h0"), "with a vocabulary among"),
        (lambda s, k: k["outputs"]["/logits"].pop("stride"), "a stride and a size"),
        (lambda s, k: k["outputs"]["/logits"].update(size=10**12), "a stride and a size"),
        (lambda s, k: k["outputs"]["/logits"].update(size=-1), "a stride and a size"),
        (lambda s, k: k["outputs"]["/logits"].update(inner=2), "at most one behind it"),
        (lambda s, k: k["signatures"][""].update(outputs={"scores": "no"}), "outputs among"),
        (lambda s, k: s["places"].update(nope=[0, 0]), "vocabularies with 'nope', got none"),
        (lambda s, k: s["places"].update(h0=[0, -1]), "a column from 0 to"),
        (lambda s, k: s["places"].update(h0=[0, 10**12]), "a column from 0 to"),
        (lambda s, k: s["places"].update(h0=[2, 0]), "as one of 2 kinds"),
        (lambda s, k: s["places"].update(h0=[-1, 0]), "as one of 2 kinds"),
        (lambda s, k: s["places"].update({f"x{i}": [0, 0] for i in range(400)}), "at most 2000"),
    ],
)
def test_heads_that_share_tensors_are_looked_at_too(
    written_many: Path, tmp_path: Path, edit: Any, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_check, "MOST", 2000)
    folder = Path(shutil.copytree(written_many, tmp_path / "pets"))
    change(folder, lambda content: edit(content, content["kinds"][0]))
    with pytest.raises(ValueError, match=f"Bundle 'pets': expected .*{says}"):
        Bundle.load(folder)


JUNK: list[Any] = [None, True, -1, 3, 10**30, 0.5, "", "nope", "kind/classes", [], [[]], {}, ["x"]]


def changed_once(value: Any) -> Iterator[Any]:
    """Yield a value with one of its parts replaced, or left out."""
    keys = value if isinstance(value, dict) else range(min(len(value), 3))
    for key in list(keys):
        own = value[key]
        for other in [*JUNK, *(changed_once(own) if isinstance(own, (dict, list)) else ())]:
            copy = value.copy()
            copy[key] = other
            yield copy
        copy = value.copy()
        del copy[key]
        yield copy


@pytest.mark.parametrize("kind", ["few", "many"])
def test_whatever_a_signature_says_is_answered_or_refused_in_words(
    written: Path, written_many: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    path = {"few": written, "many": written_many}[kind]
    content = json.loads((path / "signature.json").read_text("utf-8"))
    graph, refused = OnnxRuntime("Bundle", path / "model.onnx"), 0
    few = 1 if request.config.getoption("--full") else 11 if kind == "few" else 101
    for other in islice(changed_once(content), 0, None, few):
        try:
            bundle = Bundle(path, from_json("Bundle", json.dumps(other)), graph)
        except ValueError:
            refused += 1
            continue
        v2.metadata("pets", [1], bundle)
        rest.metadata("pets", 1, bundle)
        for name in list(bundle.signatures)[:10]:
            try:
                bundle({"input": X}, name)
            except ValueError:
                refused += 1
        try:
            bundle.head()
        except ValueError:
            refused += 1
    assert refused > 20


def test_what_is_new_in_a_signature_is_ignored(folder: Path) -> None:
    def more(content: dict[str, Any]) -> None:
        content["decisions"] = {"kind": {"temperature": 1.5}}
        content["outputs"]["kind/logits"]["unit"] = "kg"

    change(folder, more)
    assert Bundle.load(folder)(X)["scores"].shape == (2, 3)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[" * 10**5, b"\xff\xfe", b"null", b"3", b'{"a":1,"a":2}']
)
def test_a_signature_that_is_no_json_is_refused(folder: Path, text: bytes) -> None:
    (folder / "signature.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"signature.json as (JSON|a dict)"):
        Bundle.load(folder)


# ---- code ----


class Touch:
    """Runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_program_is_loaded_only_where_it_is_trusted(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    source, target = io.BytesIO((folder / "model.pt2").read_bytes()), io.BytesIO()
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as new:
        for one in archive.namelist():
            bad = one.endswith(".pt") and "sample_inputs" in one
            new.writestr(one, pickle.dumps(Touch(marker)) if bad else archive.read(one))
    (folder / "model.pt2").write_bytes(target.getvalue())
    change(folder, nothing, sign=True)
    assert Bundle.load(folder)(X)["scores"].shape == (2, 3)
    with pytest.raises(ValueError, match=r"runtime as 'onnx', got 'program'.*trusted=True"):
        Bundle.load(folder, "program")
    with pytest.raises(TypeError, match="expected trusted as True or False, got a str"):
        Bundle.load(folder, "program", trusted="no")
    assert not marker.exists()
    with pytest.raises(ValueError, match="runtime as 'onnx' or 'program', got 'pickle'"):
        Bundle.load(folder, "pickle")


def test_a_program_that_is_none_is_refused(folder: Path) -> None:
    (folder / "model.pt2").write_bytes(b"PK")
    change(folder, nothing, sign=True)
    with pytest.raises(ValueError, match=r"model.pt2 as a program"):
        Bundle.load(folder, "program", trusted=True)
    change(folder, lambda content: content["files"].pop("model.pt2"))
    with pytest.raises(ValueError, match="Export it with program=True"):
        Bundle.load(folder, "program", trusted=True)


def test_a_foreign_class_is_refused(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    def foreign(content: dict[str, Any]) -> None:
        content["head"] = {"class_path": "os.mkdir", "init_args": {"path": str(marker)}}

    change(folder, foreign)
    bundle = Bundle.load(folder)
    with pytest.raises(ValueError, match=r"class_path among .* got 'os.mkdir'"):
        bundle.head()
    assert not marker.exists()


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ((2**60).to_bytes(8, "little") + b"{}", "a header of at most"),
        ((101 * 2**20).to_bytes(8, "little") + b"{}", "a header of at most"),
        ((10).to_bytes(8, "little") + b'{"a": [1]}', "a with a type, a shape and offsets"),
        ((2).to_bytes(8, "little") + b"[]", "a header of JSON"),
        ((2).to_bytes(8, "little") + b"{", "a header of"),
        ((2).to_bytes(8, "little") + b"{}", "with '_meaning', got None"),
    ],
)
def test_a_broken_header_of_the_weights_is_refused(alone: Path, header: bytes, says: str) -> None:
    rewrite(alone, header)
    with pytest.raises(ValueError, match=says):
        Bundle.load(alone).head()
    if "_meaning" not in says:  # which the head alone lacks
        with pytest.raises(ValueError, match=says):
            Bundle.load(alone)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 10**12]},
        {"dtype": "F32", "shape": [3], "data_offsets": [12, 0]},
        {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 12]},
        {"dtype": "EVIL", "shape": [3], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 11]},
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
    ],
)
def test_a_tensor_that_is_not_in_the_file_is_refused(folder: Path, entry: Any) -> None:
    bundle = Bundle.load(folder)
    text = json.dumps({"5.heads.0.class_weight": entry}).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(16))
    with pytest.raises(ValueError, match="Bundle 'pets': expected"):
        bundle.head()


def nested(levels: int) -> dict[str, Any]:
    """Return the configuration of a head in so many others."""
    config: dict[str, Any] = {"class_path": "torch_heads.BinaryClassHead"}
    for _ in range(levels):
        inner = {"static_head": config}
        config = {"class_path": "torch_heads.SequentialHeadWrapper", "init_args": inner}
    return config


BINARY = "torch_heads.BinaryClassHead"


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ({"vocabulary": "nope"}, r"vocabulary among \['kind'\], got 'nope'"),
        ({"vocabulary": [1]}, r"vocabulary among \['kind'\], got '\[1\]'"),
        ({"vocabulary": {}}, r"vocabulary among \['kind'\]"),
        ({}, "head as of a head, got"),
        ({"class_path": BINARY, "init_args": {"thresholds": {"a": []}}}, "expected"),
        ({"class_path": BINARY, "init_args": {"thresholds": 7}}, "expected"),
        ({"class_path": BINARY, "init_args": {"metrics": [[[]]]}}, "expected"),
        (nested(60), "at most 50 levels"),
    ],
)
def test_a_head_that_is_none_is_refused(folder: Path, head: Any, says: str) -> None:
    change(folder, lambda content: content.update(head=head))
    bundle = Bundle.load(folder)
    with pytest.raises(ValueError, match=says):
        bundle.head()


def test_it_needs_no_model(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Module, "__call__", None)
    assert Bundle.load(written)(X)["scores"].shape == (2, 3)
