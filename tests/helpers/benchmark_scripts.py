"""Imports the scripts of benchmarks/, and gives them small data instead of Fashion-MNIST."""

import importlib
from pathlib import Path

import pytest
import torch

from dal.data.images import ImageData, ImageSplits, TensorSource
from dal.data.sets.fashion_mnist import CLASSES, FashionMNIST

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PEERS = ("baal", "structlog", "skactiveml", "small_text")
"""Packages that only comparisons need."""


def imported(name):
    """Import a script, or skip the test if the script needs a peer that is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if str(error.name).partition(".")[0] not in PEERS:
                raise
            pytest.skip(f"{error.name} is not installed")


def use_small_fashion(monkeypatch, cache, train=600, pool=540, test=60):
    """Replace Fashion-MNIST by noise; the networks of fashion.py train on the images after the pool."""
    fashion = imported("fashion")
    splits = ImageSplits(_noise("train", train), _noise("test", test))
    monkeypatch.setattr(FashionMNIST, "read", lambda config: splits)
    monkeypatch.setattr(fashion, "splits", lambda: splits)
    monkeypatch.setattr(fashion, "CACHE", cache)
    monkeypatch.setattr(fashion, "POOL", pool)


def _noise(split, count):
    g = torch.Generator().manual_seed(count)
    pixels = torch.randint(0, 256, (count, 1, 28, 28), dtype=torch.uint8, generator=g)
    ids = [f"{split}-{i}" for i in range(count)]
    return ImageData("noise", TensorSource(pixels), ids, torch.arange(count) % 10, CLASSES, mean=[0.5], std=[0.3])
