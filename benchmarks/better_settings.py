"""Settings and arms of better_than_all.py: pools whose labels are not all worth training on.

This module has no command: see better_than_all.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from harness import Row
from sklearn.datasets import load_sample_images
from torch import Tensor

from dal import ActiveLearner, Classifier
from dal.acquisition import AcquisitionFunction, Margin, Random
from dal.acquisition.search.rows import all_rows
from dal.analysis.diagnosis.suspects import out_of_fold
from dal.analysis.diagnosis.thresholds import SUSPECT_FOLDS
from dal.analysis.statistics.logistic import fit_head, standardized
from dal.costs.phases import total_costs
from dal.data import ImageData, load
from dal.data.images import SubsetSource, TensorSource
from dal.data.sets.digits import Digits
from dal.data.variants.out_of_distribution import add_out_of_distribution
from dal.data.variants.subset import imbalanced
from dal.labeling.oracle import NoisyOracle
from dal.models.backbones import SmallCNN
from dal.runtime.seeding import derive_seed, generator
from dal.tasks.base import OUT_OF_CLASS
from dal.training import TrainingConfig

LR = 3e-3
NOISE, NUM_OUTSIDE, NONE_SHARE, FACTOR = 0.2, 1297, 0.5, 20.0
"""Share of wrong answers, images outside the classes, how often people see that one is, and the imbalance."""
HEAD_EVALUATIONS = 100
"""Evaluations of the objective that are charged for each fit of a linear head; measured ones are fewer."""
PLATEAU = TrainingConfig(monitor="val_accuracy", check_every=20, patience=300, min_updates=100, max_updates=3000)
"""The accuracy on validation labels, which come from the same people, has not improved for 300 updates."""


def averaged(updates: int) -> TrainingConfig:
    """Return a training of this length that ends with the mean weights of its second half, as the saver's rounds do."""
    return TrainingConfig(monitor="none", min_updates=updates, max_updates=updates, average=0.5, warm_start="continue")


WHOLE = {
    "whole pool, 600 averaged updates": averaged(600),
    "whole pool, 1200 averaged updates": averaged(1200),
    "whole pool, 2400 averaged updates": averaged(2400),
    "whole pool, to a plateau of accuracy": PLATEAU,
    "whole pool, to a plateau of loss": replace(PLATEAU, monitor="val_loss"),
}
"""Ways to train on the whole pool. The one with the highest mean score is what a campaign has to beat."""

People = Callable[[int, int], int]
"""Maps an index and the number of a person to an answer: a class, or OUT_OF_CLASS for none of the classes."""


@dataclass(frozen=True)
class Problem:
    """A pool, its true labels, and the people who answer for it."""

    train: ImageData
    test: ImageData
    people: People
    metric: str = "accuracy"


@dataclass(frozen=True)
class Sizes:
    """What a campaign buys and trains: its queries, and the updates after each of them and at the end."""

    queries: tuple[int, ...]
    updates: tuple[int, ...]
    validation: int = 100
    """Validation labels of the whole pool, where a plateau ends the training."""
    again: float = 0.0
    """Most labels that are asked again in a round, as a share of those told so far."""


@dataclass(frozen=True)
class Arm:
    """One way to spend labels. With ``whole``, it trains once on the whole pool; else it is a campaign."""

    whole: TrainingConfig | None = None
    acquisition: AcquisitionFunction = field(default_factory=Margin)
    asks_again: bool = False
    avoids_outside: bool = False
    repeats_rare: bool = False
    """Whether the whole pool has images of rare classes several times, so that all classes have the same number."""
    answers_of: str | None = None
    """The arm whose number of answers this one buys."""


@dataclass(frozen=True)
class Setting:
    """A kind of pool, the sizes of its campaigns, and its arms."""

    problem: Callable[[int], Problem]
    sizes: Sizes
    campaign: Arm
    control: Arm
    about: str
    rivals: dict[str, Arm] = field(default_factory=dict)
    """Other arms to report, which the verdict does not depend on."""

    @property
    def arms(self) -> dict[str, Arm]:
        """All arms. An arm follows the one whose number of answers it needs."""
        whole = {name: Arm(whole=training) for name, training in WHOLE.items()}
        return {**whole, **self.rivals, CAMPAIGN: self.campaign, CONTROL: self.control}


CAMPAIGN, CONTROL = "campaign", "control"


def noisy(seed: int) -> Problem:
    """Each person is wrong for a fifth of the images, independently of the others."""
    train, test = load(Digits())
    assert test is not None

    @cache
    def person(number: int) -> NoisyOracle:
        return NoisyOracle(train, NOISE, derive_seed(seed, "person", number))

    return Problem(train, test, lambda index, number: int(person(number)([index])[0]))


