import pytest
import pytorch_lightning as pl
import torch
from helpers.training import fit
from pytorch_lightning.loggers import CSVLogger
from torch import nn

from dal.costs.ledger import Ledger
from dal.data.images import TensorSource
from dal.errors import DalError, NonFiniteError
from dal.models.adapt import adapt, as_adapted
from dal.models.backbones import SmallCNN
from dal.models.classifier import Classifier
from dal.scoring.model_pass import ModelPass
from dal.training import TrainingConfig

CPU = {"accelerator": "cpu"}


class Mine(pl.LightningModule):
    """Somebody's own module, with BatchNorm1d and dropout, that keeps what it was given."""

    def __init__(self, lr=0.05):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2))
        self.fc = nn.Linear(8, 3)
        self.lr, self.optimizers_made, self.trainers, self.seen, self.validated = lr, [], [], [], []

    def forward(self, x):
        return self.fc(self.body(x))

    def training_step(self, batch, batch_idx):
        self.seen.append(batch)
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)
        self.optimizers_made.append(optimizer)
        self.trainers.append(self.trainer)
        return optimizer


class Scheduled(Mine):
    def validation_step(self, batch, batch_idx):
        self.validated.append(batch)
        self.log("val_loss", torch.tensor(1.0))

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss"}}


