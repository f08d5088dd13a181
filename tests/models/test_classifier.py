import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from dal.errors import DalError
from dal.models.backbones import SmallCNN, build_backbone
from dal.models.classifier import OPTIMIZERS, Classifier, ModelConfig

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
        ({"momentum": -0.5}, "momentum: expected a number from 0, got -0.5."),
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
    config = ModelConfig("small_cnn", None, 0.1, 0.2, "sgd", 0.3, 0.4, 0.6, "cosine")
    model = config.build((1, 8, 8), 7)
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 7)
    assert (model.dropout.p, model.backbone.layers[7].p) == (0.1, 0.2)
    assert (model.optimizer, model.lr, model.weight_decay, model.momentum, model.schedule) == (
        ("sgd", 0.3, 0.4, 0.6, "cosine")
    )
