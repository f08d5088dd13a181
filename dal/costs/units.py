"""Costs of the units of masks: units, images, pixels, clicks and seconds.

A unit is an image, or a region of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from dal.errors import DalError, bad_content, bad_value, reason
from dal.tasks import IGNORED

ClickModel = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Maps the number of classes, the border length and the number of pixels of units to their clicks."""


def clicks(classes: Tensor, border: Tensor, pixels: Tensor) -> Tensor:
    """Count the clicks of labeling units: one a class, and one every 8 pixels of border.

    The arguments have one number for each unit: the number of classes in it, the length of the borders between classes
    inside it, and its number of pixels. A function with these arguments can replace this one as ``campaign.clicks``.

    >>> clicks(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 16.0]), torch.tensor([64.0, 64.0]))
    tensor([1., 4.])
    """
    points = border / 8  # a polygon needs a click about every 8 pixels
    names = classes  # each class is named once
    return names + points


@dataclass(frozen=True, eq=False)
class Measured:
    """What the click model reads of units, (B, U) float64 each."""

    classes: Tensor
    border: Tensor
    pixels: Tensor

    def clicks(self, model: ClickModel = clicks) -> Tensor:
        """Return the (B, U) float64 clicks.

        Raises DalError unless the model returns a finite number from 0 for each unit.
        """
        name = f"{getattr(model, '__name__', type(model).__name__)}()"
        try:
            found = model(self.classes, self.border, self.pixels)
        except Exception as error:  # the user's function may raise any error
            what = "a function of three tensors: the classes, the border and the pixels of units"
            raise DalError(f"{name}: expected {what}, got {type(error).__name__}: {reason(error)}.") from error
        if not isinstance(found, Tensor) or found.shape != self.classes.shape:
            got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise bad_content(name, f"a tensor of shape {tuple(self.classes.shape)}, the clicks of units", got)
        found = found.double()
        wrong = ~(torch.isfinite(found) & (found >= 0))
        if bool(wrong.any()):
            raise bad_value(name, "finite numbers of at least 0", float(found[wrong][0]))
        return found


def measure_units(
    masks: Tensor, units: Tensor, num_units: int, pixel_size: tuple[float, float] = (1.0, 1.0)
) -> Measured:
    """Measure the units of masks for the click model.

    The border of a unit is the length of the sides between two of its pixels of different classes. Sides between two
    units do not count, and neither do sides of ignored pixels. Ignored pixels count as pixels, but have no class.

    Args:
        masks: (B, H, W) class numbers, true or predicted; 255 is ignored.
        units: (H, W) int64, the unit of each pixel.
        num_units: U, more than the largest unit.
        pixel_size: Height and width of a pixel. Predictions of a coarse network have pixels larger than 1.

    Returns:
        The number of classes, border length and pixels of each unit, on the device of the masks.

    Raises:
        DalError: the shapes differ.

    >>> found = measure_units(torch.tensor([[[0, 0], [0, 1]]]), torch.zeros(2, 2, dtype=torch.int64), 1)
    >>> found.classes.tolist(), found.border.tolist(), found.clicks().tolist()
    ([[2.0]], [[2.0]], [[2.25]])
    """
    if masks.ndim != 3 or masks.shape[1:] != units.shape:
        raise bad_value("masks", f"shape (B, {', '.join(map(str, units.shape))})", tuple(masks.shape))
    size, num_masks = masks.shape[0] * num_units, len(masks)
    known, units = masks != IGNORED, units.to(masks.device)
    # Units of all masks are numbered together.
    of_pixel = units + num_units * torch.arange(num_masks, device=masks.device).reshape(-1, 1, 1)
    classes = torch.zeros(size, dtype=torch.float64, device=masks.device)
    for number in torch.unique(masks).tolist():
        if number != IGNORED:
            present = torch.zeros(size, dtype=torch.bool, device=masks.device)
            present[of_pixel[masks == number]] = True
            classes += present
    border = torch.zeros_like(classes)
    for dim, length in ((2, pixel_size[0]), (1, pixel_size[1])):  # pixels side by side share a side of their height
        count = masks.shape[dim] - 1
        one, other = (tuple(part.narrow(dim, at, count) for part in (masks, known, of_pixel)) for at in (0, 1))
        counts = (one[0] != other[0]) & one[1] & other[1] & (one[2] == other[2])
        border += length * torch.bincount(one[2][counts], minlength=size)
    pixels = torch.bincount(units.flatten(), minlength=num_units).double() * (pixel_size[0] * pixel_size[1])
    shape = (num_masks, num_units)
    return Measured(classes.reshape(shape), border.reshape(shape), pixels.expand(shape))


def fit_into_budget(costs: Tensor, left: float) -> int:
    """Return how many units a query takes, best first, while their cost fits.

    ``costs`` are (Q,) at least 0, in the order of the query.

    >>> fit_into_budget(torch.tensor([2.0, 3.0, 1.0, 1.0]), 5.5)
    2
    """
    return int((costs.cpu().double().cumsum(0) <= left).sum())


def click_model(given: Any = None) -> ClickModel:
    """Return the click model that ``campaign.clicks`` names.

    ``given`` is a function, or its name as MODULE.FUNCTION; None returns clicks(). Raises DalError for anything else.

    >>> click_model("dal.costs.units.clicks") is clicks
    True
    """
    if given is None:
        return clicks
    if not isinstance(given, str):
        if not callable(given):
            raise bad_value("campaign.clicks", "a function, or MODULE.FUNCTION", given)
        model: ClickModel = given
        return model
    module, _, name = given.rpartition(".")
    if not module or not name.isidentifier():
        raise bad_value("campaign.clicks", "MODULE.FUNCTION, such as my_module.my_clicks", given)
    try:
        found = getattr(import_module(module), name, None)
    except Exception as error:  # the user's module may raise any error
        got = f"{type(error).__name__}: {reason(error)}"
        raise DalError(f"campaign.clicks: expected a module that can be imported, got {got} in {module!r}.") from error
    if not callable(found):
        raise bad_value("campaign.clicks", f"the name of a function in {module}", name)
    chosen: ClickModel = found
    return chosen
