"""Callbacks start each round in their first state, and loggers go on."""

import csv
import threading

import pytest
import pytorch_lightning as pl
import torch
from helpers.modules import Mine, Validated, learner_of, rounds, settings
from pytorch_lightning.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dal import run
from dal.errors import DalError
from dal.labeling import DatasetOracle
from dal.runs.folder import RunFolder
from dal.stopping import CampaignConfig


class Recorder(pl.Callback):
    def __init__(self):
        self.steps = []

    def on_train_batch_end(self, trainer, *args):
        self.steps.append(trainer.global_step)


class MyLogger(Logger):
    """The interface that W&B's and MLflow's loggers have."""

    def __init__(self):
        super().__init__()
        self.seen, self.ended = [], 0

    name, version = "mine", "0"

    def log_hyperparams(self, *args, **kwargs):
        pass

    @rank_zero_only
    def log_metrics(self, metrics, step=None):
        self.seen.append((step, metrics))

    def finalize(self, status):
        self.ended += 1


def with_validation(learner):
    learner.tell_validation(range(80, 90), learner.data.labels[80:90].tolist())
    return learner


def test_early_stopping_starts_anew_in_each_round():
    stopping = EarlyStopping("val_loss", patience=1)
    learner = with_validation(learner_of(Validated, training=settings(max_updates=40), callbacks=[stopping]))
    updates = [result.updates for result in rounds(learner, 4)]
    # Validation runs at the end of an epoch, and its second value is worse.
    assert updates == [2 * 3, 2 * 4, 2 * 5, 2 * 7]
    assert stopping.stopped_epoch == 1, "the user's own object tells what happened in the last round"


def test_a_callback_that_one_learner_has_used_is_new_for_the_next():
    stopping = EarlyStopping("val_loss", patience=1)
    found = []
    for _ in range(2):
        learner = with_validation(learner_of(Validated, training=settings(max_updates=40), callbacks=[stopping]))
        found.append([result.updates for result in rounds(learner, 2)])
    assert found[0] == found[1]
    stopping.patience = 2
    learner = with_validation(learner_of(Validated, training=settings(max_updates=40), callbacks=[stopping]))
    assert learner.fit().updates == 9, "what the user changes counts"


def test_a_callback_keeps_its_module_and_records_the_last_round():
    recorder = Recorder()
    learner = learner_of(Mine, callbacks=recorder)
    recorder.module = learner.model.module
    rounds(learner, 3)
    assert recorder.steps == [1, 2, 3, 4, 5, 6]
    assert recorder.module is learner.model.module


def test_a_state_that_cannot_be_copied_is_refused_and_a_function_makes_new_ones():
    def locked():
        callback = Recorder()
        callback.lock = threading.Lock()
        made.append(callback)
        return callback

    made = []
    with pytest.raises(DalError) as error:
        learner_of(Mine, callbacks=[locked()])
    assert str(error.value) == (
        "trainer.callbacks: Recorder: expected an object whose state can be copied for each round, or a function that "
        "creates one, got \"cannot pickle '_thread.lock' object\"."
    )
    made.clear()
    rounds(learner_of(Mine, callbacks=[locked]), 2)
    assert [callback.steps for callback in made] == [[1, 2, 3, 4, 5, 6]] * 2


