"""Finds modules that take uint8 images, as a loader of Lightning gives them, where dal normalizes them first."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from dal.data.images import ImageData
from dal.data.normalization import normalized
from dal.models.adapt import AdaptedModel
from dal.models.adapted.scoring_model import scoring_view
from dal.models.adapted.step_trial import trial_loss
from dal.models.own import is_own

_REMEDIES = {"mean=[0.0], std=[1 / 255]": ([0.0], [1 / 255]), "mean=[0.0], std=[1.0]": ([0.0], [1.0])}


def warn_of_bytes(model: AdaptedModel, data: ImageData, indices: list[int]) -> None:
    """Warn if a module takes uint8 images, and computes other values from the images that dal has normalized.

    Such a module converts images itself, and may also normalize them. A module that only takes floating point cannot
    train on these images without dal. There is no warning if ``mean`` or ``std`` was given. ``indices`` are the images
    to try.
    """
    if is_own(model.module) or not data.assumes_statistics:
        return
    pixels = data.source.batch(indices)
    if pixels.dtype != torch.uint8:
        return
    pixels = pixels.to(next(iter(model.module.parameters())).device)
    # A module that converts in training_step has a forward() that only takes floats.
    for run in (_outputs, trial_loss):
        of_bytes = run(model, pixels, data.label_like)
        if of_bytes is not None:
            break
    else:
        return
    if _is_same(run(model, data.normalized(pixels), data.label_like), of_bytes):
        return
    remedy = "the mean and std for the images that it expects"
    for text, statistics in _REMEDIES.items():
        if _is_same(run(model, normalized(pixels, *statistics), data.label_like), of_bytes):
            remedy = f"{text} (its outputs are then those for uint8)"
            break
    warnings.warn(
        f"model: {type(model.module).__name__} takes uint8 images, but gets float32 images from -1 to 1, because "
        f"from_dataset() normalizes. If the module normalizes images itself, pass {remedy} to from_dataset(), for the "
        "training and the test set. Otherwise, pass mean=[0.5], std=[0.5] for the same images without this warning.",
        stacklevel=4,
    )


def _outputs(model: AdaptedModel, x: Tensor, labels: Tensor) -> Tensor | None:
    """Return the features of images, or the logits without features. None if the module does not take the images."""
    try:
        with scoring_view(model, is_dense=model.is_dense) as view:
            features, logits = view.outputs(view.prepare(x, labels))
            return features if model.has_features else logits
    except Exception:  # noqa: BLE001  each library has its own error for uint8
        return None


def _is_same(of_floats: Tensor | None, of_bytes: Tensor) -> bool:
    if of_floats is None or of_floats.shape != of_bytes.shape:
        return False
    difference = (of_floats.double() - of_bytes.double()).abs().max()
    return bool(difference <= 1e-4 * of_bytes.double().abs().max())
