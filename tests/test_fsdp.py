"""A head on top of a backbone sharded over two processes by FSDP2: the numbers are those of one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

import torch_heads as th
from tests import processes
from tests.processes import results

ROWS, FEATURES = 16, 4
HALVES = [range(8), range(8, ROWS)]
LACKING = [["even", "ink"], ["digit"]]  # the heads without labels on each rank

HALF = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)

pytestmark = processes.needs_gloo


def a_head() -> th.MultiHead:
    return th.MultiHead(
        [
            th.BinaryClassHead(name="even", missing_label=-1),
            th.RegressionHead(name="ink", missing_label=float("nan")),
            th.MultiClassHead(3, name="digit", missing_label=-1),
            th.PoissonRegressionHead(name="dark"),
        ],
        head_weights=[1.0, 0.5, 2.0, 0.1],
    )


def a_network() -> nn.Sequential:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(FEATURES, 9), nn.Tanh(), nn.Linear(9, 9), nn.Tanh())
    return nn.Sequential(backbone, nn.Linear(9, a_head().logits_dimension))


class Model(nn.Module):
    """A network and its head in one, whose `forward` takes the labels and keeps the metrics."""

    def __init__(self) -> None:
        super().__init__()
        self.network, self.head = a_network(), a_head()

    def forward(self, inputs: Tensor, labels: dict[str, Tensor]) -> Tensor:
        logits = self.network(inputs)
        self.head.update_metrics(logits=logits, labels=labels)
        return self.head.loss(labels, logits)


def rows(which: range, without: Sequence[str] = ()) -> tuple[Tensor, dict[str, Tensor]]:
    """Return some rows of the same data in every process, without the labels of some heads."""
    random = torch.Generator().manual_seed(5)
    labels = {
        "even": torch.randint(2, (ROWS,), generator=random),
        "ink": torch.rand(ROWS, generator=random),
        "digit": torch.randint(3, (ROWS,), generator=random),
        "dark": torch.randint(6, (ROWS,), generator=random).float(),
    }
    inputs = torch.randn(ROWS, FEATURES, generator=random)
    kept = {name: values[which] for name, values in labels.items() if name not in without}
    return inputs[which], kept


# ---- what each of two processes does ----


def shard(network: nn.Sequential, policy: MixedPrecisionPolicy | None = None) -> nn.Sequential:
    """Shard a network as FSDP2 is meant: each block of it, and then the rest."""
    mesh = init_device_mesh("cpu", (2,))
    for part in (network[0], network):
        fully_shard(part, mesh=mesh, mp_policy=policy or MixedPrecisionPolicy())
    return network


def gathered(module: nn.Module) -> dict[str, Tensor]:
    """Return the whole of each sharded parameter."""
    parameters = dict(module.named_parameters())
    assert all(isinstance(parameter, DTensor) for parameter in parameters.values())
    return {name: parameter.full_tensor().detach() for name, parameter in parameters.items()}


def step(network: nn.Module, loss: Tensor) -> None:
    loss.backward()
    torch.optim.SGD(network.parameters(), lr=0.5).step()


def a_step(rank: int, without: Sequence[str] = ()) -> dict[str, Any]:
    network, head = shard(a_network()), a_head()
    inputs, labels = rows(HALVES[rank], without)
    logits = network(inputs)
    loss = head.loss(labels, logits)
    metrics = head.update_metrics(logits=logits, labels=labels)
    step(network, loss)
    return {
        "loss": loss.detach(),
        "parameters": gathered(network),
        "metrics": metrics.compute(),
        "servable": nn.Sequential(network, head)(rows(range(ROWS))[0]),
    }


def a_step_with_absent_heads(rank: int) -> dict[str, Any]:
    return a_step(rank, LACKING[rank])


def a_step_in_half_precision(rank: int) -> dict[str, Any]:
    network, head = shard(a_network(), HALF), a_head()
    inputs, labels = rows(HALVES[rank])
    logits = network(inputs)
    loss = head.loss(labels, logits)
    metrics = head.update_metrics(logits=logits, labels=labels)
    step(network, loss)
    return {
        "logits": logits.detach(),
        "loss": loss.detach(),
        "states": [tally.sums for tally in metrics.tallies.values()],
        "metrics": metrics.compute(),
        "parameters": gathered(network),
    }


def a_model_that_holds_its_head(rank: int) -> dict[str, Any]:
    model = Model()
    shard(model.network)
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    loss = model(*rows(HALVES[rank]))
    step(model, loss)
    return {
        "loss": loss.detach(),
        "parameters": gathered(model.network),
        "states": [tally.sums for tally in model.head.metric_collection.tallies.values()],
        "metrics": model.head.metric_collection.compute(),
    }


def labels_through_a_sharded_forward(rank: int) -> dict[str, Any]:
    found = {}
    for cast in (True, False):
        model, policy = Model(), MixedPrecisionPolicy(torch.bfloat16, cast_forward_inputs=cast)
        model.network.to(torch.bfloat16)  # so that it takes the inputs of either policy
        fully_shard(model, mesh=init_device_mesh("cpu", (2,)), mp_policy=policy)
        inputs, labels = rows(HALVES[rank])
        model(inputs.bfloat16(), labels)
        found[cast] = model.head.metric_collection.compute()
    return found


def uneven_evaluation(rank: int) -> dict[str, Any]:
    """Evaluate 5 rows in two batches, and 3 in one: each rank has to run the network twice."""
    network, head = shard(a_network()), a_head()
    batches = [[range(3), range(3, 5)], [range(5, 8)]][rank]
    metrics = head.metrics()
    with torch.no_grad():
        for i in range(2):
            inputs, labels = rows(batches[i] if i < len(batches) else range(1))
            logits = network(inputs)
            if i < len(batches):
                head.update_metrics(metrics, logits=logits, labels=labels)
    return {"metrics": metrics.compute()}


def a_resumed_run(rank: int) -> dict[str, Any]:
    def begin(seed: int) -> tuple[nn.Module, th.MultiHead, torch.optim.Optimizer]:
        network, head = a_network(), a_head()
        torch.manual_seed(seed)
        for parameter in network.parameters():
            nn.init.normal_(parameter)
        shard(network)
        head.metric_collection.persistent(True)
        return network, head, torch.optim.Adam(network.parameters())

    def go_on(half: range, network: nn.Module, head: th.MultiHead, optimizer: Any) -> None:
        optimizer.zero_grad()
        inputs, labels = rows(half)
        logits = network(inputs)
        head.loss(labels, logits).backward()
        optimizer.step()
        head.update_metrics(logits=logits, labels=labels)

    def states(run: Any) -> dict[str, Any]:
        network, head, optimizer = run
        weights, moments = get_state_dict(network, optimizer)
        return {"network": weights, "optimizer": moments, f"head {rank}": head.state_dict()}

    first, second = begin(seed=1), begin(seed=2)
    go_on(HALVES[rank], *first)
    dcp.save(states(first), checkpoint_id="checkpoint")
    kept = states(second)
    dcp.load(kept, checkpoint_id="checkpoint")
    set_state_dict(
        second[0],
        second[2],
        model_state_dict=kept["network"],
        optim_state_dict=kept["optimizer"],
    )
    second[1].load_state_dict(kept[f"head {rank}"])
    for run in (first, second):
        go_on(HALVES[1 - rank], *run)
    return {
        name: {"parameters": gathered(run[0]), "metrics": run[1].metric_collection.compute()}
        for name, run in (("uninterrupted", first), ("resumed", second))
    }


SCENARIOS = [
    a_step,
    a_step_with_absent_heads,
    a_step_in_half_precision,
    a_model_that_holds_its_head,
    labels_through_a_sharded_forward,
    uneven_evaluation,
    a_resumed_run,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with what two processes saved."""
    path = tmp_path_factory.mktemp("fsdp")
    processes.run(SCENARIOS, path)
    return path


