"""Inputs of the benchmarks: Fashion-MNIST images, trained networks, and their features.

    python benchmarks/fashion.py

creates all inputs in advance. Otherwise, the benchmarks create missing inputs. The images come from the Debian package
dataset-fashion-mnist or from data/fashion_mnist. Trained weights and features are cached in runs/benchmarks/, which git
ignores; delete that folder to recreate them. Each network trains for about a minute on the last 10,000 training images.
The first 50,000 are the pool and stay unseen.
"""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from dal import Classifier
from dal.data import load
from dal.data.images import ImageData, ImageSplits, TensorSource
from dal.data.sets.fashion_mnist import FashionMNIST
from dal.models.backbones import Backbone, SmallCNN, build_backbone
from dal.runs.files.atomic import replacing, save_tensors
from dal.runtime.seeding import isolated_rng

CACHE = Path(__file__).parents[1] / "runs" / "benchmarks"
POOL = 50_000
SEED = 0


class WideCNN(Backbone):
    """SmallCNN without dropout and with 512 features."""

    num_features = 512

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 7 * 7, 512),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x)
        return features


@cache
def splits() -> ImageSplits:
    return load(FashionMNIST())


def test_images(count: int) -> tuple[ImageData, Tensor]:
    """Return the first test images for dal, the floor and the peers.

    dal reads ImageData; the floor and the peers read a normalized tensor.
    """
    test = splits().test
    assert test is not None
    data = test.subset(range(min(count, len(test))))
    return data, data.plain(range(len(data)))


def color_images(count: int) -> tuple[ImageData, Tensor]:
    """Return test images of shape 3 x 32 x 32, as CIFAR.

    The images are padded by two pixels and repeated to three channels.
    """
    grey, _ = test_images(count)
    pixels = pad(grey.source.batch(range(len(grey))), (2, 2, 2, 2)).repeat(1, 3, 1, 1)
    data = ImageData("fashion32", TensorSource(pixels), grey.ids, grey.labels, grey.classes, mean=[0.5], std=[0.5])
    return data, data.plain(range(len(data)))


def small_classifier() -> Classifier:
    """Return dal's trained Classifier with SmallCNN in eval mode."""
    with isolated_rng(SEED, "small"):
        model = Classifier(SmallCNN(1, (28, 28)), num_classes=10)
    return _trained("small_cnn", model, epochs=3)


def resnet18(num_classes: int = 10) -> Classifier:
    """Return an untrained ResNet-18 with a stem for small images.

    The weights do not affect the time.
    """
    with isolated_rng(SEED, "resnet18"):
        return Classifier(build_backbone("resnet18_cifar", (3, 32, 32)), num_classes).eval()


def features_and_probs() -> tuple[Tensor, Tensor]:
    """Return float32 features and probabilities of the trained WideCNN.

    Their shapes are (60000, 512) and (60000, 10).
    """
    paths = [CACHE / "fashion_features.npy", CACHE / "fashion_probs.npy"]
    if not all(path.exists() for path in paths):
        with isolated_rng(SEED, "wide"):
            model = Classifier(WideCNN(), num_classes=10, dropout=0.0)
        model = _trained("wide_cnn", model, epochs=8)
        with torch.inference_mode():
            chunks = [model.backbone(_train_images(c)) for c in torch.arange(len(splits().train)).split(1000)]
            features = torch.cat(chunks)
            probs = model.head(features).softmax(dim=1)
        for path, values in zip(paths, (features, probs), strict=True):
            with replacing(path) as file:
                np.save(file, values.numpy())
    features, probs = (torch.from_numpy(np.load(path)) for path in paths)
    return features, probs


def normal_features(count: int, width: int, seed: int = SEED) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def made_up_probs(features: Tensor, num_classes: int, seed: int = SEED) -> Tensor:
    """Return probabilities of a random last layer.

    They are about as confident as those of a trained one.
    """
    g = torch.Generator().manual_seed(seed + 1)
    weights = torch.randn(features.shape[1], num_classes, generator=g) * 3 / features.shape[1] ** 0.5
    return (features @ weights).softmax(dim=1)


def _train_images(indices: Tensor) -> Tensor:
    return splits().train.plain(indices.tolist())


def _trained(name: str, model: Classifier, epochs: int) -> Classifier:
    """Load the network from the cache, or train it.

    Training uses Adam and the last 10,000 training images.
    """
    path = CACHE / f"{name}.pt"
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval()
    train = splits().train
    wanted = torch.arange(POOL, len(train))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with isolated_rng(SEED, name, "training"):
        model.train()
        for _ in range(epochs):
            for batch in wanted[torch.randperm(len(wanted))].split(64):
                loss = cross_entropy(model(_train_images(batch)), train.labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    CACHE.mkdir(parents=True, exist_ok=True)
    save_tensors(path, model.state_dict())
    return model.eval()


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    data, images = test_images(10_000)
    model = small_classifier()
    with torch.inference_mode():
        right = (model(images).argmax(dim=1) == data.labels).float().mean()
    print(f"small_cnn: test accuracy {right:.3f}")
    features, probs = features_and_probs()
    right = (probs.argmax(dim=1) == splits().train.labels)[:POOL].float().mean()
    print(f"wide_cnn: features {tuple(features.shape)}, accuracy on the pool {right:.3f}")


if __name__ == "__main__":
    main()
