"""Small real data and quick training, for the tests of the loop."""

import os
import signal

# Two test processes with a thread a core each would wait for one another most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from helpers import shared_helpers, synthetic_runs

from dal.data import ImageData, TensorSource
from dal.models import Classifier
from dal.models.backbones import SmallCNN
from dal.training import TrainingConfig

CLASSES = ("bright", "left", "top")


def toy_images(count, seed=0):
    """(count, 1, 8, 8) noise with a bright square, left half or top half; and the classes."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count,), generator=g)
    images = torch.randint(0, 120, (count, 1, 8, 8), generator=g)
    for image, label in zip(images, labels, strict=True):
        part = [image[:, 2:6, 2:6], image[:, :, :4], image[:, :4, :]][int(label)]
        part += 100
    return images.to(torch.uint8), labels


def toy_data(count=90, seed=0):
    images, labels = toy_images(count, seed)
    ids = [f"toy-{i:03d}" for i in range(count)]
    return ImageData("toy", TensorSource(images), ids, labels, CLASSES, mean=[0.4], std=[0.25])


def toy_model():
    return Classifier(SmallCNN(1, (8, 8)), num_classes=3, lr=3e-3)


@pytest.fixture(scope="session", autouse=True)
def sigint_arrives():
    """A shell ignores SIGINT for what it starts in the background, and all that the tests start inherits that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def data():
    return toy_data()


@pytest.fixture
def test_data():
    return toy_data(60, seed=1)


@pytest.fixture
def new_model():
    return toy_model


@pytest.fixture
def quick():
    return TrainingConfig(batch_size=16, min_updates=5, max_updates=20, check_every=10)


@pytest.fixture(scope="session")
def shared():
    """tests/helpers/shared_helpers.py"""
    return shared_helpers


@pytest.fixture(scope="session")
def synthetic():
    """tests/helpers/synthetic_runs.py"""
    return synthetic_runs
