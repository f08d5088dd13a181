"""Backbones for segmentation, by name."""

from collections import OrderedDict
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import nn

from dal.errors import DalError
from dal.models.backbones.dense import SEGMENTATION_BACKBONES, build_segmentation_backbone
from dal.models.backbones.segmentation_net import SegmentationNet
from dal.models.backbones.torchvision_segmentation import TorchvisionSegmentation
from dal.models.segmenter import Segmenter

WIDTHS = {
    "segmentation_net": (32, 2),
    "fcn_resnet50": (512, 8),
    "deeplabv3_resnet50": (256, 8),
    "deeplabv3_mobilenet_v3_large": (256, 16),
    "lraspp_mobilenet_v3_large": (168, 8),
}


def torchvision_model(name, num_classes=4, **options):
    torch.manual_seed(0)
    return torchvision.models.get_model(
        name, weights=None, weights_backbone=None, num_classes=num_classes, **options
    ).eval()


@pytest.mark.parametrize("name", WIDTHS)
def test_features_keep_their_place(name):
    width, stride = WIDTHS[name]
    with torch.device("meta"):
        backbone = SegmentationNet(3) if name == "segmentation_net" else TorchvisionSegmentation(name)
        features = backbone.eval()(torch.zeros(2, 3, 64, 96))
    assert backbone.num_features == width
    assert features.shape == (2, width, 64 // stride, 96 // stride)


def test_all_segmentation_models_of_torchvision_are_choices():
    names = torchvision.models.list_models(module=torchvision.models.segmentation)
    assert set(SEGMENTATION_BACKBONES) == {"segmentation_net", *names}


@pytest.mark.parametrize(
    ("name", "options"), [("deeplabv3_mobilenet_v3_large", {"aux_loss": True}), ("lraspp_mobilenet_v3_large", {})]
)
def test_weights_of_a_file_give_the_features_of_torchvisions_model(name, options, tmp_path):
    theirs = torchvision_model(name, **options)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pt")
    ours = Segmenter(TorchvisionSegmentation(name, str(tmp_path / "theirs.pt")), 4).eval()
    if name.startswith("lraspp"):
        low, high = theirs.classifier.low_classifier, theirs.classifier.high_classifier
        weight, bias = torch.cat([low.weight, high.weight], dim=1), low.bias + high.bias
    else:
        weight, bias = theirs.classifier[-1].weight, theirs.classifier[-1].bias
    ours.head.weight, ours.head.bias = nn.Parameter(weight), nn.Parameter(bias)
    x = torch.randn(2, 3, 40, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x)["out"], rtol=1e-4, atol=1e-5)
        grey = x[:, :1]
        torch.testing.assert_close(ours(grey), theirs(grey.expand(-1, 3, -1, -1))["out"], rtol=1e-4, atol=1e-5)


def test_nothing_is_carried_along_that_no_gradient_reaches():
    torch.manual_seed(0)
    model = Segmenter(TorchvisionSegmentation("lraspp_mobilenet_v3_large"), 3)
    model.loss(torch.randn(2, 3, 32, 32), torch.zeros(2, 32, 32, dtype=torch.uint8)).backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "shape", "weights", "message"),
    [
        ("fcn_resnet5", (3, 32, 32), None, r"model\.backbone: expected one of .*did you mean fcn_resnet50"),
        ("segmentation_net", (3, 8, 8), "DEFAULT", "weights: expected null: segmentation_net has no pre-trained weigh"),
        (
            "fcn_resnet50",
            (4, 32, 32),
            None,
            r"image_shape: expected 1 or 3 channels .*, got \(4, 32, 32\)",
        ),
        ("lraspp_mobilenet_v3_large", (3, 32, 32), "IMAGENET", "weights: expected one of .*DEFAULT.*got 'IMAGENET'"),
        ("lraspp_mobilenet_v3_large", (3, 32, 32), "no/such.pt", "weights: .*FileNotFoundError.*no/such.pt"),
    ],
)
def test_refused_in_one_sentence(name, shape, weights, message):
    with pytest.raises(DalError, match=rf"^{message}") as error:
        build_segmentation_backbone(name, shape, weights)
    assert "\n" not in str(error.value)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(OrderedDict(a=torch.zeros(1)), tmp_path / "other.pt")
    with pytest.raises(DalError, match=r"^weights: expected a state dict of lraspp_mobilenet_v3_large, got"):
        TorchvisionSegmentation("lraspp_mobilenet_v3_large", str(tmp_path / "other.pt"))


def test_a_download_that_fails_is_one_sentence_with_a_remedy(monkeypatch):
    def fail(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(DalError) as error:
        TorchvisionSegmentation("lraspp_mobilenet_v3_large", "DEFAULT")
    assert str(error.value) == (
        "weights: expected to download lraspp_mobilenet_v3_large/DEFAULT, got URLError: <urlopen error no route to "
        "host>. Pass the path of a file that you have downloaded, or null."
    )
