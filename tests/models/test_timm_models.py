import sys

import numpy as np
import pytest
import torch

from dal.errors import DalError
from dal.models import ModelConfig
from dal.models.backbones import TimmBackbone, build_backbone

timm = pytest.importorskip("timm")

# Name and features: a linear head, a head with layers of its own, an attention head, two heads, a convolution as head.
NAMES = {
    "resnet10t": 512,
    "mobilenetv3_small_050": 1024,
    "test_vit": 64,
    "deit_tiny_distilled_patch16_224": 192,
    "dla34": 512,
}


def options(**values):
    return {"backbone_options": values}


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)], ids=["grey", "color"])
@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_model_trains_all_its_weights(name, shape):
    torch.manual_seed(0)
    size = None if name == "resnet10t" else 32 if "16" in name else 64
    model = ModelConfig(backbone=f"timm/{name}", input_size=size).build(shape, 5).train()
    assert model.backbone.num_features == NAMES[name]
    torch.nn.functional.cross_entropy(model(torch.randn(4, *shape)), torch.tensor([0, 1, 2, 3])).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.eval()(torch.zeros(1, *shape)).shape == (1, 5)


def test_features_are_what_timms_own_classifier_sees():
    torch.manual_seed(0)
    whole = timm.create_model("mobilenetv3_small_050", num_classes=7).eval()
    backbone = TimmBackbone("mobilenetv3_small_050", (3, 32, 32)).eval()
    missing = backbone.model.load_state_dict(whole.state_dict(), strict=False).unexpected_keys
    assert set(missing) == {"classifier.weight", "classifier.bias"}
    x = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(whole.classifier(backbone(x)), whole(x))


def test_a_model_of_a_fixed_size_gets_that_size_and_others_get_images_as_they_are():
    seen = []
    for name in ("test_vit", "resnet10t"):
        backbone = TimmBackbone(name, (1, 28, 28)).eval()
        backbone.model.register_forward_pre_hook(lambda module, args: seen.append(tuple(args[0].shape[1:])))
        backbone(torch.zeros(2, 1, 28, 28))
    assert seen == [(3, 160, 160), (3, 28, 28)]


def test_pre_trained_models_normalize_as_they_expect(tmp_path):
    """Images come with the statistics of the data; the network sees those of its own pre-training."""
    torch.manual_seed(0)
    torch.save(timm.create_model("test_vit", num_classes=3).state_dict(), tmp_path / "w.pt")
    pixels = torch.rand(2, 1, 160, 160, dtype=torch.float64)
    own = timm.get_pretrained_cfg("test_vit")
    expected = (pixels.numpy().repeat(3, 1) - np.array(own.mean).reshape(1, 3, 1, 1)) / np.reshape(
        own.std, (1, 3, 1, 1)
    )
    backbone = build_backbone(
        "timm/test_vit", (1, 160, 160), str(tmp_path / "w.pt"), statistics=([0.286], [0.353])
    ).eval()
    seen = []
    backbone.model.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    backbone(((pixels - 0.286) / 0.353).float())
    np.testing.assert_allclose(seen[0].numpy(), expected, atol=1e-5)
    # Random weights know of no statistics, and a state dict holds none.
    assert TimmBackbone("test_vit", (1, 28, 28), statistics=([0.286], [0.353])).scale is None
    assert not {"scale", "shift"} & set(backbone.state_dict())


def test_weights_from_a_file_may_have_another_number_of_classes(tmp_path):
    whole = timm.create_model("resnet10t", num_classes=3)
    torch.save(whole.state_dict(), tmp_path / "w.pt")
    backbone = TimmBackbone("resnet10t", (3, 32, 32), str(tmp_path / "w.pt"))
    assert torch.equal(backbone.model.conv1[0].weight, whole.conv1[0].weight)
    torch.save({"other": torch.zeros(1)}, tmp_path / "bad.pt")
    with pytest.raises(DalError, match=r"^weights: expected a state dict of timm/resnet10t, got another one"):
        TimmBackbone("resnet10t", (3, 32, 32), str(tmp_path / "bad.pt"))


