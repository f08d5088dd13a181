"""Segmentation modules of users: logits and features of sites, draws, and what is refused."""

import pytest
import torch
import torchvision
from helpers.dense_modules import DenseModule, TinyUNet, dense_images
from helpers.toy_masks import draws_one_by_one
from torch import nn
from torch.nn.functional import interpolate

from dal.acquisition import BALD, EGL, CoreSet, Entropy, LeastConfidence, Margin
from dal.errors import DalError
from dal.models import adapt
from dal.models.adapt import AdaptedModel, check_outputs
from dal.models.adapted.map_head import MissingFeatures, check_agreement, check_are_logits
from dal.models.adapted.scoring_model import NoHeadError, scoring_view
from dal.models.dropout.draws import SeededDraws
from dal.tasks import CLASSIFICATION, MULTI_LABEL, SEGMENTATION

X = dense_images()


def dense(net, head, **options):
    return adapt(DenseModule(net), head, task="segmentation", **options)


def unet(head="model.head", **options):
    return dense(TinyUNet(), head, **options)


def deeplab():
    torch.manual_seed(0)
    return torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=3, aux_loss=True
    )


def test_logits_are_those_of_the_head_before_upsampling():
    model = unet()
    with scoring_view(model) as view:
        features, logits = view.outputs(X)
        for _ in range(2):  # the second pass ends at the head
            torch.testing.assert_close(view.logits(X), logits)
        whole = model.module(X)["out"]
        rows = features.movedim(1, -1).flatten(0, -2)
        of_rows = view.head(rows)
        torch.testing.assert_close(view.head(view.features(X)), logits)
    assert features.shape == (4, 6, 8, 8) and logits.shape == (4, 3, 8, 8)
    torch.testing.assert_close(whole, interpolate(logits, (16, 16), mode="bilinear"))
    torch.testing.assert_close(of_rows, logits.movedim(1, -1).flatten(0, -2))


def test_deeplab_in_the_module_of_a_user():
    """Its state has an auxiliary classifier, whose last layer also is a 1x1 convolution."""
    model = dense(deeplab(), "model.classifier.4")
    with scoring_view(model) as view:
        logits, whole = view.logits(X), model.module(X)["out"]
    assert logits.shape == (4, 3, 1, 1)
    torch.testing.assert_close(whole, interpolate(logits, (16, 16), mode="bilinear"))


@pytest.mark.parametrize("in_middle", [True, False], ids=["around the skip", "after the skip"])
def test_wide_draws_equal_plain_passes_with_a_skip_connection(in_middle):
    """Draws that start at the input where the skip connection goes around the first dropout layer."""
    with scoring_view(dense(TinyUNet(0.5 if in_middle else 0.0), "model.head")) as view:
        wide = view.mc_log_probs(X, 5)
        plain = draws_one_by_one(view, X, 5)
        assert view.draws(X, 5).at_input == in_middle
        again = torch.cat([view.mc_log_probs(X[i : i + 1], 5) for i in range(4)])
    assert wide.shape == (4, 5, 3, 8, 8)
    torch.testing.assert_close(wide, plain, rtol=0, atol=1e-6)
    torch.testing.assert_close(wide, again, rtol=0, atol=1e-6)
    assert not torch.allclose(wide[:, 0], wide[:, 1])


def test_dropout_by_a_function_is_drawn_by_seeds():
    class Functional(TinyUNet):
        def forward(self, x):
            fine = nn.functional.dropout(self.fine(x).relu(), 0.5, self.training)
            return self.head(self.merged(torch.cat([fine, fine, fine[:, :2]], dim=1)))

    net = Functional(0.0)
    net.dropout = nn.Identity()
    with scoring_view(dense(net, "model.head")) as view:
        draws = view.mc_log_probs(X, 3)
        assert isinstance(view.draws(X, 3), SeededDraws)
        plain = draws_one_by_one(view, X, 3)
    assert draws.shape == (4, 3, 3, 8, 8)
    torch.testing.assert_close(draws, plain, rtol=0, atol=1e-6)


