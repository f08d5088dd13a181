"""Cases of training_step.py: floors, Lightning and dal on the same images.

This module has no command: see training_step.py.
"""

from __future__ import annotations

import gc
import math
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytorch_lightning as pl
import torch
from harness import Row
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from dal.acquisition import Margin
from dal.data import load
from dal.data.images import ImageData, TensorSource
from dal.data.sets.digits import Digits
from dal.loop import ActiveLearner
from dal.models import Classifier
from dal.models.adapt import as_adapted
from dal.models.backbones import SmallCNN
from dal.models.memory_format import channels_last
from dal.runtime.seeding import isolated_rng
from dal.scoring.feature_cache import FeatureSource
from dal.scoring.model_pass import ModelPass
from dal.training import TrainingConfig
from dal.training.fit import fit
from dal.training.setup import Logs, TrainingSetup

SEED = 0
BATCH = 64
LR = 3e-3


@dataclass(frozen=True)
class Work:
    """Labeled images and a function that makes their network."""

    data: ImageData
    new_model: Callable[[], Classifier]

    @property
    def points(self) -> tuple[Tensor, Tensor]:
        return torch.arange(len(self.data)), self.data.labels

    @property
    def pixels(self) -> Tensor:
        return self.data.source.batch(range(len(self.data)))


def digits(count: int) -> Work:
    train = load(Digits()).train
    data = replace(train.subset(range(count)), source=TensorSource(train.source.batch(range(count))))
    return Work(data, lambda: Classifier(SmallCNN(1, (8, 8)), 10, lr=LR))


def fashion(count: int) -> Work:
    from dal.data.sets.fashion_mnist import FashionMNIST

    data = load(FashionMNIST(max_train=count)).train
    data = replace(data, source=TensorSource(data.source.batch(range(count))))
    return Work(data, lambda: Classifier(SmallCNN(1, (28, 28)), 10, lr=LR))


def head_alone(count: int) -> Work:
    """Return cached features of a frozen backbone, and the head that trains on them."""
    work = digits(count)
    features = torch.randn(count, SmallCNN.num_features, generator=torch.Generator().manual_seed(SEED))
    data = replace(work.data, source=FeatureSource(features), augmentation=None)
    return Work(data, lambda: Classifier(SmallCNN(1, (8, 8)), 10, lr=LR, freeze_backbone=True))


CASES: dict[str, tuple[Callable[[int], Work], int, tuple[int, int]]] = {
    "digits, SmallCNN": (digits, 300, (100, 700)),
    "head alone, 128 features": (head_alone, 300, (100, 1100)),
    "Fashion-MNIST, SmallCNN": (fashion, 300, (10, 60)),
}
"""The images, their number, and the updates of the two rounds of each case."""

Before = tuple[str, Callable[[str], float]]
"""The name of an earlier version of dal, and a function that returns its CPU seconds for an order."""


def updates(repeats: int, quick: bool, before: Before | None = None) -> list[Row]:
    """Return the milliseconds of an update by case and contender."""
    cases = CASES
    if quick:
        cases = {name: (make, 80, (2, 4)) for name, (make, _, _) in cases.items() if make is not fashion}
    rows: list[Row] = []
    for title, (make, count, lengths) in cases.items():
        work = make(count)
        trainings = {"floor, PyTorch by hand": by_hand, "Lightning alone": lightning_alone, "dal": dal_fit}
        contenders: dict[str, Callable[[int], float]] = {
            name: lambda n, work=work, train=train: seconds(lambda: train(work, n)) for name, train in trainings.items()
        }
        if before is not None:
            name, other = before
            contenders[name] = lambda n, title=title, count=count, other=other: other(f"{title}|{count}|{n}")
        rows += rows_of(title, _milliseconds(contenders, lengths, repeats))
    return rows


def by_hand(work: Work, num_updates: int) -> None:
    """Train in plain PyTorch."""
    # Lightning's import sets a variable with which PyTorch searches for a GPU in each step.
    with mock.patch.dict(os.environ):
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
        _loop(work, num_updates)


