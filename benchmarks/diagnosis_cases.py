"""Manipulated campaigns whose truth is known, for diagnosis.py.

This module has no command: see diagnosis.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dal import ActiveLearner, Classifier, run
from dal.acquisition import Margin
from dal.data import ImageData, load
from dal.data.sets.digits import Digits
from dal.data.sets.fashion_mnist import FashionMNIST
from dal.labeling.oracle import DatasetOracle, NoisyOracle, Oracle
from dal.models.backbones import SmallCNN
from dal.models.backbones.base import Backbone
from dal.runs.diagnosis import DiagnosisConfig
from dal.runs.folder import RunFolder
from dal.runs.round import Round
from dal.stopping import CampaignConfig
from dal.training import TrainingConfig

POISONED, DRY_FROM, RENAMED_FROM, NEW_LAYER = 8, 5, 7, 5
"""Rounds of the manipulations."""
RARE = 20
"""Images of a class that is rare from the start."""


@dataclass(frozen=True)
class Sizes:
    """How large the campaigns are."""

    initial: int = 20
    query: int = 20
    budget: int = 300
    train: int | None = None
    test: int | None = None
    lr: float = 3e-3


SIZES = {
    "digits": Sizes(),
    "fashion_mnist": Sizes(initial=50, query=50, budget=750, train=6000, test=2000, lr=1e-3),
}


@dataclass
class Problem:
    """One campaign to run, and what is true of it."""

    train: ImageData
    test: ImageData
    oracle: Oracle
    truth: dict[str, Any] = field(default_factory=dict)
    backbone: Callable[[], Backbone] | None = None
    hook: Callable[[ActiveLearner, int], None] | None = None
    """Called after each round with its number."""
    dropout: float = 0.5
    checks: int = 0
    campaign: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


class Renaming:
    """An oracle that from some round on calls one class another."""

    def __init__(self, data: ImageData, old: int, new: int) -> None:
        self._oracle, self._old, self._new = DatasetOracle(data), old, new
        self.active = False

    def answerable(self) -> Tensor:
        return self._oracle.answerable()

    def __call__(self, indices: Sequence[int]) -> list[int]:
        answers = self._oracle(indices)
        return [self._new if self.active and one == self._old else one for one in answers]


class Poisoning:
    """An oracle whose answers are all wrong in one round."""

    def __init__(self, data: ImageData, seed: int) -> None:
        self._oracle, self._wrong = DatasetOracle(data), NoisyOracle(data, 1.0, seed)
        self.active = False

    def answerable(self) -> Tensor:
        return self._oracle.answerable()

    def __call__(self, indices: Sequence[int]) -> list[int]:
        return (self._wrong if self.active else self._oracle)(indices)


class ScaledCNN(Backbone):
    """SmallCNN with another number of channels; 16 channels are SmallCNN's. ``blocks`` residual blocks follow."""

    def __init__(self, channels: int, shape: tuple[int, int, int], blocks: int = 0) -> None:
        super().__init__()
        self.num_features = 8 * channels
        in_channels, height, width = shape
        self.conv1, self.conv2 = (
            nn.Conv2d(in_channels, channels, 3, padding=1),
            nn.Conv2d(channels, 2 * channels, 3, padding=1),
        )
        self.blocks = nn.ModuleList([ResidualBlock(2 * channels) for _ in range(blocks)])
        self.dropout = nn.Dropout(0.25)
        self.dense = nn.Linear(2 * channels * (height // 4) * (width // 4), self.num_features)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(self.conv1(x).relu(), 2)
        x = nn.functional.max_pool2d(self.conv2(x).relu(), 2)
        for block in self.blocks:
            x = block(x)
        return self.dense(self.dropout(x.flatten(1))).relu()


class Perceptron(Backbone):
    """One hidden layer, which learns wrong labels by heart without dropout and augmentation."""

    num_features = 64

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = shape
        self.dense = nn.Linear(channels * height * width, self.num_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(x.flatten(1)).relu()


class ResidualBlock(nn.Module):
    """x + f(x), which starts near the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.normal_(self.conv.weight, std=1e-3)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x.relu())


def splits_of(name: str, seed: int) -> tuple[ImageData, ImageData]:
    """Return training and test images; those of Fashion-MNIST are a random part."""
    sizes = SIZES[name]
    train, test = load(Digits() if name == "digits" else FashionMNIST())
    assert test is not None
    g = torch.Generator().manual_seed(seed)
    if sizes.train:
        train = train.subset(torch.randperm(len(train), generator=g)[: sizes.train].sort().values.tolist())
    if sizes.test:
        test = test.subset(torch.randperm(len(test), generator=g)[: sizes.test].sort().values.tolist())
    return train, test


def clean(name: str, seed: int) -> Problem:
    train, test = splits_of(name, seed)
    return Problem(train, test, DatasetOracle(train))


def twins(name: str, seed: int, share: float = 1.0) -> Problem:
    """A random half of one class is called another, whose own images leave (all, or this share of the class).

    The halves are random, because digits are in the order of their writers.
    """
    a, b = _two_classes(seed)
    g = torch.Generator().manual_seed(seed)
    parts = []
    for data in splits_of(name, seed):
        labels = data.labels.clone()
        own, other = ((labels == number).nonzero().flatten() for number in (b, a))
        own, other = (found[torch.randperm(len(found), generator=g)] for found in (own, other))
        moved = other[: len(other) // 2]
        kept = own[: len(own) - round(share * len(own))]
        if share < 1:
            moved = moved[: round(share * len(moved))]
        labels[moved] = b
        gone = set(own.tolist()) - set(kept.tolist())
        renamed = replace(data, labels=labels)
        parts.append(renamed.subset([i for i in range(len(data)) if i not in gone]))
    train, test = parts
    pair = sorted((a, b))
    return Problem(train, test, DatasetOracle(train), {"twins": pair} if share == 1 else {"half_twins": pair})


def half_twins(name: str, seed: int) -> Problem:
    return twins(name, seed, share=0.5)


def dry(name: str, seed: int) -> Problem:
    """A class leaves the pool before round DRY_FROM."""
    problem, (gone, _) = clean(name, seed), _two_classes(seed)

    def hook(learner: ActiveLearner, round: int) -> None:
        if round == DRY_FROM - 1:
            left = learner.pool.unlabeled
            learner.pool.exclude(left[learner.data.labels[left] == gone].tolist())

    return replace(problem, truth={"dry": gone}, hook=hook)


def rare(name: str, seed: int) -> Problem:
    """One class has RARE images from the start."""
    train, test = splits_of(name, seed)
    few, _ = _two_classes(seed)
    train = _thinned(train, [few], RARE)
    return Problem(train, test, DatasetOracle(train), {"rare": few})


def renamed(name: str, seed: int) -> Problem:
    """From round RENAMED_FROM on, people call one class another."""
    train, test = splits_of(name, seed)
    old, new = _two_classes(seed)
    oracle = Renaming(train, old, new)

    def hook(learner: ActiveLearner, round: int) -> None:
        oracle.active = round >= RENAMED_FROM - 1

    return Problem(train, test, oracle, {"lost": old, "from": RENAMED_FROM}, hook=hook)


def noise(name: str, seed: int, share: float = 0.1) -> Problem:
    train, test = splits_of(name, seed)
    oracle = NoisyOracle(train, share, seed)
    return Problem(train, test, oracle, {"noise": share})


def noise20(name: str, seed: int) -> Problem:
    return noise(name, seed, 0.2)


def poison(name: str, seed: int) -> Problem:
    """All labels of round POISONED are wrong."""
    train, test = splits_of(name, seed)
    oracle = Poisoning(train, seed)

    def hook(learner: ActiveLearner, round: int) -> None:
        oracle.active = round == POISONED - 1

    return Problem(train, test, oracle, {"poison": POISONED}, hook=hook)


class NewLayer(DatasetOracle):
    """An oracle at whose answers in one round a layer gets new weights, so that the round trains on from there."""

    learner: ActiveLearner | None = None

    def __call__(self, indices: Sequence[int]) -> list[Any]:
        if self.learner is not None and self.learner.round == NEW_LAYER - 1 and self.learner.pool.num_labeled:
            layer: Any = self.learner.model.module.get_submodule("backbone.layers.3")
            with torch.random.fork_rng():
                torch.manual_seed(NEW_LAYER)
                layer.reset_parameters()
        return super().__call__(indices)


def new_layer(name: str, seed: int) -> Problem:
    """The second convolution gets new weights before the training of round NEW_LAYER."""
    problem = clean(name, seed)
    oracle = NewLayer(problem.train)

    def hook(learner: ActiveLearner, round: int) -> None:
        oracle.learner = learner

    return replace(problem, oracle=oracle, truth={"jump": NEW_LAYER, "layer": "backbone.layers.3"}, hook=hook)


def width(name: str, seed: int, channels: int) -> Problem:
    problem = clean(name, seed)
    shape = problem.train.image_shape
    truth = {"narrow": channels <= 4, "channels": channels}
    return replace(problem, truth=truth, backbone=lambda: ScaledCNN(channels, shape))


def deep(name: str, seed: int) -> Problem:
    problem = clean(name, seed)
    shape = problem.train.image_shape
    return replace(problem, truth={"deep": "backbone.conv2"}, backbone=lambda: ScaledCNN(16, shape, blocks=6))


def collect(name: str, seed: int) -> Problem:
    """Three classes have a twentieth of their images in the pool; picks are random, so their labels are as rare."""
    train, test = splits_of(name, seed)
    few = torch.randperm(train.num_classes, generator=torch.Generator().manual_seed(seed))[:3].tolist()
    count = len(train) // train.num_classes // 20
    train = _thinned(train, few, count)
    return Problem(train, test, DatasetOracle(train), {"collect": sorted(few)})


def overfit(name: str, seed: int, share: float = 0.0) -> Problem:
    """One round of a perceptron on many labels for 3,000 updates, without dropout and augmentation, with checks."""
    train, test = splits_of(name, seed)
    oracle = NoisyOracle(train, share, seed) if share else DatasetOracle(train)
    train = replace(train, augmentation=None)
    budget, shape = SIZES[name].budget, train.image_shape
    return Problem(
        train,
        test,
        oracle,
        {"onset": share > 0, "noise": share},
        backbone=lambda: Perceptron(shape),
        dropout=0.0,
        checks=30,
        campaign={"initial_size": budget, "query_size": budget, "budget": budget},
        training={"min_updates": 3000, "max_updates": 3000, "updates_per_label": None, "average": 0.0},
    )


VARIANTS: dict[str, Callable[[str, int], Problem]] = {
    "clean": clean,
    "twins": twins,
    "half_twins": half_twins,
    "dry": dry,
    "rare": rare,
    "renamed": renamed,
    "noise10": noise,
    "noise20": noise20,
    "poison": poison,
    "new_layer": new_layer,
    "width1": lambda name, seed: width(name, seed, 1),
    "width2": lambda name, seed: width(name, seed, 2),
    "width4": lambda name, seed: width(name, seed, 4),
    "width32": lambda name, seed: width(name, seed, 32),
    "deep": deep,
    "collect": collect,
    "overfit_clean": overfit,
    "overfit10": lambda name, seed: overfit(name, seed, 0.1),
    "overfit20": lambda name, seed: overfit(name, seed, 0.2),
}


def run_problem(name: str, problem: Problem, seed: int, folder: Path) -> list[list[int]]:
    """Run a campaign in a folder, and return the true number of images of each class in the pool before each round."""
    sizes, train = SIZES[name], problem.train
    shape = train.image_shape

    def model() -> Classifier:
        backbone = problem.backbone() if problem.backbone else SmallCNN(shape[0], (shape[1], shape[2]))
        return Classifier(backbone, train.num_classes, lr=sizes.lr, dropout=problem.dropout)

    training = {"warm_start": "continue", "monitor": "none", "updates_per_label": 2.0, "min_updates": 100}
    training |= {"max_updates": 600, "average": 0.5} | problem.training
    learner = ActiveLearner(model, train, Margin(), training=TrainingConfig(**training), seed=seed)
    campaign = {"initial_size": sizes.initial, "query_size": sizes.query, "budget": sizes.budget}
    left: list[list[int]] = []

    def counted() -> None:
        left.append(train.labels[learner.pool.unlabeled].bincount(minlength=train.num_classes).tolist())

    def on_round(row: Round) -> None:
        if problem.hook is not None:
            problem.hook(learner, row.round)
        counted()

    counted()
    with_checks = DiagnosisConfig(checks=problem.checks)
    records = RunFolder(folder, {"seed": seed, "data": {"name": name}, "acquisition": {"name": "margin"}}, train.name)
    try:
        run(
            learner,
            problem.oracle,
            CampaignConfig(**(campaign | problem.campaign)),
            test=problem.test,
            records=records,
            on_round=on_round,
            diagnosis=with_checks,
        )
    finally:
        records.close()
    return left


def _two_classes(seed: int) -> tuple[int, int]:
    """Return two classes, others for each seed."""
    a, b = torch.randperm(10, generator=torch.Generator().manual_seed(1000 + seed))[:2].tolist()
    return a, b


def _thinned(data: ImageData, classes: Sequence[int], count: int) -> ImageData:
    """Return the data with ``count`` images of each of these classes."""
    gone: set[int] = set()
    for number in classes:
        gone |= set((data.labels == number).nonzero().flatten()[count:].tolist())
    return data.subset([i for i in range(len(data)) if i not in gone])