def test_forward_ends_at_the_head_from_the_second_pass_on():
    class Counting(TinyUNet):
        after = 0

        def forward(self, x):
            out = super().forward(x)
            self.after += 1
            return out

    net = Counting()
    with scoring_view(dense(net, "model.head")) as view:
        passes = [view.logits(X) for _ in range(3)]
    assert net.after <= 3  # two looks at whether the module is random, and the first pass
    assert torch.equal(passes[0], passes[2]) and not net.head._forward_hooks


@pytest.mark.parametrize("count", [0, 2])
def test_a_head_that_does_not_run_once(count):
    class Again(TinyUNet):
        def forward(self, x):
            fine = self.fine(x)
            return sum((self.head(fine) for _ in range(count)), fine[:, :3])

    expected = rf"^head: expected 'model\.head' to run once in forward\(\), got {count} runs\. .* predict="
    with pytest.raises(DalError, match=expected), scoring_view(dense(Again(), "model.head")) as view:
        view.logits(X)


NAME = "head: expected the name of the last 1x1 convolution, perhaps 'model.head', or \".\" if there is none"
HINT = '; else pass predict=, a function that returns (logits, features), or head="." for the output of forward()'


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (None, f"{NAME}, got None."),
        ("head", f"{NAME}, got 'head'."),
        (
            "model.merged",
            f"head: expected a convolution with a kernel of 1 from features to logits{HINT}, got Conv2d with a kernel "
            "of 3 x 3 at 'model.merged'.",
        ),
        (
            "model",
            f"head: expected a convolution with a kernel of 1 from features to logits, perhaps 'model.head'{HINT}, got "
            "TinyUNet at 'model'.",
        ),
        (nn.Conv2d(6, 3, 1), "head: expected a layer of the module, or its name, got 'Conv2d'."),
    ],
    ids=["none", "unknown", "3x3", "block", "foreign"],
)
def test_heads_that_are_refused(head, message):
    with pytest.raises(DalError) as error:
        unet(head)
    assert str(error.value) == message


def test_the_hint_is_not_the_auxiliary_classifier():
    with pytest.raises(DalError, match=r"perhaps 'model\.classifier\.4', or"):
        dense(deeplab(), None)


def test_a_stride_in_the_head_is_refused():
    net = TinyUNet()
    net.head = nn.Conv2d(6, 3, 1, stride=2)
    with pytest.raises(DalError, match=r"got Conv2d with stride 2, padding \(0, 0\) and 1 groups at 'model\.head'\.$"):
        dense(net, "model.head")


def test_the_layer_itself_can_be_the_head():
    module = DenseModule(TinyUNet())
    assert adapt(module, module.model.head, task="segmentation").head == "model.head"


@pytest.mark.parametrize("task", ["detection", "Segmentation", 1])
def test_an_unknown_task(task):
    with pytest.raises(DalError, match=r"^task: expected one of classification, multi_label, segmentation, got '"):
        adapt(DenseModule(TinyUNet()), "model.head", task=task)


@pytest.mark.parametrize(
    ("given", "of_data", "message"),
    [
        ("segmentation", CLASSIFICATION, "model: expected a network for classification data, got DenseModule for segm"),
        ("segmentation", MULTI_LABEL, "model: expected a network for multi_label data, got DenseModule for segmentati"),
        ("multi_label", CLASSIFICATION, 'model: expected adapt(..., task="classification") to match the data, got '),
        ("classification", SEGMENTATION, 'model: expected a Segmenter or adapt(..., task="segmentation") to match the'),
        (
            None,
            SEGMENTATION,
            'model: expected a Segmenter or adapt(..., task="segmentation") to match the data, got De',
        ),
    ],
)
def test_a_task_that_does_not_fit_the_data(given, of_data, message):
    model = AdaptedModel(DenseModule(TinyUNet()), "model.head", task=given)
    with pytest.raises(DalError) as error:
        check_outputs(model, 3, of_data)
    assert str(error.value).startswith(message)


