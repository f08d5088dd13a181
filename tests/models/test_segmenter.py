import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from helpers.toy_masks import draws_one_by_one
from torch.utils.data import DataLoader, TensorDataset

from dal.errors import DalError
from dal.models.adapt import as_adapted, check_outputs
from dal.models.adapted.scoring_model import scoring_view
from dal.models.backbones import SmallCNN
from dal.models.backbones.segmentation_net import SegmentationNet
from dal.models.classifier import Classifier
from dal.models.config import ModelConfig
from dal.models.segmenter import Segmenter
from dal.tasks import CLASSIFICATION, SEGMENTATION

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec."),
    pytest.mark.filterwarnings("ignore:.*no `val_dataloader`"),
    pytest.mark.filterwarnings("ignore:The 'train_dataloader'"),
]


def segmenter(**options):
    torch.manual_seed(0)
    return Segmenter(SegmentationNet(in_channels=1), 3, **({"dropout": 0.1} | options))


def two_scenes():
    """Two images (1, 16, 16) with a square and a bar, and masks with ignored pixels."""
    images, masks = torch.zeros(2, 1, 16, 16), torch.zeros(2, 16, 16, dtype=torch.uint8)
    images[0, 0, 3:9, 3:9], masks[0, 3:9, 3:9] = 2, 1
    images[1, 0, 10:13], masks[1, 10:13] = -2, 2
    masks[:, 0] = 255
    return images, masks


def trainer(**options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return pl.Trainer(**(quiet | {"enable_checkpointing": False, "log_every_n_steps": 1} | options))


def test_twenty_updates_of_a_plain_trainer_lower_the_loss_on_two_images():
    model, (x, y) = segmenter(lr=6e-3), two_scenes()
    loader = DataLoader(TensorDataset(x, y), batch_size=2)
    plain = trainer(max_epochs=20)
    (before,) = plain.validate(model, loader, verbose=False)
    plain.fit(model, loader)
    assert "train_loss" in plain.callback_metrics
    (after,) = plain.validate(model, loader, verbose=False)
    assert after["val_loss"] < before["val_loss"] / 2 and after["val_miou"] > before["val_miou"]
    (tested,) = plain.test(model, loader, verbose=False)
    with torch.no_grad():
        exact = SEGMENTATION.metrics(model.eval()(x), y)
    assert tested.keys() == {"test_loss", "test_miou"}
    assert tested["test_loss"] == pytest.approx(exact.loss, rel=1e-4)
    assert tested["test_miou"] == pytest.approx(exact.miou, abs=1e-6)


def test_forward_upsamples_what_the_head_returns():
    model, x = segmenter().eval(), torch.randn(2, 1, 15, 18)
    grid = model.head_output(x)
    assert grid.shape == (2, 3, 8, 9)
    with scoring_view(as_adapted(model)) as view:
        assert torch.equal(view.logits(x), grid)
        assert view.features(x).shape == (2, 32, 8, 9)
    torch.testing.assert_close(model(x), F.interpolate(grid, (15, 18), mode="bilinear"))


def test_a_draw_drops_the_same_channels_at_all_sites():
    model, x = segmenter(dropout=0.5), torch.ones(1, 32, 4, 4)
    dropped = model.train().dropout(x)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(dropped, dropped[:, :, :1, :1].expand_as(dropped))


def test_the_wide_draws_equal_plain_passes():
    model, x = segmenter(dropout=0.5), torch.randn(3, 1, 16, 16)
    with scoring_view(as_adapted(model)) as view:
        wide = view.mc_log_probs(x, 5)
        one_by_one = draws_one_by_one(view, x, 5)
    assert wide.shape == (3, 5, 3, 8, 8)
    torch.testing.assert_close(wide, one_by_one, rtol=0, atol=1e-6)
    assert not torch.equal(wide[:, 0], wide[:, 1])


def test_class_weights_weigh_the_mean_over_pixels():
    x, y = two_scenes()
    model = segmenter(class_weights=[0.2, 1, 3]).eval()
    losses = F.cross_entropy(model(x), y.long().masked_fill(y == 255, 0), reduction="none")
    weight = torch.tensor([0.2, 1, 3])[y.long().masked_fill(y == 255, 0)] * (y != 255)
    torch.testing.assert_close(model.loss(x, y), (losses * weight).sum() / weight.sum())
    torch.testing.assert_close(segmenter(class_weights=[2, 2, 2]).eval().loss(x, y), segmenter().eval().loss(x, y))


@pytest.mark.parametrize("weights", [None, [0.2, 1, 3]])
def test_a_batch_of_ignored_pixels_has_no_loss_and_no_gradient(weights):
    model = segmenter(class_weights=weights)
    loss = model.loss(torch.randn(2, 1, 8, 8), torch.full((2, 8, 8), 255, dtype=torch.uint8))
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(bool((p.grad == 0).all()) for p in model.parameters())


def test_ignored_pixels_do_not_change_the_loss_or_the_gradient():
    x, y = two_scenes()
    other = y.clone()
    other[:, 0] = 1
    model = segmenter(dropout=0.0)
    logits = model(x).detach().requires_grad_()
    model._loss(logits, y).backward()
    assert bool((logits.grad[:, :, 0] == 0).all()) and bool((logits.grad[:, :, 1:] != 0).any())
    assert not torch.equal(model.loss(x, other), model.loss(x, y))


def test_every_part_of_the_network_trains_and_it_is_small():
    model, (x, y) = segmenter(), two_scenes()
    model.loss(x, y).backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in model.parameters())
    assert sum(p.numel() for p in SegmentationNet(3).parameters()) == pytest.approx(100_000, rel=0.1)


