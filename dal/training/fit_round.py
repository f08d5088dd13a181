"""Trains one round from its initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from dal.data.images import ImageData
from dal.errors import bad_value
from dal.training.config import TrainingConfig
from dal.training.fit import FitResult, fit
from dal.training.setup import Points, TrainingSetup
from dal.training.warm_start import effort, starting_state


def check_monitor(config: TrainingConfig, has_validation: bool) -> None:
    """Raise DalError where ``config.monitor`` watches validation points and there are none."""
    if config.monitor.startswith("val_") and not has_validation:
        expected = "train_accuracy or auto, as there are no validation points (campaign.validation_size)"
        raise bad_value("training.monitor", expected, config.monitor)


def fit_round(
    setup: TrainingSetup,
    data: ImageData,
    labeled: Points,
    validation: Points | None,
    *,
    num_new: int,
    fresh: Mapping[str, Tensor],
    is_first: bool,
    round: int = 0,
) -> FitResult:
    """Train a round in place: fit() from the weights that ``warm_start`` says, with the effort() of that start.

    ``num_new`` of the labeled points are new, and ``fresh`` are new weights.
    """
    config, module = setup.config, setup.passes.model.module
    start = "scratch" if is_first else config.warm_start
    state = starting_state(
        start,
        previous=module.state_dict(),
        fresh=fresh,
        parameters={name for name, p in module.named_parameters() if p.requires_grad},
        shrink=config.shrink,
        perturb=config.perturb,
    )
    module.load_state_dict(state)
    most = effort(config, len(labeled[0]), num_new, warm=start != "scratch")
    return replace(fit(setup, data, labeled, validation, max_updates=most, round=round), start=start)
