"""Promises about a head as an object: compiled, exported, copied and saved."""

from __future__ import annotations

import copy

import torch
from torch import nn

from torch_heads.testing.pickles import pickled
from torch_heads.testing.sample import FEATURES, ROWS, is_dense
from torch_heads.testing.subject import Subject, assert_same, evaluate, loss_and_gradient, require


def it_compiles_without_a_break(subject: Subject) -> None:
    """Compile the loss and the predictions."""
    sample = subject.sample
    if not is_dense(sample.labels):
        return
    torch.compiler.reset()  # heads share the code, and so its few compiled variants
    head = subject.head(weight_column="w")
    logits = sample.logits.detach().requires_grad_()
    compiled = torch.compile(head.loss, fullgraph=True, backend="aot_eager")
    loss = compiled(sample.labels, logits, sample.features)
    gradient = torch.autograd.grad(loss, logits)[0]
    assert_same((loss.detach(), gradient), loss_and_gradient(head, sample))
    forward = torch.compile(head, fullgraph=True, backend="aot_eager")
    assert_same(forward(sample.logits), head(sample.logits))


def it_is_exported_with_a_free_batch_size(subject: Subject) -> None:
    """Export a small model that ends in the head."""
    sample, head = subject.sample, subject.head()
    device = sample.logits.device
    model = nn.Sequential(nn.Linear(FEATURES, head.logits_dimension), head).to(device)
    shape = sample.logits.shape[1:-1]
    inputs = torch.randn(ROWS, *shape, FEATURES, device=device)
    free = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(model, (inputs,), dynamic_shapes=free).module()
    for rows in (2, ROWS, 11):
        inputs = torch.randn(rows, *shape, FEATURES, device=device)
        assert_same(program(inputs), model(inputs))


def a_copy_is_a_head_of_its_own(subject: Subject) -> None:
    """Copy, pickle and load the state of a head that has seen a batch."""
    sample, head = subject.sample, subject.head(weight_column="w")
    head.update_metrics(None, sample.features, sample.logits, sample.labels)
    before, fewer = head.metric_collection.compute(), sample.take([0])
    for again in (copy.deepcopy(head), pickled(head)):
        require(again is not head, "a copy is the head itself")
        shared = again.metric_collection is head.metric_collection
        require(not shared, "a copy has the metric_collection of the head itself")
        assert_same(again.metric_collection.compute(), before)
        assert_same(loss_and_gradient(again, sample), loss_and_gradient(head, sample))
        again.update_metrics(None, fewer.features, fewer.logits, fewer.labels)
        assert_same(head.metric_collection.compute(), before)
    head.metric_collection.persistent()
    other = subject.head(weight_column="w")
    other.load_state_dict(head.state_dict())
    assert_same(other.metric_collection.compute(), before)


def built_on_the_meta_device_it_is_the_same(subject: Subject) -> None:
    """Build a head where tensors have no values, and load the states of another one into it."""
    sample, head = subject.sample, subject.head(weight_column="w")
    with torch.device("meta"):
        built = subject.make(weight_column="w")
        list(built.named_modules())  # so that its metrics are made there, too
    built.load_state_dict(head.state_dict(), assign=True)
    assert_same(loss_and_gradient(built, sample), loss_and_gradient(head, sample))
    assert_same(evaluate(built, sample), evaluate(head, sample))
    expected = head.update_metrics(None, sample.features, sample.logits, sample.labels)
    built.update_metrics(None, sample.features, sample.logits, sample.labels)
    assert_same(built.metric_collection.compute(), expected.compute())
