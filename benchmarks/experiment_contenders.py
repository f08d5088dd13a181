"""Runs one contender of one_experiment.py in a separate process.

All contenders use the same images, the same initial set and dal's Classifier with SmallCNN. The clock starts after all
imports, when the images are loaded. For dal, it runs inside ``dal run`` until the last line is printed, including the
run folder and the learning curve.

This module has no command: see one_experiment.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import experiment_by_hand
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dal.config.schema import Built
from dal.data import load
from dal.data.images import ImageSplits
from dal.data.sets.fashion_mnist import FashionMNIST
from dal.labeling.initial_set import initial_set
from dal.models import Classifier, ModelConfig
from dal.runs.environment import environment
from dal.runs.files.atomic import write_text
from dal.runs.files.state import read_state
from dal.runs.journal import committed_rounds
from dal.runtime.seeding import generator, isolated_rng

Result = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    pool: int = 5000
    initial: int = 100
    query: int = 100
    rounds: int = 5  # after the initial one
    epochs: int = 20
    batch_size: int = 32
    draws: int = 20
    lr: float = 1e-3

    @property
    def labels(self) -> list[int]:
        return [self.initial + round * self.query for round in range(self.rounds + 1)]


class Clock:
    """Measures the seconds since its creation and in each phase."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.phases: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.phases[name] = self.phases.get(name, 0.0) + time.perf_counter() - start

    def result(self) -> Result:
        return {"seconds": time.perf_counter() - self.start, "phases": dict(self.phases)}


class Images:
    """The images that dal reads, as tensors for the other contenders."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.train, test = load(FashionMNIST(max_train=settings.pool))
        assert test is not None
        self.test, self.seed = test, seed
        points = torch.arange(len(self.train))
        self.labeled = initial_set("random", points, self.train, settings.initial, generator(seed, "initial"))

    def tensors(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return normalized tensors; the clock includes normalization."""
        (train, test) = ((data.plain(range(len(data))), data.labels) for data in (self.train, self.test))
        return train, test

    def new_model(self, round: int) -> Classifier:
        """Return the weights from which dal starts this round."""
        with isolated_rng(self.seed, round, "init"):
            return ModelConfig().build(self.train.image_shape, self.train.num_classes)


def by_hand(settings: Settings, seed: int, folder: Path) -> Result:
    images = Images(settings, seed)
    torch.manual_seed(seed)
    clock = Clock()
    train, test = images.tensors()
    accuracies = experiment_by_hand.experiment(train, test, images.labeled, images.new_model, settings, clock.phase)
    done = clock.result()
    forward, backward = _flops_of_an_image(images.new_model(0), train[0][:1])
    seen = settings.epochs * sum(settings.labels)
    scored = sum(len(train[0]) - count for count in settings.labels[:-1]) * settings.draws
    return done | {
        "labels": settings.labels,
        "accuracies": accuracies,
        "updates": settings.epochs * sum(-(-count // settings.batch_size) for count in settings.labels),
        "flops": seen * (forward + backward) + scored * forward,
        "flops_test": len(test[0]) * len(settings.labels) * forward,
    }


def baal(settings: Settings, seed: int, folder: Path, *, caching: bool) -> Result:
    import experiment_peers

    images = Images(settings, seed)
    torch.manual_seed(seed)
    clock = Clock()
    train, test = images.tensors()
    weights = experiment_peers.experiment(
        train, test, images.labeled, images.new_model, settings, clock.phase, caching=caching
    )
    done = clock.result()
    model = images.new_model(0)
    accuracies = []
    for state in weights:
        # Patching renames wrapped modules and keeps their order.
        model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)))
        accuracies.append(experiment_by_hand.accuracy(model, *test))
    return done | {"labels": settings.labels, "accuracies": accuracies}


def dal_run(settings: Settings, seed: int, folder: Path, *, overrides: list[str]) -> Result:
    """Run ``dal run``, timed from when the images are loaded."""
    # dal imports these lazily; import them now, before the clock starts.
    import matplotlib.figure  # noqa: F401
    import torch.utils.tensorboard  # noqa: F401

    from dal.cli import run

    clocks: list[Clock] = []

    def timed(built: Built, folder: Path) -> ImageSplits:
        splits = built.with_units(load(built.data))
        clocks.append(Clock())
        return splits

    run_dir = folder / "run"
    with mock.patch.object(run, "load_for_run", timed):
        run.run_command([*overrides, f"seed={seed}", f"run_dir={run_dir}"])
    (clock,) = clocks
    done = clock.result()
    rows = committed_rounds(run_dir, read_state(run_dir))
    for row in rows:
        for name, costs in row.costs.items():
            phase = _PHASES.get(name, name)
            done["phases"][phase] = done["phases"].get(phase, 0.0) + costs.seconds
    return done | {
        "labels": [row["labels_bought"] for row in rows],
        "accuracies": [row["test_accuracy"] for row in rows],
        "updates": sum(row["updates"] for row in rows),
        "flops": sum(row.method.total_flops for row in rows),
        "flops_test": sum(row.cost(["test"]).total_flops for row in rows),
    }


_PHASES = {"select": "score"}


def _flops_of_an_image(model: nn.Module, image: Tensor) -> tuple[int, int]:
    """Return forward and backward FLOPs, without a gradient for the image."""
    with FlopCounterMode(display=False) as forward:
        logits = model(image)
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    return forward.get_total_flops(), backward.get_total_flops()


OWN: dict[str, Callable[[Settings, int, Path], Result]] = {
    "by_hand": by_hand,
    "baal_caching": partial(baal, caching=True),
    "baal": partial(baal, caching=False),
}


def main() -> int:
    """Run the contender of a JSON order and write its result.

    The order contains the kind, settings, seed, folder and overrides of dal.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("order", type=json.loads, help="a JSON object, which one_experiment.py writes")
    order = parser.parse_args().order
    settings, folder = Settings(**order["settings"]), Path(order["folder"])
    run = OWN.get(order["kind"]) or partial(dal_run, overrides=order["overrides"])
    commit = environment()["git_commit"]
    result = run(settings, order["seed"], folder)
    facts = {"settings": asdict(settings), "seed": order["seed"], "threads": torch.get_num_threads(), "commit": commit}
    write_text(folder / "result.json", json.dumps(result | facts, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
