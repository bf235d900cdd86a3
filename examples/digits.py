"""Five questions about a handwritten digit, answered by one small network.

Which digit is it? Is it even? Which bars of a seven-segment display does it light? How much ink
is on the scan, and how many of its 64 pixels are dark? The 1,797 scans come with scikit-learn.
"""

import argparse

import torch
from digits_data import NAMES, Backbone, read
from digits_picture import picture
from rich.progress import track
from sklearn.model_selection import train_test_split
from torch import nn

import torch_heads as th
from torch_heads.integrations.report import print_report


def main(epochs, output):
    torch.manual_seed(0)
    scans, labels = read()
    train, test = train_test_split(torch.arange(len(scans)), test_size=0.2, random_state=0)

    def batches(rows):
        for batch in rows.split(64):
            yield scans[batch], {name: values[batch] for name, values in labels.items()}

    head = th.MultiHead(
        [
            th.MultiClassHead(10, label_vocabulary=NAMES, name="digit", metrics=["f1_macro"]),
            th.BinaryClassHead(thresholds=[0.1, 0.5, 0.9], name="even", metrics=["f1"]),
            th.MultiLabelHead(n_classes=7, thresholds=[0.5], name="segments"),
            th.RegressionHead(name="ink", metrics=["r2"]),
            th.PoissonRegressionHead(name="dark"),
        ],
        head_weights=[1.0, 1.0, 1.0, 0.1, 0.1],
    )
    network = nn.Sequential(Backbone(width=128), nn.Linear(128, head.logits_dimension))
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

    print_report(head, metrics)
    picture(x, predicted, truth=y).savefig(output)
    print(f"The ten scans it was least sure of: {output}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--output", default="digits.png", help="where the picture goes")
    main(**vars(parser.parse_args()))
