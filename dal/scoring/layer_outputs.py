"""Outputs of layers with weights, averaged over space."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from dal.models.adapted.head_pass import has_compiled_parts
from dal.models.adapted.scoring_model import ScoringModel

MOST_LAYERS = 24
MOST_CHANNELS = 512

_FAST_PATHS = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)
"""Modules that compute in another way if a layer inside them has a hook."""


class LayerOutputs:
    """Collects the outputs of layers for some rows of a pass.

    A layer is a module with a ``weight`` of two or more dimensions. Its output is averaged over space. If it has more
    than 512 channels, adjacent ones are averaged. With more than 24 layers, 24 of them are kept, evenly spaced and
    with the first and the last. A layer that runs several times counts once, at its first run.

    Layers inside PyTorch's transformer layers are left out, since a hook there would change how they compute. Modules
    that torch.compile has compiled and modules that are random in eval mode have no recorded layers.
    """

    def __init__(self) -> None:
        self.names: list[str] | None = None
        """The names of the layers, in the order of the forward pass; None before the first rows."""
        self.widths: dict[str, int] = {}
        """The number of channels of each layer."""
        self._outputs: dict[str, list[Tensor]] = {}
        self._layers: dict[str, nn.Module] | None = None

    def outputs(self, name: str) -> Tensor:
        """Return the (u, width) float32 outputs of a layer, on the CPU."""
        return torch.cat(self._outputs[name])

    @contextmanager
    def of(self, view: ScoringModel, rows: Tensor, num_images: int) -> Iterator[None]:
        """Record the outputs for these rows of the batch of images that runs inside the block."""
        layers = self._recorded(view) if len(rows) else {}
        if not layers:
            yield
            return
        found: dict[str, Tensor] = {}
        handles = [
            layer.register_forward_hook(partial(self._see, found, name, (rows, num_images)))
            for name, layer in layers.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        self._add(found)

    def _recorded(self, view: ScoringModel) -> dict[str, nn.Module]:
        if self._layers is None:
            compiled = view.compiled is not None or view.runs_rows_alone or has_compiled_parts(view.module)
            self._layers = {} if compiled else layers_with_weights(view.module)
        return self._layers

    def _see(
        self,
        found: dict[str, Tensor],
        name: str,
        of_batch: tuple[Tensor, int],
        layer: nn.Module,
        args: tuple[Any, ...],
        out: object,
    ) -> None:
        rows, num_images = of_batch
        if name in found or not isinstance(out, Tensor) or out.ndim < 2 or len(out) != num_images:
            return
        chosen = out[rows].float()
        channels = 1 if isinstance(layer, _ConvNd) else out.ndim - 1
        places = [place for place in range(1, out.ndim) if place != channels]
        found[name] = chosen.mean(dim=places) if places else chosen
        self.widths[name] = found[name].shape[1]

    def _add(self, found: dict[str, Tensor]) -> None:
        if self.names is None:
            self.names = _spaced(list(found))
            self._outputs = {name: [] for name in self.names}
        self.names = [name for name in self.names if name in found]  # a layer may run for some batches only
        assert self._layers is not None
        self._layers = {name: self._layers[name] for name in self.names}
        for name in self.names:
            out = found[name]
            if out.shape[1] > MOST_CHANNELS:
                out = F.adaptive_avg_pool1d(out.unsqueeze(1), MOST_CHANNELS).squeeze(1)
            self._outputs[name].append(out.cpu())


def layers_with_weights(module: nn.Module) -> dict[str, nn.Module]:
    """Return the layers of a module by name, without those inside PyTorch's transformer layers.

    >>> list(layers_with_weights(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 3))))
    ['0', '2']
    """
    inside = {id(inner) for part in module.modules() if isinstance(part, _FAST_PATHS) for inner in part.modules()}
    return {
        name: part
        for name, part in module.named_modules()
        if name and id(part) not in inside and (weight := weight_of(part)) is not None and weight.ndim > 1
    }


def weight_of(layer: nn.Module) -> Tensor | None:
    """Return the weight of a layer, or None."""
    weight = getattr(layer, "weight", None)
    return weight if isinstance(weight, Tensor) else None


def _spaced(names: list[str]) -> list[str]:
    if len(names) <= MOST_LAYERS:
        return names
    places = torch.linspace(0, len(names) - 1, MOST_LAYERS).round().long().tolist()
    return [names[place] for place in places]
