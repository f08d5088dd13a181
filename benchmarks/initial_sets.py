"""Measure how good the first labels are that campaign.initial chooses.

    python benchmarks/initial_sets.py
    python benchmarks/initial_sets.py --seeds 10 --pool 2000

Fashion-MNIST with the features of EfficientNet-Lite0 (ImageNet weights, images resized to 64 x 64 pixels). Each policy
chooses the first 20, 50 and 100 points of a random pool, and logistic regression on the features learns their labels.
The accuracy is that on a fixed random part of the test set. Numbers and a README are written to a dated folder of
benchmarks/results/.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import Row, console, limited_to
from record import QUICK_RESULTS, RESULTS, dated, facts_now, print_table, write_part, write_readme
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize
from torch import Tensor

from dal.analysis import mean_and_interval, paired_difference
from dal.data import load
from dal.data.images import ImageData
from dal.data.sets.registry import registry as data_sets
from dal.labeling.initial_set import FROM_FEATURES, initial_set
from dal.models.backbones import EfficientNetLite0
from dal.runtime.seeding import derive_seed, generator

SIDE = 64
SIZES = (20, 50, 100)
POLICIES = ("random", *FROM_FEATURES)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="seeds 0 to SEEDS - 1, each with another pool")
    parser.add_argument("--pool", type=int, default=2000, help="images of a pool")
    parser.add_argument("--test", type=int, default=2000, help="test images")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--quick", action="store_true", help="one seed and few images, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.pool, options.test = 1, 200, 50
    facts = facts_now(threads=1, seeds=list(range(options.seeds)), pool=options.pool, test=options.test)
    with limited_to(1):
        rows = measured(options.seeds, options.pool, options.test)
    table = summary(rows)
    print_table(console(), "accuracy with the first labels, in percent", table)
    target = dated(options.results or (QUICK_RESULTS if options.quick else RESULTS), "initial_sets_fashion_mnist")
    write_part(target, "accuracy", rows, facts)
    write_readme(target, "Initial sets: Fashion-MNIST, features of EfficientNet-Lite0", ABOUT, PARTS, summary)
    print(f"Written: {target}")
    return 0


def measured(num_seeds: int, pool_size: int, test_size: int) -> list[Row]:
    """Return a row per seed, policy and number of labels, with the accuracy and the classes that were found."""
    splits = load(data_sets()["fashion_mnist"]())
    assert splits.test is not None
    backbone = EfficientNetLite0("DEFAULT", SIDE).eval()
    chosen_tests = torch.randperm(len(splits.test), generator=generator(0, "test"))[:test_size]
    test_x, test_y = embedded(backbone, splits.test, chosen_tests), splits.test.labels[chosen_tests].numpy()
    # Disjoint pools, so that the seeds are independent.
    order = torch.randperm(len(splits.train), generator=generator(0, "pools"))
    rows: list[Row] = []
    for seed in range(num_seeds):
        pool = order[seed * pool_size :][:pool_size]
        features, labels = embedded(backbone, splits.train, pool), splits.train.labels[pool]
        for policy in POLICIES:
            for size in SIZES:
                picks = CHOOSE[policy](splits.train, features, size, seed)
                accuracy = learned(features[picks], labels[picks].numpy()).score(normalize(test_x), test_y)
                found = len(labels[picks].unique())
                rows.append({"seed": seed, "policy": policy, "labels": size, "accuracy": accuracy, "classes": found})
    return rows


def embedded(backbone: EfficientNetLite0, data: ImageData, indices: Tensor) -> Tensor:
    """Return the features of images at SIDE pixels with the statistics of ImageNet."""
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    parts = []
    for batch in indices.split(200):
        images = data.source.batch(batch.tolist()).float().div(255).expand(-1, 3, -1, -1)
        images = torch.nn.functional.interpolate(images, size=(SIDE, SIDE), mode="bilinear", antialias=True)
        with torch.inference_mode():
            parts.append(backbone((images - mean) / std))
    return torch.cat(parts)


def learned(features: Tensor, labels: np.ndarray[Any, Any]) -> LogisticRegression:
    return LogisticRegression(C=10, max_iter=300).fit(normalize(features.numpy()), labels)


def _random(data: ImageData, features: Tensor, size: int, seed: int) -> Tensor:
    return initial_set("random", torch.arange(len(features)), data, size, generator(seed, "initial"))


def _from_features(policy: str) -> Callable[[ImageData, Tensor, int, int], Tensor]:
    def choose(data: ImageData, features: Tensor, size: int, seed: int) -> Tensor:
        g = generator(derive_seed(seed, "initial"), 0, "acquisition")  # as the loop does
        return FROM_FEATURES[policy].select({"features": features}, {}, size, g).positions

    return choose


CHOOSE = {"random": _random} | {policy: _from_features(policy) for policy in FROM_FEATURES}


def summary(rows: list[Row]) -> list[Row]:
    """Return means in percent with 95 % t intervals, and the difference to random, seed by seed."""
    lines = []
    for size in SIZES:
        of = {
            policy: [float(r["accuracy"]) for r in rows if (r["policy"], r["labels"]) == (policy, size)]
            for policy in POLICIES
        }
        for policy in POLICIES:
            mean, half = mean_and_interval(of[policy])
            gain, interval = paired_difference(of[policy], of["random"])
            found = np.mean([r["classes"] for r in rows if (r["policy"], r["labels"]) == (policy, size)])
            lines.append(
                {
                    "note": policy,
                    "labels": size,
                    "accuracy %": f"{100 * mean:.1f} ± {100 * half:.1f}",
                    "minus random, points": "" if policy == "random" else f"{100 * gain:+.1f} ± {100 * interval:.1f}",
                    "classes found": f"{found:.1f} of 10",
                }
            )
    return lines


ABOUT = (
    "Accuracy with the first labels, by the policy of `campaign.initial`. Means over seeds ± half the width of their "
    "95 % t interval. Each seed has another pool. The classifier is logistic regression on the features."
)
PARTS = {"accuracy": "All policies choose from the same pools, and none of them sees a label."}

if __name__ == "__main__":
    sys.exit(main())
