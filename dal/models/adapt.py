"""Adapts a user's LightningModule to training and scoring."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from dal.errors import bad_content, bad_value, unknown_choice
from dal.models.adapted.batch_form import BatchOf, batch_of
from dal.models.adapted.head import head_name
from dal.models.adapted.map_head import WHOLE, map_head_name
from dal.models.backbones.base import last_linear
from dal.models.classifier import Classifier
from dal.models.ensemble import DeepEnsemble
from dal.models.segmenter import Segmenter
from dal.runtime.lightning_package import is_lightning_module
from dal.tasks import CLASSIFICATION, MULTI_LABEL, SEGMENTATION, Task

Forward = Callable[[Any, Tensor], Any]
"""Maps a module and (B, ...) images to any output. It must run the head."""

Predict = Callable[[Any, Tensor], tuple[Tensor, Tensor]]
"""Maps a module and (B, ...) images to (B, C) logits and (B, D) features, per site for segmentation."""

_TASKS = (CLASSIFICATION.name, MULTI_LABEL.name, SEGMENTATION.name)


@dataclass(frozen=True, eq=False)
class AdaptedModel:
    """A LightningModule and how dal runs it, created by adapt().

    ``head`` is the name of the last layer, whose output is logits. It is empty if ``predict`` returns the logits, and
    ``"."`` if forward() does. ``task`` is the name of a task; None means classification, of one or several labels.
    """

    module: pl.LightningModule
    head: str
    batch: BatchOf | None = None
    forward: str | Forward | None = None
    predict: Predict | None = None
    task: str | None = None

    @property
    def is_dense(self) -> bool:
        """Whether the network has logits for each of many sites of an image."""
        return self.task == SEGMENTATION.name

    @property
    def has_features(self) -> bool:
        """Whether the features of an image are known."""
        return self.head != WHOLE

    @property
    def head_layer(self) -> nn.Module:
        return self.module if self.head == WHOLE else self.module.get_submodule(self.head)

    def run(self, x: Tensor) -> Any:
        """Return the module's output for a batch of images."""
        if self.forward is None:
            return self.module(x)
        if isinstance(self.forward, str):
            return getattr(self.module, self.forward)(x)
        return self.forward(self.module, x)


def adapt(
    module: pl.LightningModule,
    head: str | nn.Module | None = None,
    *,
    batch: BatchOf | Sequence[str] | None = None,
    forward: str | Forward | None = None,
    predict: Predict | None = None,
    task: str | None = None,
) -> AdaptedModel:
    """Return a LightningModule in the form that dal trains and scores.

    Args:
        module: the LightningModule, with its own training_step.
        head: the layer whose output is logits, or its name, such as ``"model.fc"``. Its (B, D) input is the features,
            and its (B, C) output is the logits, whatever forward() does with them afterwards. A single output is the
            logit of the second of two classes. The layer can also be a convolution or an nn.Sequential.
        batch: the form of the batch that training_step takes. It is a function (x, y) that returns the batch, or two
            names such as ``("image", "label")`` for a dict. None means a tuple (x, y).
        forward: the name of a method that takes a batch of images and runs ``head``, or a function (module, x). None
            means ``module(x)``.
        predict: a function (module, x) that returns (logits, features), for modules without such a head. Only functions
            that change the features, such as alfa_mix, then also need ``head``.
        task: the name of the task, ``"segmentation"`` for logits of pixels. ``head`` is then a 1x1 convolution from
            (B, D, h, w) to (B, C, h, w), whatever forward() does afterwards, such as resizing. ``"."`` means that
            forward() returns the logits, possibly as ``out`` of a dict. Functions on features are then not available.
            None means classification.

    Raises:
        DalError: the module has no such layer or method, ``batch`` is neither a function nor two names, or the task is
            unknown.

    >>> import torch
    >>> class Mine(pl.LightningModule):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    ...     def forward(self, x):
    ...         return self.model(x).softmax(dim=1)
    ...     def training_step(self, batch, batch_idx):
    ...         return nn.functional.cross_entropy(self.model(batch[0]), batch[1])
    ...     def configure_optimizers(self):
    ...         return torch.optim.SGD(self.parameters(), lr=0.1)
    >>> adapt(Mine(), head="model.1").head_layer
    Linear(in_features=64, out_features=3, bias=True)
    """
    if not is_lightning_module(module):
        raise bad_value("module", "a LightningModule", type(module).__name__)
    _check_shapes_are_known(module)
    _check_state(module)
    if inspect.ismethod(forward) and forward.__self__ is module:
        forward = forward.__name__
    _check_functions(module, forward, predict)
    if task is not None and task not in _TASKS:
        raise unknown_choice("task", _TASKS, str(task))
    find = map_head_name if task == SEGMENTATION.name else head_name
    name = "" if head is None and predict is not None else find(module, head)
    if name == WHOLE and predict is not None:
        raise bad_value("head", "the name of a layer, or None with predict", head)
    return AdaptedModel(module, name, batch_of(batch), forward, predict, task)