def test_the_steps_of_a_logger_go_on_over_the_rounds(tmp_path):
    logger, rates = MyLogger(), LearningRateMonitor("step")
    learner = learner_of(Mine, logger=logger, callbacks=[rates], log_every_n_steps=1)
    rounds(learner, 3)
    losses = [(step, metrics["round"]) for step, metrics in logger.seen if "train_loss" in metrics]
    assert losses == [(step, step // 6) for step in range(18)]
    assert {step for step, metrics in logger.seen if "lr-SGD" in metrics} == set(range(18))
    assert logger.ended == 3
    assert "log_metrics" not in vars(logger)


def test_a_function_makes_a_logger_for_each_round():
    made = []

    def new(round):
        made.append((round, MyLogger()))
        return made[-1][1]

    rounds(learner_of(Mine, logger=new, log_every_n_steps=1), 2)
    assert [round for round, _ in made] == [0, 1]
    assert [logger.seen[0][0] for _, logger in made] == [0, 6]


def campaign(tmp_path, data=None, **trainer):
    learner = learner_of(Mine, num_labels=0, **trainer)
    folder = RunFolder(tmp_path / "run", {"seed": 1}, learner.data.fingerprint())
    config = CampaignConfig(initial_size=10, query_size=10, budget=30)
    try:
        return run(learner, DatasetOracle(learner.data), config, records=folder)
    finally:
        folder.close()


def steps_of(folder, tag="train_loss"):
    events = EventAccumulator(str(folder)).Reload()
    return [event.step for event in events.Scalars(tag)]


class OneRunOnly(MyLogger):
    """Continues the active run, as W&B's logger does, and leaves its end to the user."""

    active = None

    class Run:
        is_active = True

        def finish(self):
            self.is_active = False

    def __init__(self, name):
        super().__init__()
        self.run_name, self._experiment, self.runs = name, None, []

    def log_metrics(self, metrics, step=None):
        if self._experiment is None:
            if OneRunOnly.active is None or not OneRunOnly.active.is_active:
                OneRunOnly.active = self.Run()
                OneRunOnly.active.name = self.run_name
            self._experiment = OneRunOnly.active
        assert self._experiment.is_active
        self.runs.append(self._experiment.name)


@pytest.mark.parametrize("shared", [True, False])
def test_a_function_makes_a_run_for_each_round_also_where_loggers_leave_it_open(shared):
    made = [OneRunOnly("first"), OneRunOnly("second")]
    OneRunOnly.active = None
    learner = learner_of(Mine, logger=lambda round: made[0 if shared else round], log_every_n_steps=3)
    rounds(learner, 2)
    assert not OneRunOnly.active.is_active and made[0]._experiment is None
    assert [set(logger.runs) for logger in made] == [{"first"}, set() if shared else {"second"}]
    made[0].runs.clear()
    rounds(learner_of(Mine, logger=made[0], log_every_n_steps=3), 2)
    assert made[0]._experiment.is_active, "one logger has one run for all rounds"


def test_loggers_of_the_user_work_beside_the_events_of_the_run_folder(tmp_path):
    loggers = [CSVLogger(tmp_path / "csv"), TensorBoardLogger(tmp_path / "events")]
    campaign(tmp_path, logger=loggers, log_every_n_steps=1)
    with (tmp_path / "csv/lightning_logs/version_0/metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train_loss"]]
    assert [(int(row["step"]), int(row["round"])) for row in rows] == [(step, step // 6) for step in range(18)]
    # A round has a file of its own, and names of the same second have no order.
    assert sorted(steps_of(tmp_path / "events/lightning_logs/version_0")) == list(range(18))
    for round in range(3):
        assert steps_of(tmp_path / f"run/tensorboard/round_{round:03d}") == list(range(6))


def test_no_logger_means_none(tmp_path):
    campaign(tmp_path, logger=False)
    assert {path.name for path in (tmp_path / "run/tensorboard").iterdir()} == {"campaign"}


def test_steps_go_on_where_a_run_was_cut_off(tmp_path):
    class Killed(BaseException):
        pass

    class DiesInRoundOne(MyLogger):
        def log_metrics(self, metrics, step=None):
            if step == 8:
                raise Killed
            super().log_metrics(metrics, step)

    with pytest.raises(Killed):
        campaign(tmp_path, logger=DiesInRoundOne(), log_every_n_steps=1)
    logger = MyLogger()
    campaign(tmp_path, logger=logger, log_every_n_steps=1)
    assert [step for step, metrics in logger.seen if "train_loss" in metrics] == list(range(6, 18))


def test_checkpoints_and_progress_bars_of_the_user_work(tmp_path):
    checkpoint = ModelCheckpoint(tmp_path, monitor="val_loss", filename="{step}")
    learner = with_validation(learner_of(Validated, callbacks=[checkpoint, RichProgressBar()]))
    rounds(learner, 2)
    assert list(tmp_path.glob("*.ckpt"))
    assert str(tmp_path) in checkpoint.best_model_path


def test_no_file_is_left_open_and_nothing_keeps_a_learner_alive():
    import gc
    import weakref

    recorder = Recorder()
    learner = learner_of(Mine, callbacks=[recorder])
    learner.fit()
    module, callback = weakref.ref(learner.model.module), weakref.ref(recorder)
    del learner, recorder
    gc.collect()
    assert module() is None and callback() is None
    assert torch.is_grad_enabled()
