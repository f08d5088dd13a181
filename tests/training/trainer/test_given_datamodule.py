"""A module reads its user's datamodule from the Trainer, in the trial and in training."""

import pickle

import lightning.pytorch
import pytest
import pytorch_lightning
from helpers.modules import learner_of, settings, user_module
from helpers.toys import toy_data
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from dal.data import from_dataset
from dal.errors import DalError
from dal.training.trainer.logged_names import logged_in_trial


def data_of(package):
    class Given(package.LightningDataModule):
        num_classes, data, seed = 3, "photos", 42

        def __init__(self, width=6):
            super().__init__()
            self.save_hyperparameters()
            self.batch_size, self.calls, self.lock = 64, [], lambda: None

        def setup(self, stage):
            self.calls.append(stage)
            toys = toy_data()
            self.train = TensorDataset(toys.plain(range(90)), toys.labels)

        def train_dataloader(self):
            return DataLoader(self.train)

    return from_dataset(Given())


@pytest.mark.parametrize("package", [pytorch_lightning, lightning.pytorch])
def test_hooks_read_the_datamodule_of_the_user(package):
    seen = []

    class Reads(user_module(package)):
        def __init__(self):
            super().__init__()
            del self.head

        def setup(self, stage):
            given = self.trainer.datamodule
            self.head = nn.Linear(given.hparams.width, given.num_classes if given else 10)

        def on_train_start(self):
            given = self.trainer.datamodule
            seen.append((given.data, given.seed, len(given.train), given.batch_size, self.head.out_features))

    data = data_of(package)
    learner = learner_of(Reads, data=data.subset(range(80)), training=settings(max_updates=1))
    learner.fit()
    assert seen == [("photos", 42, 90, 8, 3)]  # the batch size is that of training
    assert data.datamodule.calls == ["fit"] and data.datamodule.trainer is None


def test_the_trial_of_metrics_has_the_datamodule():
    class Logs(user_module()):
        def training_step(self, batch, batch_idx):
            self.log(f"loss_{self.trainer.datamodule.data}", 0.0)
            return super().training_step(batch, batch_idx)

    learner = learner_of(Logs, data=data_of(pytorch_lightning))
    found = logged_in_trial(learner.setup, learner.data, False, [])
    assert {"loss_photos", "train_loss"} <= found.names


class Asks(user_module()):
    def __init__(self):
        super().__init__()
        del self.head


def test_without_a_datamodule_it_is_false():
    class Checks(Asks):
        def setup(self, stage):
            self.head = nn.Linear(6, self.trainer.datamodule.num_classes if self.trainer.datamodule else 3)

    assert learner_of(Checks, training=settings(max_updates=1)).fit().updates == 1


@pytest.mark.parametrize("attribute", ["num_classes", "hparams"])
def test_without_a_datamodule_its_attributes_are_refused_before_labels(attribute):
    class Needs(Asks):
        def setup(self, stage):
            self.head = nn.Linear(6, getattr(self.trainer.datamodule, attribute))

    with pytest.raises(DalError) as error:
        learner_of(Needs, num_labels=0)
    assert str(error.value) == (
        "model: expected a forward() that runs before training, or a setup() that runs without batches, got the error: "
        f"self.trainer.datamodule: expected a LightningDataModule with {attribute!r}, got data that do not come from a "
        "LightningDataModule. Pass it to from_dataset() or ActiveLearner, or give the module what it needs when you "
        "create it."
    )


def test_workers_get_the_data_without_the_datamodule():
    data = data_of(pytorch_lightning)
    copied = pickle.loads(pickle.dumps(data))
    assert copied.datamodule is None and copied.plain([3]).equal(data.plain([3]))
