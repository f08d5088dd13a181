"""Scores made-up images again and again, for dense_speed.py, with the version of dal on PYTHONPATH.

This module has no command: see dense_speed.py. It uses only names that versions before segmentation have.
"""

from __future__ import annotations

import sys
import time

import torch

from dal.acquisition import BADGE, BALD, Margin
from dal.acquisition.base import AcquisitionFunction
from dal.data.images import ImageData, TensorSource
from dal.models import Classifier
from dal.models.adapt import as_adapted
from dal.models.backbones import SmallCNN
from dal.scoring.model_pass import ModelPass
from dal.scoring.select import summarize_points

FUNCTIONS: dict[str, AcquisitionFunction] = {"margin": Margin(), "bald, 20 draws": BALD(20), "badge": BADGE()}


class Work:
    """Passes over images that are made once."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, ...], tuple[ModelPass, ImageData]] = {}

    def __call__(self, order: str) -> float:
        """Return the CPU seconds of an order: a function, the number of passes, of images, and their side."""
        name, count, *sizes = order.split("|")
        if tuple(sizes) not in self._made:
            self._made[tuple(sizes)] = _inputs(*map(int, sizes))
        passes, data = self._made[tuple(sizes)]
        start = time.process_time()
        for _ in range(int(count)):
            summarize_points(passes, FUNCTIONS[name], (data, torch.arange(len(data))), seed=0)
        return time.process_time() - start


def serve() -> None:
    """Print the CPU seconds of each order, a line of the input."""
    torch.set_num_threads(1)
    work = Work()
    for line in sys.stdin:
        print(work(line.rstrip("\n")), flush=True)


def _inputs(images: int, side: int) -> tuple[ModelPass, ImageData]:
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (images, 1, side, side), dtype=torch.uint8)
    labels, ids = torch.arange(images) % 10, [str(i) for i in range(images)]
    data = ImageData("made up", TensorSource(pixels), ids, labels, list("abcdefghij"), mean=[0.5], std=[0.3])
    return ModelPass(as_adapted(Classifier(SmallCNN(1, (side, side)), num_classes=10).eval())), data


if __name__ == "__main__":
    serve()
