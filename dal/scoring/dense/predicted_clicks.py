"""The clicks that units are expected to need, from the masks that a network predicts."""

from __future__ import annotations

import torch
from torch import Tensor

from dal.costs.units import ClickModel, measure_units
from dal.data.units import Units

CLICKS = "expected_clicks"
"""The name of the rows of a pass that hold the expected clicks of units."""


def predicted_clicks(logits: Tensor, units: Units, model: ClickModel) -> Tensor:
    """Return the (B, U) float64 clicks of the masks that (B, C, h, w) logits predict.

    A grid so coarse that some unit holds no center of a site is first enlarged to the pixels of the image.

    >>> from dal.costs.units import clicks
    >>> logits = torch.tensor([[[[2.0, 0.0]], [[0.0, 1.0]]]])
    >>> predicted_clicks(logits, Units(4, 8), clicks), predicted_clicks(logits, Units(4, 8, region_size=2), clicks)
    (tensor([[2.5000]], dtype=torch.float64), tensor([[1., 1., 1., 1., 1., 1., 1., 1.]], dtype=torch.float64))
    """
    masks = logits.argmax(dim=1)
    if masks.device.type == "mps":  # without float64
        masks = masks.cpu()
    height, width = masks.shape[1:]
    of_pixels = units.of_pixels(height, width)
    if len(torch.unique(of_pixels)) < len(units):
        masks = masks[:, _sites(units.height, height)][:, :, _sites(units.width, width)]
        height, width = units.height, units.width
        of_pixels = units.of_pixels(height, width)
    size = units.height / height, units.width / width
    return measure_units(masks, of_pixels, len(units), size).clicks(model)


def _sites(length: int, size: int) -> Tensor:
    """Return the site of each pixel of a side."""
    return (2 * torch.arange(length) + 1) * size // (2 * length)