def outside(seed: int) -> Problem:
    """Half of the pool are patches of photographs.

    Half of the answers for them are "none of the classes". The others name the class whose mean image is nearest, as
    people do who believe that each image has a class.
    """
    train, test = load(Digits())
    assert test is not None
    pixels = patches(NUM_OUTSIDE, seed)
    ids = [f"patch-{number:04d}" for number in range(NUM_OUTSIDE)]
    nothing = torch.zeros(NUM_OUTSIDE, dtype=torch.int64)
    pool = add_out_of_distribution(train, ImageData("photographs", TensorSource(pixels), ids, nothing, train.classes))
    images = train.source.batch(range(len(train))).flatten(1).float()
    centers = torch.stack([images[train.labels == number].mean(dim=0) for number in range(train.num_classes)])
    nearest = torch.cdist(pixels.flatten(1).float(), centers).argmin(dim=1)

    def answer(index: int, number: int) -> int:
        if index < len(train):
            return int(train.labels[index])
        g = generator(derive_seed(seed, "person", number), index, "outside")
        knows = float(torch.rand((), generator=g)) < NONE_SHARE
        return OUT_OF_CLASS if knows else int(nearest[index - len(train)])

    return Problem(pool, test, answer)


def rare(seed: int) -> Problem:
    """The rarest class has a twentieth of the images of the most frequent one. Each seed has another order of them."""
    train, test = load(Digits())
    assert test is not None
    order = torch.randperm(train.num_classes, generator=generator(seed, "classes"))
    pool = imbalanced(replace(train, labels=order[train.labels]), FACTOR)
    renamed = replace(test, labels=order[test.labels])
    return Problem(pool, renamed, lambda index, number: int(pool.labels[index]), "balanced_accuracy")


def repeated(problem: Problem) -> Problem:
    """Return the problem with the images of each class repeated, as often as those of the largest class."""
    train = problem.train
    groups = [(train.labels == number).nonzero().flatten().tolist() for number in range(train.num_classes)]
    most = max(map(len, groups))
    places = [group[turn % len(group)] for group in groups for turn in range(most)]
    ids = [f"{train.ids[place]}#{number}" for number, place in enumerate(places)]
    pool = replace(train, source=SubsetSource(train.source, places), ids=ids, labels=train.labels[places])
    return replace(problem, train=pool, people=lambda index, number: problem.people(places[index], number))


def patches(count: int, seed: int) -> Tensor:
    """Return (count, 1, 8, 8) uint8 gray patches of scikit-learn's two photographs, stretched to the full range."""
    photographs = [torch.from_numpy(image.astype(np.float32)).mean(-1) for image in load_sample_images().images]
    g = generator(seed, "patches")
    found = []
    for number in range(count):
        image = photographs[number % len(photographs)]
        side = int(torch.randint(32, 129, (), generator=g))
        top, left = (int(torch.randint(length - side, (), generator=g)) for length in image.shape)
        patch = image[top : top + side, left : left + side]
        small = torch.nn.functional.interpolate(patch[None, None], (8, 8), mode="bilinear", antialias=True)[0]
        small = (small - small.min()) / (small.max() - small.min()).clamp(min=1) * 255
        found.append(small.round().to(torch.uint8))
    return torch.stack(found)


class Bought:
    """A learner, the people who answer it, and what their answers cost."""

    def __init__(self, problem: Problem, acquisition: AcquisitionFunction, seed: int) -> None:
        train = problem.train
        shape = train.image_shape
        self.problem, self.seed, self.answers = problem, seed, 0
        self.asked: dict[int, int] = {}

        def network() -> Classifier:
            return Classifier(SmallCNN(shape[0], (shape[1], shape[2])), train.num_classes, lr=LR)

        self.learner = ActiveLearner(network, train, acquisition, seed=seed)

    def answer(self, index: int) -> int:
        """Return the answer of a person who has not answered for the point yet."""
        self.answers += 1
        self.asked[index] = self.asked.get(index, 0) + 1
        return self.problem.people(index, self.asked[index] - 1)

    def tell(self, indices: Sequence[int]) -> None:
        self.learner.tell(indices, [self.answer(index) for index in indices])

    def fit(self, training: TrainingConfig) -> None:
        self.learner.training = training
        self.learner.fit()

    def features(self, indices: Tensor) -> np.ndarray[Any, Any]:
        """Return the inputs of the last layer. The pass is counted."""
        rows = self.learner.passes.features(self.problem.train, indices, "score")
        return all_rows(rows).double().numpy()

    def charge(self, features: np.ndarray[Any, Any], classes: int, fits: int) -> None:
        """Count the FLOPs of fits of a linear head: two products for each evaluation of the objective."""
        self.learner.ledger.add("select", flops=fits * HEAD_EVALUATIONS * 4 * features.size * classes)

    def scored(self) -> Row:
        costs = total_costs(self.learner.ledger.costs)
        found = self.learner.evaluate(self.problem.test)
        return {
            "score": 100 * float(found[self.problem.metric]),
            "accuracy": 100 * float(found["accuracy"]),
            "answers": self.answers,
            "images": min(len(self.asked), self.answers),
            "flops": costs.total_flops,
            "seconds": costs.seconds,
        }


def shortened(arm: Arm) -> Arm:
    """Return the arm with a training of two updates on the whole pool, to see that it runs."""
    return arm if arm.whole is None else replace(arm, whole=replace(arm.whole, min_updates=2, max_updates=2))


