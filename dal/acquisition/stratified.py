"""Stratified stochastic batches: part of the query by predicted class."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from dal.acquisition.base import PoolModel, Selection, Summary
from dal.acquisition.search.columns import classes
from dal.acquisition.search.draw_sums import DrawSums, PredictedSums
from dal.acquisition.search.highest import at_least_as_high
from dal.acquisition.stochastic import Stochastic, check_race, in_order, race
from dal.errors import bad_value
from dal.runtime.ranges import Range, share

__all__ = ["Stratified", "stratified_select"]

_MOST_BETA = 10.0**6


def stratified_select(
    scores: Tensor,
    predicted: Tensor,
    query_size: int,
    generator: torch.Generator,
    *,
    strata: float = 0.66,
    kind: str = "power",
    beta: float = 1.0,
) -> Selection:
    """Draw points as stochastic_select() does, part of them by predicted class (ClaSP-PE, arXiv:2601.13677).

    A share ``strata`` of the query takes one point of each predicted class in turn: in the first turn the first drawn
    point of each class, then the second ones. The rest of the query takes the next drawn point of any class, which
    counts as a turn of its class. Both kinds of picks alternate evenly, so a shorter query is the start of a longer
    one.

    Args:
        scores: (N,), any floating dtype, higher is more worth labeling.
        predicted: (N,) int64, the predicted class of each point.
        query_size: Q, from 1 to N.
        generator: on the CPU.
        strata: Share of the query that is taken by predicted class, from 0 to 1; 0 is stochastic_select().
        kind: power, softmax or softrank; see stochastic_select().
        beta: above 0; see stochastic_select().

    Returns:
        Q distinct positions in the order they were taken, and their scores without the noise.

    Raises:
        DalError: a shape differs, or another argument is out of range.
        NonFiniteError: a score is NaN or infinite.

    >>> scores, predicted = torch.tensor([0.9, 0.8, 0.7, 0.1]), torch.tensor([0, 0, 0, 5])
    >>> stratified_select(scores, predicted, 3, torch.Generator().manual_seed(0), beta=90.0).positions
    tensor([0, 3, 1])
    """
    share().check("strata", strata)
    if predicted.shape != scores.shape or predicted.is_floating_point():
        got = f"{predicted.dtype} of shape {tuple(predicted.shape)}"
        raise bad_value("predicted", f"class numbers of shape {tuple(scores.shape)}", got)
    check_race(scores, query_size, kind, beta)
    scores, predicted = scores.detach().cpu().double(), predicted.cpu()
    keys, noise = race(scores, generator, kind, beta)
    # A query takes no more points of a class than it has.
    places = torch.cat([of_class[at_least_as_high(keys[of_class], query_size)] for of_class in _classes(predicted)])
    places = places.sort().values
    drawn = places[in_order(keys[places], noise[places])]
    by_turn = drawn[_by_turn(predicted[drawn])[:query_size]].tolist()
    positions, taken = [], set()
    queues = [iter(drawn[:query_size].tolist()), iter(by_turn)]
    for place in range(query_size):
        # The small number keeps rounding from moving a turn.
        is_stratum = math.ceil((place + 1) * strata - 1e-9) > math.ceil(place * strata - 1e-9)
        chosen = next(point for point in queues[is_stratum] if point not in taken)
        taken.add(chosen)
        positions.append(chosen)
    found = torch.tensor(positions)
    return Selection(found, scores[found])


def _classes(predicted: Tensor) -> tuple[Tensor, ...]:
    """Return the points of each class, ascending."""
    by_class = torch.sort(predicted, stable=True)
    counts = torch.unique_consecutive(by_class.values, return_counts=True)[1]
    return torch.split(by_class.indices, counts.tolist())


def _by_turn(classes: Tensor) -> Tensor:
    """Return the order in which classes take turns. Within a turn, the points keep their order."""
    by_class = torch.sort(classes, stable=True)
    first = torch.searchsorted(by_class.values, by_class.values)  # where the class of each place starts
    turns = torch.empty_like(first)
    turns[by_class.indices] = torch.arange(len(classes)) - first
    return torch.sort(turns, stable=True).indices


class _Remembering:
    """A model that remembers its last outputs, so that a second pass is not needed."""

    def __init__(self, model: PoolModel) -> None:
        self._model = model
        self.outputs: Tensor | None = None
        """(B, C) logits or probabilities."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def features(self, x: Tensor) -> Tensor:
        return self._model.features(x)

    def head(self, features: Tensor) -> Tensor:
        self.outputs = self._model.head(features)
        return self.outputs

    def mc_log_probs(self, x: Tensor, num_draws: int) -> Tensor:
        draws = self._model.mc_log_probs(x, num_draws)
        self.outputs = draws.exp().mean(dim=1)
        return draws


@dataclass(frozen=True)
class Stratified(Stochastic):
    """Selects with ``stratified_select`` on another function's scores; keeps two numbers per point.

    With ``score=entropy`` this follows ClaSP-PE (arXiv:2601.13677). ``beta`` grows each round, so the noise decays.

    Args:
        score: Acquisition function that scores each point, such as entropy or bald.
        kind: Distribution to draw from: power, softmax or softrank of the scores.
        beta: Sharpness in the first query, above 0; values near 0 select uniformly, large values the highest scores.
        num_draws: Networks drawn by Monte Carlo dropout, for scores that need them.
        strata: Share of the query that is taken by predicted class, from 0 to 1.
        beta_growth: Factor by which beta grows each round, at least 1; 1 keeps the noise.
    """

    keeps: ClassVar[tuple[str, ...]] = ("scores", "predicted")
    tasks: ClassVar[tuple[str, ...] | None] = ("classification", "segmentation")

    score: str = "entropy"
    strata: float = 0.66
    beta_growth: float = 1.5

    def __post_init__(self) -> None:
        super().__post_init__()
        share().check("strata", self.strata)
        Range(1, 10**6).check("beta_growth", self.beta_growth)

    def at_round(self, round: int) -> Stratified:
        """Return the function with the sharpness of this round, at most a million.

        >>> Stratified(beta=1.0, beta_growth=2.0).at_round(3).beta
        8.0
        """
        # Logarithms do not overflow.
        grown = math.log(self.beta) + round * math.log(self.beta_growth)
        return replace(self, beta=self.beta * self.beta_growth**round if grown < math.log(_MOST_BETA) else _MOST_BETA)

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        remembering = _Remembering(model)
        summary = super().summarize(remembering, x)
        outputs = remembering.outputs
        if outputs is None or len(outputs) != len(x):
            outputs = model.head(model.features(x))
        return summary | {"predicted": outputs.argmax(dim=1)}

    def draw_sums(self) -> DrawSums | None:
        sums = super().draw_sums()
        return None if sums is None else PredictedSums(sums)

    def site_summary(self, logits: Tensor) -> Summary | None:
        summary = super().site_summary(logits)
        return None if summary is None else summary | {"predicted": classes(logits - logits.amax(dim=0))}

    def select(self, pool: Summary, labeled: Summary, query_size: int, generator: torch.Generator) -> Selection:
        return stratified_select(
            pool["scores"],
            pool["predicted"],
            query_size,
            generator,
            strata=self.strata,
            kind=self.kind,
            beta=self.beta,
        )
