"""Checks whether training_step takes a batch form, without training."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from dal.errors import DalError
from dal.models.adapt import AdaptedModel
from dal.models.adapted.batch_form import Inputs
from dal.models.adapted.evaluating import NoTrainer, evaluating
from dal.runtime.seeding import isolated_rng

_WRONG_FORM = re.compile(r"values to unpack|indices must be|index out of range|has no attribute|not subscriptable")


class _Reached(Exception):
    """training_step has used a tensor of its batch."""


class _Stop(Tensor):
    """A tensor whose first use ends the trial."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise _Reached


def check_step(model: AdaptedModel, x: Tensor, labels: Tensor) -> None:
    """Raise DalError if training_step cannot unpack a batch of this form.

    A copy of the module runs until it uses a tensor of the batch. Other errors are ignored and surface in training.
    """
    try:
        module = copy.deepcopy(model.module)
    except Exception as error:  # noqa: BLE001  what cannot be copied is tried when it trains
        del error
        return
    module.eval()
    inputs = Inputs(module, model.batch)
    with isolated_rng(0, "trial"), torch.no_grad(), evaluating(module):
        batch, _ = inputs.batch(x, labels.new_zeros(len(x), *labels.shape[1:]))
        batch = tree_map(lambda leaf: leaf.as_subclass(_Stop) if isinstance(leaf, Tensor) else leaf, batch)
        module.train()
        try:
            module.training_step(batch, 0)
        except _Reached:
            return
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            # What a module reads from its Trainer is there only when it trains.
            if type(NoTrainer()).__name__ in str(error) or not _is_of_form(error, batch):
                return
            kind = type(batch).__name__
            got = f"KeyError: {error}" if isinstance(error, KeyError) else str(error)
            raise DalError(
                f"batch: expected a batch that training_step of {type(module).__name__} takes, got a {kind} and the "
                f"error {got!r}. Pass batch= to adapt(), either a function (x, y) or the names of a dict."
            ) from error
        except Exception as error:  # noqa: BLE001  such as one for want of a Trainer
            del error


def _is_of_form(error: Exception, batch: Any) -> bool:
    """Return whether the error came from unpacking the batch."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None or not any(value is batch for value in place.tb_frame.f_locals.values()):
        return False
    if isinstance(error, KeyError):
        return isinstance(batch, Mapping) and error.args[0] not in batch
    return _WRONG_FORM.search(str(error)) is not None
