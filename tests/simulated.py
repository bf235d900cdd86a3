"""What is learned from simulated data: a head on a linear layer, fitted to its optimum."""

from typing import Any

import torch
from torch import Tensor, nn

import torch_heads as th


def fitted(head: th.Head, inputs: Tensor, labels: Any, steps: int = 200) -> nn.Linear:
    """Return a linear layer in float64, fitted to a head by L-BFGS from zeros."""
    layer = nn.Linear(inputs.shape[-1], head.logits_dimension).double()
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(
        layer.parameters(), max_iter=steps, line_search_fn="strong_wolfe", tolerance_change=1e-12
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = head.loss(labels, layer(inputs))
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return layer
