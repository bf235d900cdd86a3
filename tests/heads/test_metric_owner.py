"""What heads have counted stays, whichever head they are put into, and whichever goes."""

import copy
import gc

import pytest
import torch
import torchmetrics

import torch_heads as th
from tests.mixture import mixture, random_batch


def counted(name: str) -> th.BinaryClassHead:
    head = th.BinaryClassHead(name=name)
    head.update_metrics(logits=[[1.0], [-1.0]], labels=[1, 0])
    return head


def test_a_head_in_two_others_has_its_counts_in_each_of_them() -> None:
    heads = [th.BinaryClassHead(name=name) for name in "ab"]
    first, other = th.MultiHead(heads), th.MultiHead(heads, head_weights=[2.0, 1.0])
    first.update_metrics(logits=[[1.0, 1.0]], labels=[[1.0, 0.0]])
    other.update_metrics(logits=[[1.0, 1.0]], labels=[[0.0, 0.0]])
    for head, accuracy in ((first, 1.0), (other, 0.0)):
        assert head.metric_collection["accuracy/a"].compute() == accuracy
    match = r"'a': expected metric_collection of a part of one head, got a part of MultiHead .* and"
    with pytest.raises(ValueError, match=match):
        heads[0].metric_collection  # noqa: B018
    del other, head
    assert heads[0].metric_collection["accuracy/a"].compute() == 1.0


def test_a_head_that_could_not_be_made_holds_no_parts() -> None:
    heads = [th.BinaryClassHead(name="a"), th.BinaryClassHead(name="a")]
    with pytest.raises(ValueError, match="different names") as failed:
        th.MultiHead(heads)
    with pytest.raises(ValueError, match="head_weights"):
        th.MultiHead(heads[:1], head_weights=[1.0, 2.0])
    th.MultiHead(heads[:1])
    assert failed.traceback  # which keeps alive what failed


def test_a_head_goes_into_another_once_the_first_is_gone() -> None:
    head = th.BinaryClassHead(name="a")
    for weights in ([1.0], [2.0]):
        loss = th.MultiHead([head], head_weights=weights).loss(torch.ones(1, 1), torch.zeros(1, 1))
        assert loss.item() == pytest.approx(0.6931472 * weights[0])


def test_parts_keep_their_counts_when_the_head_goes(device: torch.device) -> None:
    head = mixture().to(device)
    sample = random_batch(16, torch.Generator().manual_seed(0)).to(device)
    head.update_metrics(None, None, sample.logits, sample.labels, weights=sample.weights)
    parts = [head[name] for name in head]
    expected = [part.metric_collection.compute() for part in parts]
    del head
    gc.collect()
    for part, own in zip(parts, expected, strict=True):
        found = part.metric_collection.compute()
        torch.testing.assert_close(found, own, rtol=0, atol=0, equal_nan=True)


def test_parts_of_parts_go_on_counting_by_themselves(device: torch.device) -> None:
    rank = {"rank": torchmetrics.KendallRankCorrCoef()}
    inner = th.MultiHead([th.RegressionHead(name="a", metrics=rank), th.BinaryClassHead(name="b")])
    outer = th.MultiHead([inner, th.BinaryClassHead(name="c")]).to(device)
    logits = torch.tensor([[1.0, 2.0, 3.0], [2.0, -2.0, 3.0]], device=device)
    labels = torch.tensor([[1.0, 1.0, 1.0], [3.0, 1.0, 1.0]], device=device)
    outer.update_metrics(logits=logits, labels=labels)
    a = inner["a"]
    del outer
    gc.collect()
    assert inner.metric_collection["accuracy/b"].compute() == 0.5
    assert inner.metric_collection["loss/a"].compute() == 0.5
    del inner
    gc.collect()
    assert a.metric_collection["rank/a"].compute() == 1
    a.update_metrics(logits=logits[:, :1], labels=labels[:, :1] * 2)
    assert a.metric_collection["label/mean/a"].compute() == 3
    assert a.metric_collection["rank/a"].compute() == pytest.approx(0.8164966, abs=1e-4)


def test_a_head_counts_from_0_in_the_head_that_takes_it() -> None:
    head = counted("a")
    assert head.metric_collection["accuracy/a"].compute() == 1
    both = th.MultiHead([head])
    both.update_metrics(logits=[[1.0]], labels=[[0.0]])
    assert head.metric_collection["accuracy/a"].compute() == 0


def test_a_shallow_copy_leaves_the_parts_where_they_are() -> None:
    head = th.MultiHead([th.BinaryClassHead(name="a")])
    another = copy.copy(head)
    head.update_metrics(logits=[[1.0]], labels=[[1.0]])
    assert head["a"].metric_collection["accuracy/a"].compute() == 1
    assert another.metric_collection["accuracy/a"].compute() == 1