def run_arm(problem: Problem, sizes: Sizes, arm: Arm, seed: int, answers: int | None = None) -> Row:
    """Run one arm, and return its score and what it costs, without testing.

    ``answers`` are those to buy, where another arm says how many.
    """
    bought = Bought(repeated(problem) if arm.repeats_rare else problem, arm.acquisition, seed)
    if arm.whole is not None:
        _on_the_whole_pool(bought, sizes, arm.whole)
        bought.answers = len(problem.train)  # a repeated image is answered once
        return bought.scored()
    for query, updates in zip(_stretched(sizes.queries, answers), sizes.updates, strict=False):
        bought.tell([*bought.learner.ask(query)])
        bought.fit(averaged(updates))
        if arm.asks_again:
            ask_again(bought, sizes.again)
        if arm.avoids_outside:
            avoid_outside(bought)
    bought.fit(averaged(sizes.updates[-1]))
    return bought.scored()


def _on_the_whole_pool(bought: Bought, sizes: Sizes, training: TrainingConfig) -> None:
    points = list(range(len(bought.problem.train)))
    if training.monitor.startswith("val"):
        order = torch.randperm(len(points), generator=generator(bought.seed, "validation")).tolist()
        held, points = order[: sizes.validation], sorted(order[sizes.validation :])
        bought.learner.tell_validation(held, [bought.answer(index) for index in held])
    bought.tell(points)
    bought.fit(training)


def _stretched(queries: Sequence[int], answers: int | None) -> list[int]:
    """Return the queries, the last one such that they sum to ``answers``."""
    if answers is None:
        return [*queries]
    return [*queries[:-1], answers - sum(queries[:-1])]


def ask_again(bought: Bought, share: float) -> None:
    """Ask a second person for labels that a head fitted without them contradicts, the least probable first.

    If two answers agree, or the second one is the class of the head, that class is the label. Otherwise a third person
    answers, and a label on which no two people agree no longer trains.
    """
    learner = bought.learner
    points, told = learner.trainable()
    (features,) = standardized(bought.features(points))
    labels = told.numpy()
    probabilities = out_of_fold(features, labels, learner.data.num_classes)
    bought.charge(features, learner.data.num_classes, SUSPECT_FOLDS)
    guess, own = probabilities.argmax(axis=1), probabilities[np.arange(len(labels)), labels]
    most = round(share * len(labels))
    for row in np.argsort(own, kind="stable")[:most].tolist():
        index = int(points[row])
        if guess[row] == labels[row] or bought.asked[index] > 1:
            continue
        first, second = int(labels[row]), bought.answer(index)
        if second not in (first, int(guess[row])):
            third = bought.answer(index)
            second = third if third in (first, second) else OUT_OF_CLASS
        if second != first:
            learner.correct(index, second)


def avoid_outside(bought: Bought) -> None:
    """Exclude points that look like those that people call none of the classes, and the labels of such points.

    A logistic regression on the features of the last layer separates the labeled images of a class from those of none.
    """
    learner = bought.learner
    labeled, pool = learner.pool.labeled, learner.pool.unlabeled
    is_outside = (learner.pool.labels(labeled) == OUT_OF_CLASS).long().numpy()
    if not is_outside.any() or is_outside.all():
        return
    ours, others = standardized(bought.features(labeled), bought.features(pool))
    head = fit_head(ours, is_outside, 2)
    bought.charge(ours, 2, 1)
    looks_outside = torch.from_numpy(head.log_probs(others)[:, 1] > np.log(0.5))
    learner.pool.exclude(pool[looks_outside].tolist())
    suspects = (head.log_probs(ours)[:, 1] > np.log(0.5)) & (is_outside == 0)
    for index in labeled[torch.from_numpy(suspects)].tolist():
        learner.correct(index, OUT_OF_CLASS)


SETTINGS = {
    "noise": Setting(
        noisy,
        Sizes(queries=(300, 400), updates=(100, 200, 400), again=0.4),
        Arm(asks_again=True),
        Arm(answers_of=CAMPAIGN),
        "Digits, where each answer of a person is wrong with a probability of 20 %.",
    ),
    "outside": Setting(
        outside,
        Sizes(queries=(200, 200, 200, 200), updates=(100, 100, 100, 100, 400)),
        Arm(avoids_outside=True),
        Arm(),
        "Digits and as many patches of photographs, which half of the answers call none of the classes.",
    ),
    "rare": Setting(
        rare,
        Sizes(queries=(60, 60, 60, 60), updates=(100, 100, 100, 100, 1400), validation=60),
        Arm(),
        Arm(acquisition=Random()),
        "Digits with an imbalance of 20:1 (about 440 images), judged by balanced accuracy.",
        {"whole pool, rare classes repeated": Arm(whole=averaged(1200), repeats_rare=True)},
    ),
}
QUICK = Sizes(queries=(30, 20), updates=(2, 2, 2), validation=20, again=0.4)