def _loop(work: Work, num_updates: int) -> None:
    model, images, labels = work.new_model(), work.pixels, work.data.labels
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=LR)
    model.train()
    g = torch.Generator().manual_seed(SEED)
    mean, std = (torch.tensor(v).view(-1, 1, 1) * 255 for v in (work.data.mean, work.data.std))
    order = torch.empty(0, dtype=torch.int64)
    weights = [value for value in model.state_dict().values() if value.is_floating_point()]
    average: list[Tensor] = []
    for update in range(num_updates):
        if len(order) < BATCH:
            order = torch.cat([order, torch.randperm(len(images), generator=g)])
        batch, order = order[:BATCH], order[BATCH:]
        x = images[batch]
        if work.data.augmentation is not None:
            x = work.data.augmentation(x, g)
        if x.ndim == 4:
            x = channels_last((x - mean) / std)
        loss = cross_entropy(model(x), labels[batch])
        optimizer.zero_grad()
        assert math.isfinite(loss.item())
        loss.backward()
        optimizer.step()
        late = update - num_updates // 2
        if late >= 0:
            average = average or [value.clone() for value in weights]
            torch._foreach_lerp_(average, weights, 1 / (late + 1))


class _Plain(pl.LightningModule):
    """The least module that Lightning trains."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return cross_entropy(self.model(channels_last(x) if x.ndim == 4 else x), y)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad], lr=LR)


class _Batches(Dataset[Any]):
    def __init__(self, work: Work) -> None:
        self.work, self.images, self.labels = work, work.pixels, work.data.labels
        self.generator = torch.Generator().manual_seed(SEED)
        self.mean, self.std = (torch.tensor(v).view(-1, 1, 1) * 255 for v in (work.data.mean, work.data.std))

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        batch = torch.tensor(indices)
        x = self.images[batch]
        if self.work.data.augmentation is not None:
            x = self.work.data.augmentation(x, self.generator)
        return (x - self.mean) / self.std if x.ndim == 4 else x, self.labels[batch]


def lightning_alone(work: Work, num_updates: int) -> None:
    """Train with Lightning's Trainer, without logs and callbacks."""
    # Another version of dal, in a worker, may not have this module.
    from dal.runtime.lightning_package import quiet

    sampler = BatchSampler(RandomSampler(range(len(work.data))), BATCH, drop_last=False)
    loader = DataLoader(_Batches(work), batch_sampler=sampler, collate_fn=lambda batch: batch)
    with quiet(), mock.patch.dict(os.environ, PYTORCH_NVML_BASED_CUDA_CHECK="1"):
        trainer = pl.Trainer(
            max_steps=num_updates,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            accelerator="cpu",
        )
        trainer.fit(_Plain(work.new_model()), loader)


def dal_fit(work: Work, num_updates: int) -> None:
    """Train a round as the saver does, with the logs of a run folder."""
    config = TrainingConfig(batch_size=BATCH, monitor="none", average=0.5, min_updates=0, max_updates=num_updates)
    passes = ModelPass(as_adapted(work.new_model()))
    with tempfile.TemporaryDirectory() as folder:
        setup = TrainingSetup(passes, config, {"accelerator": "cpu"}, SEED, Logs(Path(folder) / "round"))
        fit(setup, work.data, work.points)


def rounds(repeats: int, quick: bool, before: Before | None = None) -> list[Row]:
    """Return the milliseconds of a round with one update."""
    train, test = round_data(quick)
    with tempfile.TemporaryDirectory() as folder:
        by_hand, dal = _rounds_by_hand(train, test), dal_rounds(train, test, Path(folder))
        contenders = {"floor, PyTorch by hand": lambda: seconds(by_hand), "dal": lambda: seconds(dal)}
        if before is not None:
            name, other = before
            contenders[name] = lambda: other(f"round|{quick}")
        taken: dict[str, list[float]] = {}
        for _ in range(repeats + 1):
            for name, next_round in contenders.items():
                taken.setdefault(name, []).append(1000 * next_round())
    # The first round has the work of a start.
    return rows_of("one update on digits, 20 labels more, test on 500", {name: all[1:] for name, all in taken.items()})


