"""Measure how shared dropout draws change the queries of BALD.

    python benchmarks/shared_draws.py
    python benchmarks/shared_draws.py --seeds 10 --jobs 4

The command runs the hand-written loop of one_experiment.py with its settings, one thread per run. Only the scores
differ:

- Separate dropout noise per point, as in passes with dropout on.
- The same 20 networks for all points, as in dal, which makes scores repeatable and joint scores correct.
- The same networks with PowerBALD's random keys.

A dated table is written to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from itertools import product
from pathlib import Path

import experiment_by_hand
import numpy as np
import torch
from experiment_contenders import Images, Settings
from harness import Row, console
from record import RESULTS, dated, facts_now, print_table, write_part, write_readme
from torch import Tensor, nn

from dal.analysis.statistics.curves import area_under_curve, paired_difference

OWN, SHARED, POWER = "separate noise per point", "the same networks for all points", "the same, with PowerBALD's keys"
CONTENDERS = (OWN, SHARED, POWER)
ABOUT = (
    "BALD on Fashion-MNIST in the hand-written loop, with the settings of one_experiment.py: a pool of 5,000, 100 "
    "labels and 5 x 100 more, 20 draws, and 20 epochs per round from new weights. Only the source of the scores "
    "differs. Area is the mean height of the learning curve in percent. Differences, in points, are to the first "
    "contender, paired by seed, with half the width of their 95 % t intervals. PowerBALD is arXiv:2106.12059."
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 to SEEDS - 1")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    facts = facts_now(threads_a_run=1, seeds=list(range(options.seeds)))
    cells = list(product(range(options.seeds), CONTENDERS))
    with ProcessPoolExecutor(options.jobs) as jobs:
        found = dict(zip(cells, jobs.map(accuracies, cells), strict=True))
    curves = {name: np.array([found[seed, name] for seed in range(options.seeds)]) for name in CONTENDERS}
    rows = [row(name, curves[name], curves[OWN]) for name in CONTENDERS]
    target = dated(options.results, "shared_draws")
    write_part(target, "accuracy", rows, facts)
    every = [{"contender": name, "seed": seed} | at_labels(found[seed, name]) for seed, name in cells]
    write_part(target, "seeds", every, facts)
    write_readme(target, "Shared draws", ABOUT, {"accuracy": "Means over seeds.", "seeds": "All runs."})
    print_table(console(), f"{options.seeds} seeds", rows)
    print(f"Written: {target}")
    return 0


def accuracies(cell: tuple[int, str]) -> list[float]:
    """Return one value per round, in percent."""
    seed, contender = cell
    torch.set_num_threads(1)
    settings, images = Settings(), Images(Settings(), seed)
    train, test = images.tensors()
    torch.manual_seed(seed)

    def scores(model: nn.Module, pool: Tensor, num_draws: int) -> Tensor:
        found = bald(model, pool, num_draws, shared=contender != OWN)
        if contender == POWER:
            # Log scores with Gumbel noise draw points in proportion to the scores.
            return found.clamp(min=1e-12).log() - torch.empty_like(found).exponential_().log()
        return found

    experiment_by_hand.bald = scores
    found = experiment_by_hand.experiment(
        train, test, images.labeled, images.new_model, settings, lambda phase: nullcontext()
    )
    print(f"seed {seed}, {contender}: {', '.join(f'{100 * a:.1f}' for a in found)}", flush=True)
    return [100 * accuracy for accuracy in found]


@torch.inference_mode()
def bald(model: nn.Module, images: Tensor, num_draws: int, shared: bool) -> Tensor:
    """Return (N,) scores; the layers before the first dropout run once."""
    model.eval()
    before, (first_dropout, *dense) = model.backbone.layers[:7], model.backbone.layers[7:]
    trunk = torch.cat([before(x) for x in images.split(experiment_by_hand.LARGE_BATCH)])

    def dropped(x: Tensor, p: float) -> Tensor:
        return x * (torch.rand(x.shape[1:] if shared else x.shape) >= p) / (1 - p)

    def draw() -> Tensor:
        x = dropped(trunk, first_dropout.p)
        for layer in dense:
            x = layer(x)
        return model.head(dropped(x, model.dropout.p)).softmax(dim=1)

    probs = torch.stack([draw() for _ in range(num_draws)])
    return torch.special.entr(probs.mean(dim=0)).sum(dim=1) - torch.special.entr(probs).sum(dim=2).mean(dim=0)


def row(name: str, mine: np.ndarray, theirs: np.ndarray) -> Row:
    """Return a row of the table from (S, R) accuracies each."""
    labels = Settings().labels
    area, other = ([area_under_curve(labels, curve) for curve in curves] for curves in (mine, theirs))
    in_area, of_area = paired_difference(area, other)
    in_last, of_last = paired_difference(mine[:, -1], theirs[:, -1])
    return {
        "contender": name,
        **at_labels(mine.mean(axis=0)),
        "area": float(np.mean(area)),
        "area - first": in_area,
        "±": of_area,
        "last - first": in_last,
        "± of last": of_last,
    }


def at_labels(curve: np.ndarray | list[float]) -> Row:
    return {f"{count} labels": float(accuracy) for count, accuracy in zip(Settings().labels, curve, strict=True)}


if __name__ == "__main__":
    sys.exit(main())
