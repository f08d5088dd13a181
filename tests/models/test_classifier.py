import copy
import warnings

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from dal.errors import DalError
from dal.models.backbones import Backbone, SmallCNN, build_backbone
from dal.models.base_module import OPTIMIZERS
from dal.models.classifier import Classifier
from dal.models.config import ModelConfig

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec."),
    pytest.mark.filterwarnings("ignore:.*no `val_dataloader`"),
]


def classifier(**options):
    torch.manual_seed(0)
    return Classifier(SmallCNN(1, (8, 8)), 3, **options)


@pytest.fixture(scope="module")
def loader(shared):
    data = shared.make_images(48)
    return DataLoader(TensorDataset(data.plain(range(48)), data.labels), batch_size=16)


def trainer(**options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return pl.Trainer(**(quiet | {"enable_checkpointing": False, "log_every_n_steps": 1} | options))


def test_works_with_a_plain_trainer(loader):
    model = classifier(lr=1e-2, dropout=0.1)
    plain = trainer(max_epochs=15)
    plain.fit(model, loader, loader)
    logged = {k: float(v) for k, v in plain.callback_metrics.items()}
    assert logged.keys() == {"train_loss", "val_loss", "val_accuracy"}
    assert logged["val_accuracy"] > 0.9
    (validated,) = plain.validate(model, loader, verbose=False)
    (tested,) = plain.test(model, loader, verbose=False)
    x, y = loader.dataset.tensors
    with torch.no_grad():
        logits = model.eval()(x)
    for split, numbers in (("val", validated), ("test", tested)):
        assert numbers.keys() == {f"{split}_loss", f"{split}_accuracy"}
        assert numbers[f"{split}_accuracy"] == pytest.approx(float((logits.argmax(dim=1) == y).float().mean()))
        assert numbers[f"{split}_loss"] == pytest.approx(
            float(torch.nn.functional.cross_entropy(logits, y)), rel=1e-3, abs=1e-5
        )


def test_forward_gives_logits_and_dropout_stands_before_the_head():
    model, x = classifier(dropout=0.5), torch.randn(4, 1, 8, 8)
    features = model.eval().backbone(x)
    torch.testing.assert_close(model(x), features @ model.head.weight.T + model.head.bias)
    model.backbone.register_forward_hook(lambda m, args, out: torch.ones_like(out))
    seen = []
    model.head.register_forward_hook(lambda m, args, out: seen.append(args[0]))
    model.train()(x)
    assert seen[0].unique().tolist() == [0.0, 2.0]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_each_optimizer_steps(loader, optimizer):
    model = classifier(optimizer=optimizer, lr=0.01, weight_decay=0.125, momentum=0.75)
    before = {k: v.clone() for k, v in model.named_parameters()}
    plain = trainer(max_steps=1)
    plain.fit(model, loader)
    assert all(not torch.equal(before[k], v) for k, v in model.named_parameters())
    used = plain.optimizers[0]
    assert type(used).__name__.lower() == optimizer
    assert used.param_groups[0]["lr"] == 0.01
    assert used.param_groups[0]["weight_decay"] == 0.125
    assert used.param_groups[0].get("momentum", 0.75) == 0.75


class Rates(pl.Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.mark.parametrize("options", [{"max_steps": 20, "max_epochs": -1}, {"max_epochs": 4}])
def test_the_cosine_schedule_ends_near_zero(loader, options):
    rates = Rates()
    trainer(callbacks=[rates], **options).fit(classifier(schedule="cosine", lr=0.5), loader)
    assert rates.seen[0] < 0.5
    assert rates.seen == sorted(rates.seen, reverse=True)
    assert rates.seen[len(rates.seen) // 2 - 1] == pytest.approx(0.25)
    assert rates.seen[-1] == pytest.approx(0, abs=1e-6)


def test_the_constant_schedule_is_constant(loader):
    rates = Rates()
    trainer(callbacks=[rates], max_epochs=2).fit(classifier(lr=0.25), loader)
    assert set(rates.seen) == {0.25}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adm"}, "optimizer: expected one of adam, adamw, sgd, got 'adm' (did you mean adam?)."),
        ({"schedule": "linear"}, "schedule: expected one of constant, cosine, got 'linear'."),
        ({"dropout": 1.0}, "dropout: expected a probability from 0 to below 1, got 1.0."),
        ({"dropout": -0.1}, "dropout: expected a probability from 0 to below 1, got -0.1."),
        ({"lr": 0.0}, "lr: expected a number above 0, got 0.0."),
        ({"lr": float("nan")}, "lr: expected a number above 0, got nan."),
        ({"weight_decay": -1.0}, "weight_decay: expected a number from 0, got -1.0."),
        ({"momentum": -0.5}, "momentum: expected a number from 0 to below 1, got -0.5."),
    ],
)
def test_refused(options, message):
    with pytest.raises(DalError) as error:
        classifier(**options)
    assert str(error.value) == message


def test_one_class_is_refused():
    with pytest.raises(DalError, match=r"^num_classes: expected at least 2, got 1\.$"):
        Classifier(SmallCNN(1, (8, 8)), 1)


@pytest.mark.parametrize("dropout", [1.0, -0.1])
def test_dropout_inside_the_backbone_is_checked(dropout):
    with pytest.raises(DalError, match="dropout: expected a probability from 0 to below 1"):
        build_backbone("small_cnn", (1, 8, 8), dropout=dropout)


def test_model_config_passes_everything_on():
    config = ModelConfig("small_cnn", None, 0.1, 0.2, "sgd", 0.3, 0.4, 0.6, "cosine", 12)
    model = config.build((1, 8, 8), 7)
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 7)
    assert (model.dropout.p, model.backbone.backbone.layers[7].p) == (0.1, 0.2)
    assert model.backbone.size == 12
    assert (model.optimizer, model.lr, model.weight_decay, model.momentum, model.schedule) == (
        ("sgd", 0.3, 0.4, 0.6, "cosine")
    )