def round_data(quick: bool) -> tuple[ImageData, ImageData]:
    train, test = load(Digits())
    assert test is not None
    return (train.subset(range(100)), test.subset(range(50))) if quick else (train, test)


def _rounds_by_hand(train: ImageData, test: ImageData) -> Callable[[], None]:
    pixels, labels = train.source.batch(range(len(train))), train.labels
    tested, answers = channels_last(test.plain(range(len(test)))), test.labels
    pool = channels_last(train.plain(range(len(train))))
    mean, std = (torch.tensor(v).view(-1, 1, 1) * 255 for v in (train.mean, train.std))
    g = torch.Generator().manual_seed(SEED)
    is_labeled = torch.zeros(len(train), dtype=torch.bool)
    is_labeled[:20] = True
    assert train.augmentation is not None
    augment = train.augmentation

    def next_round() -> None:
        model = Classifier(SmallCNN(1, (8, 8)), 10, lr=LR)
        optimizer = torch.optim.Adam(model.parameters(), lr=LR)
        model.train()
        labeled = is_labeled.nonzero().flatten()
        batch = labeled[torch.randperm(len(labeled), generator=g)[:BATCH]]
        x = channels_last((augment(pixels[batch], g) - mean) / std)
        loss = cross_entropy(model(x), labels[batch])
        loss.backward()
        optimizer.step()
        model.eval()
        with torch.inference_mode():
            _ = (torch.cat([model(x) for x in tested.split(128)]).argmax(dim=1) == answers).double().mean()
            left = (~is_labeled).nonzero().flatten()
            probs = torch.cat([model(x).softmax(dim=1) for x in pool[left].split(128)])
            best = probs.topk(2).values
            is_labeled[left[(best[:, 1] - best[:, 0]).topk(min(20, len(left) - 1)).indices]] = True

    return next_round


def dal_rounds(train: ImageData, test: ImageData, folder: Path) -> Callable[[], None]:
    config = TrainingConfig(monitor="none", min_updates=1, max_updates=1)
    learner = ActiveLearner(
        lambda: Classifier(SmallCNN(1, (8, 8)), 10, lr=LR),
        train,
        Margin(),
        training=config,
        trainer={"accelerator": "cpu"},
        seed=SEED,
    )

    def next_round() -> None:
        query = learner.ask(min(20, learner.pool.num_unlabeled - 1))
        learner.tell(query, [int(train.labels[i]) for i in query])
        learner.logs = Logs(folder / f"round_{learner.round:03d}", learner.logs.steps_before)
        learner.fit()
        learner.evaluate(test)

    return next_round


def _milliseconds(
    contenders: Mapping[str, Callable[[int], float]], lengths: tuple[int, int], repeats: int
) -> dict[str, list[float]]:
    """Return the milliseconds of one update of each run."""
    taken: dict[str, list[float]] = {}
    short, long = lengths
    for repeat in range(repeats + 1):
        for name, run in contenders.items():
            pair = [run(length) for length in (short, long)]
            if repeat:  # the first one warms up
                taken.setdefault(name, []).append(1000 * (pair[1] - pair[0]) / (long - short))
    return taken


def seconds(run: Callable[[], Any]) -> float:
    """Return the CPU seconds of a run."""
    gc.collect()
    with isolated_rng(SEED, "benchmark"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.process_time()
        run()
        return time.process_time() - start


def rows_of(case: str, taken: Mapping[str, list[float]]) -> list[Row]:
    """Return a row per contender, with its ratio to the first one."""
    floor = statistics.median(next(iter(taken.values())))
    return [
        {
            "case": case,
            "contender": name,
            "median ms": statistics.median(values),
            "min ms": min(values),
            "max ms": max(values),
            "ratio": statistics.median(values) / floor,
            "repeats": len(values),
        }
        for name, values in taken.items()
    ]
