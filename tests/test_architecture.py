"""The package shows its own architecture: layers import one way, and nothing that is optional."""

import ast
import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FrameType

import pytest
import torch

import torch_heads as th
from torch_heads.integrations.lightning import HeadModule
from torch_heads.integrations.report.evaluation import evaluation

LAYERS = ["functional", "families", "metrics", "computation", "heads", "testing", "integrations"]
ROOT = Path(th.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
MODULES = [".".join(file.relative_to(ROOT.parent).with_suffix("").parts) for file in FILES]

every_module = pytest.mark.parametrize("module", MODULES)


def imports(module: str) -> Iterator[str]:
    """Yield the modules that a module imports, wherever in it and for whatever reason."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            yield node.module or ""


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(ROOT.parent.joinpath(*module.split(".")).with_suffix(".py").read_text("utf-8"))


def layer(module: str) -> int | None:
    """Return where a module's layer stands, None for the package itself and for others."""
    package, *inner = module.split(".")
    outside = package != "torch_heads" or inner[:1] in (["__init__"], ["__main__"])
    return None if outside else LAYERS.index(inner[0])


def head_modules() -> dict[str, type[th.Head]]:
    """Return the modules that define the concrete heads."""
    public = [getattr(th, name) for name in th.__all__]
    return {
        value.__module__: value
        for value in public
        if inspect.isclass(value) and issubclass(value, th.Head) and not inspect.isabstract(value)
    }


@every_module
def test_imports_go_one_way(module: str) -> None:
    own = layer(module)
    for other in imports(module):
        if other.startswith("torch_heads") and own is not None:
            their = layer(other)
            assert their is not None, f"{module} imports the package itself"
            assert their <= own, f"{module} imports {other}"


def test_no_module_imports_itself_by_way_of_others() -> None:
    """`TYPE_CHECKING` included: what is imported for its types alone is imported all the same."""
    known = set(MODULES)
    edges = {module: known & set(imports(module)) for module in MODULES}
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        assert module not in path, " > ".join([*path[path.index(module) :], module])
        if module not in done:
            for other in sorted(edges[module]):
                visit(other, [*path, module])
            done.add(module)

    for module in MODULES:
        visit(module, [])


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@cache
def defined(module: str) -> set[str]:
    """Return the names and attributes that a module gives a meaning to."""
    found = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


@every_module
def test_no_private_name_of_a_module_is_used_by_another(module: str) -> None:
    ours = {name for other in MODULES if other != module for name in defined(other)}
    own = defined(module)
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch_heads"):
            assert not any(private(alias.name) for alias in node.names), ast.unparse(node)
        if isinstance(node, ast.Attribute) and private(node.attr) and node.attr not in own:
            bare = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            bare = bare or ast.unparse(node.value).startswith("super()")
            assert bare or node.attr not in ours, f"{module} uses {ast.unparse(node)}"


@cache
def families() -> set[str]:
    """Return the names of the classes of the families' layer."""
    trees = [tree(module) for module in MODULES if ".families." in module]
    nodes = [node for one in trees for node in ast.walk(one)]
    return {node.name for node in nodes if isinstance(node, ast.ClassDef)} - {"Counts"}


@every_module
def test_only_families_ask_of_which_family_something_is(module: str) -> None:
    if ".families." in module:
        return
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            asked = {leaf.id for leaf in ast.walk(node.args[1]) if isinstance(leaf, ast.Name)}
            assert not asked & families(), f"{module}: {ast.unparse(node)}"


@every_module
def test_nothing_optional_is_imported_outside_of_the_integrations(module: str) -> None:
    if ".integrations" in module:
        return
    allowed = {*sys.stdlib_module_names, "numpy", "torch", "torchmetrics", "torch_heads"}
    assert {other.partition(".")[0] for other in imports(module)} <= allowed


def test_importing_the_package_imports_nothing_optional() -> None:
    optional = ["lightning", "pytorch_lightning", "matplotlib", "sklearn"]
    optional += ["torch._dynamo"]  # the compiler, which takes as long as torch itself
    # torchmetrics itself looks for these; what counts is that nothing else brings them in
    code = (
        "import sys, torch, torchmetrics; before = set(sys.modules)\n"
        "import torch_heads; new = set(sys.modules) - before\n"
        f"print(*sorted(new & {set(optional)!r}))"
    )
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=ROOT.parent, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_heads_do_not_import_their_siblings() -> None:
    heads = head_modules()
    for module in heads:
        assert set(imports(module)).isdisjoint(heads.keys() - {module})


def test_the_package_file_only_exports() -> None:
    body = ast.parse((ROOT / "__init__.py").read_text("utf-8")).body
    docstring, *statements = body
    assert isinstance(docstring, ast.Expr)
    for statement in statements:
        if isinstance(statement, ast.Assign):
            [name] = statement.targets
            assert ast.unparse(name) == "__all__"
        else:
            assert isinstance(statement, ast.ImportFrom)
    names = {
        alias.name for node in body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert names <= set(th.__all__)
    assert list(th.__all__) == sorted(set(th.__all__))


def test_a_head_is_abstract_or_final() -> None:
    concrete = set(head_modules().values())
    for head in concrete:
        # torch.export makes further classes of the same name, which no module has
        known = [
            kind
            for kind in head.__subclasses__()
            if kind.__module__.startswith("torch_heads")
            and getattr(sys.modules.get(kind.__module__), kind.__name__, None) is kind
        ]
        assert not known, f"{head.__name__} has a subclass"
        assert not concrete & set(head.__mro__[1:]), f"{head.__name__} subclasses another head"


@every_module
def test_a_file_is_named_for_its_concept(module: str) -> None:
    assert not {"util", "utils", "helpers", "common", "misc"} & set(module.split("."))


def test_an_example_is_read_at_a_glance() -> None:
    lengths = {
        file.name: len(file.read_text("utf-8").splitlines())
        for file in (ROOT.parent / "examples").glob("*.py")
    }
    assert lengths
    assert max(lengths.values()) < 80, lengths


def names_of(kind: type) -> list[str]:
    known = {*dir(torch.nn.Module), "computation"}
    return [name for name in dir(kind) if not name.startswith("_") and name not in known]


@pytest.mark.parametrize("kind", [*head_modules().values(), th.Head, th.TensorHead])
def test_a_head_has_few_public_names(kind: type[th.Head]) -> None:
    assert len(names_of(kind)) <= 25, names_of(kind)


def files_passed(call: Callable[[], object]) -> set[str]:
    """Return the files of the package that a call passes through."""
    files = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(ROOT)):
            files.add(frame.f_code.co_filename.removeprefix(f"{ROOT}/"))

    call()  # once, so that what is made at first is there
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return files


@pytest.mark.parametrize("stacked", [False, True])
def test_a_batch_takes_a_short_way(stacked: bool) -> None:
    heads = [
        th.BinaryClassHead(name="a"),
        th.BinaryClassHead(name="b"),
        th.MultiClassHead(3, name="c"),
        th.RegressionHead(name="d"),
    ]
    head, logits = th.MultiHead(heads), torch.zeros(8, 6)
    labels = {name: torch.ones(8, dtype=torch.int64) for name in head}
    given = torch.stack(list(labels.values()), -1) if stacked else labels
    module = HeadModule(torch.nn.Linear(4, 6), head)
    assert len(files_passed(lambda: head.loss(given, logits))) <= 12
    assert len(files_passed(lambda: head.update_metrics(None, None, logits, given))) <= 15
    step = files_passed(lambda: module.validation_step((torch.zeros(8, 4), given), 0))
    assert len(step) <= 18
    assert sum("encoder" in file for file in step) == 1


def test_a_batch_is_encoded_once_in_a_step_of_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    head = th.MultiHead([th.BinaryClassHead(name="a"), th.RegressionHead(name="b")])
    module, calls = HeadModule(torch.nn.Linear(4, 2), head), []
    for group in head.computation.groups:
        own = group.encode
        monkeypatch.setattr(group, "encode", lambda given, own=own: calls.append(1) or own(given))
    module.validation_step((torch.zeros(8, 4), torch.zeros(8, 2)), 0)
    assert len(calls) == 2


class Renamed(th.TensorHead):
    """A head whose metrics have other names than those of this package."""

    def __init__(self, family: th.Family, **options: object) -> None:
        super().__init__(family, **options)

    def readings(self) -> Iterator[tuple[str, th.metrics.Reading]]:
        yield "mine", th.metrics.AverageLoss()


def test_nothing_is_looked_up_by_the_name_of_a_metric() -> None:
    scores, classes, numbers = (
        Renamed(family, name=name)
        for name, family in {
            "s": th.families.Bernoulli(),
            "c": th.families.Categorical(3),
            "n": th.families.Normal(),
        }.items()
    )
    head = th.MultiHead([scores, classes, numbers])
    logits = torch.tensor([[1.0, 2, 0, 0, 5], [-1.0, 0, 3, 0, 1]])
    metrics = head.update_metrics(None, None, logits, [[1, 0, 4.0], [0, 1, 1.0]])
    assert list(metrics) == ["loss/s", "loss/c", "loss/n", "mine/s", "mine/c", "mine/n"]
    assert metrics.curves("s").best_threshold().f_score == 1
    assert metrics.confusion_matrix("c").diag().tolist() == [1, 1, 0]
    assert metrics.residuals("n").quantile(1.0) > 0.9
    tasks = evaluation(head, metrics).tasks
    assert [task.form for task in tasks] == ["scores", "classes", "numbers"]
