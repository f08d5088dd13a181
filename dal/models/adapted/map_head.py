"""Reads the logits and features of a network for segmentation, one of each per site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dal.errors import DalError, bad_content, bad_value
from dal.models.adapted.head import may_come, two_classes

WHOLE = "."
"""The head of a module without a single last layer: the output of forward() is the logits."""

_LEAST_AGREEMENT = 0.2  # resizing moves the borders between classes, but a change of sign leaves no site alike


def map_head_name(module: nn.Module, head: str | nn.Module | None) -> str:
    """Return the name of the 1x1 convolution that is the head, given its name or the layer, or WHOLE.

    Raises DalError if the module neither has such a layer nor may create it, or if it is another layer.
    """
    if head == WHOLE:
        return WHOLE
    layers = {name: layer for name, layer in module.named_modules(remove_duplicate=False) if name}
    likely = [name for name, layer in layers.items() if _is_head(layer)]
    # Auxiliary classifiers, such as those of torchvision, come last.
    likely = [name for name in likely if "aux" not in name] or likely
    hint = f", perhaps {likely[-1]!r}" if likely else ""
    if isinstance(head, nn.Module):
        name = next((name for name, layer in layers.items() if layer is head), None)
        if name is None:
            raise bad_value("head", "a layer of the module, or its name", type(head).__name__)
    elif head in layers:
        name = str(head)
    elif isinstance(head, str) and may_come(module, head):
        return head
    else:
        raise bad_value("head", f'the name of the last 1x1 convolution{hint}, or "." if there is none', head)
    if not _is_head(layers[name]):
        inside = [other for other in likely if other.startswith(f"{name}.")]
        hint = f", perhaps {inside[-1]!r}" if inside else ""
        expected = (
            f"a convolution with a kernel of 1 from features to logits{hint}; else pass predict=, a function that "
            'returns (logits, features), or head="." for the output of forward()'
        )
        raise bad_content("head", expected, f"{_described(layers[name])} at {name!r}")
    return name


def _is_head(layer: nn.Module) -> bool:
    if not isinstance(layer, nn.Conv2d) or layer.groups != 1:
        return False
    return layer.kernel_size == (1, 1) and layer.stride == (1, 1) and layer.padding in ((0, 0), "same", "valid")


def _described(layer: nn.Module) -> str:
    kind = type(layer).__name__
    if not isinstance(layer, nn.Conv2d):
        return kind
    if layer.kernel_size != (1, 1):
        return f"{kind} with a kernel of {layer.kernel_size[0]} x {layer.kernel_size[1]}"
    return f"{kind} with stride {layer.stride[0]}, padding {layer.padding} and {layer.groups} groups"


class NoHeadError(DalError):
    """A function changes the features, but the head is unknown."""

    def __init__(
        self,
        message: str = "model: expected head= in addition to predict= for a function that changes the features, got "
        "only predict=.",
    ) -> None:
        super().__init__(message)


class NoFeaturesError(NoHeadError):
    """A function uses the features, but they are unknown."""

    def __init__(self) -> None:
        super().__init__(
            'model: expected the name of a 1x1 convolution as head= for a function on features, got head=".". Pass '
            "predict=, a function that returns (logits, features), or choose a function on logits, such as margin."
        )


class MissingFeatures(Tensor):
    """Stands in for features that are unknown, so that functions on logits can pass them to the head.

    Any other use than to choose or arrange sites raises NoFeaturesError.
    """

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") not in _ARRANGING:
            raise NoFeaturesError
        return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]


_ARRANGING = {
    *("__get__", "__len__", "__getitem__", "size", "dim", "stride", "is_floating_point"),
    *("permute", "movedim", "transpose", "reshape", "view", "view_as", "flatten", "unflatten", "contiguous", "split"),
}


def missing_features(logits: Tensor) -> Tensor:
    """Return the stand-in for the features of (B, C, h, w) logits, with one channel."""
    return logits[:, :1].as_subclass(MissingFeatures)


class MapHead:
    """Maps features of sites to logits with a 1x1 convolution.

    Features are (B, D, h, w), or rows (R, D) of sites. A single output is the logit of the second of two classes.

    >>> head = MapHead(nn.Conv2d(8, 3, 1), "head")
    >>> maps = torch.rand(2, 8, 4, 5)
    >>> rows = head(maps.movedim(1, -1).flatten(0, -2))
    >>> rows.shape, torch.allclose(head(maps).movedim(1, -1).flatten(0, -2), rows, atol=1e-6)
    (torch.Size([40, 3]), True)
    """

    is_rectified = is_averaged = False

    def __init__(self, layer: nn.Module, name: str) -> None:
        self.layer, self.name = layer, name

    def __call__(self, features: Tensor) -> Tensor:
        if features.ndim != 2:
            return two_classes(self.layer(features)).float()
        logits: Tensor = self.layer(features[:, :, None, None])
        return two_classes(logits.flatten(1)).float()

    def flat(self, given: object, out: object) -> tuple[Tensor, Tensor]:
        """Return (B, D, h, w) features and (B, C, h, w) logits for the layer's input and output."""
        if not _is_map(given) or not _is_map(out):
            shapes = [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in (given, out)]
            expected = f"a layer from (B, D, h, w) features to (B, C, h, w) logits at {self.name!r}"
            raise bad_content("head", expected, f"{shapes[0]} to {shapes[1]}")
        assert isinstance(given, Tensor) and isinstance(out, Tensor)
        return given, two_classes(out)


