"""Six heads of one small network, and what each learns of simulated data, drawn."""

import argparse

import matplotlib.pyplot as plt
import torch
from torch import nn

import torch_heads as th

ROWS, STEPS = 4000, 600
CUTS = [0.5 * i for i in range(1, 13)]


def simulate(x):
    """Return a label of each kind, whose distribution depends on x."""
    noise, wave = torch.randn(ROWS), torch.sin(4 * x)
    gamma = torch.distributions.Gamma(2.0, 2.0).sample((ROWS,))
    death, lost = -4 * torch.rand(ROWS).log() * torch.exp(-2 * x), 8 * torch.rand(ROWS)
    return {
        "quantiles": wave + 0.5 * x * noise.abs(),
        "height": wave + (0.1 + 0.5 * x) * noise,
        "visits": torch.poisson(3 * torch.exp(1.5 * x) * gamma),
        "spent": torch.exp(1 + x + 0.5 * noise) * (torch.rand(ROWS) < x),
        "grade": torch.bucketize(3 * x + 0.8 * noise, torch.tensor([0.5, 1.5, 2.5])),
        "time": torch.stack([torch.minimum(death, lost), (death <= lost).float()], dim=-1),
    }


def main(output):
    torch.manual_seed(0)
    head = th.MultiHead(
        [
            th.QuantileRegressionHead((0.1, 0.5, 0.9), name="quantiles"),
            th.GaussianRegressionHead(name="height"),
            th.NegativeBinomialRegressionHead(name="visits"),
            th.ZeroInflatedLogNormalHead(name="spent"),
            th.OrdinalClassHead(4, name="grade"),
            th.SurvivalHead(CUTS, name="time"),
        ]
    )
    x = torch.rand(ROWS)
    labels = simulate(x)
    network = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, head.logits_dimension))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(STEPS):
        optimizer.zero_grad()
        head.loss(labels, network(x.unsqueeze(-1))).backward()
        optimizer.step()

    grid = torch.linspace(0, 1, 101)
    with torch.no_grad():
        logits = network(grid.unsqueeze(-1))
        predicted, own = head(logits), head.as_logits(logits)
    figure, axes = plt.subplots(2, 3, figsize=(10, 5.5), layout="constrained")
    for axis, name in zip(axes.flat, head, strict=True):
        axis.set_title(type(head[name]).__name__, fontsize=9)
        if name == "grade":
            axis.stackplot(grid, predicted["grade/probabilities"].T, labels=["0", "1", "2", "3"])
        elif name == "time":
            for i in [10, 50, 90]:
                curve = [1, *predicted["time/survival"][i]]
                axis.plot([0, *CUTS], curve, label=f"x = {grid[i]:.1f}")
        else:
            low, high = head[name].interval(own[name], 0.8)
            axis.scatter(x[:600], labels[name][:600], s=2, color="0.7")
            axis.fill_between(grid, low[:, 0], high[:, 0], alpha=0.3, label="80 % of labels")
            axis.plot(grid, predicted[f"{name}/predictions"], label="predictions")
        axis.legend(fontsize=7)
    figure.savefig(output, dpi=72)
    print(f"What {len(head)} heads learned of {ROWS:,} rows: {output}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default="heads.png", help="where the picture goes")
    main(**vars(parser.parse_args()))