def test_an_image_does_not_depend_on_its_batch_also_in_training():
    net, x = SegmentationNet(3).train(), torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(net(x)[:1], net(x[:1]))


@pytest.mark.parametrize("side", [1, 2, 5, 17])
def test_images_of_any_size(side):
    model = segmenter()
    assert model(torch.randn(1, 1, side, side + 1)).shape == (1, 3, side, side + 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adm"}, "optimizer: expected one of adam, adamw, sgd, got 'adm' (did you mean adam?)."),
        ({"dropout": 1.0}, "dropout: expected a probability from 0 to below 1, got 1.0."),
        ({"lr": 0.0}, "lr: expected a number above 0, got 0.0."),
        ({"class_weights": [1, 1]}, "class_weights: expected 3 numbers, one for each class, got 2."),
        ({"class_weights": [1, 0, 1]}, "class_weights: expected a number above 0, got 0."),
        ({"class_weights": [1, "a", 1]}, "class_weights: expected a number above 0, got 'a'."),
        ({"class_weights": "111"}, "class_weights: expected a number for each class, such as [0.2,1,1], got '111'."),
    ],
)
def test_refused(options, message):
    with pytest.raises(DalError) as error:
        segmenter(**options)
    assert str(error.value) == message


@pytest.mark.parametrize("num_classes", [1, 256])
def test_numbers_of_classes_that_masks_cannot_have(num_classes):
    with pytest.raises(DalError, match=rf"^num_classes: expected from 2 to 255 classes, got {num_classes}\.$"):
        Segmenter(SegmentationNet(1), num_classes)


def test_model_config_passes_everything_on():
    config = ModelConfig(
        "segmentation_net", None, 0.1, 0.2, "sgd", 0.3, 0.4, 0.6, "cosine", input_size=12, class_weights=[1, 2, 3, 4]
    )
    model = config.build((1, 8, 10), 4, SEGMENTATION)
    assert isinstance(model, Segmenter) and model(torch.zeros(2, 1, 8, 10)).shape == (2, 4, 8, 10)
    assert model.head_output(torch.zeros(2, 1, 8, 10)).shape == (2, 4, 6, 6)
    assert (model.dropout.p, model.class_weights.tolist()) == (0.1, [1, 2, 3, 4])
    assert (model.optimizer, model.lr, model.weight_decay, model.momentum, model.schedule) == (
        ("sgd", 0.3, 0.4, 0.6, "cosine")
    )
    assert "class_weights" not in model.state_dict()


SETTINGS = {"backbone": "segmentation_net"}


@pytest.mark.parametrize(
    ("settings", "task", "message"),
    [
        (
            {},
            SEGMENTATION,
            r"model\.backbone: expected a network for segmentation \(set model=segmentation\), got 'small",
        ),
        (
            {"backbone": "resnet18_cifar"},
            SEGMENTATION,
            r"model\.backbone: expected one of deeplabv3_.*segmentation_net, got",
        ),
        (SETTINGS, CLASSIFICATION, r"model\.backbone: expected a network for classification data, such as small_cnn, "),
        ({"class_weights": [1, 1, 1]}, CLASSIFICATION, r"model\.class_weights: expected null with classification data"),
        (
            SETTINGS | {"class_weights": [1]},
            SEGMENTATION,
            r"model\.class_weights: expected 3 numbers, one for each cla",
        ),
        (
            SETTINGS | {"ensemble_size": 2},
            SEGMENTATION,
            r"model\.ensemble_size: expected 1 with segmentation data, got",
        ),
        (
            SETTINGS | {"weights": "DEFAULT"},
            SEGMENTATION,
            r"weights: expected null: segmentation_net has no pre-traine",
        ),
        (
            SETTINGS | {"backbone_options": {"drop_path_rate": 0.1}},
            SEGMENTATION,
            r"model\.backbone_options: expected none with segmentation data, got ",
        ),
        pytest.param(
            SETTINGS | {"freeze_backbone": True},
            SEGMENTATION,
            r"model\.freeze_backbone: expected false with segmentation data, got True",
            marks=pytest.mark.filterwarnings("ignore:model.freeze_backbone"),
        ),
    ],
)
def test_settings_that_do_not_fit_the_task(settings, task, message):
    with pytest.raises(DalError, match=rf"^{message}"):
        ModelConfig(**settings).build((1, 8, 8), 3, task)


def test_weights_of_classes_are_checked_before_the_data_is_known():
    with pytest.raises(DalError, match=r"^model\.class_weights: expected a number above 0, got -1\.$"):
        ModelConfig(class_weights=[1, -1])


@pytest.mark.parametrize(
    ("model", "task", "message"),
    [
        (
            Classifier(SmallCNN(1, (8, 8)), 3),
            SEGMENTATION,
            'model: expected a Segmenter or adapt(..., task="segmentation") to match the data, got Classifier for '
            "classification.",
        ),
        (
            segmenter(),
            CLASSIFICATION,
            "model: expected a network for classification data, got Segmenter for segmentation.",
        ),
    ],
)
def test_a_model_of_another_task_is_refused(model, task, message):
    with pytest.raises(DalError) as error:
        check_outputs(as_adapted(model), 3, task)
    assert str(error.value) == message


def test_another_number_of_classes_is_refused():
    expected = (
        r"^model: expected a last layer with 5 outputs, one for each class of the data, got 3 outputs at 'head'\.$"
    )
    with pytest.raises(DalError, match=expected):
        check_outputs(as_adapted(segmenter()), 5, SEGMENTATION)
