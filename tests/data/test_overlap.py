import warnings
from dataclasses import replace

import pytest
import pytorch_lightning as pl
import torch
from helpers.toys import toy_data, toy_images, toy_model
from PIL import Image
from torch.utils.data import DataLoader, Subset, TensorDataset

from dal.acquisition import Random
from dal.campaign import run
from dal.data import from_dataset, load
from dal.data.images import ImageData, TensorSource
from dal.data.overlap import check_labels_of_copies, check_test_images
from dal.data.sets.image_folder import ImageFolder
from dal.errors import DalError
from dal.labeling.oracle import DatasetOracle
from dal.loop import ActiveLearner
from dal.stopping import CampaignConfig
from dal.training import TrainingConfig

SAME = r"^data: expected other images in the test set than in the training set, got the same {} images in both\."


def of(colors, prefix):
    pixels = torch.tensor(colors, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).contiguous()
    ids = [f"{prefix}{place}" for place in range(len(colors))]
    return ImageData(prefix, TensorSource(pixels), ids, torch.zeros(len(colors), dtype=torch.int64), ["a", "b"])


class Bare:
    """A source without digests."""

    def __init__(self, source):
        self.source = source

    def __len__(self):
        return len(self.source)

    def batch(self, indices):
        return self.source.batch(indices)


def bare(data):
    return replace(data, source=Bare(data.source))


@pytest.fixture
def silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_a_test_set_of_the_training_images_is_refused(order):
    with pytest.raises(DalError, match=SAME.format(3)):
        check_test_images(of((1, 2, 3), "train"), of(order, "test"))


def test_some_of_the_training_images_are_counted_and_named():
    with pytest.warns(UserWarning) as caught:
        check_test_images(of((1, 2, 3, 3), "train"), of((3, 9, 1, 3, 1), "test"))
    assert [str(one.message) for one in caught] == [
        "data: 4 of 5 test images are also training images, so test results are too good: "
        "test0 is train2, test2 is train0, test3 is train2, ...."
    ]


@pytest.mark.usefixtures("silent")
def test_other_images_pass_in_silence():
    check_test_images(of((1, 2, 3), "train"), of((4, 5, 6), "test"))
    check_test_images(bare(of((1, 2, 3), "train")), bare(of((1, 2, 4), "test")))
    check_test_images(bare(of((1, 2, 3), "train")), bare(of((1, 2), "test")))


def test_copies_with_another_label_are_counted_and_named():
    data = replace(of((1, 2, 1, 1, 2, 7), "p"), labels=torch.tensor([0, 1, 1, -1, 1, 0]))
    with pytest.warns(UserWarning) as caught:
        check_labels_of_copies(data)
    assert [str(one.message) for one in caught] == [
        "data: 1 of 6 images are copies of images with another label: p0 (a) and p2 (b)."
    ]


@pytest.mark.usefixtures("silent")
def test_copies_with_the_same_label_or_without_digests_pass_in_silence():
    data = replace(of((1, 2, 1, 1), "p"), labels=torch.tensor([0, 1, 0, -1]))
    check_labels_of_copies(data)
    check_labels_of_copies(bare(replace(data, labels=torch.tensor([0, 1, 1, 0]))))


def test_images_without_digests_are_compared_at_the_same_places():
    for train, test in ((bare, bare), (bare, lambda data: data), (lambda data: data, bare)):
        with pytest.raises(DalError, match=SAME.format(40)):
            check_test_images(train(of(range(40), "train")), test(of(range(40), "test")))


def dataset(places=None, seed=0):
    images, labels = toy_images(30, seed)
    whole = TensorDataset(images, labels)
    return whole if places is None else Subset(whole, places)


def test_overlapping_subsets_of_a_dataset_are_noticed():
    whole = dataset()
    train, test = (from_dataset(Subset(whole, range(*span)), num_classes=3) for span in ((0, 20), (18, 30)))
    with pytest.warns(UserWarning, match=r"^data: 2 of 12 test images .*: 000018 is 000018, 000019 is 000019\.$"):
        check_test_images(train, test)
    nested = from_dataset(Subset(Subset(whole, range(10, 30)), range(10)), num_classes=3)
    with pytest.raises(DalError, match=SAME.format(10)):
        check_test_images(from_dataset(Subset(whole, range(10, 20)), num_classes=3), nested)


def learner_of(data):
    return ActiveLearner(toy_model, data, Random())


def test_run_warns_of_the_training_set_as_test_set():
    class Both(pl.LightningDataModule):
        num_classes = 3

        def train_dataloader(self):
            return DataLoader(dataset())

        test_dataloader = train_dataloader

    for data, test in ((toy_data(), toy_data()), (from_dataset(dataset(), num_classes=3),) * 2, (Both(), Both())):
        learner = learner_of(data)
        learner.training = TrainingConfig(max_updates=1, min_updates=1)
        campaign = CampaignConfig(budget=10, initial_size=5, query_size=5, validation_size=0)
        with pytest.warns(UserWarning, match=SAME.format(len(learner.data)) + r" Test results are too good\.$"):
            run(learner, DatasetOracle(learner.data), campaign, test=test)


def test_two_folders_with_the_same_images(tmp_path):
    for folder, shift in (("train", 0), ("same", 0), ("some", 6)):
        for place in range(8):
            path = tmp_path / folder / ("cat" if place % 2 else "dog") / f"{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4), (place + shift, 0, 0)).save(path)
    config = ImageFolder(root=str(tmp_path / "train"), test_root=str(tmp_path / "same"), image_size=4)
    with pytest.raises(DalError, match=SAME.format(8)):
        load(config)
    config.test_root = str(tmp_path / "some")
    with pytest.warns(UserWarning, match=r"^data: 2 of 8 test images .*: cat/1\.png is cat/7\.png, dog/0\.png is dog"):
        load(config)
