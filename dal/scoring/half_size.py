"""Checks that rounds can read images of half the size."""

from __future__ import annotations

import torch

from dal.costs.flops import FlopCounter
from dal.data.images import ImageData
from dal.errors import DalError, bad_value, reason
from dal.models.adapt import AdaptedModel
from dal.models.adapted.scoring_model import scoring_view
from dal.scoring.feature_cache import takes_features

_TRIED_IMAGES = 2


def check_half_size(model: AdaptedModel, data: ImageData, until: int) -> None:
    """Raise DalError unless images of half the size fit the model and take fewer FLOPs.

    ``until`` is the value of training.half_size_until, which the error names.
    """
    if data.task.is_dense:
        raise _refused("with segmentation data, whose masks have the size of the images", until)
    if takes_features(model):
        raise _refused("with model.freeze_backbone=true, whose features are computed once", until)
    if data.plain([0]).ndim != 4:
        raise _refused("for inputs that are no images", until)
    half = data.at_half_size
    try:
        flops = _flops(model, half)
    except (AssertionError, DalError, IndexError, RuntimeError, ValueError) as error:
        shape = "x".join(str(side) for side in half.image_shape[1:])
        raise _refused(
            f"for a network that cannot take images of half the size, {shape} ({reason(error)})", until
        ) from (error)
    if flops >= _flops(model, data):
        raise _refused("for a network whose work does not depend on the size, as with model.input_size", until)


def _refused(expected: str, until: int) -> DalError:
    return bad_value("training.half_size_until", f"0 {expected}", until)


def _flops(model: AdaptedModel, data: ImageData) -> int:
    """Return the FLOPs of a forward pass over the first images."""
    few = data.plain(torch.arange(_TRIED_IMAGES).clamp(max=len(data) - 1).tolist())
    with scoring_view(model, is_dense=data.task.is_dense) as view:
        x = view.prepare(few.to(next(iter(model.module.parameters())).device), data.label_like)
        view.logits(x)  # the first pass also checks whether the module is random
        with FlopCounter() as counter:
            view.logits(x)
    return int(counter.flops.forward)
