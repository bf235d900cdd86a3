"""The contestants of the benchmarks compute the same; nothing is timed here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import torch_heads as th
from benchmarks import families, limits, results, serving
from benchmarks.contestants import Bound, ByHand, Contestant, Loop, Ours
from benchmarks.memory import peak_bytes
from benchmarks.timing import Call, Spread, Turns, ratio, take_turns
from benchmarks.workloads import Workload, binary, mixture, workload

BATCH = 512

every_workload = pytest.mark.parametrize(
    "make",
    [
        lambda: binary(1),
        lambda: binary(3),
        lambda: mixture(30),
        lambda: [th.MultiClassHead(50)],
        lambda: [th.MultiLabelHead(20)],
    ],
    ids=["one", "binary", "mixture", "classes", "labels"],
)


@pytest.fixture
def work(make: Any, device: torch.device) -> Workload:
    """Return a small batch for some heads."""
    return workload("", make(), device, BATCH)


def gradient(contestant: Contestant, logits: Tensor) -> Tensor:
    """Return the gradient of the contestant's loss."""
    contestant.train()
    assert logits.grad is not None
    return logits.grad


def by_hand_metrics(loop: Loop) -> dict[str, Tensor]:
    """Return all that was kept by hand, under the heads' metric keys."""
    found = {}
    for task in loop.tasks:
        assert isinstance(task, ByHand)
        means = {
            "average_loss": task.loss_mean,
            "prediction/mean": task.prediction_mean,
            "label/mean": task.label_mean,
        }
        values = {key: mean.compute() for key, mean in means.items() if mean.update_called}
        values |= task.metrics.compute() if task.metrics else {}
        suffix = f"/{task.head.name}" if task.head.name else ""
        found |= {f"{key}{suffix}": value for key, value in values.items()}
    return found


@every_workload
def test_written_by_hand_the_loss_and_its_gradient_are_the_same(work: Workload) -> None:
    by_hand = Loop(work, ByHand)
    for form in work.forms:
        ours = Ours(work, form)
        torch.testing.assert_close(ours.loss(), by_hand.loss())
        torch.testing.assert_close(gradient(ours, work.logits), gradient(by_hand, work.logits))


@every_workload
def test_written_by_hand_the_metrics_are_the_same(work: Workload) -> None:
    by_hand = Loop(work, ByHand)
    contestants = [by_hand, *(Ours(work, form) for form in work.forms)]
    for contestant in contestants * 2:
        contestant.update()
    expected = by_hand_metrics(by_hand)
    for ours in contestants[1:]:
        assert isinstance(ours, Ours)
        values = ours.metrics.compute()
        assert len(expected) >= 2 * len(work.heads)
        for key, value in expected.items():
            # torchmetrics sums steps where the head interpolates
            apart = 0.02 if "auc_precision_recall" in key else 1e-5
            torch.testing.assert_close(values[key], value.float(), atol=apart, rtol=1e-5)


@pytest.mark.parametrize("make", [lambda: binary(3)])
def test_the_bound_computes_the_mean_loss_and_counts_the_labels(work: Workload) -> None:
    bound, (form, _) = Bound(work), work.forms
    torch.testing.assert_close(bound.loss() * 3, Ours(work, form).loss())
    bound.update()
    [family] = bound.families
    counted = family.counts.view(3, 2, -1).sum(-1)[:, 1]
    torch.testing.assert_close(counted, torch.cat(list(work.labels), dim=-1).sum(0).double())
    assert family.counts.sum() == 3 * BATCH


@every_workload
def test_with_keras_the_gradient_is_the_same(work: Workload) -> None:
    with_keras = Loop(work, pytest.importorskip("benchmarks.with_keras").Keras)
    expected = gradient(Loop(work, ByHand), work.logits)
    torch.testing.assert_close(gradient(with_keras, work.logits), expected, atol=1e-6, rtol=1e-4)
    with_keras.update()


def test_a_peak_is_that_of_all_living_tensors(device: torch.device) -> None:
    values = torch.zeros(2**18, device=device)
    peak = peak_bytes(lambda: (values + 1).mul(2).sum(), device)
    assert peak == pytest.approx(2 * values.nbytes, rel=0.01)


def test_contestants_take_turns(device: torch.device) -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    samples = take_turns(calls, device, seconds=0.05)
    assert min(len(samples["a"]), len(samples["b"])) > 1
    assert order.index("b") < len(order) - 1 - order[::-1].index("a")
    turns = {"a": [2.0, 4.0], "b": [1.0, 1.0]}, {"a": [6.0, 9.0, 9.0], "b": [1.0]}
    assert ratio(turns, "a", "b") == Spread(3.0, 4.0, 5.0)


def test_every_limit_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def once(calls: Mapping[str, Call], *_: object) -> Turns:
        for call in calls.values():
            call()
        return {name: [1.0] for name in calls}

    monkeypatch.setattr(limits, "take_turns", once)
    monkeypatch.setattr(limits, "HEADS", 3)
    lines = [line for section in limits.LIMITS for line in section()]
    assert len(lines) == 24
    assert all(line.startswith(("reached: ", "MISSED: ")) for line in lines)


def test_bundles_are_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"ROUNDS": 1, "HEADS": 101, "LINES": 500}.items():
        monkeypatch.setattr(serving, name, value)
    path = serving.small(tmp_path / "pets")
    lines = [
        *serving.many_heads(tmp_path / "many"),
        *serving.loader(path, tmp_path),
        *serving.rows_of_a_file(path, tmp_path),
    ]
    assert len(lines) == 8
    assert all(line.startswith(("reached: ", "MISSED: ")) for line in lines)


def test_sections_stand_in_their_order_and_the_others_stay() -> None:
    text = "# Benchmarks\n\n- x\n\n## Soak on a CPU\n\ny\n"
    own = {results.SERVING: serving.section(["reached: a"])}
    once = results.with_sections(text, own)
    assert once == ("# Benchmarks\n\n- x\n\n## Serving\n\n- reached: a\n\n## Soak on a CPU\n\ny\n")
    assert results.with_sections(once, own) == once
    own = {results.TABLES: "# B\n\n## A CPU\n\n- z", results.SOAK: "## Soak on a GPU\n\nv"}
    again = "# B\n\n## A CPU\n\n- z\n\n## Serving\n\n- reached: a\n\n## Soak on a GPU\n\nv\n"
    assert results.with_sections(once, own) == again
    written = results.RESULTS.read_text("utf-8")
    assert results.with_sections(written, {}) == written


@pytest.mark.parametrize("kind", families.FORMULAS)
def test_a_bare_formula_has_the_gradient_of_the_heads(kind: str, device: torch.device) -> None:
    calls = families.contestants(families.FORMULAS[kind], device)
    ours, bare = calls["ours"](), calls["formula"]()
    torch.testing.assert_close(ours, bare.flatten(1), rtol=1e-3, atol=1e-6)
