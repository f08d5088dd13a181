"""Image cases of speed.py: crops of batches, JPEG files, and the cache of decoded pixels.

Files are crops of the two photographs of scikit-learn, written to a temporary folder. The contenders named "before" do
what dal did up to commit 80c169d.

This module has no command: see speed.py.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from harness import Case, Contender
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg, read_file

from dal.data import load
from dal.data.augment import RandomCrop, RandomResizedCrop
from dal.data.sets.image_folder import ImageFolder
from dal.data.sources.folder.decoding import FolderSource
from dal.data.sources.folder.formats import formats
from dal.data.sources.folder.frames import has_more_frames
from dal.data.sources.folder.pixels import levels, to_rgb

SEED = 0
BATCH = 64
SIZES = (32, 64, 128, 224)
PHOTO_SIZES = ((500, 375), (375, 500), (640, 427), (400, 400), (333, 500))


def crop_cases(threads: int, quick: bool) -> list[Case]:
    # The turns of one contender are ten batches, because one takes less than a millisecond.
    return [
        Case(f"{BATCH} images 3x{size}x{size}, ten times, {what}", build, {"size": size}, {}, threads, same)
        for what, build in (("random crop", random_crop), ("random resized crop", resized_crop))
        for size in (SIZES[:1] if quick else SIZES)
    ]


def _images(size: int) -> Tensor:
    g = torch.Generator().manual_seed(SEED)
    return torch.randint(0, 256, (BATCH, 3, size, size), dtype=torch.uint8, generator=g)


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


def random_crop(size: int) -> list[Contender]:
    images, padding = _images(size), size // 8
    corners = torch.randint(2 * padding + 1, (2, BATCH), generator=_seeded())
    crop = RandomCrop(padding)

    def by_arrays() -> Tensor:
        padded, crops = F.pad(images, (padding,) * 4).numpy(), np.empty(images.shape, np.uint8)
        for i, (top, left) in enumerate(corners.T.tolist()):
            crops[i] = padded[i, :, top : top + size, left : left + size]
        return torch.from_numpy(crops)

    def by_tensors() -> Tensor:
        padded, crops = F.pad(images, (padding,) * 4), torch.empty_like(images)
        for i, (top, left) in enumerate(corners.T.tolist()):
            crops[i] = padded[i, :, top : top + size, left : left + size]
        return crops

    def by_indices() -> Tensor:
        places, points = torch.arange(size), torch.arange(BATCH)
        rows, columns = corners[0][:, None] + places, corners[1][:, None] + places
        padded = F.pad(images, (padding,) * 4)
        return padded[points[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()

    return _ten_times(
        {
            "floor, slices of NumPy arrays": by_arrays,
            "floor, slices of tensors": by_tensors,
            "before, indices": by_indices,
            "dal": lambda: crop(images, _seeded()),
        }
    )


def resized_crop(size: int) -> list[Contender]:
    images, crop = _images(size), RandomResizedCrop()
    rectangles = crop._rectangles(images, _seeded())
    wide, tall, x, y = rectangles[:, 0, 0], rectangles[:, 1, 1], rectangles[:, 0, 2], rectangles[:, 1, 2]
    # interpolate() takes rectangles of whole pixels only.
    edges = torch.stack([y - tall, y + tall, x - wide, x + wide], dim=1).add(1).mul(size / 2).round().int().tolist()

    def interpolate(convert: bool) -> Tensor:
        crops = torch.empty_like(images)
        for i, (top, bottom, left, right) in enumerate(edges):
            part = images[i : i + 1, :, top:bottom, left:right]
            part = part.float() if convert else part
            found = F.interpolate(part, (size, size), mode="bilinear", align_corners=False)[0]
            crops[i] = found.round_() if convert else found
        return crops

    def grid_sample() -> Tensor:
        grid = F.affine_grid(rectangles, list(images.shape), align_corners=False)
        return F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False).round().to(torch.uint8)

    return _ten_times(
        {
            "floor, interpolate per image": lambda: interpolate(True),
            "interpolate in uint8, rounded twice": lambda: interpolate(False),
            "before, grid_sample": grid_sample,
            "dal": lambda: crop(images, _seeded()),
        }
    )


def _ten_times(runs: dict[str, Any]) -> list[Contender]:
    return [Contender(name, lambda run=run: [run() for _ in range(10)][-1]) for name, run in runs.items()]


def same(results: dict[str, Any]) -> dict[str, str]:
    """Compare the pixels of dal with those before."""
    before = next(result for name, result in results.items() if name.startswith("before"))
    return {"dal": "the same pixels as before" if torch.equal(results["dal"], before) else "other pixels"}


def jpeg_cases(threads: int, quick: bool) -> list[Case]:
    count = 10 if quick else 100
    sizes = [{"count": count, "size": size} for size in (128, 224)]
    return [
        Case(f"{count} JPEG files of about 500x400, to {s['size']} pixels", jpeg, s, {"count": 2}, threads, same_jpeg)
        for s in sizes
    ]


def jpeg(count: int, size: int) -> list[Contender]:
    root = photographs(count)
    files = sorted(path.name for path in root.iterdir())
    source = FolderSource(root, files, size)
    paths = [root / file for file in files]
    decoded = [_decoded_by_pillow(path) for path in paths]
    tensors = [_decoded_by_torchvision(path) for path in paths]
    squares = [_square_of(image) for image in tensors]
    return [
        Contender("floor, torchvision", lambda: torch.stack([_by_torchvision(path, size) for path in paths])),
        Contender(_DECODE, lambda: [_decoded_by_torchvision(path) for path in paths]),
        Contender("torchvision: resize alone", lambda: torch.stack([_resized(square, size) for square in squares])),
        Contender("Pillow: decode alone", lambda: [np.asarray(_decoded_by_pillow(path)) for path in paths]),
        Contender(
            "Pillow: resize alone, whole pixels",
            lambda: [_resized_by_pillow(image, size, _whole_box(image)) for image in decoded],
        ),
        Contender("Pillow: resize alone", lambda: [_resized_by_pillow(image, size, _box(image)) for image in decoded]),
        Contender("Pillow: decode and resize alone", lambda: [_by_pillow(path, size) for path in paths]),
        Contender("before", lambda: torch.stack([_before(path, size) for path in paths])),
        # Of batch(), without its threads.
        Contender("dal", lambda: torch.stack([source._image(index) for index in range(count)])),
    ]


_DECODE = "torchvision: decode alone"


def same_jpeg(results: dict[str, Any]) -> dict[str, str]:
    """Compare pixels: those of dal with those before, and those of torchvision with those of Pillow."""
    pairs = zip(results[_DECODE], results["Pillow: decode alone"], strict=True)
    equal = sum(np.array_equal(ours.permute(1, 2, 0).numpy(), theirs) for ours, theirs in pairs)
    whole = torch.stack([torch.from_numpy(image) for image in results["Pillow: resize alone, whole pixels"]])
    return same(results) | {
        "floor, torchvision": f"against dal, {_difference(results['floor, torchvision'], results['dal'])}",
        _DECODE: f"Pillow's pixels in {equal} of {len(results[_DECODE])} files",
        "torchvision: resize alone": (
            f"against Pillow, {_difference(results['torchvision: resize alone'], whole.permute(0, 3, 1, 2))}"
        ),
    }


def _difference(ours: Tensor, theirs: Tensor) -> str:
    apart = (ours.int() - theirs.int()).abs()
    return f"{float((apart > 0).double().mean()):.2%} of the values differ, by {int(apart.max())} at most"


def _by_torchvision(path: Path, size: int) -> Tensor:
    """Decode and resize, with a square of whole pixels."""
    return _resized(_square_of(_decoded_by_torchvision(path)), size)


def _decoded_by_torchvision(path: Path) -> Tensor:
    return decode_jpeg(read_file(str(path)), mode=ImageReadMode.RGB)


def _square_of(image: Tensor) -> Tensor:
    height, width = image.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[:, top : top + side, left : left + side]


def _resized(square: Tensor, size: int) -> Tensor:
    return F.interpolate(square[None], (size, size), mode="bilinear", antialias=True)[0]


def _by_pillow(path: Path, size: int) -> Image.Image:
    with Image.open(path, formats=("JPEG",)) as image:
        image.draft(None, (2 * size, 2 * size))
        return image.resize((size, size), Image.Resampling.BILINEAR, box=_box(image))


def _decoded_by_pillow(path: Path) -> Image.Image:
    with Image.open(path, formats=("JPEG",)) as image:
        image.load()
        return image


def _resized_by_pillow(image: Image.Image, size: int, box: tuple[float, float, float, float]) -> Any:
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))


def _whole_box(image: Image.Image) -> tuple[float, float, float, float]:
    left, top, right, bottom = map(int, _box(image))
    return left, top, right, bottom


def _box(image: Image.Image) -> tuple[float, float, float, float]:
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return left, top, left + side, top + side


def _before(path: Path, size: int) -> Tensor:
    names = tuple(sorted(formats(path.suffix)))
    with path.open("rb") as file:
        hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).digest()
        file.seek(0)
        with Image.open(file, formats=names) as opened:
            opened.draft(None, (2 * size, 2 * size))
            values = levels(opened)
            image = to_rgb(ImageOps.exif_transpose(opened), values)
            resized = image.resize((size, size), Image.Resampling.BILINEAR, box=_box(image))
            pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()
            has_more_frames(opened)
            return pixels


def cache_cases(threads: int, quick: bool) -> list[Case]:
    count = 20 if quick else 1000
    return [
        Case(
            f"A start on {count:,} JPEG files of about 500x400, to {size} pixels",
            starts,
            {"count": count, "size": size},
            {"count": 20},
            threads,
            same_data,
        )
        for size in (128, 224)
    ]


def starts(count: int, size: int) -> list[Contender]:
    root = photographs(count)
    folder = Path(tempfile.mkdtemp(prefix="dal_cache_"))
    files = sorted(path.name for path in root.iterdir())
    data = Path(tempfile.mkdtemp(prefix="dal_folder_"))
    for number, file in enumerate(files):
        target = data / "ab"[number % 2]
        target.mkdir(exist_ok=True)
        os.link(root / file, target / file)
    time.sleep(2.5)  # files that have just changed are read again

    def start(cached: bool) -> Any:
        config = ImageFolder(root=str(data), image_size=size, cache=str(folder) if cached else None)
        return load(config).fingerprint()

    def first() -> Any:
        shutil.rmtree(folder)
        return start(True)

    start(True)
    return [
        Contender("floor, size and time of each file", lambda: [os.stat(root / file) for file in files]),  # noqa: PTH116
        Contender("dal, without a cache (before)", lambda: start(False), 3),
        Contender("dal, first start with a cache", first, 3),
        Contender("dal, second start", lambda: start(True)),
    ]


def same_data(results: dict[str, Any]) -> dict[str, str]:
    _, plain, first, second = results.values()
    name = "dal, second start"
    return {name: "the same ids, labels and digests" if plain == first == second else "other data"}


@cache
def photographs(count: int) -> Path:
    """Write crops of the two photographs of scikit-learn, and return their folder."""
    root, draws = Path(tempfile.mkdtemp(prefix="dal_photographs_")), np.random.default_rng(SEED)
    originals = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    for number in range(count):
        width, height = PHOTO_SIZES[number % len(PHOTO_SIZES)]
        whole = originals[number % 2]
        scale = max(1.0, height / whole.height)
        whole = whole.resize((math.ceil(whole.width * scale), math.ceil(whole.height * scale)))
        left, top = (int(draws.integers(0, room + 1)) for room in (whole.width - width, whole.height - height))
        whole.crop((left, top, left + width, top + height)).save(root / f"{number:05}.jpg", quality=90)
    return root


PARTS = {
    "crops": (
        crop_cases,
        "Random crops of a batch, with CPU seconds. The floor of random crops slices each padded image. That of random "
        "resized crops is `interpolate` in float32 for each image, with rectangles of whole pixels.",
    ),
    "jpeg": (
        jpeg_cases,
        "JPEG files to uint8 squares, with CPU seconds. The floor is `torchvision.io.decode_jpeg` and `interpolate` in "
        "uint8 with antialiasing, with a square of whole pixels. dal and Pillow crop the square at half pixels, and "
        "dal also reads the EXIF rotation and computes a digest of the file.",
    ),
    "cache": (
        cache_cases,
        "`load(ImageFolder(...))` and its fingerprint, with CPU seconds of all threads. The floor asks the operating "
        "system for the size and time of each file.",
    ),
}
