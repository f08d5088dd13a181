"""Finds the last layer of a user's module and handles its shapes."""

from __future__ import annotations

from types import FunctionType

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from dal.errors import DalError, bad_content, bad_value, unknown_choice
from dal.models.backbones.base import last_linear

_FRAMEWORKS = ("torch", "pytorch_lightning", "lightning", "builtins")
_NO_LOGITS = (nn.Softmax, nn.Softmax2d, nn.Softmin, nn.Sigmoid)


def head_name(module: nn.Module, head: str | nn.Module | None) -> str:
    """Return the name of the head, given its name or the layer.

    Raises DalError if the module neither has such a layer nor may create it, or if the layer ends in probabilities
    instead of logits.
    """
    layers = {name: layer for name, layer in module.named_modules(remove_duplicate=False) if name}
    if isinstance(head, nn.Module):
        name = next((name for name, layer in layers.items() if layer is head), None)
        if name is None:
            raise bad_value("head", "a layer of the module, or its name", type(head).__name__)
    elif head in layers:
        name = str(head)
    elif isinstance(head, str) and may_come(module, head):
        return head
    elif (last := last_linear(module)) is not None:
        raise bad_value("head", f"the name of the last layer, perhaps {last[0]!r}", head)
    elif not layers:
        expected = "a layer of the module, created in __init__(), setup() or configure_model()"
        raise bad_value("head", expected, head)
    else:
        raise unknown_choice("head", layers, str(head))
    last_name, end = name, layers[name]
    while isinstance(end, nn.Sequential) and len(end):
        key = list(end._modules)[-1]
        last_name, end = f"{last_name}.{key}", end[-1]
    if isinstance(end, _NO_LOGITS):
        raise bad_content("head", "a layer that ends in logits", f"{type(end).__name__} at {last_name!r}")
    return name


def may_come(module: nn.Module, head: str) -> bool:
    """Return whether setup() or configure_model() may create a layer of this name, which other code of the module uses.

    A learner calls them before it tries the module.
    """
    own = [cls for cls in type(module).__mro__ if cls.__module__.partition(".")[0] not in _FRAMEWORKS]
    functions = {name: f for cls in own for name, f in vars(cls).items() if isinstance(f, FunctionType)}
    uses = any(head.partition(".")[0] in f.__code__.co_names for name, f in functions.items() if name != "__init__")
    return uses and not functions.keys().isdisjoint(("setup", "configure_model"))


class Head:
    """Maps flat features (B, D) to logits (B, C) with a layer.

    The layer can take and return more dimensions. It can be a convolution over (B, D, 1, 1), or one over (B, D, H, W)
    whose outputs are averaged, possibly after a ReLU as in SqueezeNet. A single output is the logit of the second of
    two classes.

    >>> head = Head(nn.Conv2d(8, 3, 1), "head")
    >>> maps = torch.rand(2, 8, 1, 1)
    >>> features, logits = head.flat(maps, head.layer(maps))
    >>> features.shape, torch.allclose(head(features), logits)
    (torch.Size([2, 8]), True)
    """

    def __init__(self, layer: nn.Module, name: str) -> None:
        self.layer, self.name = layer, name
        self.is_averaged = self.is_rectified = False
        self._shape: torch.Size | None = None

    def __call__(self, features: Tensor) -> Tensor:
        """Map (B, D) features to (B, C) logits."""
        out = self.layer(features if self._shape is None else features.view(len(features), *self._shape))
        return self._flat_logits(out.relu() if self.is_rectified else out).float()

    def linear(self) -> tuple[Tensor, Tensor] | None:
        """Return (C, D) weights and a (C,) bias if the layer is linear, otherwise None."""
        layer = self.layer
        # A subclass, a hook or a parametrization can change the output.
        if type(layer) is not nn.Linear or self._shape is not None or layer._forward_hooks or layer._forward_pre_hooks:
            return None
        weight = layer.weight.T
        bias = weight.new_zeros(1, weight.shape[1]) if layer.bias is None else layer.bias[None]
        return two_classes(weight).T, two_classes(bias)[0]

    def flat(self, given: object, out: object) -> tuple[Tensor, Tensor]:
        """Return flat features and logits for the layer's input and output.

        Raises DalError, with the name of the layer, for unsupported shapes.
        """
        if not isinstance(given, Tensor) or not isinstance(out, Tensor):
            got = f"{type(given).__name__} to {type(out).__name__}"
            raise bad_value("head", f"a layer from features to logits at {self.name!r}", got)
        if given.ndim == out.ndim == 2:
            return given, two_classes(out)
        if isinstance(self.layer, _ConvNd) and given.ndim == out.ndim > 2 and set(self.layer.kernel_size) == {1}:
            places = tuple(range(2, given.ndim))
            self.is_averaged = out[0, 0].numel() > 1
            self._shape = torch.Size([given.shape[1], *[1] * len(places)])
            return given.mean(dim=places), self._flat_logits(out.relu() if self.is_rectified else out)
        whole = isinstance(self.layer, _ConvNd)
        if not _is_flat(out) or not (_is_flat(given) or whole):
            shapes = f"{tuple(given.shape)} to {tuple(out.shape)}"
            raise bad_value(
                "head", f"a layer from (B, D) features to (B, C) logits at {self.name!r}{self._hint()}", shapes
            )
        self._shape = None if given.ndim == 2 else given.shape[1:]
        return given.flatten(1), self._flat_logits(out)

    def check_average(self, out: Tensor, result: object) -> None:
        """Detect whether forward() averages the convolution outputs directly or after a ReLU.

        Raises DalError if ``result`` matches neither.
        """
        for self.is_rectified in (False, True):
            logits = self._flat_logits(out.relu() if self.is_rectified else out).float()
            likely = (logits, logits.softmax(dim=1), logits.log_softmax(dim=1), logits[:, 1:], logits.sigmoid()[:, 1:])
            if isinstance(result, Tensor) and any(_equal(result, each) for each in likely):
                return
        raise DalError(
            f"head: expected forward() only to average the outputs of the convolution {self.name!r}, got other "
            "numbers. Pass predict=, a function (module, x) that returns (logits, features)."
        )

    def _flat_logits(self, out: Tensor) -> Tensor:
        if isinstance(self.layer, _ConvNd) and out.ndim > 2:
            out = out.mean(dim=tuple(range(2, out.ndim)))
        return two_classes(out.unsqueeze(1) if out.ndim == 1 else out.flatten(1))

    def _hint(self) -> str:
        inner = last_linear(self.layer)
        return "" if inner is None or not inner[0] else f", perhaps {f'{self.name}.{inner[0]}'!r}"


