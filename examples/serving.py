"""From training to an answer over HTTP: digits on a server, and one question by curl.

Trains a small network with three heads, exports it, starts the server on the folder and asks it.
"""

import argparse
import json
import shutil
import subprocess
import sys
import urllib.request

import torch
from digits_data import NAMES, Backbone, read
from rich.progress import track
from torch import nn

import torch_heads as th
from torch_heads.integrations.serving import export_bundle


def train(epochs):
    """Return a trained model, and a scan that it has not seen."""
    torch.manual_seed(0)
    scans, labels = read()
    head = th.MultiHead(
        [
            th.MultiClassHead(n_classes=10, label_vocabulary=NAMES, name="digit"),
            th.BinaryClassHead(name="even", label_vocabulary=["odd", "even"]),
            th.RegressionHead(name="ink"),
        ],
        head_weights=[1.0, 1.0, 0.1],
    )
    network = nn.Sequential(Backbone(width=128), nn.Linear(128, head.logits_dimension))
    optimizer = torch.optim.Adam(network.parameters())
    for _ in track(range(epochs), description="Training"):
        for rows in torch.randperm(len(scans) - 1).split(64):
            optimizer.zero_grad()
            own = {name: labels[name][rows] for name in head}
            head.loss(own, network(scans[rows])).backward()
            optimizer.step()
    return nn.Sequential(network, head), scans[-1]


def ask(url, body):
    """Print a question as curl asks it, and the answer."""
    command = ["curl", "--silent", "--data", json.dumps(body), url]
    print(f"\n$ curl --silent --data '{json.dumps(body)[:60]}...' {url}")
    if shutil.which("curl"):
        text = subprocess.run(command, capture_output=True, check=True).stdout
    else:
        with urllib.request.urlopen(url, json.dumps(body).encode()) as response:
            text = response.read()
    print(text.decode())


def main(epochs, output):
    model, scan = train(epochs)
    path = export_bundle(model, output, torch.zeros(2, 1, 8, 8))
    print(f"Exported to {path}")
    command = [sys.executable, "-m", "torch_heads", "serve", str(path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        line = server.stdout.readline().strip()
        print(line)
        try:
            url = f"{line.split()[-1]}/v1/models/{path.name}"
            instances = [scan.tolist()]
            ask(f"{url}:predict", {"signature_name": "digit/predict", "instances": instances})
            ask(f"{url}:predict", {"signature_name": "ink", "instances": instances})
        finally:
            server.terminate()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--output", default="runs/digits-bundle", help="the bundle's folder")
    main(**vars(parser.parse_args()))
