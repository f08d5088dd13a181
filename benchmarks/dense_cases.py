"""Cases of dense_speed.py: draws, regions and selections for segmentation.

This module has no command: see dense_speed.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from harness import Case, Contender
from torch import Tensor, nn
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large, lraspp_mobilenet_v3_large

from dal.acquisition import BALD, Entropy, RandomForeground, Stochastic, Stratified
from dal.acquisition.base import AcquisitionFunction, Selection
from dal.acquisition.search.rows import Rows
from dal.acquisition.search.shards import Shard
from dal.costs.units import clicks
from dal.data.images import ImageData, TensorSource
from dal.data.masks import TensorMasks
from dal.models.adapt import AdaptedModel, adapt, as_adapted
from dal.models.backbones.segmentation_net import SegmentationNet
from dal.models.segmenter import Segmenter
from dal.scoring.config import ScoringConfig
from dal.scoring.dense.predicted_clicks import CLICKS
from dal.scoring.limit import Limit, UnitOptions, number_limit
from dal.scoring.model_pass import ModelPass
from dal.scoring.select import select_rows, summarize_points
from dal.tasks import SEGMENTATION

SEED, CLASSES, DRAWS = 0, 21, 20
REGION = 32
Step = Callable[[Tensor], Tensor]


class _Torchvision(pl.LightningModule):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        # Without statistics of batch normalization, the outputs of untrained layers vanish.
        with torch.no_grad():
            net.train()(torch.randn(4, 3, 64, 64))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)["out"]
        return out

    def training_step(self, batch: Any, batch_idx: int) -> Any: ...

    def configure_optimizers(self) -> Any: ...


def network(kind: str, classes: int) -> tuple[AdaptedModel, Step]:
    """Return a network, and the pass whose output dal reads."""
    torch.manual_seed(SEED)
    if kind == "SegmentationNet":
        own = Segmenter(SegmentationNet(3), classes).eval()
        return as_adapted(own), own.head_output
    if kind == "LRASPP":
        # The output has the resolution of the images. torchvision's network has no dropout.
        net = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes)
        for name in ("high_classifier", "low_classifier"):
            setattr(net.classifier, name, nn.Sequential(nn.Dropout2d(0.5), getattr(net.classifier, name)))
        module = _Torchvision(net)
        return adapt(module, ".", task="segmentation"), module
    net = deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes)
    module = _Torchvision(net)
    return adapt(module, "net.classifier.4", task="segmentation"), lambda x: net.classifier(net.backbone(x)["out"])


def images(count: int, size: int, classes: int) -> ImageData:
    g = torch.Generator().manual_seed(SEED)
    pixels = torch.randint(0, 256, (count, 3, size, size), generator=g, dtype=torch.uint8)
    masks = TensorMasks(torch.zeros(count, size, size, dtype=torch.uint8))
    given: dict[str, Any] = {"labels": torch.zeros(count, dtype=torch.int64), "masks": masks, "task": SEGMENTATION}
    given |= {"classes": [f"class {i}" for i in range(classes)], "mean": [0.5] * 3, "std": [0.3] * 3}
    return ImageData("made up", TensorSource(pixels), [str(i) for i in range(count)], region_size=REGION, **given)


def bald_cases(threads: int, quick: bool) -> list[Case]:
    """Return cases of 20 draws. Repeats use few images, the last case all of them once."""
    shapes: list[tuple[str, int, int, int | None]] = [
        ("SegmentationNet", 8, 512, None),
        ("DeepLabV3", 2, 256, None),
        ("LRASPP", 2, 512, None),
        ("LRASPP", 8, 512, 1),
    ]
    cases = []
    for kind, count, size, repeats in shapes:
        sizes = {"kind": kind, "count": count, "size": size, "repeats": repeats}
        tiny = {"count": 2, "size": 64}
        title = f"{kind}, {count} images {size} x {size}, {CLASSES} classes, BALD, {DRAWS} draws"
        cases.append(Case(title, bald, sizes | tiny if quick else sizes, tiny, threads))
    return cases


def bald(kind: str, count: int, size: int, repeats: int | None) -> list[Contender]:
    model, step = network(kind, CLASSES)
    data = images(count, size, CLASSES)
    return [
        Contender("floor, 20 plain passes", _plain(model, step, data, count, DRAWS), repeats),
        Contender("dal, memory_budget=1GiB", _dal(model, data, BALD(DRAWS), count, "1GiB"), repeats),
    ]


def pooling_cases(threads: int, quick: bool) -> list[Case]:
    shapes = [("SegmentationNet", 1024, 64, 5), ("SegmentationNet", 256, 128, 21), ("LRASPP", 128, 256, 21)]
    tiny = {"count": 2}
    return [
        Case(
            f"{kind}, {count} images {size} x {size}, {classes} classes, entropy of regions of {REGION} x {REGION}",
            pooling,
            {"kind": kind, "count": 2 if quick else count, "size": size, "classes": classes},
            {"count": 2, "size": 16} if quick else tiny,
            threads,
        )
        for kind, count, size, classes in shapes
    ]


def pooling(kind: str, count: int, size: int, classes: int) -> list[Contender]:
    model, step = network(kind, classes)
    data, batch = images(count, size, classes), min(count, 16)
    return [
        Contender("floor, plain pass", _plain(model, step, data, batch, 1)),
        Contender("dal, plain pass", _dal_plain(model, data, batch)),
        Contender("dal, pool=mean", _dal(model, data, Entropy(), batch, None)),
    ]


DEVICE = {"name": "cpu"}
"""The device of all contenders, which dense_speed.py sets."""


def _plain(model: AdaptedModel, step: Step, data: ImageData, batch: int, times: int) -> Callable[[], Tensor]:
    """Return passes over batches of the images, from uint8, as dal reads them."""
    device = torch.device(DEVICE["name"])
    is_cpu = device.type == "cpu"
    model.module.to(device)

    @torch.inference_mode()
    def run() -> Tensor:
        if is_cpu:
            model.module.to(memory_format=torch.channels_last)
        last = torch.zeros(())
        for first in range(0, len(data), batch):
            x = data.plain(list(range(first, min(first + batch, len(data))))).to(device)
            x = x.contiguous(memory_format=torch.channels_last) if is_cpu else x
            for _ in range(times):
                last = step(x)
        return last[0, 0, 0].cpu()  # waits for a GPU

    return run


def _dal(
    model: AdaptedModel, data: ImageData, function: AcquisitionFunction, tile: int, budget: str | None
) -> Callable[[], Rows]:
    config = ScoringConfig(tile_size=tile, memory_budget=budget)
    passes = ModelPass(model, config, device=torch.device(DEVICE["name"]))
    points = torch.arange(data.num_points)
    # dal counts the FLOPs of an image once for each network.
    once = ModelPass(model, ScoringConfig(tile_size=1), device=passes.device)
    summarize_points(once, function, (data, points[:1]), seed=SEED)
    return lambda: summarize_points(passes, function, (data, points), seed=SEED)["scores"]


def _dal_plain(model: AdaptedModel, data: ImageData, tile: int) -> Callable[[], Rows]:
    """Return a pass of dal that keeps one number of each image."""
    passes = ModelPass(model, ScoringConfig(tile_size=tile), device=torch.device(DEVICE["name"]))
    every = torch.arange(len(data))
    return lambda: passes.run(data, every, lambda view, x: {"one": view.logits(x)[:, 0, 0, 0]})["one"]


def selection_cases(threads: int, quick: bool) -> list[Case]:
    count, picks = (20_000, 50) if quick else (2975 * 2048, 1000)
    title = f"{picks:,} of {count:,} regions of {count // 2048 + 1:,} images"
    return [Case(title, selection, {"count": count, "picks": picks}, {"count": 20_000, "picks": 50}, threads)]


def selection(count: int, picks: int) -> list[Contender]:
    """Build the selections from kept scores, a seventh of which are equal."""
    g = torch.Generator().manual_seed(SEED)
    scores = torch.rand(count, generator=g)
    scores[::7] = scores[0]
    of_class = torch.randint(0, 19, (count,), generator=g)
    expected = 1 + 3 * torch.rand(count, generator=g, dtype=torch.float64)
    rows: dict[str, Rows] = {"scores": scores}
    in_clicks: dict[str, Rows] = rows | {CLICKS: expected}
    by_class: dict[str, Rows] = {"predicted": of_class}

    def budget(**options: Any) -> Limit:
        given = UnitOptions(**options)
        return Limit(2.5 * picks, lambda points, of: of, None, 2048, given, clicks)  # type: ignore[arg-type, return-value]

    entropy, stratified = Entropy(), Stratified()
    of_image = number_limit(picks, 2048, UnitOptions(max_per_image=1))
    work: list[tuple[str, AcquisitionFunction, dict[str, Rows], Limit | None]] = [
        ("dal, entropy", entropy, rows, None),
        ("dal, max_per_image=1", entropy, rows, of_image),
        ("dal, budget in clicks", entropy, in_clicks, budget()),
        ("dal, budget in clicks, per_cost", entropy, in_clicks, budget(per_cost=True)),
        ("dal, stochastic", Stochastic(score="entropy"), rows, None),
        ("dal, stratified", stratified, rows | by_class, None),
        (
            "dal, stratified, budget in clicks, max_per_image=1",
            stratified,
            in_clicks | by_class,
            budget(max_per_image=1),
        ),
        ("dal, random_foreground", RandomForeground(), {"foreground": (scores > 0.5).float()}, None),
    ]
    floor = Contender("floor, a sort of all scores", lambda: torch.sort(scores, descending=True, stable=True))
    return [floor, *(Contender(name, _select(*given, count, picks)) for name, *given in work)]


def _select(
    function: AcquisitionFunction, rows: dict[str, Rows], limit: Limit | None, count: int, picks: int
) -> Callable[[], Selection]:
    points = torch.arange(count)
    most = picks if limit is None else count

    def run() -> Selection:
        new = lambda: torch.Generator().manual_seed(SEED)  # noqa: E731
        return select_rows(new, function, Shard.alone(count), (rows, {}), points, most, limit)

    return run
