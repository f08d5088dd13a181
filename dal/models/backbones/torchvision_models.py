"""Torchvision classification models by name, without their last linear layer."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torchvision
from torch import Tensor, nn

from dal.errors import DalError, unknown_choice
from dal.models.backbones.base import Backbone, last_linear
from dal.models.backbones.state_file import load_state, read_state


class TorchvisionBackbone(Backbone):
    """A torchvision classification model without its last linear layer.

    Maps (B, C, H, W) images to (B, D) features. Grayscale images are repeated to three channels. ``weights`` is None
    for random weights, ``"DEFAULT"`` for torchvision's best weights (downloaded on first use), or the path of a state
    dict, which is loaded with ``weights_only=True``. ``cifar_stem`` replaces a ResNet's first 7 x 7 convolution and its
    pooling with one 3 x 3 convolution, as is usual for 32-pixel images (arXiv:1512.03385, section 4.2).

    Raises DalError for an unknown name, a model without a linear head, or weights that cannot be loaded.

    >>> import torch
    >>> TorchvisionBackbone("resnet18", cifar_stem=True)(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 512])
    """

    def __init__(self, name: str, weights: str | None = None, cifar_stem: bool = False) -> None:
        super().__init__()
        if name not in torchvision_names():
            raise unknown_choice(
                "backbone", [f"torchvision/{one}" for one in torchvision_names()], f"torchvision/{name}"
            )
        # The auxiliary heads of these two return several outputs in training.
        extra: dict[str, Any] = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        model: nn.Module = torchvision.models.get_model(name, weights=None, **extra)
        if weights is not None:
            load_state(model, torchvision_state(name, weights), name)
        if extra:
            for auxiliary in ("aux1", "aux2", "AuxLogits"):
                if hasattr(model, auxiliary):
                    setattr(model, auxiliary, None)
            model.aux_logits = False  # type: ignore[assignment]
        head = last_linear(model)
        if head is None:
            raise DalError(f"backbone: expected a model whose last layer is linear, got {name!r}, which has none.")
        path, layer = head
        model.set_submodule(path, nn.Identity())
        self.num_features = layer.in_features
        if cifar_stem:
            model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            model.maxpool = nn.Identity()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        features: Tensor = self.model(x)
        return features


def torchvision_state(name: str, weights: str) -> Mapping[str, Any]:
    """Return a state dict of the torchvision model, from a file or downloaded.

    Raises DalError for unknown weights, a file without a state dict, or a failed download.
    """
    path = Path(weights)
    if path.suffix in (".pt", ".pth"):
        return read_state(path)
    available = torchvision.models.get_model_weights(name)
    if weights not in available.__members__:
        raise unknown_choice("weights", [*available.__members__, "a path ending in .pt or .pth"], weights)
    try:
        state: Mapping[str, Any] = available[weights].get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, HTTPException, RuntimeError) as error:
        raise DalError(
            f"weights: expected to download {name}/{weights}, got {type(error).__name__}: {error}. Pass the path of a "
            "file that you have downloaded, or null."
        ) from error
    return state


def torchvision_names() -> list[str]:
    """Return the names of torchvision's classification models."""
    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names