def test_options_reach_timm():
    model = ModelConfig(backbone="timm/resnet10t", backbone_options={"drop_path_rate": 0.3}).build((3, 32, 32), 4)
    rates = [module.drop_prob for module in model.modules() if type(module).__name__ == "DropPath"]
    assert rates and max(rates) == pytest.approx(0.3)


@pytest.mark.parametrize(
    "config, message",
    [
        (
            {"backbone": "timm/resnet10"},
            r"backbone: expected one of .*, got 'timm/resnet10' .did you mean timm/resnet10t",
        ),
        (options(foo=1), r"model.backbone_options: expected arguments of timm/resnet10t, got .*'foo'"),
        (options(num_classes=3), r"model.backbone_options: expected numbers .* got .'num_classes': 3"),
        (options(drop_rate="x"), r"model.backbone_options: expected numbers .* got .'drop_rate': 'x'"),
        (
            {"backbone": "timm/convnext_atto"},
            r"model.input_size: expected a side in pixels that timm/convnext_atto supports",
        ),
        (
            options(a=1) | {"backbone": "small_cnn"},
            r"model.backbone_options: expected only width and depth with backbone=small_cnn",
        ),
        ({"weights": "IMAGENET1K_V1"}, r"weights: expected null, DEFAULT or a path ending in .pt or .pth"),
    ],
)
def test_bad_input_is_one_sentence(config, message):
    with pytest.raises(DalError, match="^" + message):
        ModelConfig(**{"backbone": "timm/resnet10t"} | config).build((1, 28, 28), 4)


def test_without_a_network_or_without_timm_a_sentence_says_so(monkeypatch):
    def offline(*args, **kwargs):
        raise FileNotFoundError("cannot find the requested files in the local cache")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(DalError, match=r"^weights: expected a network to download timm/resnet10t from, .* cannot find"):
        TimmBackbone("resnet10t", (3, 32, 32), "DEFAULT")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(DalError, match=r"^backbone: expected the package timm, got none. Run pip install timm\.$"):
        TimmBackbone("resnet10t", (3, 32, 32))


@pytest.mark.parametrize("tag", ["nope", ""])
def test_an_unknown_tag_of_a_known_model_is_an_unknown_name(tag):
    with pytest.raises(DalError, match=rf"^backbone: expected one of timm/resnet10t, .*got 'timm/resnet10t\.{tag}'"):
        build_backbone(f"timm/resnet10t.{tag}", (3, 32, 32))
    assert build_backbone("timm/test_vit.r160_in1k", (1, 28, 28)).num_features == 64


@pytest.mark.parametrize("name", ["", "../x", ".x", "a/b"])
def test_odd_names_are_unknown_names(name):
    with pytest.raises(DalError, match=rf"^backbone: expected one of timm/.*, got 'timm/{name}'"):
        build_backbone(f"timm/{name}", (3, 32, 32))


def test_the_image_size_among_the_options_is_the_size_of_the_images():
    backbone = TimmBackbone("test_vit", (1, 8, 8), options={"img_size": 16, "patch_size": 8})
    assert backbone.size == 16
    with pytest.raises(DalError, match=r"^model\.input_size: expected null, or img_size .*\(16\), got 32\.$"):
        TimmBackbone("test_vit", (1, 8, 8), input_size=32, options={"img_size": 16})


@pytest.mark.parametrize("key", ["drop_rate", "drop_path_rate"])
@pytest.mark.parametrize("value", [5, -0.1, float("nan"), True])
def test_a_rate_among_the_options_is_a_share(key, value):
    with pytest.raises(DalError, match=rf"^model\.backbone_options\.{key}: expected a share from 0 to 1, got {value}"):
        TimmBackbone("resnet10t", (3, 32, 32), options={key: value})