def test_logits_of_other_classes_are_refused_and_one_logit_is_two_classes():
    with pytest.raises(
        DalError, match=r"^model: expected a last layer with 5 outputs, .* got 3 outputs at 'model\.head'"
    ):
        check_outputs(unet(), 5, SEGMENTATION)
    net = TinyUNet()
    net.head = nn.Conv2d(6, 1, 1)
    model = dense(net, "model.head")
    check_outputs(model, 2, SEGMENTATION)
    with pytest.raises(DalError, match="got 1 outputs at"):
        check_outputs(model, 3, SEGMENTATION)
    with scoring_view(model) as view:
        logits = view.logits(X)
    assert logits.shape == (4, 2, 8, 8) and not bool(logits[:, 0].any())


def test_dropout_is_wanted_where_there_is_none():
    net = TinyUNet(0.0)
    net.dropout = nn.Identity()
    with (
        pytest.raises(DalError, match=r"^model: expected a dropout layer"),
        scoring_view(dense(net, "model.head")) as view,
    ):
        view.mc_log_probs(X, 3)


class Whole(TinyUNet):
    """Adds two classifiers, as LRASPP does."""

    def forward(self, x):
        return {"out": self.head(self.dropout(self.fine(x))) + super().forward(x)["out"][:, :, ::2, ::2]}


class Rows:
    """Lays sites out as rows for a function, as scoring does."""

    def __init__(self, view):
        self.view = view

    def features(self, x):
        features, logits = self.view.outputs(x)
        self.own = [part[:, :, :4].permute(0, 2, 3, 1).reshape(-1, part.shape[1]) for part in (features, logits)]
        return self.own[0]

    def head(self, features):
        return self.own[1] if features is self.own[0] else self.view.head(features)


@pytest.mark.parametrize("function", [Margin(), Entropy(), LeastConfidence()])
def test_functions_on_logits_work_without_a_last_layer(function):
    with scoring_view(dense(Whole(), ".")) as view:
        assert torch.equal(view.logits(X), view.plain_logits(X)) and view.logits(X).shape == (4, 3, 8, 8)
        assert view.mc_log_probs(X, 3).shape == (4, 3, 3, 8, 8)
        assert function.score(Rows(view), X).shape == (4 * 4 * 8,)
        assert isinstance(view.features(X), MissingFeatures)


@pytest.mark.parametrize("function", [CoreSet(), EGL()])
def test_functions_on_features_are_refused_without_a_last_layer(function):
    with pytest.raises(NoHeadError) as error, scoring_view(dense(Whole(), ".")) as view:
        summary = function.summarize(Rows(view), X)
        torch.cat([*summary.values()])
    assert str(error.value) == (
        'model: expected the name of a 1x1 convolution as head= for a function on features, got head=".". Pass '
        "predict=, a function that returns (logits, features), or choose a function on logits, such as margin."
    )


def test_lraspp_of_torchvision_is_taken_whole():
    torch.manual_seed(0)
    net = torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
    model = dense(net, ".")
    check_outputs(model, 3, SEGMENTATION)
    with scoring_view(model) as view:
        torch.testing.assert_close(view.logits(X), model.module(X)["out"])


@pytest.mark.parametrize(
    ("result", "got"),
    [
        (lambda x: {"logits": x}, "dict"),
        (lambda x: x.flatten(1), "(4, 768)"),
        (lambda x: x[:2], "(2, 3, 16, 16)"),
        (lambda x: [x], "list"),
    ],
)
def test_outputs_that_are_not_logits_of_sites(result, got):
    model = unet(".", forward=lambda module, x: result(x))
    with pytest.raises(DalError) as error, scoring_view(model) as view:
        view.logits(X)
    assert str(error.value) == (
        f'forward(): expected logits of shape (4, C, h, w), or a dict with them under "out", got {got}.'
    )


