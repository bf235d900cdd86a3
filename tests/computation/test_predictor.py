"""Stacked predictions are those of the heads, side by side."""

import torch

import torch_heads as th
from tests.cases import Case, every_case
from torch_heads.computation.predictor import Part


def part_of(values: torch.Tensor, part: Part) -> torch.Tensor:
    if part.width is None:
        return values[..., part.start : part.stop]
    own = values[..., part.start : part.stop, : part.width]
    return own.flatten(-2) if part.flat else own


@every_case
def test_the_parts_of_stacked_predictions_are_those_of_the_heads(
    case: Case, device: torch.device
) -> None:
    head, logits = case.head(device), case.batch.to(device).logits
    expected, keys = head(logits), head.computation.flat_keys.full
    found = {
        keys[part.target][stacked.key]: part_of(stacked.values, part)
        for stacked in head.computation.stack(logits)
        for part in stacked.parts
    }
    assert found.keys() == expected.keys()
    torch.testing.assert_close(found, {key: expected[key] for key in found}, rtol=0, atol=0)


def test_many_heads_of_one_family_are_few_tensors() -> None:
    heads = [th.BinaryClassHead(name=f"b{i}") for i in range(20)]
    heads += [th.MultiLabelHead(3, name=f"l{i}") for i in range(20)]
    stacked = list(th.MultiHead(heads).computation.stack(torch.zeros(2, 80)))
    assert [one.key for one in stacked] == [
        "logits",
        "logistic",
        "probabilities",
        "class_ids",
        "all_class_ids",
        "probabilities",
    ]
    assert stacked[1].values.shape == (2, 80)
