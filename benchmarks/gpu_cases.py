"""Cases of gpu.py: the floor and dal on synthetic data.

This module has no command: see gpu.py.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import fashion
import floors
import torch
from gpu_limits import Work, products_in, work_of_badge, work_of_coreset, work_of_layers
from torch import Tensor

from dal import Classifier
from dal.acquisition import BALD, badge_select, k_center_greedy
from dal.acquisition.search.rows import Rows
from dal.data.images import ImageData, TensorSource
from dal.models.adapt import as_adapted
from dal.models.backbones import SmallCNN
from dal.scoring.config import ScoringConfig
from dal.scoring.model_pass import ModelPass
from dal.scoring.select import summarize_points

SEED = 0
DRAWS = 20


@dataclass(frozen=True)
class Entry:
    """One contender on the device, with a description of its work."""

    name: str
    run: Callable[[], Any]
    work: Work


Cases = Iterator[tuple[str, Callable[[], list[Entry]]]]


def scoring(device: torch.device, quick: bool) -> Cases:
    images, tile = (32, 16) if quick else (10_240, 512)
    yield f"SmallCNN, {images:,} images 1x28x28, BALD, {DRAWS} draws", lambda: _small_cnn(device, images, tile)
    images, tile = (8, 4) if quick else (10_240, 512)
    yield f"ResNet-18, {images:,} images 3x32x32, BALD, {DRAWS} draws", lambda: _resnet18(device, images, tile)


def _small_cnn(device: torch.device, images: int, tile: int) -> list[Entry]:
    torch.manual_seed(SEED)
    model = Classifier(SmallCNN(1, (28, 28)), num_classes=10).to(device).eval()
    masks = floors.dropout_masks(model, DRAWS)
    return list(_scoring(model, made_up_images(images, (1, 28, 28)), tile, lambda m: floors.small_cnn_step(m, masks)))


def _resnet18(device: torch.device, images: int, tile: int) -> list[Entry]:
    # The floor computes one draw, because all layers except the last are the same for all draws.
    model = fashion.resnet18().to(device)
    return list(_scoring(model, made_up_images(images, (3, 32, 32)), tile, lambda m: m))


def _scoring(model: Classifier, data: ImageData, tile: int, step_of: Callable[[Classifier], floors.Step]) -> Any:
    # The floor's normalized images are on the device already; dal copies its images there.
    device = next(model.parameters()).device
    x = data.plain(range(len(data))).to(device)
    indices = torch.arange(len(data))
    variants = [(a, last, c) for last, c in ((False, False), (True, False), (True, True)) for a in _ARITHMETIC]
    for arithmetic, channels_last, compiled in variants:
        if channels_last and arithmetic == "float32":
            continue  # full float32 has no units that prefer channels last
        name = ", ".join([arithmetic, *["channels last"] * channels_last, *["compiled"] * compiled])
        layout = torch.channels_last if channels_last else torch.contiguous_format
        mine = copy.deepcopy(model).to(memory_format=layout)
        step = step_of(mine)
        work = work_of_layers(step, mine, x[:4], len(x), tile, arithmetic)
        if compiled:
            step = torch.compile(step)
        batches = x.to(memory_format=layout)
        yield Entry(f"floor, {name}", _floor(step, batches, tile, arithmetic), work)
        # Set the precision around the call, so float32 and tf32 also apply to the floor.
        config = ScoringConfig(
            batch_size=2 * tile,
            tile_size=tile,
            precision="bf16" if arithmetic == "bf16" else "32",
            channels_last=channels_last,
            compile=compiled,
        )
        passes = ModelPass(as_adapted(mine), config, device)
        yield Entry(f"dal, {name}", _dal(passes, data, indices, arithmetic), work)


_ARITHMETIC = ("float32", "tf32", "bf16")


def _floor(step: floors.Step, x: Tensor, tile: int, arithmetic: str) -> Callable[[], Tensor]:
    def run() -> Tensor:
        half = arithmetic == "bf16"
        with products_in(arithmetic), torch.autocast(x.device.type, torch.bfloat16, enabled=half):
            return floors.over_batches(step, x, tile).cpu()

    return run


def _dal(passes: ModelPass, data: ImageData, indices: Tensor, arithmetic: str) -> Callable[[], Rows]:
    def run() -> Rows:
        with products_in(arithmetic):
            return summarize_points(passes, BALD(DRAWS), (data, indices), seed=SEED)["scores"]

    return run


def coreset(device: torch.device, quick: bool) -> Cases:
    pool, picks = (500, 10) if quick else (50_000, 1000)
    for dtype in (torch.float32, torch.bfloat16):
        title = f"{pool:,} x 512 {_name(dtype)}, {picks:,} picks"
        yield title, lambda dtype=dtype: _coreset(made_up_features(pool + 1000, 512, dtype, device), 1000, picks)


def badge(device: torch.device, quick: bool) -> Cases:
    pool, picks = (500, 10) if quick else (50_000, 1000)
    for dtype in (torch.float32, torch.bfloat16):
        title = f"{pool:,} x 512 x 10 {_name(dtype)}, {picks:,} picks"
        yield title, lambda dtype=dtype: _badge(made_up_features(pool, 512, dtype, device), 10, picks)


def imagenet(device: torch.device, quick: bool) -> Cases:
    pool, width, classes, picks = (500, 64, 20, 10) if quick else (1_281_167, 2048, 1000, 1000)
    half = torch.bfloat16
    title = f"{pool:,} x {width:,} bf16, {picks:,} picks"
    yield f"coreset, {title}", lambda: _coreset(made_up_features(pool + 1000, width, half, device), 1000, picks)
    title = f"{pool:,} x {width:,} bf16 x {classes:,}, {picks:,} picks"
    yield f"badge, {title}", lambda: _badge(made_up_features(pool, width, half, device), classes, picks)


def _coreset(features: Tensor, labeled: int, picks: int) -> list[Entry]:
    known, x = features[:labeled], features[labeled:]
    work = work_of_coreset(x, known, picks)
    return [
        Entry("floor, matrix-vector", lambda: floors.coreset(x, known, picks), work),
        Entry("dal", lambda: k_center_greedy(x, known, picks), work),
    ]


def _badge(features: Tensor, classes: int, picks: int) -> list[Entry]:
    # Probabilities are float32, like the output of a softmax.
    probs = made_up_probs(features, classes)
    work = work_of_badge(probs, features, picks)
    draws = torch.Generator
    return [
        Entry("floor, matrix-vector", lambda: floors.badge(probs, features, picks, draws().manual_seed(SEED)), work),
        Entry("dal", lambda: badge_select(probs, features, picks, draws().manual_seed(SEED)), work),
    ]


def made_up_images(count: int, shape: tuple[int, int, int]) -> ImageData:
    g = torch.Generator().manual_seed(SEED)
    pixels = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=g)
    labels, ids = torch.zeros(count, dtype=torch.int64), [str(i) for i in range(count)]
    return ImageData("made up", TensorSource(pixels), ids, labels, [str(c) for c in range(10)], mean=[0.5], std=[0.5])


def made_up_features(count: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return rectified normal numbers, generated on the device in blocks."""
    g = torch.Generator(device).manual_seed(SEED)
    features = torch.empty(count, width, dtype=dtype, device=device)
    for block in features.split(65_536):
        block.copy_(torch.randn(block.shape, generator=g, device=device).relu_())
    return features


def made_up_probs(features: Tensor, classes: int) -> Tensor:
    """Return probabilities of a random last layer.

    They are about as confident as those of a trained one.
    """
    g = torch.Generator(features.device).manual_seed(SEED + 1)
    weights = torch.randn(features.shape[1], classes, generator=g, device=features.device)
    weights *= 3 / features.shape[1] ** 0.5
    probs = torch.empty(len(features), classes, device=features.device)
    for block, rows in zip(probs.split(65_536), features.split(65_536), strict=True):
        torch.softmax(rows.float() @ weights, dim=1, out=block)
    return probs


def _name(dtype: torch.dtype) -> str:
    return "bf16" if dtype == torch.bfloat16 else "float32"
