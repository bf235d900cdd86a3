"""Five questions about a handwritten digit, answered by one small network.

Which digit is it? Is it even? Which bars of a seven-segment display does it light? How much ink
is on the scan, and how many of its 64 pixels are dark? The 1,797 scans come with scikit-learn.
"""

import argparse

import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import torch_heads as th

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
LIT = ["abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg"]


def main(epochs, output):
    torch.manual_seed(0)
    pixels, digits = load_digits(return_X_y=True)  # grey levels from 0, paper, to 16, ink
    scans = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8)
    labels = {
        "digit": np.array(NAMES)[digits],
        "even": digits % 2 == 0,
        "segments": np.array([[bar in lit for bar in "abcdefg"] for lit in LIT])[digits],
        "ink": pixels.mean(axis=1),
        "dark": (pixels > 8).sum(axis=1),
    }
    train, test = train_test_split(torch.arange(len(digits)), test_size=0.2, random_state=0)

    def batches(rows):
        for batch in rows.split(64):
            yield scans[batch], {name: values[batch] for name, values in labels.items()}

    head = th.MultiHead(
        [
            th.MultiClassHead(n_classes=10, label_vocabulary=NAMES, name="digit"),
            th.BinaryClassHead(thresholds=[0.1, 0.5, 0.9], name="even"),
            th.MultiLabelHead(n_classes=7, thresholds=[0.5], name="segments"),
            th.RegressionHead(name="ink"),
            th.PoissonRegressionHead(name="dark"),
        ],
        head_weights=[1.0, 1.0, 1.0, 0.1, 0.1],
    )
    backbone = nn.Sequential(convolution(1, 32), convolution(32, 64), nn.MaxPool2d(2), nn.Flatten())
    neck = nn.Sequential(nn.Linear(64 * 4 * 4, 128), nn.ReLU())
    network = nn.Sequential(backbone, neck, nn.Linear(128, head.logits_dimension))
    optimizer = torch.optim.Adam(network.parameters())

    for _ in track(range(epochs), description="Training"):
        for x, y in batches(train[torch.randperm(len(train))]):
            optimizer.zero_grad()
            head.loss(y, network(x)).backward()
            optimizer.step()

    network.eval()
    metrics = head.metrics()
    with torch.inference_mode():
        for x, y in batches(test):
            head.update_metrics(metrics, logits=network(x), labels=y)
        certainty = head(network(scans[test]))["digit/probabilities"].amax(dim=-1)
        x, y = next(batches(test[certainty.argsort()[:10]]))
        answers = head.predictions(network(x))
    predicted = {
        "digit": answers["digit", "classes"],
        "even": answers["even", "logistic"],
        "segments": answers["segments", "probabilities"],
        "ink": answers["ink", "predictions"],
        "dark": answers["dark", "predictions"],
    }

    Console().print(table(metrics.compute(), heads=list(labels)))
    picture(x, predicted, truth=y).savefig(output)
    Console().print(f"The ten scans it was least sure of: {output}")


def convolution(inputs, outputs):
    layer = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


def table(metrics, heads):
    """Lay the metrics out by kind and head."""
    grid = Table("metric", *(Column(head, justify="right") for head in heads))
    for metric in dict.fromkeys(key.rpartition("/")[0] for key in metrics):
        values = (metrics.get(f"{metric}/{head}") for head in heads)
        grid.add_row(metric, *("" if value is None else f"{value:.3f}" for value in values))
    return grid


def picture(scans, predicted, truth):
    """Draw each scan above what is predicted of it and what is true."""
    starts = [(0, 2), (1, 2), (1, 1), (1, 0), (0, 0), (0, 1), (0, 1)]
    ends = [(1, 2), (1, 1), (1, 0), (0, 0), (0, 1), (0, 2), (1, 1)]
    figure = Figure(figsize=(14, 4), dpi=120, layout="constrained")
    figure.suptitle("The held-out scans it was least sure of: predicted in blue, true in black")
    for n, (above, below) in enumerate(figure.subplots(2, len(scans)).T):
        above.imshow(scans[n, 0].numpy(), cmap="gray_r")
        for x, colour, of in (0, "#0072b2", predicted), (2, "black", truth):
            bars = np.stack([starts, ends], axis=1) + np.array([x, 0])
            lit = of["segments"][n].tolist()
            below.add_collection(LineCollection(bars, linewidth=5, color="0.93"))
            below.add_collection(LineCollection(bars, linewidth=5, color=colour, alpha=lit))
            digit, even, ink, dark = (of[k][n].item() for k in ("digit", "even", "ink", "dark"))
            text = f"{digit}\n{even:.2f}\n{ink:.1f}\n{dark:.0f}"
            below.text(x + 0.5, -0.5, text, color=colour, ha="center", va="top")
        if n == 0:
            below.text(-0.8, -0.5, "digit\neven\nink\ndark", ha="right", va="top")
        below.set(xlim=(-0.5, 3.5), ylim=(-3, 2.2), aspect="equal")
        above.set_axis_off()
        below.set_axis_off()
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--output", default="digits.png", help="where the picture goes")
    main(**vars(parser.parse_args()))
