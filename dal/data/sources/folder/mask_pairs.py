"""Finds the images and the masks in a folder, and pairs them by their stems."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dal.data.sources.folder.cached_masks import Pair
from dal.data.sources.folder.listing import Listing, list_images, shown
from dal.data.sources.folder.names import composed
from dal.errors import DalError, bad_content, bad_value

SPLITS = ("train", "val", "valid", "validation", "test")
# Folders that other formats use, in the order images, masks.
_OTHER_NAMES = (
    ("JPEGImages", "SegmentationClass"),
    ("img_dir", "ann_dir"),
    ("leftImg8bit", "gtFine"),
    ("images", "labels"),
    ("images", "annotations"),
    ("imgs", "masks"),
    ("image", "mask"),
)


@dataclass(frozen=True)
class MaskLayout:
    """Names of the folders of images and masks, and what follows the common stem in the names of their files."""

    images: str = "images"
    masks: str = "masks"
    image_suffix: str = ""
    mask_suffix: str = ""

    def in_folder(self, root: Path) -> bool:
        """Return whether a folder has both folders."""
        return (root / self.images).is_dir() and (root / self.masks).is_dir()


@dataclass(frozen=True)
class MaskSplit:
    """The folders of images and masks of a split."""

    images: Path
    masks: Path


def find_splits(root: Path, layout: MaskLayout) -> dict[str, MaskSplit]:
    """Return the splits below a folder by name, or one with an empty name.

    Splits are folders above or below those of images and masks: ``train/images`` or ``images/train``.

    Raises DalError if the folders are missing.
    """
    above = {
        name: MaskSplit(root / name / layout.images, root / name / layout.masks)
        for name in SPLITS
        if layout.in_folder(root / name)
    }
    if "train" in above:
        return above
    if not layout.in_folder(root):
        raise _no_folders(root, layout)
    whole = MaskSplit(root / layout.images, root / layout.masks)
    below = {
        name: MaskSplit(whole.images / name, whole.masks / name)
        for name in SPLITS
        if (whole.images / name).is_dir() and (whole.masks / name).is_dir()
    }
    return below if "train" in below else {"": whole}


def split_for_testing(splits: dict[str, MaskSplit], wanted: str | None) -> str | None:
    """Return the name of the test split, by default test or else a validation split.

    Raises DalError if the wanted split is missing.
    """
    others = [name for name in splits if name not in ("", "train")]
    if wanted is not None and wanted not in others:
        raise bad_value("data.test_split", f"one of the splits {', '.join(others)}" if others else "null", wanted)
    chosen = wanted or ("test" if "test" in others else next(iter(others), None))
    if left := [name for name in others if name != chosen]:
        warnings.warn(f"data.root: images of the splits {', '.join(left)} are not used.", stacklevel=2)
    return chosen


def pair_files(split: MaskSplit, layout: MaskLayout, argument: str) -> tuple[list[str], dict[str, Path]]:
    """List the images of a split, and map those with a mask to its file.

    An image and its mask have the same path without the suffixes. Images are paths relative to their folder.

    Raises DalError, with ``argument``, if there is no image or no mask, if two images or two masks have the same stem,
    or if a mask has no image.
    """
    listing = list_images(split.images, argument)
    shared = {os.path.realpath(path) for path in _inside(split.masks, split.images)}
    files = [file for file in listing.files if not _is_below(split.images / file, shared)]
    if split.images.resolve() == split.masks.resolve() and layout.mask_suffix:
        files = [file for file in files if not Path(file).stem.endswith(layout.mask_suffix)]
    images = _by_stem(split.images, files, layout.image_suffix, argument)
    of_masks = list_images(split.masks, argument)
    # With a suffix, other images of the folder are no masks.
    found = [file for file in of_masks.files if Path(file).stem.endswith(layout.mask_suffix)]
    masks = _by_stem(split.masks, found, layout.mask_suffix, argument)
    if not images:
        raise _none_of("images", split.images, layout.image_suffix, listing, argument)
    listing.warn(classes=False)
    if not masks.keys() & images.keys():
        raise _no_pair(split, images, masks, of_masks, argument)
    if orphans := sorted(masks.keys() - images.keys()):
        names = shown([str(split.masks / masks[stem]) for stem in orphans])
        hint = _other_case(orphans[0], images)
        raise bad_content(argument, "an image with the same stem for each mask", f"none for {names}{hint}")
    if len(masks) < len(images) and of_masks.left_out and split.masks.resolve() != split.images.resolve():
        warnings.warn(f"{split.masks}: files that are not masks are skipped: {of_masks.summary()}.", stacklevel=2)
    return list(images.values()), {images[stem]: split.masks / masks[stem] for stem in masks}


def pairs_of(root: Path, files: Sequence[str], masks: dict[str, Path]) -> list[Pair]:
    """Return each image with its mask."""
    return [Pair(root / file, masks.get(file)) for file in files]


def _by_stem(root: Path, files: Sequence[str], suffix: str, argument: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for file in files:
        path = Path(file).with_suffix("").as_posix()
        if not path.endswith(suffix):
            continue
        stem = composed(path.removesuffix(suffix))
        if stem in found:
            got = f"{found[stem]} and {file} in {root}"
            raise bad_content(argument, "one file for each stem of an image or a mask", got)
        found[stem] = file
    return found


def _inside(folder: Path, outer: Path) -> list[Path]:
    """Return the folder if it is below the other one."""
    real, real_outer = folder.resolve(), outer.resolve()
    return [real] if real != real_outer and real.is_relative_to(real_outer) else []


def _is_below(path: Path, folders: set[str]) -> bool:
    return bool(folders) and any(path.resolve().is_relative_to(folder) for folder in folders)


def _none_of(what: str, root: Path, suffix: str, listing: Listing, argument: str) -> DalError:
    ending = f" whose names end in {suffix!r}" if suffix else ""
    left_out = f" (skipped: {listing.summary()})" if listing.left_out else ""
    return bad_content(argument, f"{what}{ending}", f"none in {str(root)!r}{left_out}")


def _other_case(stem: str, images: dict[str, str]) -> str:
    """Return a hint for a mask whose image has a name in other case."""
    same = next((file for other, file in images.items() if other.casefold() == stem.casefold()), None)
    return "" if same is None else f" (the name of {same} differs in upper and lower case)"


def _no_pair(
    split: MaskSplit, images: dict[str, str], masks: dict[str, str], listing: Listing, argument: str
) -> DalError:
    """Return the error for masks none of which belongs to an image, with the suffix that is perhaps missing."""
    if not masks:
        left_out = f" (skipped: {listing.summary()})" if listing.left_out else ""
        return bad_content(argument, "masks", f"none in {str(split.masks)!r}{left_out}")
    stem = next(iter(images))
    longer = next((mask.removeprefix(stem) for mask in masks if mask.startswith(stem)), "")
    hint = f" (if {longer!r} is in the names of all masks, set data.mask_suffix={longer})" if longer else ""
    hint = hint or next(filter(None, (_other_case(mask, images) for mask in masks)), "")
    got = f"{images[stem]} and {next(iter(masks.values()))}{hint}"
    return bad_content(argument, "an image and a mask with the same stem", got)


def _no_folders(root: Path, layout: MaskLayout) -> DalError:
    other = next((pair for pair in _OTHER_NAMES if MaskLayout(*pair).in_folder(root)), None)
    expected = f"the folders {layout.images} and {layout.masks}, or train/{layout.images} and train/{layout.masks}"
    hint = f" (if they have other names, set data.images={other[0]} data.masks={other[1]})" if other else ""
    found = sorted({file.split("/", 1)[0] for file in list_images(root, "data.root").files if "/" in file})
    return bad_content("data.root", expected, f"{shown(found) or 'no folder with images'} in {str(root)!r}{hint}")
