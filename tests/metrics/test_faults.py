"""A batch counts whole or not at all, from any thread; what has not counted takes no memory."""

import copy
import signal
import threading
from math import nan
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import torch_heads as th
from tests.mixture import Batch, mixture, random_batch
from torch_heads.metrics.collection import ReadingCollection
from torch_heads.metrics.sums import Total
from torch_heads.metrics.tally import Tally

ROWS = 12


def update(head: th.Head, metrics: ReadingCollection | None, batch: Batch) -> ReadingCollection:
    return head.update_metrics(metrics, None, batch.logits, batch.labels, weights=batch.weights)


def states(metrics: ReadingCollection) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": state.clone()
        for name, tally in metrics.tallies.items()
        for key, state in tally.metric_state.items()
    }


def counts(metrics: ReadingCollection) -> set[int]:
    return {tally.update_count for tally in metrics.tallies.values()}


class Fail(TorchDispatchMode):
    """Lets one operation fail, as full memory would."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.left -= 1
        if self.left == -1:
            raise MemoryError(str(func))
        return func(*args, **(kwargs or {}))


def test_a_batch_that_fails_anywhere_is_not_counted_at_all(device: Any) -> None:
    head = mixture().to(device)
    batch = random_batch(ROWS, torch.Generator().manual_seed(0)).to(device)
    whole = update(head, head.metrics(), batch)
    operations = 0
    while True:
        metrics = update(head, head.metrics(), batch)
        once = states(metrics)
        failed = Fail(operations)
        try:
            with failed:
                update(head, metrics, batch)
        except MemoryError:
            assert counts(metrics) == {1}
            # weights are taken back as exactly as they can be
            torch.testing.assert_close(states(metrics), once, rtol=1e-12, atol=1e-12)
        else:
            break
        operations += 1
    assert operations > 100
    assert counts(metrics) == {2}
    update(head, whole, batch)
    torch.testing.assert_close(states(metrics), states(whole))


def test_a_tally_that_cannot_move_leaves_the_others_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    head, batch = mixture(), random_batch(ROWS, torch.Generator().manual_seed(0))
    metrics = update(head, None, batch)

    def no_memory(device: torch.device) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(metrics.tallies["poisson"], "prepare", no_memory)
    before = states(metrics)
    with pytest.raises(torch.OutOfMemoryError):
        update(head, metrics, batch)
    assert all(torch.equal(state, before[key]) for key, state in states(metrics).items())
    assert counts(metrics) == {1}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_metrics_that_were_cast_take_weights_and_missing_labels(
    dtype: torch.dtype, device: Any
) -> None:
    head = mixture().to(device)
    batch = random_batch(ROWS, torch.Generator().manual_seed(0)).to(device)
    metrics = update(head, head.metrics().set_dtype(dtype), batch)
    for key, state in states(update(head, head.metrics(), batch)).items():
        found = states(metrics)[key]
        assert found.dtype == dtype
        torch.testing.assert_close(found, state.to(dtype), rtol=0.02, atol=0.02)


def test_metrics_are_not_cast_to_whole_numbers() -> None:
    metrics = mixture().metrics()
    with pytest.raises(ValueError, match=r"expected dtype to be floating, got torch\.int64"):
        metrics.set_dtype(torch.int64)
    assert {state.dtype for state in states(metrics).values()} == {torch.float64}


def test_a_signal_before_the_first_addition_takes_nothing_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    head, batch = mixture(), random_batch(ROWS, torch.Generator().manual_seed(0))
    metrics = update(head, head.metrics(), batch)
    before = {key: state.clone() for key, state in states(metrics).items()}

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("torch_heads.metrics.tally.deque", interrupt)
    with pytest.raises(KeyboardInterrupt):
        update(head, metrics, batch)
    assert counts(metrics) == {1}
    for key, state in states(metrics).items():
        assert torch.equal(state, before[key]), key


@pytest.mark.usefixtures("interrupted")
def test_a_signal_at_any_moment_leaves_whole_batches() -> None:
    head = th.MultiHead(
        [th.BinaryClassHead(name="a"), th.RegressionHead(name="b"), th.MultiClassHead(3, name="c")]
    )
    logits, labels = torch.zeros(ROWS, 5), torch.ones(ROWS, 3)
    metrics = head.metrics()
    chance = Random(0)
    for _ in range(300):
        try:
            signal.setitimer(signal.ITIMER_REAL, 1e-5 + chance.random() * 2e-3)
            while True:
                head.update_metrics(metrics, None, logits, labels)
        except KeyboardInterrupt:
            pass
        (times,) = counts(metrics)
        rows = {
            float(tally.sums[0, Total.VALID])
            for name, tally in metrics.tallies.items()
            if name != "calls"
        }
        assert rows == {times * ROWS}
        assert metrics.tallies["calls"].sums[:, 1].tolist() == [times] * 3
        assert metrics.confusion_matrix("c").sum() == times * ROWS


def test_no_row_is_lost_when_threads_update_first() -> None:
    logits, labels = torch.zeros(7, 200), torch.ones(7, 200)
    for _ in range(30):
        head = th.MultiHead([th.BinaryClassHead(name=f"h{i}") for i in range(200)])
        start = threading.Barrier(4)

        def work(head: th.Head = head, start: threading.Barrier = start) -> None:
            start.wait()
            for _ in range(3):
                head.update_metrics(logits=logits, labels=labels)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tally = head.metric_collection.tallies["bernoulli"]
        assert (tally.sums[:, Total.VALID] == 4 * 3 * 7).all()
        assert (tally.scores.view(200, -1).sum(-1) == 4 * 3 * 7).all()
        assert counts(head.metric_collection) == {12}


# ---- memory ----


class Largest(TorchDispatchMode):
    """Keeps the size of the largest memory that an operation returned, in bytes."""

    size = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        sizes = [
            leaf.untyped_storage().nbytes()
            for leaf in tree_leaves(result)
            if isinstance(leaf, Tensor)
        ]
        self.size = max(self.size, *sizes, 0)
        return result


WIDE = 100_000


@pytest.mark.parametrize("make", [th.MultiLabelHead, th.RegressionHead], ids=lambda m: m.__name__)
def test_to_look_at_a_head_takes_no_memory(make: Any) -> None:
    head = make(WIDE)
    with Largest() as largest:
        list(head.parameters())
        list(head.named_modules())
        head.state_dict()
        copy.deepcopy(head.metric_collection).reset()
        head.metric_collection.to(torch.bfloat16)
    assert largest.size <= 1024  # what the states mean, in bytes
    assert all(tally.sums.shape[0] == WIDE for tally in head.metric_collection.tallies.values())


def test_before_the_first_batch_all_reads_as_nothing(device: Any) -> None:
    head = mixture().to(device)
    list(head.parameters())
    unused = head.metric_collection
    with pytest.warns(UserWarning, match="before the ``update``"):
        values = unused.compute()
    with pytest.warns(UserWarning, match="before the ``update``"):
        expected = head.metrics().compute()
    torch.testing.assert_close(values, expected, equal_nan=True, check_device=False)
    unused.persistent()
    state = copy.deepcopy(head.state_dict())
    batch = random_batch(ROWS, torch.Generator().manual_seed(0)).to(device)
    update(head, None, batch)
    head.load_state_dict(state)
    assert not any(one.any() for one in states(unused).values())
    update(head, None, batch)
    again = update(head, head.metrics(), batch)
    torch.testing.assert_close(states(unused), states(again))


def own_bytes(tally: Tally) -> int:
    """Return the memory of all tensors that a tally holds, wherever."""
    held = [*vars(tally).values(), *tally._defaults.values()]
    tensors = {id(one.untyped_storage()): one for one in held if isinstance(one, Tensor)}
    return sum(one.untyped_storage().nbytes() for one in tensors.values())


def test_a_copy_takes_the_memory_of_its_states_alone(device: Any) -> None:
    head = mixture().to(device)
    metrics = update(
        head, head.metrics(), random_batch(ROWS, torch.Generator().manual_seed(0)).to(device)
    )
    for one in (metrics, metrics.clone(), copy.deepcopy(metrics)):
        one.reset()
        for tally in one.tallies.values():
            sizes = [state.nbytes for state in tally.metric_state.values()]
            assert own_bytes(tally) <= sum(sizes) + 8 * len(sizes)


# ---- NaN ----


def test_no_class_is_predicted_where_a_logit_is_nan(device: Any) -> None:
    head = th.MultiClassHead(3).to(device)
    logits = torch.eye(3, device=device)
    for place in range(3):
        broken = logits.clone()
        broken[1, place] = nan
        metrics = head.update_metrics(head.metrics(), None, broken, torch.tensor([0, 1, 2]))
        assert metrics.compute()["accuracy"] == pytest.approx(2 / 3)
        expected = torch.diag(torch.tensor([1.0, 0, 1], dtype=torch.float64))
        assert torch.equal(metrics.confusion_matrix().cpu(), expected)


def test_no_class_is_at_no_distance(device: Any) -> None:
    names = ["mean_absolute_error", "cohen_kappa_linear", "cohen_kappa_quadratic"]
    ordered = th.OrdinalClassHead(4, name="ordered", metrics=names[:1])  # has the quadratic one
    classes = th.MultiClassHead(4, name="classes", metrics=names[1:])
    head = th.MultiHead([ordered, classes]).to(device)
    logits, labels = torch.zeros(6, 7, device=device), torch.tensor([[0, 1, 2, 3, 1, 2]] * 2).T
    of_distances = [f"{name}/{own.name}" for own in (ordered, classes) for name in names]
    for broken in (False, True):
        logits[0] = nan if broken else 0.0
        values = head.update_metrics(head.metrics(), None, logits, labels).compute()
        found = [values[key].isnan() for key in of_distances if key in values]
        assert found == [broken] * 4
        assert values["accuracy/classes"] == pytest.approx(0.0 if broken else 1 / 6)


def test_a_nan_logit_among_padded_classes_spoils_its_own_row_alone(device: Any) -> None:
    heads = [th.MultiClassHead(3, name="a"), th.MultiClassHead(4, name="b")]
    head = th.MultiHead(heads).to(device)
    logits = torch.zeros(5, 7, device=device)
    logits[2, 1] = nan
    metrics = head.update_metrics(head.metrics(), None, logits, torch.zeros(5, 2, device=device))
    values = metrics.compute()
    assert values["accuracy/a"] == pytest.approx(0.8)
    assert values["accuracy/b"] == 1
    assert metrics.confusion_matrix("a").sum() == 4
    assert metrics.confusion_matrix("b").sum() == 5