class Normed(Backbone):
    """All that moves in training without a gradient: BatchNorm statistics and dropout."""

    num_features = 6

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout2d(0.5), nn.Flatten(), nn.Linear(108, 6)
        )

    def forward(self, x):
        return self.layers(x)


def frozen(**options):
    torch.manual_seed(0)
    return Classifier(Normed(), 3, freeze_backbone=True, **options)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_frozen_backbone_does_not_move_and_the_head_trains(loader, optimizer):
    model = frozen(optimizer=optimizer, weight_decay=0.1)
    before = copy.deepcopy(model.state_dict())
    plain = trainer(max_steps=4)
    plain.fit(model.train(), loader)
    after = model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"head.weight", "head.bias"}
    assert "backbone.layers.1.num_batches_tracked" in before
    (group,) = plain.optimizers[0].param_groups
    assert [id(p) for p in group["params"]] == [id(p) for p in model.head.parameters()]


def test_without_freezing_the_same_backbone_moves(loader):
    torch.manual_seed(0)
    model = Classifier(Normed(), 3)
    before = copy.deepcopy(model.state_dict())
    trainer(max_steps=4).fit(model.train(), loader)
    still = {name for name, value in model.state_dict().items() if torch.equal(before[name], value)}
    assert still == set()


def test_a_frozen_backbone_stays_in_eval_mode_whatever_the_module_is_put_to():
    model = frozen()
    assert (model.dropout.training, any(m.training for m in model.backbone.modules())) == (True, False)
    assert not any(m.training for m in model.eval().modules())
    assert model.train() is model
    assert (model.dropout.training, any(m.training for m in model.backbone.modules())) == (True, False)


def test_a_frozen_classifier_takes_features_for_images():
    model, x = frozen(dropout=0.5), torch.randn(5, 1, 8, 8)
    features = model.backbone(x)
    runs = []
    model.backbone.register_forward_hook(lambda *args: runs.append(1))
    for mode in (True, False):
        model.train(mode)
        torch.manual_seed(1)
        on_features = model(features)
        assert not runs
        torch.manual_seed(1)
        torch.testing.assert_close(model(x), on_features)
        assert len(runs) == 1
        runs.clear()


def test_features_of_another_width_are_refused():
    with pytest.raises(DalError) as error:
        frozen()(torch.zeros(2, 7))
    assert str(error.value) == "x: expected images, or (B, 6) features, got (2, 7)."


def test_a_classifier_that_is_not_frozen_gives_all_that_comes_to_its_backbone():
    class Vectors(Backbone):
        num_features = 2

        def forward(self, x):
            return x[:, :2]

    model = Classifier(Vectors(), 3).eval()
    x = torch.randn(4, 5)
    torch.testing.assert_close(model(x), model.head(x[:, :2]))


@pytest.mark.filterwarnings("ignore:model.freeze_backbone")
def test_model_config_freezes():
    model = ModelConfig(freeze_backbone=True, backbone_dropout=0.25).build((1, 8, 8), 3)
    assert model.freeze_backbone and model.backbone.layers[7].p == 0
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"head.weight", "head.bias"}
    assert all(p.requires_grad for p in ModelConfig().build((1, 8, 8), 3).parameters())


def test_freezing_random_weights_is_said():
    with pytest.warns(
        UserWarning, match=r"^model\.freeze_backbone: the backbone stays random because model.weights is null"
    ):
        ModelConfig(freeze_backbone=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ModelConfig(freeze_backbone=True, backbone="torchvision/resnet18", weights="DEFAULT")


def test_the_target_has_its_own_backbone_and_weights_all_of_it_trained():
    proxy = ModelConfig(
        "torchvision/resnet18", "a.pt", lr=0.5, freeze_backbone=True, final_backbone="small_cnn", final_weights="b.pt"
    )
    assert proxy.final() == ModelConfig("small_cnn", "b.pt", lr=0.5)
    assert ModelConfig().final() is None
    with pytest.raises(DalError) as error:
        ModelConfig(final_weights="b.pt")
    assert str(error.value) == "model.final_weights: expected null without a model.final_backbone, got 'b.pt'."
