"""A LightningDataModule in the place of datasets."""

import warnings

import lightning.pytorch
import pytest
import pytorch_lightning
import torch
from helpers.own_modules import OwnModule, dense, learner_of
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)

from dal import run
from dal.acquisition import Margin
from dal.data import from_dataset
from dal.errors import DalError
from dal.labeling import DatasetOracle
from dal.models import adapt
from dal.stopping import CampaignConfig

IMAGES = torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def datamodule(package=pytorch_lightning, train=None, **attributes):
    class Mine(package.LightningDataModule):
        def prepare_data(self):
            self.prepared = True

        def setup(self, stage):
            assert self.prepared and stage in ("fit", "test")
            numbered = TensorDataset(IMAGES, torch.arange(40) % 3)
            self.parts = random_split(numbered, [24, 8, 8])

        def train_dataloader(self):
            return DataLoader(self.parts[0], shuffle=True) if train is None else train(self.parts[0])

        def val_dataloader(self):
            return [DataLoader(self.parts[1])]

        def test_dataloader(self):
            return DataLoader(self.parts[2])

    vars(made := Mine()).update({"num_classes": 3} | attributes)
    return made


@pytest.mark.parametrize("package", [pytorch_lightning, lightning.pytorch])
def test_the_splits_are_those_of_its_loaders_and_the_same_each_time(package):
    torch.manual_seed(1)
    splits = {name: from_dataset(datamodule(package), split=name) for name in ("train", "val", "test")}
    assert [len(data) for data in splits.values()] == [24, 8, 8]
    assert sorted(i for data in splits.values() for i in data.ids) == [f"{i:06d}" for i in range(40)]
    torch.manual_seed(2)
    again = from_dataset(datamodule(package))
    assert again.ids == splits["train"].ids and torch.equal(again.labels, splits["train"].labels)
    place = int(again.ids[5])
    assert torch.equal(again.plain([5])[0], IMAGES[place]) and again.labels[5] == place % 3


@pytest.mark.parametrize("package", [pytorch_lightning, lightning.pytorch])
def test_a_campaign_on_one(package):
    mine = datamodule(package, classes=["a", "b", "c"])
    learner = learner_of(adapt(OwnModule(dense()), "net.4"), Margin(), mine)
    assert learner.data.classes == ["a", "b", "c"] and len(learner.data) == 24
    campaign = CampaignConfig(initial_size=6, query_size=6, budget=12)
    rows = run(learner, DatasetOracle(learner.data), campaign, test=mine)
    assert rows[-1]["test_accuracy"] == learner.evaluate(from_dataset(mine, split="test")).accuracy
    assert learner.evaluate(mine) == learner.evaluate(from_dataset(mine, split="test"))


def test_a_collate_function_makes_the_items():
    def loader(dataset):
        return DataLoader(
            dataset, collate_fn=lambda items: {"x": torch.stack([x for x, _ in items]), "y": [y for _, y in items]}
        )

    data = from_dataset(datamodule(train=loader), image="x", label="y")
    assert torch.equal(data.labels, from_dataset(datamodule()).labels) and data.image_shape == (1, 8, 8)


def mixed(items):
    images = torch.stack([image for image, _ in items])
    return (images + images.flip(0)) / 2, torch.tensor([label for _, label in items])


def brighter(items):
    images = torch.stack([image + 0.1 for image, _ in items])
    return images, torch.tensor([label for _, label in items])


@pytest.mark.parametrize(("collate", "count"), [(mixed, 1), (brighter, 0)])
def test_a_collate_function_that_mixes_items_is_told(collate, count):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        from_dataset(datamodule(train=lambda dataset: DataLoader(dataset, collate_fn=collate)))
    told = [str(warning.message) for warning in said if "one item at a time" in str(warning.message)]
    assert len(told) == count and all(text.startswith("dataset: the collate function of train_") for text in told)


class Stream(IterableDataset):
    def __iter__(self):
        yield from IMAGES


@pytest.mark.parametrize(
    ("train", "split", "sentence"),
    [
        (None, "tests", "split: expected one of test, train, val, got 'tests' (did you mean test?)."),
        (
            lambda part: DataLoader(Stream()),
            "train",
            "dataset: expected a dataset with a length and positions, which a ",
        ),
        (lambda part: None, "train", "dataset: expected one DataLoader from train_dataloader() of Mine, got None."),
        (
            lambda part: [DataLoader(part)] * 2,
            "train",
            "dataset: expected one DataLoader from train_dataloader() of Mine",
        ),
    ],
)
def test_splits_that_cannot_be_read(train, split, sentence):
    with pytest.raises(DalError) as error:
        from_dataset(datamodule(train=train), split=split)
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize("package", [pytorch_lightning, lightning.pytorch])
def test_a_split_that_it_does_not_define(package):
    class NoTest(package.LightningDataModule):
        pass

    with pytest.raises(DalError, match=r"^dataset: expected NoTest to define test_dataloader\(\), got none\."):
        from_dataset(NoTest(), split="test", num_classes=3)


def test_hooks_belong_to_the_module():
    class Hooked(pytorch_lightning.LightningDataModule):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            return batch

    expected = "a LightningDataModule without on_after_batch_transfer, which belongs in the LightningModule"
    with pytest.raises(DalError, match=rf"^dataset: expected {expected}, got 'Hooked'\.$"):
        from_dataset(Hooked(), num_classes=3)


def test_a_hook_that_an_object_gets_later_counts_too():
    mine = datamodule(on_after_batch_transfer=lambda batch, dataloader_idx: batch)
    with pytest.raises(DalError, match=r"^dataset: expected a LightningDataModule without on_after_batch_transfer"):
        from_dataset(mine)


@pytest.mark.parametrize("package", [pytorch_lightning, lightning.pytorch])
def test_methods_may_ask_the_trainer(package):
    class Asks(type(datamodule(package))):
        def setup(self, stage):
            super().setup(stage)
            self.size = 8 // self.trainer.world_size

        def train_dataloader(self):
            return DataLoader(self.parts[0], self.size * self.trainer.num_devices)

    vars(mine := Asks())["num_classes"] = 3
    data = from_dataset(mine)
    plain = from_dataset(datamodule(package))
    assert data.ids == plain.ids and mine.trainer is None and mine.size == 8

    class Fails(Asks):
        def setup(self, stage):
            self.num_classes.x.y  # noqa: B018

    vars(mine := Fails())["num_classes"] = None
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'x'"):
        from_dataset(mine)
    assert mine.trainer is None


@pytest.mark.parametrize("sampler", [SubsetRandomSampler(range(5)), WeightedRandomSampler([1.0] * 24, 24)])
def test_a_sampler_that_is_not_used_is_named(sampler):
    with pytest.warns(
        UserWarning, match=rf"^dataset: {type(sampler).__name__} in train_dataloader\(\) of Mine is not used"
    ):
        assert len(from_dataset(datamodule(train=lambda part: DataLoader(part, sampler=sampler)))) == 24


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_plain_order_needs_no_warning(shuffle):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_dataset(datamodule(train=lambda part: DataLoader(part, 8, shuffle=shuffle, drop_last=True)))
