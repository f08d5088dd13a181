"""Computes dropout draws of a network in one or K passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from dal.errors import DalError
from dal.models.dropout.mc_dropout import DropoutDraws, check_dropout, dropout_layers
from dal.models.dropout.rows_alone import RowsAlone
from dal.models.dropout.train_mode import Modes, TrainMode
from dal.runtime.memory import LiveBytes, out_of_memory
from dal.runtime.seeding import derive_seed, isolated_rng, seed_generators

CHECKED_DRAWS = 4
"""Number of draws for which the wide pass is compared with plain passes."""

Logits = Callable[[Tensor], Tensor]
"""A pass that maps (B, ...) images to (B, C) float32 logits."""


class WideDraws:
    """K draws of the nn.Dropout layers in one pass.

    From the first dropout layer on, the batch is K times as large.
    """

    can_be_compiled = True

    def __init__(self, run: Logits, masks: DropoutDraws, at_input: bool) -> None:
        self.run, self.masks, self.at_input = run, masks, at_input
        self.draw_bytes: int | None = None
        """Memory of one more draw of an image in a pass, or None if draws do not share passes."""
        self._in_single_draw = False

    @property
    def is_wide(self) -> bool:
        return self.masks.is_wide or self._in_single_draw

    def __call__(self, x: Tensor) -> Tensor:
        """Map (B, ...) images to (B, K, C) log-probabilities."""
        num_draws = self.masks.num_draws
        if self.at_input:
            with self.masks.wide_input():
                logits = self.run(x.repeat_interleave(num_draws, dim=0))
        else:
            with self.masks.widening():
                logits = self.run(x)
        return _log_probs(logits).view(len(x), num_draws, *logits.shape[1:])

    def groups(self, x: Tensor, size: int = 1) -> Iterator[Tensor]:
        """Yield the (B, k, C, ...) logits of ``size`` draws after the others.

        Draws of a group share the layers before the first dropout layer. Groups of one are plain passes.
        """
        for first in range(0, self.masks.num_draws, size):
            draws = range(first, min(first + size, self.masks.num_draws))
            if len(draws) == 1:
                yield self._single(x, first)[:, None]
            else:
                yield self.group(x, draws)

    def group(self, x: Tensor, draws: range) -> Tensor:
        """Return the (B, k, C, ...) logits of some draws, from one pass."""
        with self.masks.widening(draws):
            logits = self.run(x)
        return logits.view(len(x), len(draws), *logits.shape[1:])

    def _single(self, x: Tensor, draw: int) -> Tensor:
        self._in_single_draw = True
        try:
            with self.masks.single(draw):
                return self.run(x)
        finally:
            self._in_single_draw = False


class SeededDraws:
    """K passes of the network in train mode, with separate seeds.

    The network generates the random numbers, so functional dropout, attention dropout and stochastic depth are drawn
    too.
    """

    can_be_compiled = False  # a recorded pass would contain a single fixed draw
    draw_bytes = None

    def __init__(self, run: Logits, train_mode: TrainMode, num_draws: int, seed: int) -> None:
        self.num_draws, self.seed = num_draws, seed
        self.train_mode, self.is_wide = train_mode, False
        self._rows = RowsAlone(run)

    def __call__(self, x: Tensor) -> Tensor:
        """Map (B, ...) images to (B, K, C) log-probabilities."""
        self.is_wide = True
        try:
            with self.train_mode():
                draws = [self.draw(x, k) for k in range(self.num_draws)]
        finally:
            self.is_wide = False
        return torch.stack([_log_probs(logits) for logits in draws], dim=1)

    def groups(self, x: Tensor, size: int = 1) -> Iterator[Tensor]:
        """Yield the (B, 1, C, ...) logits of one draw after the other."""
        for k in range(self.num_draws):
            self.is_wide = True
            try:
                with self.train_mode():
                    logits = self.draw(x, k)
            finally:
                self.is_wide = False
            yield logits[:, None]

    def draw(self, x: Tensor, k: int) -> Tensor:
        return self._rows(x, derive_seed(self.seed, "draw", k))


Draws = WideDraws | SeededDraws


def _log_probs(logits: Tensor) -> Tensor:
    """Return (B, C, ...) log-probabilities. With C as the last dimension, sites round like images."""
    return logits.log_softmax(dim=1) if logits.ndim == 2 else logits.movedim(1, -1).log_softmax(dim=-1).movedim(-1, 1)


def set_up_draws(
    run: Logits,
    module: nn.Module,
    modes: Modes,
    x: Tensor,
    num_draws: int,
    seed: int,
    *,
    random_in_eval: bool = False,
    are_wide: bool = True,
) -> Draws:
    """Return the draws of a network, checked on a few images.

    One wide pass draws the nn.Dropout layers if it matches plain passes. Otherwise, seeded passes in train mode are
    used. Without ``are_wide``, the draws of these layers are only for groups(), so only a group of two is checked.
    Raises DalError, with a remedy, if the draws do not differ or if the network mixes the images of a batch.
    """
    refusal: DalError | None = None
    if dropout_layers(module) and not random_in_eval:
        try:
            masks = DropoutDraws(module, num_draws, seed)
            return _wide(run, masks, x) if are_wide else _one_by_one(run, masks, x)
        except DalError as error:
            refusal = error
    mode = TrainMode(module, modes)
    mode.hold(lambda: run(x))
    seeded = SeededDraws(run, mode, num_draws, seed)
    if not random_in_eval and not _close(run(x), RowsAlone(run)(x, 0)):
        raise _mixes() if refusal is None or num_draws == 1 else refusal
    with mode():
        first = seeded.draw(x, 0)
        differ = any(not torch.equal(first, seeded.draw(x, k)) for k in range(1, max(num_draws, 2)))
    if differ:
        return seeded
    if refusal is not None:
        raise refusal
    check_dropout(module)
    raise _same()


def _wide(run: Logits, masks: DropoutDraws, x: Tensor) -> WideDraws:
    """Return draws widened at the first dropout layer or at the input."""
    num_draws = masks.num_draws

    def plain(k: int) -> Tensor:
        with masks.single(k):
            return run(x).log_softmax(dim=1)

    # Check only a few draws. An incorrect wide pass is incorrect for most draws, and K passes of a large network cost
    # more than scoring a tile.
    checked = sorted({*range(min(num_draws, CHECKED_DRAWS - 1)), num_draws - 1})
    references = {k: plain(k) for k in checked}
    # all() stops at the first draw that differs, which is nearly always one of the references.
    others = (references[k] if k in references else plain(k) for k in range(1, num_draws))
    if num_draws > 1 and all(torch.equal(references[0], other) for other in others):
        raise _same()
    for at_input in (False, True):
        draws = WideDraws(run, masks, at_input)
        try:
            wide = draws(x)
        except (RuntimeError, DalError) as error:
            if out_of_memory(error):
                raise
            # A skip connection around the first dropout layer adds two batch sizes. Widen at the input instead.
            continue
        if _close(wide[:, checked], torch.stack([references[k] for k in checked], dim=1)):
            return draws
    raise _mixes()


def _one_by_one(run: Logits, masks: DropoutDraws, x: Tensor) -> WideDraws:
    """Return draws for groups(), after a check that they differ and of whether they share passes."""
    draws = WideDraws(run, masks, at_input=True)
    others = draws.groups(x)
    first = next(others)
    if masks.num_draws == 1:
        return draws
    second = next(others)
    if torch.equal(first, second) and all(torch.equal(first, other) for other in others):
        raise _same()
    draws.draw_bytes = _bytes_of_draw(draws, x[:1], torch.cat([first, second], dim=1)[:1])
    draws.at_input = draws.draw_bytes is None
    if draws.at_input:
        # The same image twice, because squeeze() in forward() changes the shape of a batch of one.
        alone = next(draws.groups(torch.cat([x[:1], x[:1]])))
        if not _close(alone[0], first[0]):
            raise _mixes()
    return draws


def _bytes_of_draw(draws: WideDraws, x: Tensor, expected: Tensor) -> int | None:
    """Return the memory of one more draw of an image, or None if a group has other logits than plain passes."""
    peaks, found = [], expected
    try:
        for count in (1, 2):
            with LiveBytes() as live:
                found = draws.group(x, range(count))
            peaks.append(live.peak)
    except (RuntimeError, DalError) as error:
        if out_of_memory(error):
            raise
        return None  # such as a skip connection around the first dropout layer, which adds two batch sizes
    is_same = found.shape == expected.shape and _close(found.log_softmax(dim=2), expected.log_softmax(dim=2))
    return max(peaks[1] - peaks[0], found[0, 0].nbytes) if is_same else None


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-2, atol=1e-3, equal_nan=True)


class SameDrawsError(DalError):
    """All draws give the same output."""


def _same() -> DalError:
    return SameDrawsError(
        "model: expected the dropout draws to differ, got the same output from every draw. Put a dropout layer "
        "(nn.Dropout, p > 0) in front of the last layer, or check whether all features are zero."
    )


def _mixes() -> DalError:
    return DalError(
        "model: expected K dropout draws in one wide batch to equal K passes, got other numbers. Make forward() "
        "process the images of a batch independently, with the batch as first dimension of every dropout layer."
    )


def is_random(run: Callable[[Tensor], Sequence[Tensor]], x: Tensor) -> bool:
    """Return whether the result of a pass depends on the random generators."""
    found = []
    for seed in range(2):
        with isolated_rng(seed, "look"):
            found.append([part.float() for part in run(x)])
    pairs = zip(*found, strict=True)
    return not all(torch.allclose(a, b, rtol=1e-3, atol=1e-5, equal_nan=True) for a, b in pairs)


def unseen_randomness(run: Logits, draws: Draws, modes: Modes, x: Tensor) -> str | None:
    """Describe the randomness of training that wide draws omit, if any.

    ``draws`` are the result of set_up_draws(), which checked them on ``x``.
    """
    if not isinstance(draws, WideDraws):
        return None
    module = draws.masks.module
    known: set[nn.Module] = set(draws.masks.layers.values())
    mode = TrainMode(module, modes)
    mode.hold(lambda: run(x))

    def spread(only: Sequence[nn.Module] | None, but: set[nn.Module]) -> float:
        passes = []
        with mode(only, but):
            for k in range(draws.masks.num_draws):
                seed_generators(k)
                passes.append(run(x).log_softmax(dim=1))
        return float(torch.stack(passes).std(dim=0).mean())

    if not spread(None, known) > 1e-4:
        return None
    kinds: dict[str, list[nn.Module]] = {}
    for layer in mode.modes:
        if layer not in known:
            kinds.setdefault(type(layer).__name__, []).append(layer)
    names = [name for name, layers in kinds.items() if spread(layers, set()) > 1e-4]
    return (
        f"model: the draws omit randomness of training in {', '.join(names) or type(module).__name__}. Their "
        f"log-probabilities have a standard deviation of {float(draws(x).std(dim=1).mean()):.2g}, compared to "
        f"{spread(None, set()):.2g} in training. Set its rate to 0, or use nn.Dropout layers."
    )
