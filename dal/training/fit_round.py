"""fit_round(): what a round starts from, how much it trains, and, for the automatic start, the trial of both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from dal.data.images import ImageData
from dal.errors import bad_value
from dal.training.auto_start import WARM, Probe, is_probed, start_between_probes
from dal.training.config import TrainingConfig
from dal.training.effort import Points, effort
from dal.training.fit import FitResult, fit
from dal.training.setup import TrainingSetup
from dal.training.warm_start import starting_state


def check_start(config: TrainingConfig, has_validation: bool) -> None:
    """Raise DalError where there is nothing to watch, or to compare the starts of the automatic one by."""
    if config.monitor.startswith("val_") and not has_validation:
        expected = "train_accuracy or auto, as there are no validation points (campaign.validation_size)"
        raise bad_value("training.monitor", expected, config.monitor)
    if config.warm_start != "auto":
        return
    if not has_validation:
        expected = "campaign.validation_size above 0, since auto compares validation losses; or another start"
        raise bad_value("training.warm_start", expected, "auto")
    if config.monitor not in ("auto", "val_loss", "val_accuracy"):
        raise bad_value("training.monitor", "auto, val_loss or val_accuracy with warm_start=auto", config.monitor)


def fit_round(
    setup: TrainingSetup,
    data: ImageData,
    labeled: Points,
    validation: Points | None,
    *,
    num_new: int,
    fresh: Mapping[str, Tensor],
    is_first: bool,
    probes: Sequence[Probe] = (),
    round: int = 0,
) -> FitResult:
    """Train a round in place: fit() from the weights that ``config.warm_start`` says, with the effort() of that start.

    The last ``num_new`` of the labeled points are new, ``fresh`` are new weights, and ``probes`` are what the automatic
    start found so far.
    """
    config, seed, module = setup.config, setup.seed, setup.passes.model.module
    previous = {name: value.detach().clone() for name, value in module.state_dict().items()}

    def from_start(policy: str) -> FitResult:
        start = starting_state(
            policy,
            previous=previous,
            fresh=fresh,
            parameters={name for name, p in module.named_parameters() if p.requires_grad},
            shrink=config.shrink,
            perturb=config.perturb,
        )
        module.load_state_dict(start)
        warm = policy != "scratch"
        spent = effort(config, labeled, num_new, warm, seed=seed, round=round)
        result = fit(setup, data, labeled, validation, spent=spent, round=round)
        return replace(result, start=policy)

    policy = "scratch" if is_first else config.warm_start
    if policy != "auto":
        return from_start(policy)
    check_start(config, validation is not None)
    if not is_probed(probes, round):
        return from_start(start_between_probes(probes))
    warm = from_start(WARM)
    warm_state = {name: value.detach().clone() for name, value in module.state_dict().items()}
    scratch = from_start("scratch")
    probe = Probe(round, _best_loss(warm), _best_loss(scratch))
    chosen = warm if probe.winner == WARM else scratch
    if chosen is warm:
        module.load_state_dict(warm_state)
    return replace(chosen, probe=probe, updates=warm.updates + scratch.updates)


def _best_loss(result: FitResult) -> float:
    losses = [check["loss"] for check in result.history]
    return min((loss for loss in losses if math.isfinite(loss)), default=math.inf)