def has_other_order(result: object, out: object) -> bool:
    """Return whether ``result`` orders the classes of an image unlike the head's output.

    Softmax, sigmoid and similar functions keep the order. For a single output per image, the images are compared.
    Results of other shapes are not compared.

    >>> logits = torch.tensor([[1.0, 2.0]])
    >>> has_other_order(logits.softmax(dim=1), logits), has_other_order(-logits, logits)
    (False, True)
    """
    signs = _signs(result, out)
    return signs is not None and bool((signs[0] * signs[1] < 0).any())


def has_other_class(result: object, out: object) -> bool:
    """Return whether ``result`` is highest for another class of an image than the head's output.

    It compares like has_other_order().

    >>> logits = torch.tensor([[1.0, 2.0, 3.0]])
    >>> has_other_class(logits[:, [1, 0, 2]], logits), has_other_class(logits[:, [0, 2, 1]], logits)
    (False, True)
    """
    signs = _signs(result, out)
    if signs is None:
        return False
    is_best = (signs[1] >= 0).all(dim=2)
    return bool(((signs[0] * signs[1] < 0).any(dim=2) & is_best).any())


def _signs(result: object, out: object) -> tuple[Tensor, Tensor] | None:
    """Return the signs of all clear differences, (N, C, C) for the result and the output."""
    if not isinstance(result, Tensor) or not isinstance(out, Tensor) or not result.is_floating_point():
        return None
    if result.ndim not in (1, 2) or result.numel() != out.numel() or len(result) != len(out):
        return None
    pair = [part.double().reshape(len(out), -1) for part in (result, out)]
    if pair[0].shape[1] == 1:
        pair = [part.view(1, -1) for part in pair]
    # Rounding can swap outputs that are nearly equal.
    gaps = [part.unsqueeze(2) - part.unsqueeze(1) for part in pair]
    of_result, of_out = ((gap > 1e-3 * gap.abs().amax()).int() - (gap < -1e-3 * gap.abs().amax()).int() for gap in gaps)
    return of_result, of_out


def _equal(result: Tensor, expected: Tensor) -> bool:
    if result.numel() != expected.numel():
        return False
    return torch.allclose(result.float().view_as(expected), expected, rtol=1e-3, atol=1e-4, equal_nan=True)


def _is_flat(x: Tensor) -> bool:
    """Return whether at most one later dimension is larger than 1."""
    return sum(size > 1 for size in x.shape[1:]) <= 1


def two_classes(logits: Tensor) -> Tensor:
    """Convert the single logit of a sigmoid to logits of two classes.

    >>> two_classes(torch.tensor([[2.0]])).softmax(dim=1)[0, 1] == torch.tensor(2.0).sigmoid()
    tensor(True)
    """
    return torch.cat([torch.zeros_like(logits), logits], dim=1) if logits.shape[1] == 1 else logits


def check_num_outputs(logits: Tensor, num_classes: int, name: str) -> None:
    """Raise DalError unless there is one logit per class."""
    if logits.shape[1] != num_classes:
        expected = f"a last layer with {num_classes} outputs, one for each class of the data"
        raise bad_content("model", expected, f"{logits.shape[1]} outputs at {name!r}")
