"""Passes and choices of a model in one call, for tests that need no learner.

Tensors that a pass keeps have no names here: a reduction returns a tuple, and so does the pass.
"""

from dataclasses import dataclass
from typing import Any

import torch

from dal.costs.ledger import Ledger
from dal.runtime.progress import silent
from dal.scoring import select
from dal.scoring.config import ScoringConfig
from dal.scoring.model_pass import Charge, ModelPass


@dataclass(frozen=True)
class Charged:
    """What to count, and for whom."""

    ledger: Ledger
    what: Any
    num_images: int | None = None


def passes_of(model, config=None, device=None, ledger=None, on_progress=silent):
    return ModelPass(model, config or ScoringConfig(), device, ledger or Ledger(), on_progress)


def pool_pass(model, data, indices, reduce, *, config=None, phase="score", charge=None, seed=0, **options):
    passes = passes_of(model, config, ledger=charge and charge.ledger, **options)

    def named(view, x):
        return {str(i): part for i, part in enumerate(reduce(view, x))}

    counted = charge and Charge(charge.what, charge.num_images)
    return tuple(passes.run(data, indices, named, phase, seed=seed, charge=counted).values())


def summarize_points(model, acquisition, data, indices, *, seed=0, num_images=None, **options):
    passes = passes_of(model, **options)
    found = select.summarize_points(passes, acquisition, (data, indices), seed=seed, num_images=num_images)
    return tuple(found.values())


def predict(model, data, indices, *, phase="test", **options):
    return passes_of(model, **options).logits(data, indices, phase)


def choose(
    model, acquisition, candidates, labeled, query_size, *, labels=None, targets=None, seed=0, round=0, **options
):
    if labels is None:
        labels = torch.zeros(len(labeled[1]), dtype=torch.int64)
    known = select.KnownPoints(*labeled, labels, targets)
    passes = passes_of(model, **options)
    return select.select_points(passes, acquisition, candidates, known, query_size, seed=seed, round=round)
