from dataclasses import replace

import pytest
import torch
from helpers.training import setup_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dal import training
from dal.models.adapt import as_adapted
from dal.models.backbones import SmallCNN
from dal.models.classifier import Classifier
from dal.training import TrainingConfig
from dal.training.callbacks.loss_log import logs_by_callback
from dal.training.setup import Logs
from dal.training.trainer import run_trainer


class Subclass(Classifier):
    pass


def new_classifier(kind=Classifier):
    torch.manual_seed(0)
    return kind(SmallCNN(1, (8, 8)), num_classes=3)


@pytest.mark.parametrize("every", [1, 4])
def test_events_and_weights_are_those_of_log_in_every_step(data, tmp_path, monkeypatch, every):
    seen = []
    for by_callback in (True, False):
        if not by_callback:
            monkeypatch.setattr(run_trainer, "logs_by_callback", lambda module, accumulate: False)
        model, folder = as_adapted(new_classifier()), tmp_path / str(by_callback) / "round_000"
        config = TrainingConfig(batch_size=8, monitor="none", min_updates=0, max_updates=9)
        options = {"accelerator": "cpu", "log_every_n_steps": every}
        setup = replace(setup_of(model, config=config, trainer_options=options), logs=Logs(folder))
        training.fit(setup, data, (torch.arange(30), data.labels[:30]))
        events = EventAccumulator(str(folder)).Reload()
        found = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in ("train_loss", "epoch")}
        seen.append((found, model.module.state_dict()))
    assert seen[0][0] == seen[1][0] and len(seen[0][0]["train_loss"]) == {1: 9, 4: 3}[every]
    assert all(torch.equal(value, seen[1][1][name]) for name, value in seen[0][1].items())


def test_only_modules_whose_steps_are_known_leave_the_log_to_dal():
    assert logs_by_callback(new_classifier(), 1)
    assert not logs_by_callback(new_classifier(), 2)  # Lightning divides the loss
    assert not logs_by_callback(new_classifier(Subclass), 1)
