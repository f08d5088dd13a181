"""What a module does to every batch on its way in is part of the model."""

import pytest
import torch
import torch.nn.functional as F
from helpers.own_modules import DictModule, OwnModule, dense, learner_of, noise_data, two_rounds
from torch import nn

from dal.acquisition import BALD, Margin
from dal.errors import DalError
from dal.models import Classifier, adapt
from dal.models.adapted.batch_form import NamedBatch, batch_hooks, batch_of
from dal.models.backbones import SmallCNN

ZEROS = torch.zeros(1, dtype=torch.int64)


class Normalizes(OwnModule):
    """Images times ten, which a network without ReLU would not mind in its order alone."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        x, y = batch
        if self.trainer.training:
            x = x + torch.randn_like(x)
        return 10 * x + 3, y


class BeforeTransfer(OwnModule):
    def on_before_batch_transfer(self, batch, dataloader_idx):
        x, y = batch
        return 10 * x + 3, y


class OwnTransfer(OwnModule):
    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        x, y = super().transfer_batch_to_device(batch, device, dataloader_idx)
        return 10 * x + 3, y


class MakesDict(DictModule):
    def on_after_batch_transfer(self, batch, dataloader_idx):
        x, y = batch
        return {"label": y, "image": 10 * x + 3}


class SwapsPlaces(OwnModule):
    def on_after_batch_transfer(self, batch, dataloader_idx):
        x, y = batch
        return y, 10 * x + 3

    def training_step(self, batch, batch_idx):
        return super().training_step(batch[::-1], batch_idx)


class InPlace(OwnModule):
    def on_after_batch_transfer(self, batch, dataloader_idx):
        batch[0].mul_(10).add_(3)
        return batch


KINDS = [Normalizes, BeforeTransfer, OwnTransfer, MakesDict, SwapsPlaces, InPlace]


@pytest.mark.parametrize("kind", KINDS)
def test_scoring_and_testing_see_what_the_hooks_give(kind):
    data = noise_data()
    learner = learner_of(adapt(kind(dense()), "net.4"), Margin(), data)
    two_rounds(learner)
    module = learner.model.module.eval()
    with torch.no_grad():
        expected = module(10 * data.plain(range(40)) + 3)
    torch.testing.assert_close(learner.predict(torch.arange(40)), expected)
    assert learner.evaluate(data).accuracy == float((expected.argmax(1) == data.labels).double().mean())
    probs = expected.softmax(1).sort(dim=1).values
    margins = probs[:, -1] - probs[:, -2]
    rest = learner.pool.unlabeled
    assert list(learner.ask(6)) == rest[margins[rest].argsort()][:6].tolist()
    # Two updates on batches of six, then two of eight.
    assert learner.ledger.row()["samples_forward_train"] == 28


def test_early_stopping_sees_what_the_hooks_give_and_leaves_the_trainer_training():
    stages = []

    class Watches(Normalizes):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            stages.append((self.training, self.trainer.training))
            return super().on_after_batch_transfer(batch, dataloader_idx)

    two_rounds(learner_of(adapt(Watches(dense()), "net.4"), Margin()))
    assert set(stages) == {(True, True), (False, False)}
    # Training goes on after a check.
    last_check = max(i for i, stage in enumerate(stages) if stage == (True, True))
    assert (False, False) in stages[:last_check]


@pytest.mark.parametrize("tile_size", [3, 16])
def test_a_hook_that_is_random_outside_training_too_is_said_and_does_the_same_to_every_image(tile_size):
    class Augments(OwnModule):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            x, y = batch
            return x + torch.randn_like(x), y

    with pytest.warns(UserWarning, match=r"^on_after_batch_transfer: it changes images at random outside training"):
        learner = learner_of(adapt(Augments(dense()), "net.4"), Margin(), tile_size=tile_size)
    found = learner.predict(torch.arange(40))
    torch.manual_seed(0)
    noise = torch.randn(1, 1, 8, 8)
    module = learner.model.module.eval()
    torch.testing.assert_close(found, module(learner.data.plain(range(40)) + noise).detach())


def test_a_hook_whose_images_cannot_be_told_from_the_rest_is_refused():
    class TwoViews(OwnModule):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            return {"a": batch[0], "b": batch[0], "y": batch[1]}

        def training_step(self, batch, batch_idx):
            return F.cross_entropy(self(batch["a"]) + self(batch["b"]), batch["y"])

    with pytest.raises(DalError) as error:
        learner_of(adapt(TwoViews(dense()), "net.4"), Margin())
    assert str(error.value) == (
        "on_after_batch_transfer: expected a batch with one tensor of 3 images, got 2 in dict. Return the images in "
        "the same place of the batch. If training needs several views, make them only if self.trainer.training."
    )


def test_views_that_a_hook_makes_only_in_training_train():
    class Views(OwnModule):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            x, y = batch
            return ((x, x.flip(-1)), y) if self.trainer.training else (x, y)

        def training_step(self, batch, batch_idx):
            (a, b), y = batch
            return F.cross_entropy(self(a) + self(b), y)

    two_rounds(learner_of(adapt(Views(dense()), "net.4"), Margin()))


@pytest.mark.parametrize(
    ("hook", "views"),
    [
        ("on_before_batch_transfer", lambda x: torch.cat([x, x])),
        ("on_after_batch_transfer", lambda x: (x, x)),
    ],
)
def test_the_refusal_of_views_names_the_hook(hook, views):
    class Views(OwnModule):
        pass

    setattr(Views, hook, lambda self, batch, dataloader_idx: (views(batch[0]), batch[1]))
    with pytest.raises(DalError, match=rf"^{hook}: expected a batch with one tensor of 3 images, got [02] in tuple\. "):
        learner_of(adapt(Views(dense()), "net.4"), Margin())


@pytest.mark.parametrize("shape", [(1, 9, 9), (3, 8, 8)])
def test_images_that_the_network_cannot_take_are_one_sentence(shape):
    with pytest.raises(DalError) as error:
        learner_of(adapt(OwnModule(dense()), "net.4"), Margin(), noise_data(shape=shape))
    expected = f"model: expected a network that takes images of shape {shape}, (channels, height, width), got the error"
    assert str(error.value).startswith(expected)


@pytest.mark.parametrize("batch", [("image", "label"), lambda x, y: {"image": x, "label": y}])
def test_a_module_gets_the_batch_that_it_was_written_for(batch):
    learner = learner_of(adapt(DictModule(dense()), "net.4", batch=batch), Margin())
    learner.tell_validation(range(30, 36), [i % 3 for i in range(30, 36)])
    two_rounds(learner)
    assert learner.ledger.row()["samples_forward_train"] > 0


def test_items_with_metadata():
    class Meta(OwnModule):
        def training_step(self, batch, batch_idx):
            x, y, meta = batch
            assert meta == {"where": "here"}
            return super().training_step((x, y), batch_idx)

    two_rounds(learner_of(adapt(Meta(dense()), "net.4", batch=lambda x, y: (x, y, {"where": "here"})), Margin()))


def test_hooks_get_the_form_of_the_batch():
    class Both(DictModule):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            return batch | {"image": batch["image"] * 2}

    learner = learner_of(adapt(Both(dense()), "net.4", batch=("image", "label")), BALD(num_draws=4))
    two_rounds(learner)
    expected = learner.model.module.eval()(2 * learner.data.plain([5]))
    torch.testing.assert_close(learner.predict(torch.tensor([5])), expected.detach())


@pytest.mark.parametrize("batch", [3, "image", ("image",), ("image", 1), ["a", "b", "c"]])
def test_a_form_that_is_none(batch):
    with pytest.raises(
        DalError, match=r"^batch: expected a function \(x, y\) that returns the batch, or two names such"
    ):
        batch_of(batch)


def test_names_make_a_dict():
    assert batch_of(["a", "b"]) == NamedBatch("a", "b") and batch_of(None) is None


def test_only_overridden_hooks_count():
    assert batch_hooks(OwnModule(nn.Identity())) == [] == batch_hooks(Classifier(SmallCNN(1, (8, 8)), 3))
    assert batch_hooks(MakesDict(nn.Identity())) == ["on_after_batch_transfer"]
    module = OwnModule(nn.Identity())
    module.on_before_batch_transfer = lambda batch, dataloader_idx: batch
    assert batch_hooks(module) == ["on_before_batch_transfer"]


def test_a_frozen_classifier_with_a_hook_takes_images():
    class Twice(Classifier):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            x, y = batch
            assert x.ndim == 4
            return 2 * x, y

    learner = learner_of(Twice(SmallCNN(1, (8, 8)), 3, freeze_backbone=True), Margin())
    two_rounds(learner)
    expected = learner.model.module.eval()(2 * learner.data.plain([5]))
    torch.testing.assert_close(learner.predict(torch.tensor([5])), expected.detach())
