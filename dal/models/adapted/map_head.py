"""Handles the last layer of a network that has logits for each site of a grid."""

from __future__ import annotations

from torch import Tensor, nn

from dal.errors import bad_value


class MapHead:
    """Takes features (B, D, h, w) and logits (B, C, h, w) from a layer, and maps rows of features to logits.

    The layer is a convolution, or another layer whose input and output are such maps.

    >>> import torch
    >>> head = MapHead(nn.Conv2d(8, 3, 1), "head")
    >>> maps = torch.rand(2, 8, 4, 4)
    >>> features, logits = head.flat(maps, head.layer(maps))
    >>> features.shape, logits.shape, head(torch.rand(5, 8)).shape
    (torch.Size([2, 8, 4, 4]), torch.Size([2, 3, 4, 4]), torch.Size([5, 3]))
    """

    is_averaged = is_rectified = False

    def __init__(self, layer: nn.Module, name: str) -> None:
        self.layer, self.name = layer, name

    def __call__(self, features: Tensor) -> Tensor:
        """Map (R, D) features of sites to (R, C) logits."""
        out: Tensor = self.layer(features[:, :, None, None])
        return out.flatten(1).float()

    def flat(self, given: object, out: object) -> tuple[Tensor, Tensor]:
        """Return the maps of features and logits.

        Raises DalError, with the name of the layer, unless both are (B, channels, h, w) with the same grid.
        """
        maps = [part for part in (given, out) if isinstance(part, Tensor) and part.ndim == 4]
        if len(maps) != 2 or maps[0].shape[2:] != maps[1].shape[2:]:
            got = " to ".join(str(tuple(p.shape)) if isinstance(p, Tensor) else type(p).__name__ for p in (given, out))
            expected = f"a layer from features (B, D, h, w) to logits (B, C, h, w) at {self.name!r}"
            raise bad_value("head", expected, got)
        return maps[0], maps[1]

    def check_average(self, out: Tensor, result: object) -> None:
        """Do nothing, because logits of sites are not averaged."""
