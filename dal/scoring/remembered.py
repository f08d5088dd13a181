"""Remembers the FLOPs of networks, and the tile size and the layout of dal's own, for the passes of later rounds."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from dal.costs.flops import FlopCounter, Flops
from dal.models.adapted.scoring_model import ScoringModel
from dal.models.memory_format import takes_channels_last
from dal.models.own import is_own
from dal.runtime.memory import out_of_memory
from dal.runtime.seeding import isolated_rng
from dal.scoring.tiles import tile_size

_known: WeakKeyDictionary[nn.Module, dict[Hashable, Any]] = WeakKeyDictionary()
_counted: WeakKeyDictionary[nn.Module, dict[Hashable, Flops]] = WeakKeyDictionary()


def size_of_tiles(
    view: ScoringModel,
    reduce: Callable[[ScoringModel, Tensor], Any],
    few: Tensor,
    what: Hashable | None,
    budget: int | None,
) -> int:
    """Return tile_size() of a pass. ``what`` names its computation; None remembers nothing."""

    def find() -> int:
        return tile_size(lambda x: reduce(view, x), few, budget)

    if what is None or not _is_remembered(view):
        return find()
    known = _known.setdefault(view.module, {})
    # Recorded passes keep more in memory.
    key = ("size", what, getattr(reduce, "__qualname__", type(reduce)), *_form(few), budget)
    if key not in known:
        size = find()
        # The first call of the draws checks them, so the probe must run in each pass. A tile of one image may be due to
        # memory that was short.
        if view.has_draws or size == 1:
            return size
        known[key] = size
    found: int = known[key]
    return found


def suits_channels_last(view: ScoringModel, few: Tensor) -> bool:
    """Return takes_channels_last() of a plain pass."""
    if not _is_remembered(view):
        return takes_channels_last(view.module, view.logits, few)
    known, key = _known.setdefault(view.module, {}), ("layout", *_form(few))
    if key not in known:
        known[key] = takes_channels_last(view.module, view.logits, few)
    return bool(known[key])


def flops_of(
    view: ScoringModel, reduce: Callable[[ScoringModel, Tensor], Any], few: Tensor, what: Hashable | None, seed: int
) -> Flops:
    """Return the FLOPs of PROBE_SIZE images; 0 if memory runs out."""
    known: dict[Hashable, Flops] = {} if what is None else _counted.setdefault(view.module, {})
    key = (what, few.shape)
    if key not in known:
        try:
            with isolated_rng(seed, "flops"):
                reduce(view, few)  # one-time work, such as the check of the draws, is not part of an image's cost
                with FlopCounter(apart=lambda: view.is_wide) as counter:
                    reduce(view, few)
        except Exception as error:
            if not out_of_memory(error):
                raise
            return Flops()
        known[key] = counter.flops
    return known[key]


def _is_remembered(view: ScoringModel) -> bool:
    # A user's network may change, or draw random numbers in each pass, which the probe shifts.
    return is_own(view.module) and not view.is_dense and not view.draws_globally


def _form(x: Tensor) -> tuple[Hashable, ...]:
    return x.shape, x.stride(), x.dtype, x.device.type