def test_probabilities_are_no_logits():
    logits = torch.randn(2, 3, 4, 4)
    for fine in (logits, logits.log_softmax(dim=1), logits.sigmoid()):
        check_are_logits(fine)
    expected = (
        r'^forward\(\): expected logits with head="\." \(pass forward=, a function that returns them\), got probab'
    )
    with pytest.raises(DalError, match=expected):
        check_are_logits(logits.softmax(dim=1))


def test_forward_that_chooses_other_classes_than_the_head_is_refused():
    logits = torch.randn(2, 4, 5, 6)
    large = interpolate(logits, (40, 48), mode="bilinear")
    shifted = interpolate(logits, (39, 47), mode="bilinear", align_corners=True)
    for fine in (large, shifted, {"out": large}, large.softmax(dim=1), large.argmax(dim=1), None, [large]):
        check_agreement("model.head", logits, fine)
    for other in (-large, {"out": -large}, large.roll(1, dims=1)):
        with pytest.raises(
            DalError, match=r"^model: expected forward\(\) to choose the classes that the output of the "
        ):
            check_agreement("model.head", logits, other)


def predict(module, x):
    features = module.model.fine(x)
    return module.model.head(features), features


def test_predict_gives_logits_and_features_of_sites():
    with scoring_view(unet(None, predict=predict)) as view:
        features, logits = view.outputs(X)
        assert features.shape == (4, 6, 8, 8) and logits.shape == (4, 3, 8, 8)
        assert torch.equal(view.head(view.features(X)), logits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z, f: z, "predict: expected (logits, features) of shapes (4, C, h, w) and (4, D, h, w), got 'Tensor'."),
        (
            lambda z, f: (z, f.flatten(1)),
            "predict: expected (logits, features) of shapes (4, C, h, w) and (4, D, h, w), got [(4, 3, 8, 8), "
            "(4, 384)].",
        ),
        (
            lambda z, f: (z, f[:, :, ::2]),
            "predict: expected (logits, features) of the same height and width, got [(4, 3, 8, 8), (4, 6, 4, 8)].",
        ),
    ],
)
def test_predict_with_other_results(change, message):
    model = unet(None, predict=lambda module, x: change(*predict(module, x)))
    with pytest.raises(DalError) as error, scoring_view(model) as view:
        view.logits(X)
    assert str(error.value) == message


def test_predict_and_the_output_of_forward_exclude_each_other():
    with pytest.raises(DalError, match=r"^head: expected the name of a layer, or None with predict, got '\.'\.$"):
        unet(".", predict=predict)


def test_unet_of_segmentation_models_pytorch():
    """The last convolution of its U-Net has a kernel of 3, so predict= gives the features."""
    smp = pytest.importorskip("segmentation_models_pytorch", reason="needs segmentation-models-pytorch")
    net = smp.Unet("resnet18", encoder_weights=None, encoder_depth=3, decoder_channels=(16, 8, 8), classes=3)

    def of_sites(module, x):
        decoded = module.model.decoder(module.model.encoder(x))
        return module.model.segmentation_head(decoded), decoded

    with pytest.raises(DalError, match=r"got Conv2d with a kernel of 3 x 3 at 'model\.segmentation_head\.0'\.$"):
        dense(net, "model.segmentation_head.0")
    model = dense(net, None, predict=of_sites)
    check_outputs(model, 3, SEGMENTATION)
    with scoring_view(model) as view:
        torch.testing.assert_close(view.logits(X), model.module(X))
        assert view.features(X).shape == (4, 8, 16, 16)
        with pytest.raises(DalError, match=r"^model: expected a dropout layer for MC dropout"):
            view.mc_log_probs(X, BALD().num_draws)
    with scoring_view(dense(net, ".")) as view:
        torch.testing.assert_close(view.logits(X), model.module(X))
