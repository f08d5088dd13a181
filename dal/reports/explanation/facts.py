"""What the page tells of the run itself: its name, its curve and its costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dal import __version__
from dal.analysis.per_round import common_prices, round_costs
from dal.analysis.refits import RefitEffect, refit_effects
from dal.reports.explanation.order_results import order_results
from dal.runs.reader import Run
from dal.runs.refits import read_arms
from dal.runs.round import in_words
from dal.runs.settings import UNKNOWN

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Facts:
    """Facts of a run with R rounds."""

    name: str
    """The run folder."""
    data: str
    acquisition: str
    seed: int
    finished: bool
    labels: Sequence[int]
    """(R,) labels bought."""
    curve: Floats
    """(R,) primary metric on the test set; NaN where unknown."""
    metric: str = "accuracy"
    flops: Floats = field(default_factory=lambda: np.empty(0))
    """(R,) cumulative FLOPs without testing; empty or NaN where unknown."""
    money: Floats = field(default_factory=lambda: np.empty(0))
    """(R,) cumulative money; empty or NaN without prices."""
    currency: str = ""
    version: str = __version__
    no_images: str = ""
    """Why there are no thumbnails, as a sentence."""
    notice: str = ""
    """Which records the run lacks, in sentences."""
    orders: str = ""
    """The results of `dal order` as HTML."""
    refits: Sequence[RefitEffect] = ()
    """What `dal explain --refit` measured."""

    @property
    def title(self) -> str:
        """A line that names the run.

        >>> Facts("runs/a", "digits", "margin", 0, True, [], np.empty(0)).title
        'margin on digits, seed 0'
        >>> Facts("runs/a", "a", UNKNOWN, 0, True, [], np.empty(0)).title
        'a, seed 0'
        """
        function = "" if self.acquisition == UNKNOWN else f"{self.acquisition} on "
        return f"{function}{self.data}, seed {self.seed}"


def facts_of(run: Run, no_images: str = "", notice: str = "") -> Facts:
    """Return the facts of a run."""
    prices = common_prices([run])
    costs = round_costs(run, prices)
    return Facts(
        name=str(run.path),
        data=run.data,
        acquisition=run.label,
        seed=run.seed,
        finished=run.finished,
        labels=run.labels_bought.tolist(),
        curve=run.curve,
        metric=in_words(run.primary_metric),
        flops=costs["flops_total"].cumsum(),
        money=costs["money"].cumsum(),
        currency="" if prices is None else prices.currency,
        no_images=no_images,
        notice=notice,
        orders=order_results(run),
        refits=refit_effects(read_arms(run.path)),
    )


def known(values: Floats, at: int) -> float | None:
    """Return a value of an array that may be empty, or None if it is not known."""
    if at >= len(values) or math.isnan(values[at]):
        return None
    return float(values[at])
