"""Checks whether training_step takes a batch form and returns a loss, without training."""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torch.utils._pytree import tree_map

from dal.errors import DalError, bad_content, bad_value, reason
from dal.models.adapt import AdaptedModel
from dal.models.adapted.batch_form import Inputs
from dal.models.adapted.evaluating import NoTrainer, evaluating
from dal.runtime.seeding import isolated_rng
from dal.tasks import IGNORED

_UNPACKING = re.compile(r"values to unpack")
_WRONG_TYPE = re.compile(r"(\w+)' object is not subscriptable|^(\w+) (?:indices must be|index out of range)")

_FORM_ERRORS = (AttributeError, IndexError, KeyError, TypeError, ValueError)


class _Reached(Exception):
    """training_step has used a tensor of its batch."""


class _Stop(Tensor):
    """A tensor whose first use ends the trial."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise _Reached


def check_step(
    model: AdaptedModel, x: Tensor, labels: Tensor, has_ignored: bool = False, num_classes: int | None = None
) -> None:
    """Raise DalError if training_step cannot take a batch of this form, or returns no loss.

    A copy of the module runs until it uses a tensor of the batch. It then runs to the end, unless it uses manual
    optimization or batch hooks. If it fails, it runs again with labels in other forms, such as one-hot labels of
    ``num_classes`` classes. Other errors are ignored and surface in training. With ``has_ignored``, it runs again with
    masks in which some pixels are ignored.
    """
    try:
        module = copy.deepcopy(model.module)
    except Exception as error:  # noqa: BLE001  what cannot be copied is tried when it trains
        del error
        return
    labels = labels.new_zeros(len(x), *labels.shape[1:])
    module.eval()
    inputs = Inputs(module, model.batch)
    with isolated_rng(0, "trial"), evaluating(module):
        with torch.no_grad():
            batch, _ = inputs.batch(x, labels)
            if not _reaches_tensors(module, batch):
                return
        # Batch hooks may return another form in training.
        if module.automatic_optimization and not inputs.hooks:
            vars(module).update(dict.fromkeys(("log", "log_dict"), _ignored))
            with torch.enable_grad(), _eagerly():
                loss = _check_loss(module, batch)
                if isinstance(loss, Exception):
                    for form, others in _other_labels(labels, num_classes):
                        if isinstance(_loss(module, inputs.batch(x, others)[0]), Tensor):
                            raise _of_labels(module, form, loss) from loss
                    return
                if has_ignored and loss is not None:
                    _check_ignores(module, inputs.batch(x, _with_ignored(labels))[0], loss)


def trial_loss(model: AdaptedModel, x: Tensor, labels: Tensor) -> Tensor | None:
    """Return the loss of training_step on a copy of the module, or None if it has none for these images."""
    try:
        module = copy.deepcopy(model.module)
        module.eval()
        with isolated_rng(0, "trial"), evaluating(module), torch.no_grad(), _eagerly():
            batch, _ = Inputs(module, model.batch).batch(x, labels.new_zeros(len(x), *labels.shape[1:]))
            vars(module).update(dict.fromkeys(("log", "log_dict"), _ignored))
            module.train()
            result = module.training_step(batch, 0)
    except Exception:  # noqa: BLE001  check_step() has named what the user can change
        return None
    result = result.get("loss") if isinstance(result, Mapping) else result
    return result if isinstance(result, Tensor) else None


def _eagerly() -> AbstractContextManager[Any]:
    """Run compiled modules uncompiled, without an import of the compiler."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def _reaches_tensors(module: Any, batch: Any) -> bool:
    """Return whether training_step uses a tensor of the batch before any other error."""
    watched = tree_map(lambda leaf: leaf.as_subclass(_Stop) if isinstance(leaf, Tensor) else leaf, batch)
    module.train()
    try:
        module.training_step(watched, 0)
    except _Reached:
        return True
    except _FORM_ERRORS as error:
        _raise_if_of_form(error, module, watched)
    except Exception as error:  # noqa: BLE001  such as one for want of a Trainer
        del error
    return False


def _loss(module: Any, batch: Any) -> Any:
    """Return the result of training_step, or its error, such as one for want of a Trainer."""
    try:
        return module.training_step(batch, 0)
    except Exception as error:  # noqa: BLE001
        return error


