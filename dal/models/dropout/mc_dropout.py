"""MC dropout with the same masks for all images (arXiv:1506.02142).

The layers before the first dropout layer run once. The first dropout layer that runs widens the batch from B rows to
B * K, where row b * K + k is image b under draw k. The layers after it process the larger batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from dal.errors import DalError
from dal.runtime.seeding import generator

_ELEMENTWISE = (nn.Dropout, nn.AlphaDropout)
_CHANNELWISE = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.FeatureAlphaDropout)
MOST_KEPT = 2**24
"""Maximum number of values of masks that draws one after the other keep for a layer."""

_ALPHA = -1.7580993408473766  # the saturation value of SELU, which alpha dropout sets (arXiv:1706.02515)


def dropout_layers(module: nn.Module) -> dict[str, _DropoutNd]:
    """Return the dropout layers with p > 0, by name.

    >>> dropout_layers(nn.Sequential(nn.Dropout(0.0), nn.Dropout(0.5)))
    {'1': Dropout(p=0.5, inplace=False)}
    """
    return {name: m for name, m in module.named_modules() if isinstance(m, _DropoutNd) and m.p > 0}


def check_dropout(module: nn.Module) -> dict[str, _DropoutNd]:
    """Return the dropout layers with p > 0.

    Raises DalError if there are none.
    """
    layers = dropout_layers(module)
    if not layers:
        raise DalError(
            "model: expected a dropout layer for MC dropout, got a network without one (or with p = 0). Add "
            "nn.Dropout(0.5) before the last layer, or choose a function that needs no draws, such as margin."
        )
    return layers


class DropoutDraws:
    """K fixed sets of masks for the dropout layers of one module.

    The module stays in eval mode. Masks depend only on the seed, the layer, the call within the pass, and the draw.
    ``seed`` is derived from the run's seed and round.
    """

    def __init__(self, module: nn.Module, num_draws: int, seed: int) -> None:
        self.layers = check_dropout(module)
        self.module, self.num_draws, self.seed = module, num_draws, seed
        self._masks: dict[tuple[str, int, torch.Size, torch.device], Tensor] = {}
        self._scaled: dict[tuple[str, int, torch.Size, torch.device, torch.dtype], Tensor] = {}
        self._streams: dict[tuple[str, int, torch.Size], tuple[torch.Generator, int]] = {}
        self._calls: dict[str, int] = {}
        self._widened = False

    @property
    def is_wide(self) -> bool:
        """Whether a pass for all draws has reached the wide batch."""
        return self._widened

    @contextmanager
    def widening(self, draws: range | None = None) -> Iterator[None]:
        """Run one pass for all draws, or for those given, widened at the first dropout layer.

        Inside, the first dropout layer that runs widens (B, ...) to (B * K, ...), where K is the number of draws.
        """
        with self._hooked(draws or range(self.num_draws)):
            yield

    @contextmanager
    def wide_input(self) -> Iterator[None]:
        """Run one pass for all draws on rows already repeated K times."""
        with self._hooked(range(self.num_draws)):
            self._widened = True
            yield

    @contextmanager
    def single(self, draw: int) -> Iterator[None]:
        """Run one plain pass under one draw."""
        with self._hooked(draw):
            yield

    @contextmanager
    def _hooked(self, draws: int | range) -> Iterator[None]:
        self._calls = {}
        handles = [
            layer.register_forward_hook(lambda m, args, out, name=name: self._drop(name, m, out, draws))
            for name, layer in self.layers.items()
        ]
        try:
            yield
        finally:
            self._widened = False
            for handle in handles:
                handle.remove()

    def _drop(self, name: str, layer: _DropoutNd, x: Tensor, draws: int | range) -> Tensor:
        call = self._calls[name] = self._calls.get(name, -1) + 1
        masks = self._masks_of(name, call, layer, x, draws)
        if isinstance(draws, int):
            return _apply(layer, x, masks)
        if not self._widened:
            self._widened = True
            return _apply(layer, x.unsqueeze(1), masks).flatten(0, 1)
        if len(x) % len(draws):
            raise DalError(
                f"model: expected images as the first dimension of dropout layer {name!r}, got shape {tuple(x.shape)}."
            )
        return _apply(layer, x.reshape(-1, len(draws), *x.shape[1:]), masks).flatten(0, 1)

    def _masks_of(self, name: str, call: int, layer: _DropoutNd, x: Tensor, draws: int | range) -> Tensor:
        """Return the mask of a draw, or the masks of several."""
        is_all = not isinstance(draws, int) and len(draws) == self.num_draws
        if not is_all and self.num_draws * _mask_shape(name, layer, x).numel() > MOST_KEPT:
            if isinstance(draws, int):
                return self._factor(name, call, layer, x, draws)
            return torch.stack([self._factor(name, call, layer, x, draw) for draw in draws])
        masks = self._factors(name, call, layer, x)
        return masks[draws] if isinstance(draws, int) else masks[draws.start : draws.stop]

    def _factors(self, name: str, call: int, layer: _DropoutNd, x: Tensor) -> Tensor:
        """Return the masks, already divided by 1 - p where possible."""
        masks = self._mask(name, call, layer, x)
        key = (name, call, x.shape[1:], x.device, x.dtype)
        if key not in self._scaled:
            scaled = _scaled(layer, masks, x.dtype)
            if scaled is masks:
                return masks
            self._scaled[key] = scaled
        return self._scaled[key]

    def _factor(self, name: str, call: int, layer: _DropoutNd, x: Tensor, draw: int) -> Tensor:
        """Return the mask of one draw, as _factors() does, without keeping it.

        The random numbers of all draws are one stream. Draws in order read it once.
        """
        shape = _mask_shape(name, layer, x)
        g, at = self._streams.get((name, call, shape), (None, 0))
        if g is None or draw < at:
            g, at = generator(self.seed, name, call), 0
        for _ in range(at, draw):
            torch.rand(shape, generator=g)
        keep = torch.rand(shape, generator=g) >= float(layer.p)
        self._streams[name, call, shape] = g, draw + 1
        return _scaled(layer, keep.to(x.device), x.dtype)

    def _mask(self, name: str, call: int, layer: _DropoutNd, x: Tensor) -> Tensor:
        key = (name, call, x.shape[1:], x.device)
        if key not in self._masks:
            shape = _mask_shape(name, layer, x)
            # Draw on the CPU, so that a GPU uses the same masks.
            uniform = torch.rand(self.num_draws, *shape, generator=generator(self.seed, name, call))
            self._masks[key] = (uniform >= float(layer.p)).to(x.device)
        return self._masks[key]


def _mask_shape(name: str, layer: _DropoutNd, x: Tensor) -> torch.Size:
    """Return the shape of a mask for the images of a batch."""
    shape = x.shape[1:]
    if isinstance(layer, _CHANNELWISE):
        return torch.Size([shape[0], *[1] * (len(shape) - 1)])
    if not isinstance(layer, _ELEMENTWISE):
        raise DalError(f"model: expected PyTorch's own dropout layers, got {type(layer).__name__} at {name!r}.")
    return shape


def _scaled(layer: _DropoutNd, keep: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a mask divided by 1 - p where possible."""
    alpha = isinstance(layer, nn.AlphaDropout | nn.FeatureAlphaDropout)
    # Half precision would round the factor and so scale every kept value by the same error.
    if alpha or layer.p == 1 or dtype not in (torch.float32, torch.float64):
        return keep
    return keep.to(dtype) / (1 - float(layer.p))


def _apply(layer: _DropoutNd, x: Tensor, keep: Tensor) -> Tensor:
    p = float(layer.p)
    if keep.is_floating_point():
        return x * keep
    if p == 1:
        return torch.zeros_like(x * keep)
    if isinstance(layer, nn.AlphaDropout | nn.FeatureAlphaDropout):
        scale = ((1 - p) * (1 + p * _ALPHA**2)) ** -0.5
        dropped: Tensor = torch.where(keep, x, _ALPHA) * scale - scale * _ALPHA * p
    else:
        dropped = x * keep / (1 - p)
    return dropped
