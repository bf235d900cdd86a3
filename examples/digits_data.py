"""The scans, their labels and the backbone of `digits.py` and `digits.yaml`."""

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
LIT = ["abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg"]


class Backbone(nn.Sequential):
    """Features of scans ``[B, 1, 8, 8]``: ``[B, width]``."""

    def __init__(self, width: int = 128, dropout: float = 0.0) -> None:
        super().__init__(
            convolution(1, 32),
            convolution(32, 64),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, width),
            nn.ReLU(),
            nn.Dropout(dropout),
        )


def convolution(inputs, outputs):
    layer = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


def read():
    """Return the 1,797 scans that come with scikit-learn, and five labels of each."""
    pixels, digits = load_digits(return_X_y=True)  # grey levels from 0, paper, to 16, ink
    labels = {
        "digit": np.array(NAMES)[digits],
        "even": digits % 2 == 0,
        "segments": np.array([[bar in lit for bar in "abcdefg"] for lit in LIT])[digits],
        "ink": pixels.mean(axis=1),
        "dark": (pixels > 8).sum(axis=1),
    }
    return torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8), labels


class Digits(LightningDataModule):
    """The scans, of which a fifth is held out."""

    def __init__(self, batch_size: int = 64) -> None:
        super().__init__()
        self.batch_size = batch_size

    def setup(self, stage: str) -> None:
        """Read the scans, and cut them in two."""
        scans, labels = read()
        rows = [
            {"inputs": scan, "labels": {name: values[i] for name, values in labels.items()}}
            for i, scan in enumerate(scans)
        ]
        self.rows, self.held_out = train_test_split(rows, test_size=0.2, random_state=0)

    def train_dataloader(self) -> DataLoader:
        """Shuffle anew in every epoch."""
        return DataLoader(self.rows, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        """Return the scans that are held out."""
        return DataLoader(self.held_out, batch_size=self.batch_size)

    test_dataloader = predict_dataloader = val_dataloader
