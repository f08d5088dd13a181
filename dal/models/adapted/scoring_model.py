"""Runs a model for scoring: plain passes, head and dropout draws."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from dal.errors import DalError
from dal.models.adapt import AdaptedModel, check_members
from dal.models.adapted.batch_form import Inputs
from dal.models.adapted.evaluating import evaluating
from dal.models.adapted.head import Head
from dal.models.adapted.head_pass import has_compiled_parts, predicted, run_to_head, run_whole
from dal.models.adapted.map_head import MapHead, NoHeadError, missing_features, predicted_maps, whole_output
from dal.models.compiled import CompiledPasses
from dal.models.dropout.draws import Draws, is_random, set_up_draws
from dal.models.dropout.rows_alone import RowsAlone
from dal.models.dropout.train_mode import Modes
from dal.models.ensemble import DeepEnsemble
from dal.runtime.precision import full_precision
from dal.runtime.seeding import isolated_rng

__all__ = ["NoHeadError", "ScoringModel", "scoring_view"]

_random: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()
"""Whether a module is random in eval mode."""

_overwrites: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()
"""Whether a module changes its input images in place."""


class ScoringModel:
    """The PoolModel passed to acquisition functions, created by scoring_view().

    ``compiled`` contains torch.compile's passes for tiles of one size. None runs all passes uncompiled. ``modes`` are
    the ``training`` flags of the modules during training.

    If ``is_dense``, features and logits are those of the sites of a grid, (B, D, h, w) and (B, C, h, w), and draws are
    (B, K, C, h, w).
    """

    def __init__(self, adapted: AdaptedModel, seed: int, modes: Modes, is_dense: bool = False) -> None:
        self.adapted, self.module, self.seed = adapted, adapted.module, seed
        self.compiled: CompiledPasses | None = None
        self.modes, self.is_dense = modes, is_dense or adapted.is_dense
        self._inputs = Inputs(adapted.module, adapted.batch)
        kind = MapHead if self.is_dense else Head
        self._head = kind(adapted.head_layer, adapted.head) if adapted.head and adapted.has_features else None
        self._predicted: tuple[Tensor, Tensor] | None = None
        self.keeps_draws = False
        """Whether last_probabilities() also knows those of mc_log_probs()."""
        self._drawn: Tensor | None = None
        self._alone = RowsAlone(self._forward)
        self._draws: tuple[int, Draws] | None = None
        self._runs_eagerly = False
        self._is_checked = self._stops = False
        self._copies = _overwrites.get(self.module, False)

    @property
    def is_wide(self) -> bool:
        """Whether the current pass runs on a batch of several draws."""
        return self._draws is not None and self._draws[1].is_wide

    @property
    def has_draws(self) -> bool:
        """Whether the passes so far have used dropout draws."""
        return self._draws is not None

    @property
    def runs_rows_alone(self) -> bool:
        """Whether a plain pass runs each image alone, because the module is random in eval mode."""
        return _random.get(self.module, False)

    @property
    def draws_globally(self) -> bool:
        """Whether passes use the global generators, which other threads must not use."""
        of_draws = self._draws is not None and not self._draws[1].can_be_compiled
        return of_draws or _random.get(self.module, False) or self._inputs.are_random

    def prepare(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return the images after the batch hooks of the module.

        ``labels`` have the form of the data's labels.
        """
        if not self._inputs.hooks:
            return x
        return self._inputs(x, labels.new_zeros(len(x), *labels.shape[1:]))

    def features(self, x: Tensor) -> Tensor:
        self._predicted = self.outputs(x)
        return self._predicted[0]

    def head(self, features: Tensor) -> Tensor:
        is_of_pass = self._predicted is not None and features is self._predicted[0]
        if is_of_pass and (self._head is None or self._head.is_rectified):
            assert self._predicted is not None
            return self._predicted[1].float()
        if self._head is None:
            raise NoHeadError
        return self._head(features)

    def linear_head(self) -> tuple[Tensor, Tensor] | None:
        """Return (C, D) weights and a (C,) bias if head() is linear, otherwise None."""
        return self._head.linear() if isinstance(self._head, Head) else None

    def logits(self, x: Tensor) -> Tensor:
        """Map (B, ...) images to (B, C) float32 logits."""
        _, logits = self._plain(x)
        return logits.float()

    def outputs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, ...) images to (B, D) features and the (B, C) float32 logits of the same pass."""
        features, logits = self._plain(x)
        return features if self.adapted.has_features else missing_features(logits), logits.float()

    def last_probabilities(self) -> Tensor | None:
        """Return the (B, C) float64 probabilities of the last features() or mc_log_probs(), and forget both.

        Those of draws are means. None if neither has run.
        """
        predicted, drawn = self._predicted, self._drawn
        self._predicted = self._drawn = None
        if predicted is not None:
            return predicted[1].detach().double().softmax(dim=1)
        return None if drawn is None else drawn.detach().exp().mean(dim=1).double()

    def mc_log_probs(self, x: Tensor, num_draws: int) -> Tensor:
        """Map (B, ...) images to (B, K, C) log-probabilities in nats.

        The draws of an ensemble are its members.
        """
        drawn = self._mc_log_probs(x, num_draws)
        if self.keeps_draws:
            self._drawn = drawn
        return drawn

    def _mc_log_probs(self, x: Tensor, num_draws: int) -> Tensor:
        if isinstance(self.module, DeepEnsemble):
            check_members(self.module, num_draws)
            members = self.module.member_log_probs
            return members(x) if self.compiled is None else self.compiled("members", members, x)
        draws = self.draws(x, num_draws)
        if self.compiled is None or not draws.can_be_compiled:
            return draws(x)
        return self.compiled(f"{num_draws} draws", draws, x)

    def draw_groups(self, x: Tensor, num_draws: int, most_bytes: int) -> Iterator[tuple[slice, Iterator[Tensor]]]:
        """Yield the (b, k, C, ...) float32 logits of groups of draws, for some images after the others.

        Each part comes with its images. Draws of a group share the layers before the first dropout layer. A group takes
        at most ``most_bytes``, unless one draw takes more.
        """
        draws = self.draws(x, num_draws, are_wide=False)
        images, size = len(x), 1
        if draws.draw_bytes is not None:
            fits = max(1, most_bytes // draws.draw_bytes)
            images, size = max(1, fits // num_draws), min(fits, num_draws)
        for first in range(0, len(x), images):
            part = slice(first, min(first + images, len(x)))
            yield part, draws.groups(x[part], size)

    def draws(self, x: Tensor, num_draws: int, are_wide: bool = True) -> Draws:
        """Return the draws, after a check on the first images of ``x``.

        Without ``are_wide``, they run one after the other, and a pass for all of them is not checked.
        """
        if self._draws is None or self._draws[0] != num_draws:
            # Use at least two images. A single image would broadcast against its draws, and a network that mixes the
            # images of a batch would pass the check.
            few = x[:3] if len(x) > 1 else torch.cat([x, x.flip(-1)])
            self._is_random(few)
            # Code that torch.compile has already compiled ignores new hooks on dropout layers.
            self._runs_eagerly = True
            # Half precision may round different draws to the same numbers, or one wide pass unlike K passes.
            with full_precision(x.device):
                draws = set_up_draws(
                    self.plain_logits,
                    self.module,
                    self.modes,
                    few,
                    num_draws,
                    self.seed,
                    random_in_eval=self._is_random(few),
                    are_wide=are_wide,
                )
            self._draws = num_draws, draws
        return self._draws[1]

    def plain_logits(self, x: Tensor) -> Tensor:
        """Map (B, ...) images to (B, C) float32 logits, without changing modes."""
        return self._forward(x)[1].float()

    def compared(self, x: Tensor) -> tuple[Any, Any] | None:
        """Return the outputs of forward() and of the head, or None without a head or with several runs of it."""
        if self._head is None or self.adapted.predict is not None:
            return None
        result, seen = run_to_head(self.adapted, x.clone() if self._copies else x, eagerly=self._runs_eagerly)
        return (result, seen[0][1]) if len(seen) == 1 else None

    def _plain(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self._is_random(x[:4]):
            return self._alone(x, self.seed)
        return self._forward(x) if self.compiled is None else self.compiled("plain", self._forward, x)

    def _is_random(self, few: Tensor) -> bool:
        """Return whether the module is random in eval mode (checked once)."""
        if self.module not in _random:
            with full_precision(few.device):
                _random[self.module] = is_random(self._on_copy, few)
            if _random[self.module]:
                warnings.warn(
                    "model: forward() is random in eval mode, for example due to dropout without "
                    "training=self.training. All images are scored with the same draw.",
                    stacklevel=2,
                )
        return _random[self.module]

    def _on_copy(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run the module on a copy of the images, and note whether it changes them."""
        given = x.clone()
        result = self._forward(given)
        if not torch.equal(given, x):
            # Draws and other passes over the same images need them unchanged.
            self._copies = _overwrites[self.module] = True
        return result

    def _forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self._copies:
            x = x.clone()
        if self.adapted.predict is not None:
            parts = predicted_maps if self.is_dense else predicted
            return parts(self.adapted.predict(self.module, x), len(x))
        if self._head is None:
            return whole_output(run_whole(self.adapted, x, eagerly=self._runs_eagerly), len(x))
        result, seen = run_to_head(self.adapted, x, eagerly=self._runs_eagerly, stops=self._stops)
        if len(seen) != 1 and not self._runs_eagerly and "torch._dynamo" in sys.modules:
            # A hook on a layer inside a compiled module may not have run.
            self._runs_eagerly = True
            result, seen = run_to_head(self.adapted, x, eagerly=True)
        if len(seen) != 1:
            raise DalError(
                f"head: expected {self._head.name!r} to run once in forward(), got {len(seen)} runs. Name "
                "another layer, or pass predict=, a function (module, x) that returns (logits, features)."
            )
        flat = self._head.flat(*seen[0])
        # What follows the head of a segmentation network, such as resizing, costs time and memory.
        self._stops = self.is_dense and not has_compiled_parts(self.module)
        if isinstance(self._head, Head) and self._head.is_averaged and not self._is_checked:
            self._head.check_average(seen[0][1], result)
            self._is_checked = True
            return self._head.flat(*seen[0])
        return flat


@contextmanager
def scoring_view(
    adapted: AdaptedModel, seed: int = 0, device: torch.device | None = None, *, is_dense: bool = False
) -> Iterator[ScoringModel]:
    """Yield the model in eval mode on a device, without gradients.

    On exit, train/eval flags, the device and the global random state are restored. Buffers are never modified.
    """
    module = adapted.module
    modes = [(m, m.training) for m in module.modules()]
    home = next(iter(module.parameters())).device
    try:
        # Move the module before inference mode, because tensors copied in inference mode can never be trained.
        if device is not None and device != home:
            module.to(device)
        with isolated_rng(seed, "scoring"), torch.inference_mode(), evaluating(module):
            module.eval()
            yield ScoringModel(adapted, seed, dict(modes), is_dense)
    finally:
        for m, training in modes:
            m.training = training
        if device is not None and device != home:
            module.to(home)