def whole_output(result: object, count: int) -> tuple[Tensor, Tensor]:
    """Return no features and the logits that forward() returned, as a tensor or as ``out`` of a dict.

    Raises DalError for another result.
    """
    out = _out(result)
    if not _is_map(out) or len(out) != count:
        got = f"{tuple(out.shape)}" if isinstance(out, Tensor) else type(result).__name__
        expected = f'logits of shape ({count}, C, h, w), or a dict with them under "out"'
        raise bad_content("forward()", expected, got)
    logits: Tensor = two_classes(out)
    return logits[:, :1], logits


def predicted_maps(result: Any, count: int) -> tuple[Tensor, Tensor]:
    """Return (B, D, h, w) features and (B, C, h, w) logits of a predict function.

    Raises DalError for another result.
    """
    is_pair = isinstance(result, (tuple, list)) and len(result) == 2
    if not is_pair or not all(_is_map(part) and len(part) == count for part in result):
        got: object = type(result).__name__
        if is_pair:
            got = [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in result]
        raise bad_value("predict", f"(logits, features) of shapes ({count}, C, h, w) and ({count}, D, h, w)", got)
    logits, features = result
    if logits.shape[2:] != features.shape[2:]:
        got = [tuple(logits.shape), tuple(features.shape)]
        raise bad_value("predict", "(logits, features) of the same height and width", got)
    return features, two_classes(logits)


def check_agreement(head: str, logits: Tensor, result: object) -> None:
    """Raise DalError if forward() chooses other classes than the head at nearly all sites.

    Results of other forms are not compared.
    """
    out = _out(result)
    if not _is_map(out) or out.shape[:2] != logits.shape[:2] or not out.is_floating_point():
        return
    chosen, size = logits.argmax(dim=1), (logits.shape[-2], logits.shape[-1])
    shares = []
    for align_corners in (False, True):
        there = F.interpolate(out.float(), size, mode="bilinear", align_corners=align_corners).argmax(dim=1)
        shares.append(float((there == chosen).double().mean()))
    if max(shares) < _LEAST_AGREEMENT:
        raise DalError(
            f"model: expected forward() to choose the classes that the output of the layer {head!r} chooses, got other "
            "classes, as after a change of sign. Name the layer that returns logits as head=, or pass predict=."
        )


def check_are_logits(logits: Tensor) -> None:
    """Raise DalError if the output of forward() is probabilities of classes."""
    values = logits.double()
    if bool((values >= 0).all()) and torch.allclose(values.sum(dim=1), values.new_ones(()), atol=1e-2):
        expected = 'logits with head="." (pass forward=, a function that returns them)'
        raise bad_content("forward()", expected, "probabilities that sum to 1")


def _out(result: object) -> Any:
    return result.get("out") if isinstance(result, Mapping) else result


def _is_map(value: object) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4
