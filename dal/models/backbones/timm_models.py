"""Any timm classification model by name, without its classifier."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from dal.errors import DalError, bad_content, bad_value, reason, unknown_choice
from dal.models.backbones.base import Backbone, features_of_one
from dal.models.backbones.state_file import load_state, read_state
from dal.runtime.hub import offline_if_unreachable
from dal.runtime.ranges import share

# dal sets these arguments itself, or they name files or code.
_OWN = {"pretrained", "num_classes", "in_chans", "features_only", "checkpoint_path", "exportable", "scriptable"}

Statistics = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation of pixels scaled to 0..1, each one number or one per channel."""


class TimmBackbone(Backbone):
    """A timm classification model without its classifier.

    Maps (B, C, H, W) images to the (B, D) input of the classifier. The model keeps everything in front of the
    classifier, such as the pooling, norm and hidden layers of its head. Grayscale images are repeated to three
    channels.

    ``weights`` is None for random weights, ``"DEFAULT"`` for pre-trained ones (downloaded on first use), or the path of
    a state dict, which is loaded with ``weights_only=True``. ``statistics`` are the mean and standard deviation with
    which the images were normalized. If weights and ``statistics`` are given, images are normalized as the model
    expects instead.

    ``input_size`` is the side in pixels to which images are resized. If it is None, a model with a fixed input size,
    such as a ViT, gets images of that size, and other models get the original images. ``options`` are numbers for
    timm's create_model, such as drop_rate and drop_path_rate.

    Raises DalError if timm is missing (``pip install timm``), for an unknown name or option, for images of an
    unsupported shape, and for weights that cannot be loaded.
    """

    def __init__(
        self,
        name: str,
        image_shape: tuple[int, int, int],
        weights: str | None = None,
        input_size: int | None = None,
        options: Mapping[str, float] | None = None,
        statistics: Statistics | None = None,
    ) -> None:
        super().__init__()
        self.model, cfg = _create(name, weights, input_size, dict(options or {}))
        own = (options or {}).get("img_size", cfg["input_size"][-1] if cfg.get("fixed_input_size") else None)
        self.size: int | None = input_size or (None if own is None else int(own))
        self.scale: Tensor | None
        self.shift: Tensor | None
        scale, shift = (None, None) if weights is None or statistics is None else _affine(cfg, statistics)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", shift, persistent=False)
        self.num_features = self._features_of(name, image_shape, cfg["input_size"][-1])

    def _features_of(self, name: str, image_shape: tuple[int, int, int], own: int) -> int:
        """Return the number of features, measured on one image of zeros."""
        features = features_of_one(self, image_shape, f"timm/{name}", self.size, f"its default {own}")
        if not isinstance(features, Tensor) or features.ndim != 2:
            raise bad_value("backbone", "a timm model with one feature vector per image", f"timm/{name}")
        return features.shape[1]

    def forward(self, x: Tensor) -> Tensor:
        if self.size is not None and x.shape[-2:] != (self.size, self.size):
            x = interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        if self.scale is not None and self.shift is not None:
            x = x * self.scale + self.shift
        features: Tensor = self.model(x)
        return features


def own_input_size(name: str) -> int:
    """Return a timm model's default input size, in pixels per side.

    Raises DalError if timm is missing and for an unknown name.
    """
    _, cfg = _timm(name)
    return 224 if cfg is None else int(cfg.input_size[-1])


def _timm(name: str) -> tuple[Any, Any]:
    """Return timm and its data configuration of a model, or None for no configuration.

    Raises DalError for an unknown model or tag.
    """
    try:
        import timm
    except ImportError as error:
        raise DalError("backbone: expected the package timm, got none. Run pip install timm.") from error
    if not timm.is_model(name):
        raise unknown_choice("backbone", [f"timm/{known}" for known in timm.list_models()], f"timm/{name}")
    try:
        return timm, timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # an unknown tag, which is the part after the point
        base = name.partition(".")[0]
        tagged = [f"timm/{known}" for known in timm.list_pretrained(f"{base}.*")]
        raise unknown_choice("backbone", [f"timm/{base}", *tagged], f"timm/{name}") from error


def _create(
    name: str, weights: str | None, input_size: int | None, options: dict[str, float]
) -> tuple[nn.Module, Mapping[str, Any]]:
    """Return the model without its classifier, and timm's data configuration."""
    timm, cfg = _timm(name)
    for key, value in options.items():
        if key in _OWN or not isinstance(value, bool | int | float):
            expected = "numbers such as drop_rate and drop_path_rate, and none of " + ", ".join(sorted(_OWN))
            raise bad_value("model.backbone_options", expected, {key: value})
        if key.endswith("_rate"):
            share().check(f"model.backbone_options.{key}", value)
    if input_size is not None and options.get("img_size", input_size) != input_size:
        raise bad_value(
            "model.input_size", f"null, or img_size of model.backbone_options ({options['img_size']})", input_size
        )
    path = None if weights in (None, "DEFAULT") else Path(str(weights))
    if path is not None and path.suffix not in (".pt", ".pth"):
        raise bad_value("weights", "null, DEFAULT or a path ending in .pt or .pth", weights)
    known = {} if cfg is None else cfg.to_dict()
    if known.get("fixed_input_size") and input_size is not None:
        options["img_size"] = input_size
    try:
        with warnings.catch_warnings(), offline_if_unreachable() if weights == "DEFAULT" else nullcontext():
            # Ignore timm's warnings about its own deprecated names.
            warnings.simplefilter("ignore", UserWarning)
            model: nn.Module = timm.create_model(name, pretrained=weights == "DEFAULT", **options)
    except TypeError as error:
        raise bad_content("model.backbone_options", f"arguments of timm/{name}", reason(error)) from error
    except (OSError, HTTPException, RuntimeError, AssertionError, ArithmeticError, ValueError) as error:
        if weights == "DEFAULT":
            expected = f"a network to download timm/{name} from, or a model with pre-trained weights"
            raise DalError(f"weights: expected {expected}, got {type(error).__name__}: {reason(error)}.") from error
        raise bad_content("model.backbone_options", f"arguments of timm/{name}", reason(error)) from error
    if path is not None:
        load_state(model, _without_classifier(read_state(path), model), f"timm/{name}")
    model.reset_classifier(0)  # type: ignore[operator]
    return model, {**known, **dict(getattr(model, "pretrained_cfg", {}) or {})}


def _without_classifier(state: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """Return the state with its classifier replaced by the model's.

    The classifier in the file may have other classes, and the caller removes it anyway.
    """
    own = model.state_dict()
    names = getattr(model, "pretrained_cfg", {}).get("classifier", ())
    heads = [f"{name}." for name in ((names,) if isinstance(names, str) else names)]
    replaced = {key: value for key, value in own.items() if any(key.startswith(head) for head in heads)}
    kept = {key: value for key, value in state.items() if not any(key.startswith(head) for head in heads)}
    return kept | replaced


def _affine(cfg: Mapping[str, Any], statistics: Statistics) -> tuple[Tensor, Tensor]:
    """Return (1, 3, 1, 1) terms that convert between the normalizations."""
    own_mean, own_std = (torch.tensor(cfg[key], dtype=torch.float64) for key in ("mean", "std"))
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in statistics)
    scale, shift = std / own_std, (mean - own_mean) / own_std
    return scale.float().view(1, -1, 1, 1), shift.float().view(1, -1, 1, 1)
