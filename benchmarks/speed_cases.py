"""Cases of speed.py: floors, dal and peers on the same tensors.

This module has no command: see speed.py.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import fashion
import floors
import peers
import torch
from harness import Case, Contender
from scipy.stats import spearmanr
from torch import Tensor

from dal import Classifier
from dal.acquisition import BALD, badge_select, batchbald_select, k_center_greedy
from dal.acquisition.search.rows import Rows
from dal.data.images import ImageData
from dal.models.adapt import as_adapted
from dal.scoring.config import ScoringConfig
from dal.scoring.model_pass import ModelPass
from dal.scoring.select import summarize_points

SEED = 0
# For the floor and baal; dal chooses its own tile size. Other sizes hardly change the floor's time.
BATCH, RESNET_BATCH = 256, 128
PEER_REPEATS = 5


def scoring_cases(threads: int, quick: bool) -> list[Case]:
    small = {"images": 10_000, "draws": 20}
    large = {"images": 500, "draws": 20}
    if quick:
        small, large = {"images": 500, "draws": 5}, {"images": 128, "draws": 5}
    tiny = {"images": 40}
    return [
        Case(
            f"SmallCNN, {small['images']:,} images 1x28x28, BALD, {small['draws']} draws",
            small_cnn,
            small,
            tiny,
            threads,
            same_ranking,
        ),
        Case(
            f"ResNet-18, {large['images']:,} images 3x32x32, BALD, {large['draws']} draws",
            resnet18,
            large,
            {"images": 8},
            threads,
        ),
    ]


def small_cnn(images: int, draws: int) -> list[Contender]:
    data, x = fashion.test_images(images)
    model = fashion.small_classifier()
    masks = floors.dropout_masks(model, draws)
    by_hand = [
        (floors.small_cnn_step(m, masks), layout) for m, layout in ((model, None), (_channels_last(model), _LAST))
    ]
    baal = {caching: _peer("baal", peers.baal_bald, model, x, draws, BATCH, caching) for caching in (False, True)}
    return [
        Contender("floor, PyTorch by hand", _over_batches(*by_hand[0], x, BATCH)),
        Contender("floor, channels last", _over_batches(*by_hand[1], x, BATCH)),
        Contender("dal", _dal_bald(model, data, draws)),
        Contender("baal", baal[False], PEER_REPEATS),
        Contender("baal, MCCachingModule", baal[True], PEER_REPEATS),
    ]


def resnet18(images: int, draws: int) -> list[Contender]:
    # The floor computes one draw, because all layers except the last are the same for all draws.
    data, x = fashion.color_images(images)
    model = fashion.resnet18()
    cached = _peer("baal", peers.baal_bald, model, x, draws, RESNET_BATCH, True)
    return [
        Contender("floor, one plain pass", _over_batches(model, None, x, RESNET_BATCH)),
        Contender("floor, channels last", _over_batches(_channels_last(model), _LAST, x, RESNET_BATCH)),
        Contender("dal", _dal_bald(model, data, draws)),
        Contender("baal, MCCachingModule", cached, PEER_REPEATS),
    ]


_LAST = torch.channels_last


def _channels_last(model: Classifier) -> Classifier:
    return copy.deepcopy(model).to(memory_format=_LAST)


def _over_batches(step: floors.Step, layout: Any, x: Tensor, batch: int) -> Callable[[], Tensor]:
    # The floor's images are already in its preferred layout.
    ready = x if layout is None else x.clone(memory_format=layout)
    return lambda: floors.over_batches(step, ready, batch)


def _dal_bald(
    model: Classifier, data: ImageData, draws: int, config: ScoringConfig | None = None
) -> Callable[[], Rows]:
    passes, points = ModelPass(as_adapted(model), config or ScoringConfig()), (data, torch.arange(len(data)))
    return lambda: summarize_points(passes, BALD(draws), points, seed=SEED)["scores"]


def option_cases(threads: int, quick: bool) -> list[Case]:
    sizes = {"images": 500, "draws": 5} if quick else {"images": 10_000, "draws": 20}
    title = f"SmallCNN, {sizes['images']:,} images 1x28x28, BALD, {sizes['draws']} draws"
    return [Case(title, options_of_scoring, sizes, {"images": 40}, threads)]


def options_of_scoring(images: int, draws: int) -> list[Contender]:
    """Compare the defaults of dal with one changed option at a time."""
    data, _ = fashion.test_images(images)
    model = fashion.small_classifier()
    changes: list[dict[str, Any]] = [{}, {"channels_last": False}, {"precision": "bf16"}, {"compile": True}]
    changes += [{"tile_size": size} for size in (16, 64, 256, 1024)]
    return [
        Contender(
            ", ".join(f"{key}={value}" for key, value in change.items()) or "dal, defaults",
            _dal_bald(model, data, draws, ScoringConfig(**change)),
        )
        for change in changes
    ]


def same_ranking(results: dict[str, Any]) -> dict[str, str]:
    """Return rank correlations with the floor.

    Scores differ because masks differ, but contenders with the same work rank the images similarly.
    """
    floor, *others = results
    return {
        name: f"rank correlation with the floor {spearmanr(results[name], results[floor]).statistic:.3f}"
        for name in others
    }


def coreset_cases(threads: int, quick: bool) -> list[Case]:
    cases = []
    for kind in ("fashion", "normal"):
        for picks in (100,) if quick else (100, 1000):
            sizes = {"kind": kind, "pool": 50_000, "labeled": 1000, "picks": picks}
            if quick:
                sizes |= {"pool": 4000, "labeled": 200, "picks": 20}
            title = f"{_KINDS[kind]}, {sizes['pool']:,} x 512, {sizes['picks']:,} picks"
            cases.append(Case(title, coreset, sizes, {"pool": 500, "labeled": 50, "picks": 5}, threads, same_picks))
    return cases


_KINDS = {"fashion": "Fashion-MNIST features", "normal": "Normal features", "made up": "Made-up gradients"}


def coreset(kind: str, pool: int, labeled: int, picks: int) -> list[Contender]:
    """Build the core-set case.

    Peers run on the Fashion-MNIST features only, because their time does not depend on the values. small-text does not
    run with 1,000 picks, because it starts over for every pick.
    """
    if kind == "fashion":
        features, _ = fashion.features_and_probs()
        known, x = features[fashion.POOL :][:labeled].clone(), features[:pool].clone()
    else:
        x, known = fashion.normal_features(pool + labeled, 512).split([pool, labeled])
    contenders = [
        Contender("floor, matrix-vector", lambda: floors.coreset(x, known, picks)),
        Contender("dal", lambda: k_center_greedy(x, known, picks)),
    ]
    if kind == "fashion":
        peer = _peer("skactiveml", peers.skactiveml_coreset, x, known, picks)
        contenders.append(Contender("scikit-activeml", peer, repeats=PEER_REPEATS if picks <= 100 else 1))
        if picks <= 100:
            peer = _peer("small_text", peers.small_text_coreset, x, known, picks)
            contenders.append(Contender("small-text", peer, repeats=1))
    return contenders


def same_picks(results: dict[str, Any]) -> dict[str, str]:
    floor, *others = results
    notes = {}
    for name in others:
        ours, theirs = results[name].tolist(), results[floor].tolist()
        shared = len(set(ours) & set(theirs))
        notes[name] = "the floor's picks"
        if shared < len(theirs):
            notes[name] = f"{shared:,} of {len(theirs):,} picks are the floor's"
        elif ours != theirs:
            notes[name] += ", in another order"
    return notes


def badge_cases(threads: int, quick: bool) -> list[Case]:
    sizes = [
        {"kind": "fashion", "pool": 50_000, "classes": 10, "picks": 1000, "repeats": None, "peer": False},
        {"kind": "fashion", "pool": 5000, "classes": 10, "picks": 100, "repeats": None, "peer": True},
        {"kind": "made up", "pool": 200_000, "classes": 100, "picks": 1000, "repeats": 2, "peer": False},
    ]
    if quick:
        sizes = [case | {"pool": case["pool"] // 10, "picks": case["picks"] // 10} for case in sizes]
    return [
        Case(
            f"{_KINDS[s['kind']]}, {s['pool']:,} x 512 x {s['classes']}, {s['picks']:,} picks",
            badge,
            s,
            {"pool": 200, "picks": 5},
            threads,
        )
        for s in sizes
    ]


def badge(kind: str, pool: int, classes: int, picks: int, repeats: int | None, peer: bool) -> list[Contender]:
    if kind == "fashion":
        features, probs = (values[:pool].clone() for values in fashion.features_and_probs())
    else:
        features = fashion.normal_features(pool, 512).relu_()
        probs = fashion.made_up_probs(features, classes)

    def draws() -> torch.Generator:
        return torch.Generator().manual_seed(SEED)

    contenders = [
        Contender("floor, matrix-vector", lambda: floors.badge(probs, features, picks, draws()), repeats),
        Contender("dal", lambda: badge_select(probs, features, picks, draws()), repeats),
    ]
    if peer:
        ready = _peer("skactiveml", peers.skactiveml_badge, probs, features, picks)
        contenders.append(Contender("scikit-activeml", ready, repeats=PEER_REPEATS, note="selection alone"))
    return contenders


def batchbald_cases(threads: int, quick: bool) -> list[Case]:
    sizes = {"pool": 1000, "draws": 20, "classes": 10, "picks": 3 if quick else 5}
    title = "Made-up draws, {pool:,} x {draws} x {classes}, {picks} picks".format(**sizes)
    return [Case(title, batchbald, sizes, {"pool": 100, "picks": 2}, threads, same_picks)]


def batchbald(pool: int, draws: int, classes: int, picks: int) -> list[Contender]:
    # Before the last of five picks, ten classes have at most 10,000 joint labels, so the floor can enumerate all.
    g = torch.Generator().manual_seed(SEED)
    centers = 3 * torch.randn(pool, 1, classes, generator=g)
    log_probs = (centers + torch.randn(pool, draws, classes, generator=g)).log_softmax(dim=2)

    def select() -> Tensor:
        return batchbald_select(log_probs, picks, torch.Generator().manual_seed(SEED)).positions

    return [
        Contender("floor, all joint labels", lambda: floors.batchbald(log_probs, picks)),
        Contender("dal", select),
        Contender("baal", _peer("baal", peers.baal_batchbald, log_probs, picks), PEER_REPEATS),
    ]


def _peer(module: str, make: Callable[..., Callable[[], Any]], *arguments: Any) -> Callable[[], Any] | None:
    return make(*arguments) if peers.has(module) else None
