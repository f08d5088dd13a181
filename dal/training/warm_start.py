"""The weights that a round starts from."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from dal.errors import unknown_choice
from dal.training.config import WARM_STARTS

State = Mapping[str, Tensor]


def starting_state(
    policy: str, previous: State, fresh: State, parameters: set[str], shrink: float = 0.5, perturb: float = 0.1
) -> dict[str, Tensor]:
    """The state dict to start from: ``scratch`` is the fresh one, ``continue`` the previous one, ``shrink_perturb`` is
    shrink * previous + perturb * fresh for parameters, and the fresh buffers (arXiv:1910.08475).

    ``parameters`` are the names in the state that are parameters; the rest are buffers.

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
