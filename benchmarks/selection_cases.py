"""Cases of speed.py for selection kernels: floors, dal and peers on the same tensors.

This module has no command: see speed.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import before_worker
import floors
import peers
import torch
from harness import Case, Contender
from speed_cases import SEED, same_picks
from torch import Tensor

from dal.acquisition import ALFAMix, average_linkage, badge_select, k_center_greedy, probcover_select
from dal.acquisition.search.clusters import k_means, nearest_to_centers, unit_points

TILE = 128
Compare = Callable[[dict[str, Any]], dict[str, str]]


def selection_cases(threads: int, quick: bool) -> list[Case]:
    cases = []

    def add(title: str, build: Any, tiny: dict[str, Any], compare: Compare | None = same_picks, **sizes: Any) -> None:
        cases.append(Case(title, build, sizes | (tiny if quick else {}), tiny, threads, compare))

    for classes, rectified in ((10, False), (10, True), (83, False), (83, True)):
        kind = "ReLU" if rectified else "normal"
        title = f"ALFA-Mix, {kind} features, 1,280 x 512, {classes} anchors, 5 steps"
        add(title, alfa_mix, {"points": 130}, same_numbers, points=1280, classes=classes, rectified=rectified)
    for points, width, centers in ((10_000, 100, 100), (20_000, 300, 300)):
        title = f"Nearest to k-means centers, {points:,} x {width}, {centers} centers"
        add(title, nearest, {"points": 300, "centers": 10}, points=points, width=width, centers=centers)
    for points, width, centers in ((10_000, 100, 100), (5000, 500, 50)):
        title = f"k-means, {points:,} x {width}, {centers} clusters"
        add(title, clusters, {"points": 300, "centers": 10}, None, points=points, width=width, centers=centers)
    for points in (3000, 6000):
        title = f"ProbCover, {points:,} x 512, 100 picks"
        add(title, probcover, {"points": 500, "picks": 5}, points=points, picks=100)
    for points, width in ((2000, 512),):
        title = f"Average linkage, {points:,} x {width}"
        add(title, linkage, {"points": 100}, same_groups, points=points, width=width)
    add("Core-set, normal features, 1,000 x 512, 50 labeled, 100 picks", coreset, {"picks": 5}, picks=100)
    # The floor draws other random numbers.
    add("BADGE, made-up, 1,000 x 512 x 10, 100 picks", badge, {"picks": 5}, None, picks=100)
    return cases


def same_numbers(results: dict[str, Any]) -> dict[str, str]:
    """Return how many numbers, by place, are those of the floor."""
    floor, *others = results
    notes = {}
    for name in others:
        equal = int((results[name] == results[floor]).sum())
        notes[name] = f"{equal:,} of {len(results[floor]):,} numbers are the floor's"
    return notes


def same_groups(results: dict[str, Any]) -> dict[str, str]:
    """Compare clusters, whose numbers have no meaning."""

    def renumbered(labels: Tensor) -> Tensor:
        order = {label: number for number, label in enumerate(dict.fromkeys(labels.tolist()))}
        return torch.tensor([order[label] for label in labels.tolist()])

    return same_numbers({name: renumbered(labels) for name, labels in results.items()})


def large_cases(threads: int, quick: bool) -> list[Case]:
    """Return cases that take minutes."""
    tiny = {"points": 500, "picks": 5}
    sizes = {"points": 50_000, "picks": 100} | (tiny if quick else {})
    return [Case("ProbCover, 50,000 x 512, 100 picks", large_probcover, sizes, tiny, threads, same_picks)]


def _before(work: str, repeats: int | None = None, **arguments: Any) -> list[Contender]:
    run = before_worker.start(work, arguments)
    return [] if run is None else [Contender("dal before", run, repeats, is_timed=True)]


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


def blobs(points: int, width: int, spread: float = 1.0) -> Tensor:
    """Return points of 20 clusters."""
    g = _generator()
    return (
        torch.randn(points, width, generator=g) * spread
        + 3 * torch.randn(20, width, generator=g)[torch.arange(points) % 20]
    )


class Head:
    """A network whose images are features, with a linear head."""

    def __init__(self, width: int, classes: int) -> None:
        self.weight, self.bias = torch.randn(classes, width, generator=_generator()) / width**0.5, torch.zeros(classes)

    def features(self, x: Tensor) -> Tensor:
        return x

    def head(self, features: Tensor) -> Tensor:
        return torch.nn.functional.linear(features, self.weight, self.bias)

    def linear_head(self) -> tuple[Tensor, Tensor]:
        return self.weight, self.bias

    def mc_log_probs(self, x: Tensor, num_draws: int) -> Tensor:
        raise NotImplementedError


def alfa_mix(points: int, classes: int, rectified: bool) -> list[Contender]:
    x, labeled = torch.randn(points + 10 * classes, 512, generator=_generator()).split([points, 10 * classes])
    if rectified:
        x, labeled = x.relu(), labeled.relu()
    model = Head(512, classes)
    function = ALFAMix().with_labeled({"features": labeled}, torch.arange(len(labeled)) % classes)
    assert function.anchors is not None
    anchors, epsilons = function.anchors.means.float(), torch.arange(1, 6) * 0.2 / 512**0.5

    def dal() -> Tensor:
        with torch.inference_mode():
            return torch.cat([function.summarize(model, tile)["changes"] for tile in x.split(TILE)]).sum(dim=1)

    return [
        Contender(
            "floor, products",
            lambda: floors.alfa_mix(x, model.weight, model.bias, anchors, epsilons, TILE).sum(dim=1),
        ),
        Contender("dal", dal),
        *_before(
            "alfa_mix",
            x=x,
            labeled=labeled,
            labels=torch.arange(len(labeled)) % classes,
            weight=model.weight,
            bias=model.bias,
            tile=TILE,
        ),
    ]


def nearest(points: int, width: int, centers: int) -> list[Contender]:
    x = blobs(points, width)
    _, means = k_means(x, centers, _generator())
    return [
        Contender("floor, a product in blocks", lambda: floors.nearest_to_centers(x, means)),
        Contender("dal", lambda: nearest_to_centers(x, means)),
        *_before("nearest", x=x, centers=means),
    ]


def clusters(points: int, width: int, centers: int) -> list[Contender]:
    from sklearn.cluster import KMeans

    x = blobs(points, width)

    def inertia(labels: Tensor) -> Tensor:
        sums = torch.zeros(centers, width, dtype=torch.float64).index_add_(0, labels, x.double())
        means = sums / torch.bincount(labels, minlength=centers).clamp(min=1)[:, None]
        return (x.double() - means[labels]).square().sum()[None]

    def scikit() -> Tensor:
        fitted = KMeans(centers, n_init=1, random_state=SEED).fit(x.double().numpy())
        return torch.from_numpy(fitted.labels_).long()

    notes = {
        name: f"inertia {float(inertia(run())):.4g}"
        for name, run in (("dal", lambda: k_means(x, centers, _generator())[0]), ("scikit", scikit))
    }
    return [
        Contender("scikit-learn in float64", scikit, note=notes["scikit"]),
        Contender("dal", lambda: k_means(x, centers, _generator())[0], note=notes["dal"]),
        *_before("clusters", x=x, count=centers),
    ]


def _unit_blobs(points: int) -> tuple[Tensor, float]:
    """Return points of length 1, and a radius."""
    x = torch.randn(points, 512, generator=_generator()) * 0.2 + blobs(points, 512, 0.0) / 3
    x = unit_points("x", x + 0.4 * torch.randn(points, 512, generator=_generator())).float()
    return x, float(torch.cdist(x[:500], x[:500]).flatten().quantile(0.004))


def large_probcover(points: int, picks: int) -> list[Contender]:
    x, delta = _unit_blobs(points)
    return [
        Contender("dal", lambda: probcover_select(x, x[:0], picks, delta, _generator()), repeats=1),
        *_before("probcover", repeats=1, x=x, picks=picks, delta=delta),
    ]


def probcover(points: int, picks: int) -> list[Contender]:
    x, delta = _unit_blobs(points)
    return [
        Contender("floor, a mask", lambda: floors.probcover(x, picks, delta)),
        Contender("dal", lambda: probcover_select(x, x[:0], picks, delta, _generator())),
        *_before("probcover", x=x, picks=picks, delta=delta),
        Contender("authors' code", peers.authors_probcover(x, picks, delta)),
    ]


def linkage(points: int, width: int) -> list[Contender]:
    x = torch.randn(points, width, generator=_generator())
    return [
        Contender("floor, a product and linkage", lambda: floors.average_linkage(x.double(), 50)),
        Contender("dal", lambda: average_linkage(x, 50)),
        *_before("linkage", x=x, count=50),
    ]


def coreset(picks: int) -> list[Contender]:
    x, known = torch.randn(1050, 512, generator=_generator()).split([1000, 50])
    return [
        Contender("floor, matrix-vector", lambda: floors.coreset(x, known, picks)),
        Contender("dal", lambda: k_center_greedy(x, known, picks)),
        *_before("coreset", x=x, known=known, picks=picks),
    ]


def badge(picks: int) -> list[Contender]:
    features = torch.randn(1000, 512, generator=_generator())
    probs = torch.randn(1000, 10, generator=_generator()).mul(2).softmax(dim=1)
    return [
        Contender("floor, matrix-vector", lambda: floors.badge(probs, features, picks, _generator())),
        Contender("dal", lambda: badge_select(probs, features, picks, _generator())),
        *_before("badge", probs=probs, features=features, picks=picks),
    ]