def made(kind, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = kind(**options)
    return adapt(module, "fc") if isinstance(module, Mine) else as_adapted(module)


def classifier(**options):
    return Classifier(SmallCNN(1, (8, 8)), 3, **({"lr": 3e-3} | options))


def quick(**changes):
    """Six updates, two looks, and a target that nothing reaches."""
    six = {"batch_size": 8, "min_updates": 0, "max_updates": 6, "check_every": 3, "target_train_accuracy": 2.0}
    return TrainingConfig(**(six | changes))


def points(data, start, stop):
    return torch.arange(start, stop), data.labels[start:stop]


def state(model):
    return {k: v.clone() for k, v in model.module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def data(shared):
    return shared.make_images(60)


def test_it_learns_and_stops_on_training_accuracy(data):
    model = made(classifier)
    config = quick(max_updates=300, check_every=10, batch_size=16, target_train_accuracy=0.95)
    result = fit(model, data, points(data, 0, 30), config=config, trainer_options=CPU)
    assert result.stopped_because == "train_accuracy_reached"
    assert result.monitor == "train_accuracy"
    assert result.updates < 300
    assert result.history[-1]["update"] == result.updates == result.best_update
    assert result.history[-1]["accuracy"] >= 0.95


def test_every_fit_has_a_new_trainer_and_a_new_optimizer(data):
    model = made(Mine)
    steps, optimizers, trainers = [], [], []
    for round in range(2):
        fit(model, data, points(data, 0, 20), config=quick(), trainer_options=CPU, round=round)
        steps.append(model.module.trainers[-1].global_step)
        optimizers += model.module.optimizers_made
        trainers += model.module.trainers
    first, second = optimizers
    assert first is not second
    assert trainers[0] is not trainers[1]
    assert steps == [6, 6]
    moments = [o.state[model.module.fc.weight]["momentum_buffer"] for o in (first, second)]
    assert not torch.equal(*moments)


def test_momentum_does_not_survive_into_the_next_fit(data):
    """The same weights, trained after another round and on their own, end bit-equal."""
    alone, after = made(Mine), made(Mine)
    start = state(after)
    fit(after, data, points(data, 30, 60), config=quick(), trainer_options=CPU)
    after.module.load_state_dict(start)
    for model in (alone, after):
        fit(model, data, points(data, 0, 20), config=quick(), trainer_options=CPU, round=1)
    assert same(state(alone), state(after))


@pytest.mark.parametrize("kind", [classifier, Mine])
def test_seed_and_round_decide_everything(data, kind):
    def trained(seed, round):
        model = made(kind)
        torch.rand(3)
        fit(model, data, points(data, 0, 20), config=quick(), trainer_options=CPU, seed=seed, round=round)
        return state(model)

    first = trained(0, 0)
    assert same(first, trained(0, 0))
    assert not same(first, trained(1, 0))
    assert not same(first, trained(0, 1))


def test_dropout_follows_seed_and_round(data):
    """The global generator, which dropout layers draw from, begins at another place in each round."""

    class Noise(Mine):
        def training_step(self, batch, batch_idx):
            self.noise = torch.rand(())
            return super().training_step(batch, batch_idx)

    def noise(seed, round):
        model = made(Noise)
        fit(model, data, points(data, 0, 20), config=quick(), trainer_options=CPU, seed=seed, round=round)
        return float(model.module.noise)

    drawn = [noise(*key) for key in ((0, 0), (0, 0), (0, 1), (1, 0))]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


def test_global_generators_are_left_alone(data, shared):
    before = shared.rng_states()
    fit(made(classifier), data, points(data, 0, 20), config=quick(), trainer_options=CPU)
    assert shared.rng_states() == before


@pytest.mark.parametrize("kind", [classifier, Mine])
@pytest.mark.parametrize("count", [1, 3])
def test_fewer_points_than_a_batch_train(data, kind, count):
    model = made(kind)
    before = state(model)
    result = fit(model, data, points(data, 0, count), config=quick(batch_size=64), trainer_options=CPU)
    assert result.updates >= 1
    assert not same(before, state(model))


def test_the_best_weights_are_restored(data, monkeypatch):
    """Measured as scripted, the second check is the best; its weights are those of a run that ended there."""
    scripted = iter([0.2, 0.9, 0.5, 0.1])

    def logits(passes, data, indices, phase):
        right = int(len(indices) * next(scripted))
        labels = data.labels[indices]
        answers = torch.where(torch.arange(len(indices)) < right, labels, (labels + 1) % 3)
        return nn.functional.one_hot(answers, 3) * 5.0

    longer, shorter = made(Mine), made(Mine)
    fit(shorter, data, points(data, 0, 20), config=quick(max_updates=6), trainer_options=CPU)
    monkeypatch.setattr(ModelPass, "logits", logits)
    result = fit(longer, data, points(data, 0, 20), config=quick(max_updates=12), trainer_options=CPU)
    assert (result.updates, result.best_update) == (12, 6)
    assert [h["accuracy"] for h in result.history] == pytest.approx([0.2, 0.9, 0.5, 0.1])
    assert same(state(longer), state(shorter))


def test_no_update_follows_the_decision_to_stop(data):
    model = made(Mine)
    config = quick(max_updates=50, check_every=1, target_train_accuracy=0.0, min_updates=4)
    result = fit(model, data, points(data, 0, 20), config=config, trainer_options=CPU)
    assert result.stopped_because == "train_accuracy_reached"
    assert result.updates == model.module.trainers[-1].global_step == len(model.module.seen) == 4


class Recorder(TensorSource):
    """Remembers which images were asked for."""

    def __init__(self, images):
        super().__init__(images)
        self.read = set()

    def batch(self, indices):
        self.read.update(int(i) for i in indices)
        return super().batch(indices)


@pytest.mark.parametrize(("monitor", "watched"), [("auto", "val_loss"), ("val_accuracy", "val_accuracy")])
def test_validation_is_watched_where_it_is_given_and_nothing_else_is_read(data, shared, monitor, watched):
    recorder = Recorder(data.source.images)
    recorded = shared.make_images(60, source=recorder)
    validation = points(recorded, 40, 50)
    model = made(classifier)
    config = quick(monitor=monitor, max_updates=12)
    result = fit(model, recorded, points(recorded, 0, 20), validation, config=config, trainer_options=CPU)
    assert result.monitor == watched
    assert recorder.read == {*range(20), *range(40, 50)}
    with torch.no_grad():
        logits = model.module.eval()(recorded.plain(range(40, 50)))
    best = next(h for h in result.history if h["update"] == result.best_update)
    assert best["loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, validation[1])), abs=1e-5)
    assert best["accuracy"] == pytest.approx(float((logits.argmax(dim=1) == validation[1]).float().mean()))


def test_validation_may_be_given_and_not_watched(data):
    config = quick(monitor="train_accuracy")
    result = fit(made(classifier), data, points(data, 0, 20), points(data, 40, 50), config=config, trainer_options=CPU)
    assert result.monitor == "train_accuracy"


def test_training_is_augmented_and_measuring_is_not(shared):
    def darken(images, generator):
        return torch.zeros_like(images)

    data = shared.make_images(60, augmentation=darken)
    model = made(Mine)
    fit(model, data, points(data, 0, 20), config=quick(), trainer_options=CPU)
    assert all((x == x.flatten()[0]).all() for x, _ in model.module.seen)
    plain = shared.make_images(60)
    # Nothing is learned, so what is measured is the network that both began with.
    histories = [
        fit(made(classifier, lr=1e-30), d, points(d, 0, 20), config=quick(), trainer_options=CPU).history
        for d in (data, plain)
    ]
    assert histories[0] == histories[1]


def test_training_uses_the_told_labels(data):
    model = made(Mine)
    told = (data.labels[:20] + 1) % 3
    fit(model, data, (torch.arange(20), told), config=quick(), trainer_options=CPU)
    for x, y in model.module.seen:
        for image, label in zip(x, y, strict=True):
            (index,) = (i for i in range(20) if torch.equal(data.plain([i])[0], image))
            assert label == told[index]


@pytest.mark.parametrize(
    ("options", "config", "message"),
    [
        ({"max_epochs": 3}, {}, "trainer.max_epochs: dal controls this option. Set training.max_updates instead"),
        ({"max_steps": 3}, {}, "trainer.max_steps: dal controls this option"),
        ({"enable_checkpointing": True}, {}, "trainer.enable_checkpointing: dal controls this option"),
        (
            {},
            {"monitor": "val_loss"},
            "training.monitor: expected train_accuracy or auto, because there are no validation",
        ),
        ({}, {"monitor": "val_accuracy"}, "training.monitor: expected train_accuracy or auto"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_training(data, options, config, message):
    model = made(classifier)
    before = state(model)
    with pytest.raises(DalError) as error:
        fit(model, data, points(data, 0, 20), config=quick(**config), trainer_options=CPU | options)
    assert str(error.value).startswith(message)
    assert same(before, state(model))


def test_no_labeled_points(data):
    with pytest.raises(DalError, match=r"^labeled: expected at least one labeled point, got 0\.$"):
        fit(made(classifier), data, points(data, 0, 0), config=quick(), trainer_options=CPU)


class Spy(pl.Callback):
    def __init__(self):
        self.trainer = None

    def on_train_start(self, trainer, pl_module):
        self.trainer = trainer


@pytest.mark.parametrize("as_list", [True, False])
def test_trainer_options_reach_lightning(data, tmp_path, as_list):
    spy, logger = Spy(), CSVLogger(tmp_path)
    options = CPU | {
        "precision": "bf16-mixed",
        "gradient_clip_val": 0.125,
        "callbacks": [spy] if as_list else spy,
        "logger": logger,
        "log_every_n_steps": 1,
        "devices": None,
    }
    given = dict(options)
    fit(made(classifier), data, points(data, 0, 20), config=quick(), trainer_options=options)
    assert spy.trainer.precision == "bf16-mixed"
    assert spy.trainer.gradient_clip_val == 0.125
    assert spy.trainer.logger is logger
    assert "train_loss" in (tmp_path / "lightning_logs/version_0/metrics.csv").read_text()
    assert options == given


def test_gradients_are_clipped(data):
    model = made(Mine, lr=1.0)
    before = model.module.fc.weight.detach().clone()
    fit(
        model,
        data,
        points(data, 0, 20),
        config=quick(max_updates=1),
        trainer_options=CPU | {"gradient_clip_val": 1e-4},
    )
    assert 0 < (model.module.fc.weight - before).norm() <= 1.001e-4


def test_accumulated_gradients_are_one_update(data):
    model, ledger = made(Mine), Ledger()
    options = CPU | {"accumulate_grad_batches": 2}
    config = quick(max_updates=6, check_every=2)
    result = fit(model, data, points(data, 0, 32), config=config, trainer_options=options, ledger=ledger)
    assert result.updates == model.module.trainers[0].global_step == 6
    assert [h["update"] for h in result.history] == [2, 4, 6]
    assert len(model.module.seen) == 12
    assert ledger.row()["samples_backward_train"] == 12 * 8


@pytest.mark.parametrize(("count", "batch"), [(20, 8), (3, 3), (1, 2)])
def test_the_ledger_counts_every_sample(data, count, batch):
    ledger = Ledger()
    fit(
        made(Mine),
        data,
        points(data, 0, count),
        points(data, 40, 47),
        config=quick(max_updates=7, check_every=3),
        trainer_options=CPU,
        ledger=ledger,
    )
    row = ledger.row()
    assert row["samples_forward_train"] == row["samples_backward_train"] == 7 * batch
    # At updates 3, 6 and 7.
    assert row["samples_forward_validate"] == 3 * 7
    assert row["seconds_train"] > 0
    assert row["seconds_validate"] > 0


class Explodes(Mine):
    """The loss of update 4 is not finite, and its gradient would be."""

    bad = float("nan")

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        if self.trainer.global_step == 3:
            self.before = {k: v.detach().clone() for k, v in self.named_parameters()}
            return loss * self.bad
        return loss


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_training_before_the_weights_change(data, bad, shared):
    model, ledger = made(Explodes), Ledger()
    model.module.bad = bad
    random_before = shared.rng_states()
    with pytest.raises(NonFiniteError) as error:
        fit(model, data, points(data, 0, 20), config=quick(), trainer_options=CPU, ledger=ledger)
    assert str(error.value).startswith(f"loss: expected a finite number, got {bad} at update 3.")
    module = model.module
    assert module.trainers[0].global_step == 3
    assert all(torch.equal(module.before[k], v) for k, v in module.named_parameters())
    assert shared.rng_states() == random_before
    assert ledger.row()["samples_backward_train"] == 3 * 8


def test_somebodys_own_validation_and_scheduler_work(data):
    model, ledger = made(Scheduled), Ledger()
    fit(
        model,
        data,
        points(data, 0, 24),
        points(data, 40, 50),
        config=quick(max_updates=12, check_every=3),
        trainer_options=CPU,
        ledger=ledger,
    )
    module = model.module
    # An epoch is 3 updates here, so 4 of them; the loss that it logs never improves on the first.
    assert len(module.validated) == 4
    assert all(torch.equal(x, data.plain(range(40, 50))) for x, _ in module.validated)
    assert module.optimizers_made[0].param_groups[0]["lr"] == pytest.approx(0.05 * 0.1**3)
    assert ledger.row()["samples_forward_validate"] == 4 * 10 + 4 * 10


def test_a_trainer_that_is_stopped_from_outside_says_so(data):
    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer, *args):
            trainer.should_stop = trainer.global_step >= 2

    model = made(Mine)
    options = CPU | {"callbacks": [Stop()]}
    result = fit(model, data, points(data, 0, 20), config=quick(), trainer_options=options)
    assert (result.updates, result.stopped_because) == (2, "trainer")


def test_progress_counts_updates(data):
    seen = []
    fit(
        made(Mine),
        data,
        points(data, 0, 20),
        config=quick(),
        trainer_options=CPU,
        on_progress=lambda *event: seen.append(event),
    )
    assert seen == [("train", i, 6) for i in range(1, 7)]
