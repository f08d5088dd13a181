"""Trains one round from its initial weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from torch import Tensor, nn

from dal.data.images import ImageData
from dal.errors import bad_value
from dal.models.state import load_state
from dal.training.config import TrainingConfig
from dal.training.fit import FitResult, fit
from dal.training.setup import Points, TrainingSetup
from dal.training.trainer.logged import check_logged
from dal.training.trainer.monitored import check_monitored, check_schedulers
from dal.training.trainer.structure import first_structure
from dal.training.warm_start import effort, starting_state


def check_monitor(config: TrainingConfig, has_validation: bool) -> None:
    """Raise DalError if ``config.monitor`` needs validation points and there are none."""
    if config.monitor.startswith("val_") and not has_validation:
        expected = "train_accuracy or auto, because there are no validation points (campaign.validation_size)"
        raise bad_value("training.monitor", expected, config.monitor)


def check_training(setup: TrainingSetup, data: ImageData, num_validation: int) -> None:
    """Raise DalError if training needs validation points and there are none, or a metric that the module never logs.

    Early stopping, a callback or a scheduler may need them.
    """
    has_validation = num_validation > 0
    check_monitor(setup.config, has_validation)
    check_monitored(setup, num_validation)
    check_logged(setup, data, has_validation, check_schedulers(setup, has_validation))


def fit_round(
    setup: TrainingSetup,
    data: ImageData,
    labeled: Points,
    validation: Points | None,
    *,
    num_new: int,
    fresh: Callable[[], Mapping[str, Tensor]],
    is_first: bool,
    round: int = 0,
) -> FitResult:
    """Train a round with fit(), from the weights set by ``warm_start``.

    The start also determines the number of updates, by effort(). ``num_new`` of the labeled points are new, and
    ``fresh`` returns new weights, if the round uses any.
    """
    config, module = setup.config, setup.passes.model.module
    start = "scratch" if is_first else config.warm_start
    previous = {name: value.detach().clone() for name, value in module.state_dict().items()}

    def load(new: Mapping[str, Tensor]) -> None:
        state = starting_state(
            start,
            previous=previous,
            fresh=new,
            parameters={name for name, p in module.named_parameters() if p.requires_grad},
            shrink=config.shrink,
            perturb=config.perturb,
        )
        load_state(module, state)

    after_setup = None
    structure = first_structure(module)
    if previous.keys() == structure.names:
        load({} if start == "continue" else fresh())
    else:
        # The last round's setup() created layers. This round's setup() creates them again, with new weights.
        structure.restore()
        load_state(module, fresh())
        if start != "scratch":
            after_setup = partial(_continue, module, previous, load)
    most = effort(config, len(labeled[0]), num_new, warm=start != "scratch")
    result = fit(setup, data, labeled, validation, max_updates=most, round=round, after_setup=after_setup)
    return replace(result, start=start)


def _continue(module: nn.Module, previous: Mapping[str, Tensor], load: Callable[[Mapping[str, Tensor]], None]) -> None:
    fresh = module.state_dict()
    if fresh.keys() != previous.keys():
        expected = "setup() to create the same layers in each round, or training.warm_start=scratch"
        raise bad_value("model", expected, sorted(fresh.keys() ^ previous.keys())[0])
    load(fresh)