def _check_functions(module: nn.Module, forward: str | Forward | None, predict: Predict | None) -> None:
    """Raise DalError for an invalid ``forward`` or ``predict``."""
    if predict is not None and not callable(predict):
        raise bad_value("predict", "a function (module, x) that returns (logits, features)", predict)
    if predict is not None and forward is not None:
        raise bad_value("forward", "None with predict, which replaces it", forward)
    if isinstance(forward, str) and not callable(getattr(module, forward, None)):
        raise bad_value("forward", f"the name of a method of {type(module).__name__}", forward)
    if forward is not None and not isinstance(forward, str) and not callable(forward):
        raise bad_value("forward", "the name of a method, or a function (module, x)", forward)


def _check_shapes_are_known(module: nn.Module) -> None:
    """Raise DalError if a layer has not yet created its weights."""
    tensors = [*module.named_parameters(), *module.named_buffers()]
    lazy = next((name for name, tensor in tensors if is_lazy(tensor)), None)
    if lazy is not None:
        layer = lazy.rpartition(".")[0]
        kind = type(module.get_submodule(layer)).__name__
        expected = "layers whose weights have known shapes (run the module on a batch before adapt())"
        raise bad_content("module", expected, f"{kind} at {layer!r}")


def _check_state(module: nn.Module) -> None:
    """Raise DalError if state_dict() lacks weights or has something else, because each round starts from it."""
    state = module.state_dict()
    buffers = {
        f"{name}.{buffer}" if name else buffer
        for name, part in module.named_modules()
        for buffer, value in part._buffers.items()
        if value is not None and buffer not in part._non_persistent_buffers_set
    }
    names = [*(name for name, _ in module.named_parameters()), *sorted(buffers)]
    missing = next((name for name in names if name not in state), None)
    if missing is not None:
        expected = "state_dict() to have each parameter and buffer under its name (on_save_checkpoint() can drop some)"
        raise bad_content("module", expected, f"no {missing!r}")
    other = next((name for name, value in state.items() if not isinstance(value, Tensor)), None)
    if other is not None:
        raise bad_content("module", "only tensors in state_dict()", f"{type(state[other]).__name__} at {other!r}")


def as_adapted(model: object) -> AdaptedModel:
    """Return an AdaptedModel as it is, or adapt a Classifier or Segmenter.

    These two do not need adapt(), because their heads are known.
    """
    if isinstance(model, AdaptedModel):
        return model
    if isinstance(model, Classifier):
        return AdaptedModel(model, "head")
    if isinstance(model, Segmenter):
        return AdaptedModel(model, "head", task=SEGMENTATION.name)
    hint = ""
    if isinstance(model, nn.Module) and (last := last_linear(model)) is not None:
        hint = f", perhaps with head={last[0]!r}"
    raise bad_value("model", f"a Classifier or adapt(module, head=...){hint}", type(model).__name__)


def check_outputs(model: AdaptedModel, num_classes: int, task: Task) -> None:
    """Raise DalError if the last layer or task does not fit.

    The last layer must have one output per class. The task of the model must be that of the data.
    """
    _check_task(model, task)
    _check_head(model)
    weight = getattr(model.head_layer, "weight", None) if model.head and model.has_features else None
    is_binary = num_classes == 2 and task.name != MULTI_LABEL.name
    if isinstance(weight, Tensor) and weight.shape[0] not in (num_classes, is_binary):
        expected = f"a last layer with {num_classes} outputs, one for each class of the data"
        raise bad_content("model", expected, f"{weight.shape[0]} outputs at {model.head!r}")


def _check_head(model: AdaptedModel) -> None:
    """Raise DalError if the layer does not exist yet, or is no head."""
    if not model.head or not model.has_features:
        return
    try:
        layer = model.head_layer
    except AttributeError as error:
        expected = "the name of a layer that __init__(), setup() or configure_model() creates"
        raise bad_value("head", expected, model.head) from error
    (map_head_name if model.is_dense else head_name)(model.module, layer)


def _check_task(model: AdaptedModel, task: Task) -> None:
    module = model.module
    if task.name == SEGMENTATION.name and not model.is_dense:
        expected = 'a Segmenter or adapt(..., task="segmentation") to match the data'
        raise bad_content("model", expected, f"{type(module).__name__} for classification")
    if model.is_dense and task.name != SEGMENTATION.name:
        raise bad_content("model", f"a network for {task.name} data", f"{type(module).__name__} for segmentation")
    if model.task is not None and model.task != task.name:
        raise bad_value("model", f'adapt(..., task="{task.name}") to match the data', model.task)
    if isinstance(module, Classifier) and module.task.name != task.name:
        raise bad_value("model", f"Classifier(..., task={task.name.upper()}) to match the data", module.task.name)


def check_members(module: pl.LightningModule, num_draws: int | None = None) -> None:
    """Raise DalError if an ensemble does not have ``num_draws`` members."""
    if isinstance(module, DeepEnsemble) and num_draws not in (None, module.num_members):
        raise bad_value("num_draws", f"{module.num_members}, the number of ensemble members", num_draws)