def _check_loss(module: Any, batch: Any) -> Tensor | Exception | None:
    """Return the loss of training_step, its error, or None without a loss. Raises DalError for anything else."""
    result = _loss(module, batch)
    if isinstance(result, Exception):
        if isinstance(result, _FORM_ERRORS):
            _raise_if_of_form(result, module, batch)
        return result
    if isinstance(result, Mapping):
        if "loss" not in result:
            raise bad_value("training_step", "a dict with a loss under 'loss'", sorted(map(str, result)))
        result = result["loss"]
    if result is None:  # the step of this batch is skipped
        return None
    if not isinstance(result, Tensor):
        raise bad_content("training_step", "a loss as a tensor", type(result).__name__)
    if result.numel() != 1:
        raise bad_content("training_step", "a loss of one number", f"a tensor of shape {tuple(result.shape)}")
    # A hook may unfreeze frozen parameters later.
    if not result.requires_grad and all(p.requires_grad for p in module.parameters()):
        raise bad_content("training_step", "a loss with a gradient", "one that is detached from the parameters")
    return result


def _other_labels(labels: Tensor, num_classes: int | None) -> Iterator[tuple[str, Tensor]]:
    """Yield forms of labels that losses other than cross-entropy take, each as an expression of y."""
    if labels.is_floating_point():
        return
    if labels.ndim == 1 and num_classes is not None:
        yield f"torch.nn.functional.one_hot(y, {num_classes}).float()", one_hot(labels, num_classes).float()
    yield "y.float()", labels.float()
    if labels.ndim == 1:
        yield "y.float()[:, None]", labels.float()[:, None]


def _of_labels(module: Any, form: str, error: Exception) -> DalError:
    return DalError(
        f"batch: expected class numbers as labels in training_step of {type(module).__name__}, which raises the error "
        f"{reason(error)!r} with them, got one that takes {form}. Pass batch= to adapt(), a function (x, y) that "
        "returns the batch with these labels."
    )


def _with_ignored(labels: Tensor) -> Tensor:
    """Return masks in which every second pixel is ignored."""
    masks = labels.clone()
    masks.view(-1)[::2] = IGNORED
    return masks


def _check_ignores(module: Any, batch: Any, loss: Tensor) -> None:
    """Raise DalError if ignored pixels break a training_step that works without them.

    On other devices than the CPU, such an error could end the process.
    """
    if loss.device.type != "cpu" or not bool(torch.isfinite(loss).all()):
        return
    expected = f"a loss that leaves out pixels of {IGNORED}, such as cross_entropy(..., ignore_index={IGNORED})"
    try:
        result = module.training_step(batch, 0)
    except Exception as error:
        raise bad_content("training_step", expected, f"{type(error).__name__}: {reason(error)}") from error
    result = result["loss"] if isinstance(result, Mapping) else result
    if isinstance(result, Tensor) and not bool(torch.isfinite(result).all()):
        raise bad_content("training_step", expected, f"a loss of {float(result.detach())}")


def _ignored(*args: Any, **named: Any) -> None:
    """Stand in for log(), which needs a Trainer."""


def _raise_if_of_form(error: Exception, module: Any, batch: Any) -> None:
    # What a module reads from its Trainer is there only when it trains.
    if type(NoTrainer()).__name__ in str(error) or not _is_of_form(error, batch):
        return
    kind = type(batch).__name__
    got = f"KeyError: {error}" if isinstance(error, KeyError) else str(error)
    raise DalError(
        f"batch: expected a batch that training_step of {type(module).__name__} takes, got a {kind} and the error "
        f"{got!r}. Pass batch= to adapt(), either a function (x, y) or the names of a dict."
    ) from error


def _is_of_form(error: Exception, batch: Any) -> bool:
    """Return whether the error came from unpacking the batch."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None or not any(value is batch for value in place.tb_frame.f_locals.values()):
        return False
    if isinstance(error, KeyError):
        return isinstance(batch, Mapping) and error.args[0] not in batch
    if isinstance(error, AttributeError):
        return any(error.obj is part for part in (batch, *_parts(batch)))
    # Another object of the module, such as one that setup() creates, may be the cause.
    found = _WRONG_TYPE.search(str(error))
    names = {type(part).__name__ for part in (batch, *_parts(batch))}
    return _UNPACKING.search(str(error)) is not None or (found is not None and (found[1] or found[2]) in names)


def _parts(batch: Any) -> list[Any]:
    if isinstance(batch, Mapping):
        return list(batch.values())
    return list(batch) if isinstance(batch, (tuple, list)) else []
