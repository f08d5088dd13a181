"""dal's own modules train without Lightning's hooks at each batch, with the same results."""

from dataclasses import replace

import pytest
import pytorch_lightning as pl
import torch
from helpers.training import setup_of

from dal import training
from dal.models.adapt import as_adapted
from dal.models.backbones import SmallCNN
from dal.models.classifier import Classifier
from dal.models.ensemble import DeepEnsemble
from dal.training import TrainingConfig
from dal.training.setup import Logs
from dal.training.trainer import lean_loop, run_trainer

OPTIONS = {"accelerator": "cpu", "log_every_n_steps": 3}


class Subclass(Classifier):
    pass


def new_classifier(kind=Classifier, **options):
    torch.manual_seed(0)
    return kind(SmallCNN(1, (8, 8)), num_classes=3, **options)


@pytest.fixture
def loops(monkeypatch):
    """The loop over batches of each round."""
    found, fit = [], run_trainer._fit

    def spied(trainer, *args):
        found.append(trainer.fit_loop.epoch_loop)
        fit(trainer, *args)

    monkeypatch.setattr(run_trainer, "_fit", spied)
    return found


def trained(data, folder, module, options, **changes):
    config = TrainingConfig(**{"batch_size": 8, "min_updates": 0, "max_updates": 9, **changes})
    model = as_adapted(module)
    setup = replace(setup_of(model, config=config, trainer_options=options), logs=Logs(folder / "round_000"))
    result = training.fit(setup, data, (torch.arange(20), data.labels[:20]), round=3)
    return result, setup.passes.ledger.row(), model.module.state_dict()


def is_lean(loop):
    return isinstance(loop, lean_loop.LeanEpochLoop)


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (new_classifier, {"monitor": "none", "average": 0.5}),
        (lambda: new_classifier(optimizer="sgd", schedule="cosine"), {"monitor": "none"}),
        (lambda: new_classifier(freeze_backbone=True), {"check_every": 2, "patience": 4, "target_train_accuracy": 2.0}),
        (lambda: DeepEnsemble([SmallCNN(1, (8, 8)) for _ in range(2)], 3), {"monitor": "none", "num_workers": 1}),
    ],
)
def test_weights_history_costs_and_counts_are_those_of_lightnings_loop(
    data, tmp_path, monkeypatch, loops, make, changes
):
    seen = []
    for name in ("lean", "lightning"):
        if name == "lightning":
            monkeypatch.setattr(run_trainer, "use_lean_loop", lambda trainer, module: None)
        torch.manual_seed(0)
        seen.append(trained(data, tmp_path / name, make(), OPTIONS, **changes))
    assert [is_lean(loop) for loop in loops] == [True, False]
    (result, costs, weights), (expected, expected_costs, expected_weights) = seen
    assert result == expected and result.updates > 3
    timed = ("seconds", "peak_memory", "joules")
    assert all(costs[name] == expected_costs[name] for name in costs if not name.startswith(timed))
    assert all(torch.equal(value, expected_weights[name]) for name, value in weights.items())
    lean, lightnings = loops
    assert lean.global_step == lightnings.global_step == result.updates
    assert lean.batch_progress == lightnings.batch_progress
    assert lean._batches_that_stepped == lightnings._batches_that_stepped
    assert lean.trainer.current_epoch == lightnings.trainer.current_epoch


class Looks(pl.Callback):
    pass


@pytest.mark.parametrize(
    "options",
    [
        {"callbacks": [Looks()]},
        {"enable_progress_bar": True},
        {"gradient_clip_val": 0.5},
        {"accumulate_grad_batches": 2},
        {"precision": "bf16-mixed"},
        {"profiler": "simple"},
    ],
)
def test_what_looks_at_single_batches_keeps_lightnings_loop(data, tmp_path, loops, options):
    trained(data, tmp_path, new_classifier(), {**OPTIONS, **options}, monitor="none", max_updates=1)
    assert not is_lean(loops[0])


def test_modules_of_users_and_hooks_keep_lightnings_loop(data, tmp_path, loops):
    trained(data, tmp_path / "a", new_classifier(Subclass), OPTIONS, monitor="none", max_updates=1)
    hooked, calls = new_classifier(), []
    hooked.on_after_backward = lambda: calls.append(1)
    trained(data, tmp_path / "b", hooked, OPTIONS, monitor="none", max_updates=2)
    assert not any(map(is_lean, loops)) and calls == [1, 1]


def test_a_version_of_lightning_with_another_loop_keeps_it(data, tmp_path, loops, monkeypatch):
    monkeypatch.setattr(pl, "__version__", "2.7.0")
    trained(data, tmp_path, new_classifier(), OPTIONS, monitor="none", max_updates=1)
    assert not is_lean(loops[0])
