"""The interface of backbones, which map images to features."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from dal.errors import DalError, reason


class Backbone(nn.Module, ABC):
    """Maps (B, C, H, W) images to (B, num_features) features.

    The features are the input of the last layer.
    """

    num_features: int

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor: ...


def features_of_one(
    backbone: nn.Module, image_shape: tuple[int, int, int], name: str, side: int | None, own: str
) -> Tensor:
    """Return the features of one image of zeros.

    ``side`` is the side in pixels to which images are resized, if any. ``own`` is a side that the network supports.
    Raises DalError, with ``model.input_size``, if the network cannot take such images.
    """
    training = backbone.training
    try:
        with torch.no_grad():
            features: Tensor = backbone.eval()(torch.zeros(1, *image_shape))
    except (RuntimeError, AssertionError, ValueError) as error:
        got = f"images of {image_shape[1]} x {image_shape[2]} pixels" if side is None else side
        expected = f"a side in pixels that {name} supports, such as {own}"
        raise DalError(f"model.input_size: expected {expected}, got {got} ({reason(error)}).") from error
    backbone.train(training)
    return features


def last_linear(module: nn.Module) -> tuple[str, nn.Linear] | None:
    """Return the name and layer of the last nn.Linear, or None.

    >>> last_linear(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
    ('2', Linear(in_features=3, out_features=2, bias=True))
    """
    found = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    return found[-1] if found else None


def freeze(backbone: nn.Module) -> None:
    """Turn a backbone into a fixed function of the image, in place.

    Disables gradients, sets eval mode, and sets p = 0 in all dropout layers so that MC dropout skips them.

    >>> layers = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))
    >>> freeze(layers)
    >>> layers[0].weight.requires_grad, layers[1]
    (False, Dropout(p=0.0, inplace=False))
    """
    backbone.requires_grad_(False).eval()
    for module in backbone.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0
