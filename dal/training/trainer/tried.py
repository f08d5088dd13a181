"""Calls a module's configuration hooks on a copy, before a label is bought."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

from dal.errors import DalError, bad_value, reason
from dal.runtime.lightning_package import PYTORCH_LIGHTNING, load, package_of, quiet
from dal.runtime.seeding import isolated_rng
from dal.training.setup import TrainingSetup
from dal.training.trainer.callback_checks import check_callback, check_logger
from dal.training.trainer.epochs import batches_per_epoch
from dal.training.trainer.given_datamodule import tried_data
from dal.training.trainer.lightning import Plan, has, is_overridden, new_trainer
from dal.training.trainer.own_state import remember_module
from dal.training.trainer.structure import first_structure
from dal.training.trainer.trainer_options import first_line
from dal.training.trainer.user_objects import as_list, is_factory, made_by, new_plugins

MIN_ACCUMULATED = 16
"""Batches per update that any training set allows, so that small sets may repeat images."""

_MAKING = ("setup", "configure_model", "on_fit_start", "on_train_start")
"""Hooks in which a module may create layers or attributes, in the order in which Lightning calls them."""

_REMOVED = ("training_epoch_end", "validation_epoch_end")
"""Hooks of Lightning 1, with which Lightning 2 does not train."""

_UNFREEZING = ("on_fit_start", "on_train_start", "on_train_epoch_start", "on_train_batch_start", "configure_callbacks")


def check_training_options(setup: TrainingSetup, num_images: int) -> None:
    """Raise DalError if no round of a learner with ``num_images`` training images can train the module."""
    _check_accumulation(setup, num_images)
    _check_hooks(setup.passes.model.module)
    for place, callback in all_callbacks(setup, with_functions=False):
        if has([callback], "LearningRateFinder"):
            warnings.warn(
                f"{place}: the costs of a round leave out the batches that {type(callback).__name__} tries before it.",
                stacklevel=3,
            )
    _check_trainable(setup)
    module = setup.passes.model.module
    loaders = [f"{name}()" for name in ("train_dataloader", "val_dataloader") if is_overridden(name, module)]
    if loaders:
        warnings.warn(
            f"model: dal creates the loaders of a round, and does not use {' and '.join(loaders)} of "
            f"{type(module).__name__}. Their samplers, batch sizes and collate functions have no effect. Set "
            "training.batch_size, and pass batch= to adapt().",
            stacklevel=3,
        )


def tried_module(setup: TrainingSetup) -> Any:
    """Return a copy of the module with a Trainer that does not train."""
    copy: Any = deepcopy(setup.passes.model.module)
    _give_trainer(copy, setup)
    return copy


def _give_trainer(module: Any, setup: TrainingSetup) -> None:
    options = {k: v for k, v in setup.trainer_options.items() if k not in ("callbacks", "logger") and v is not None}
    plan = Plan(setup.config.max_updates, 1)
    module.trainer = new_trainer(module, new_plugins(options, 0) | {"logger": False}, [], plan)
    module.trainer.datamodule = tried_data(module, setup.datamodule)
    module.trainer.strategy.connect(module)
    # estimated_stepping_batches reads these attributes.
    module.trainer.fit_loop.max_batches = 1
    module.trainer.fit_loop.setup_data = lambda: None


def run_setup_hooks(setup: TrainingSetup) -> Iterator[None]:
    """Call the hooks in which the module may create what forward() needs, one at each step.

    A round calls them again, and starts from the layers and attributes that the module had before. Raises DalError if
    a hook fails.
    """
    module: Any = setup.passes.model.module
    for hook in _MAKING:
        if not is_overridden(hook, module):
            continue
        first_structure(module)
        remember_module(module)
        with isolated_rng(setup.seed, hook), quiet():
            _give_trainer(module, setup)
            try:
                getattr(module, hook)(*(["fit"] if hook == "setup" else []))
            except Exception as error:
                expected = f"a forward() that runs before training, or a {hook}() that runs without batches"
                raise DalError(f"model: expected {expected}, got the error: {reason(error)}.") from error
            finally:
                module.trainer = None
        yield


def configured(setup: TrainingSetup) -> Any:
    """Return what configure_optimizers() returns, or an empty list if the call fails.

    Raises DalError if Lightning rejects the result, or if no optimizer has a parameter of the module.
    """
    module: Any = setup.passes.model.module
    with isolated_rng(setup.seed, "schedulers"), quiet():
        try:
            copy = tried_module(setup)
            made = copy.configure_optimizers()
        except Exception:  # noqa: BLE001  whatever the module's own code raises, training will say it
            return []
        if made is None:
            return None
        copy.configure_optimizers = lambda: made
        optimizer = load(f"{package_of(module) or PYTORCH_LIGHTNING}.core.optimizer")
        try:
            optimizers, _ = optimizer._init_optimizers_and_lr_schedulers(copy)
        except Exception as error:
            if str(error).startswith("Training with multiple optimizers") and is_overridden("setup", module):
                return made  # setup() may turn to manual optimization
            text = f"KeyError: {error}" if isinstance(error, KeyError) else first_line(error)
            if text.endswith(":"):  # a list of all forms follows
                text = f"an object of type {type(made).__name__}"
            raise DalError(
                f"configure_optimizers: expected optimizers and schedulers that Lightning accepts, got: {text}."
            ) from error
    if module.automatic_optimization:
        _check_optimizers(optimizers, [*module.parameters(), *copy.parameters()])
        _check_clipping(setup, optimizers, copy.trainer.precision_plugin)
    return made


def _check_clipping(setup: TrainingSetup, optimizers: Sequence[Any], precision: Any) -> None:
    """Raise DalError if gradients must be clipped that only the optimizer unscales."""
    clip = setup.trainer_options.get("gradient_clip_val")
    mixed = type(precision).__name__ == "MixedPrecision"
    if not clip or not mixed or is_overridden("configure_gradient_clipping", setup.passes.model.module):
        return
    if any(getattr(optimizer, "_step_supports_amp_scaling", False) for optimizer in optimizers):
        expected = f"null with trainer.precision={precision.precision} and an optimizer with fused=True"
        raise bad_value("trainer.gradient_clip_val", expected, clip)


def _check_optimizers(optimizers: Sequence[Any], parameters: Sequence[Any]) -> None:
    known = {id(parameter) for parameter in parameters}
    groups = [group for optimizer in optimizers for group in getattr(optimizer, "param_groups", [])]
    if groups and not any(id(parameter) in known for group in groups for parameter in group["params"]):
        raise DalError("configure_optimizers: expected an optimizer of the module's parameters, got one of others.")


def all_callbacks(setup: TrainingSetup, with_functions: bool = True) -> list[tuple[str, Any]]:
    """Return the callbacks of a round from the Trainer options and the module, each with its argument.

    ``with_functions`` calls the functions that create callbacks. Otherwise, they are left out. Raises DalError for
    anything that is not a callback.
    """
    module = setup.passes.model.module
    given = as_list(setup.trainer_options.get("callbacks"))
    kept = [thing for thing in given if with_functions or not is_factory(thing)]
    given = [made_by(thing, 0) if is_factory(thing) else thing for thing in kept]
    found = [("trainer.callbacks", callback) for callback in given]
    found += [("configure_callbacks", callback) for callback in callbacks_of_module(setup)]
    package = package_of(module) or PYTORCH_LIGHTNING
    for place, callback in found:
        check_callback(place, callback, package, module)
        check_logger(callback, setup.trainer_options.get("logger"))
    return found


def callbacks_of_module(setup: TrainingSetup) -> Sequence[Any]:
    """Return the callbacks that configure_callbacks() returns for a copy of the module."""
    module = setup.passes.model.module
    if not is_overridden("configure_callbacks", module):
        return []
    try:
        with isolated_rng(setup.seed, "callbacks"), quiet():
            return as_list(tried_module(setup).configure_callbacks())
    except Exception:  # noqa: BLE001  whatever the module's own code raises, training will say it
        return []


def _check_accumulation(setup: TrainingSetup, num_images: int) -> None:
    accumulate = setup.trainer_options.get("accumulate_grad_batches") or 1
    most = max(batches_per_epoch(num_images, setup.config.batch_size), MIN_ACCUMULATED)
    if accumulate > most:
        expected = f"at most {most} batches per update for {num_images} training images"
        raise bad_value("trainer.accumulate_grad_batches", expected, accumulate)


def _check_hooks(module: Any) -> None:
    """Raise DalError for a module that Lightning refuses when training starts."""
    old = next((hook for hook in _REMOVED if callable(getattr(module, hook, None))), None)
    if old is not None:
        new = f"on_{old.replace('training', 'train')}"
        raise DalError(f"model: expected hooks of Lightning 2, such as {new}(), got {old}(), which it has removed.")
    if not is_overridden("training_step", module):
        raise DalError(f"model: expected a module with a training_step(), got {type(module).__name__} without one.")


def _check_trainable(setup: TrainingSetup) -> None:
    """Raise DalError if all parameters are frozen and nothing unfreezes them."""
    module = setup.passes.model.module
    if not module.automatic_optimization or any(p.requires_grad for p in module.parameters()):
        return
    callbacks = as_list(setup.trainer_options.get("callbacks"))
    if any(is_overridden(hook, module) for hook in _UNFREEZING) or any(_may_unfreeze(c) for c in callbacks):
        return
    try:
        with isolated_rng(setup.seed, "schedulers"), quiet():
            copy = tried_module(setup)
            copy.setup("fit")
            copy.configure_model()
            copy.configure_optimizers()
    except Exception:  # noqa: BLE001  whatever the module's own code raises, training will say it
        return
    if not any(p.requires_grad for p in copy.parameters()):
        raise DalError(
            "model: expected at least one parameter to train, got only frozen ones. Set requires_grad of the "
            "parameters that training_step() trains."
        )


def _may_unfreeze(callback: Any) -> bool:
    package = package_of(callback)
    is_of_lightning = package is not None and type(callback).__module__.startswith(package)
    return not is_of_lightning or has([callback], "BaseFinetuning") or has([callback], "LambdaCallback")