# ---- the same in one process ----


def assert_same(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)


def metrics_of(*batches: tuple[Tensor, dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the metrics of batches of logits and labels."""
    head = a_head()
    for logits, labels in batches:
        head.update_metrics(logits=logits, labels=labels)
    return head.metric_collection.compute()


def assert_a_step_of_one_process(
    found: Sequence[dict[str, Any]], without: Sequence[Sequence[str]] = ((), ())
) -> None:
    """Compare with the mean of the halves' losses, as data parallelism takes it."""
    network, head = a_network(), a_head()
    halves = [rows(half, names) for half, names in zip(HALVES, without, strict=True)]
    batches = [(network(inputs), labels) for inputs, labels in halves]
    losses = [head.loss(labels, logits) for logits, labels in batches]
    metrics = metrics_of(*batches)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    step(network, (losses[0] + losses[1]) / 2)
    assert all((before[name] != p).any() for name, p in network.named_parameters())
    for result, loss in zip(found, losses, strict=True):
        assert_same(result["loss"], loss.detach())
        assert_same(result["parameters"], dict(network.state_dict()))
        assert_same(result["metrics"], metrics)


def test_a_step_on_a_sharded_network_is_that_of_one_process(folder: Path) -> None:
    found = results(folder, a_step)
    assert_a_step_of_one_process(found)
    whole = a_network()
    inputs, labels = rows(range(ROWS))
    loss = a_head().loss(labels, whole(inputs))
    assert_same((found[0]["loss"] + found[1]["loss"]) / 2, loss.detach())  # all labels are there
    step(whole, loss)
    for result in found:
        assert_same(result["parameters"], dict(whole.state_dict()))
        assert_same(result["servable"], nn.Sequential(whole, a_head())(inputs))


def test_heads_may_lack_labels_in_one_process(folder: Path) -> None:
    assert_a_step_of_one_process(results(folder, a_step_with_absent_heads), LACKING)


def test_a_model_may_be_sharded_with_its_head_inside(folder: Path) -> None:
    found = results(folder, a_model_that_holds_its_head)
    assert_a_step_of_one_process(found)
    for result in found:
        assert all(type(state) is Tensor for state in result["states"])


def test_half_precision_leaves_losses_and_metrics_exact(folder: Path) -> None:
    found = results(folder, a_step_in_half_precision)
    batches = []
    for half, result in zip(HALVES, found, strict=True):
        labels = rows(half)[1]
        assert result["logits"].dtype == torch.bfloat16
        assert result["loss"].dtype == torch.float32
        assert_same(result["loss"], a_head().loss(labels, result["logits"].float()))
        batches.append((result["logits"].float(), labels))
    metrics = metrics_of(*batches)
    for result in found:
        assert {state.dtype for state in result["states"]} == {torch.float64}
        assert_same(result["metrics"], metrics)
        assert {values.dtype for values in result["parameters"].values()} == {torch.float32}


def test_labels_that_pass_a_sharded_forward_keep_their_dtype_only_if_asked(folder: Path) -> None:
    mean = rows(range(ROWS))[1]["ink"].mean()
    for result in results(folder, labels_through_a_sharded_forward):
        assert abs(result[True]["label/mean/ink"] - mean) > 1e-5
        assert_same(result[False]["label/mean/ink"], mean)


def test_an_evaluation_counts_each_row_once_where_batches_are_uneven(folder: Path) -> None:
    network = a_network()
    batches = [rows(which) for which in (range(3), range(3, 5), range(5, 8))]
    metrics = metrics_of(*[(network(inputs), labels) for inputs, labels in batches])
    for result in results(folder, uneven_evaluation):
        assert_same(result["metrics"], metrics)


def test_a_run_resumed_from_a_distributed_checkpoint_goes_on_alike(folder: Path) -> None:
    for result in results(folder, a_resumed_run):
        assert_same(result["resumed"], result["uninterrupted"])
