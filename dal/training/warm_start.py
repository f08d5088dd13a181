"""Initial weights of a round, and its maximum number of updates."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from dal.errors import unknown_choice
from dal.training.config import WARM_STARTS, TrainingConfig

State = Mapping[str, Tensor]


def starting_state(
    policy: str, previous: State, fresh: State, parameters: set[str], shrink: float = 0.5, perturb: float = 0.1
) -> dict[str, Tensor]:
    """Return the state dict from which a round starts.

    ``scratch`` returns the fresh state and ``continue`` the previous one. ``shrink_perturb`` returns
    shrink * previous + perturb * fresh for parameters, and fresh buffers (arXiv:1910.08475). ``parameters`` are the
    names of the parameters in the state; all other entries are buffers.

    >>> import torch
    >>> old, new = {"w": torch.tensor([2.0])}, {"w": torch.tensor([10.0])}
    >>> starting_state("shrink_perturb", old, new, {"w"})
    {'w': tensor([2.])}
    """
    if policy == "scratch":
        chosen = dict(fresh)
    elif policy == "continue":
        chosen = dict(previous)
    elif policy == "shrink_perturb":
        chosen = {
            name: shrink * previous[name] + perturb * value if name in parameters else value
            for name, value in fresh.items()
        }
    else:
        raise unknown_choice("warm_start", WARM_STARTS, policy)
    return {name: value.detach().clone() for name, value in chosen.items()}


def effort(config: TrainingConfig, num_labels: int, num_new: int, warm: bool) -> int:
    """Return the maximum number of updates of a round.

    With ``updates_per_label``, it grows with the labels to learn. A round from scratch learns all ``num_labels``
    labels. A warm round learns only the ``num_new`` labels added since the last round.

    >>> config = TrainingConfig(min_updates=10, updates_per_label=2)
    >>> [effort(config, num_labels=100, num_new=20, warm=warm) for warm in (False, True)]
    [200, 40]
    """
    if config.updates_per_label is None:
        return config.max_updates
    wanted = math.ceil(config.updates_per_label * (num_new if warm else num_labels))
    return min(max(wanted, config.min_updates, 1), config.max_updates)
