"""Lightning modules as public projects write them: each trains and chooses through two rounds."""

import warnings

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset

from dal import ActiveLearner, adapt
from dal.acquisition import BADGE, BALD, Margin
from dal.data import from_dataset
from dal.training import TrainingConfig

CLASSES, SIDE = 3, 32


class Stripes(Dataset):
    """Float images of three kinds, which a small network tells apart within a few updates."""

    classes = ("dark", "bright", "striped")

    def __init__(self, count=48):
        g = torch.Generator().manual_seed(0)
        self.targets = [index % CLASSES for index in range(count)]
        base = torch.stack([torch.full((SIDE, SIDE), -1.0), torch.ones(SIDE, SIDE), torch.zeros(SIDE, SIDE)])
        base[2, ::2] = 1.0
        noise = torch.randn(count, 3, SIDE, SIDE, generator=g) * 0.3
        self.images = base[self.targets].unsqueeze(1) + noise

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return self.images[index], self.targets[index]


def body(dropout=0.0):
    return nn.Sequential(nn.Conv2d(3, 8, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout))


FEATURES = 8 * 7 * 7


class Plain(pl.LightningModule):
    """What all have in common."""

    def __init__(self, network=None):
        super().__init__()
        self.network = network or nn.Sequential(body(0.3), nn.Linear(FEATURES, CLASSES))

    def forward(self, x):
        return self.network(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = cross_entropy(self(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.02)


class OneCycle(Plain):
    """The learning rate follows the total number of steps, as the Trainer knows it."""

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.02, momentum=0.9)
        total = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.05, total_steps=total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class DictBatches(Plain):
    """Batches are dicts."""

    def training_step(self, batch, batch_idx):
        return cross_entropy(self(batch["image"]), batch["label"])


class TupleOutputs(Plain):
    """forward() returns logits and something else."""

    def forward(self, x):
        logits = self.network(x)
        return logits, {"probabilities": logits.softmax(dim=1)}

    def training_step(self, batch, batch_idx):
        return cross_entropy(self(batch[0])[0], batch[1])


class Manual(Plain):
    """Manual optimization with one optimizer for the body and one for the head."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        loss = cross_entropy(self(batch[0]), batch[1])
        for optimizer in self.optimizers():
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer in self.optimizers():
            optimizer.step()

    def configure_optimizers(self):
        parts = self.network[0], self.network[1]
        return [torch.optim.SGD(part.parameters(), lr=0.02) for part in parts]


class OnDevice(Plain):
    """Normalizes every batch after its transfer, and augments in training."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        x, y = batch
        if self.trainer.training:
            x = x + 0.05 * torch.randn_like(x)
        return (x - 0.2) / 0.9, y


class Compiled(Plain):
    """Compiles its network when training is set up."""

    def setup(self, stage):
        if not hasattr(self, "compiled"):
            self.compiled = True
            self.network = torch.compile(self.network, backend="eager")


class NoBias(Plain):
    def __init__(self):
        super().__init__(nn.Sequential(body(0.3), nn.Linear(FEATURES, CLASSES, bias=False)))


class HuggingFace(Plain):
    """transformers' ViT with a random configuration."""

    def __init__(self):
        transformers = pytest.importorskip("transformers")
        config = transformers.ViTConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=SIDE,
            patch_size=8, num_labels=CLASSES, hidden_dropout_prob=0.2,
        )  # fmt: skip
        super().__init__(transformers.ViTForImageClassification(config))

    def training_step(self, batch, batch_idx):
        return self.network(pixel_values=batch[0], labels=batch[1]).loss


def timm_model(name, **options):
    timm = pytest.importorskip("timm")
    return Plain(timm.create_model(name, num_classes=CLASSES, **options))


def vit():
    return timm_model(
        "vit_tiny_patch16_224", img_size=SIDE, patch_size=8, embed_dim=16, depth=1, num_heads=2, drop_rate=0.2,
        proj_drop_rate=0.1,
    )  # fmt: skip


def convnext():
    return timm_model("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 8, 16, 16), drop_rate=0.2, drop_path_rate=0.1)


def averaging():
    return {"callbacks": [pl.callbacks.StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1)]}


# Name: module, arguments of adapt(), Trainer options.
MODULES = {
    "one-cycle by total steps": (OneCycle, {"head": "network.1"}, dict),
    "dict batches": (DictBatches, {"head": "network.1", "batch": ("image", "label")}, dict),
    "tuple outputs": (TupleOutputs, {"head": "network.1"}, dict),
    "timm ViT with drop rates": (vit, {"head": "network.head"}, dict),
    "timm ConvNeXt with drop rates": (convnext, {"head": "network.head.fc"}, dict),
    "transformers ViT": (HuggingFace, {"head": "network.classifier"}, dict),
    "stochastic weight averaging": (Plain, {"head": "network.1"}, averaging),
    "manual optimization": (Manual, {"head": "network.1"}, dict),
    "augmentation after the transfer": (OnDevice, {"head": "network.1"}, dict),
    "torch.compile in setup()": (Compiled, {"head": "network.1"}, dict),
    "a head without bias": (NoBias, {"head": "network.1"}, dict),
}


@pytest.fixture(scope="module")
def data():
    return from_dataset(Stripes())


@pytest.mark.parametrize("acquisition", [Margin(), BADGE(), BALD(num_draws=4)], ids=lambda f: f.name)
@pytest.mark.parametrize("name", MODULES)
def test_two_rounds(data, name, acquisition):
    make, arguments, options = MODULES[name]
    torch.manual_seed(0)
    with warnings.catch_warnings():
        # Draws leave out attention dropout and stochastic depth, and a warning says so.
        warnings.filterwarnings("ignore", message=".*draws.*")
        learner = ActiveLearner(
            adapt(make(), **arguments),
            data,
            acquisition,
            training=TrainingConfig(max_updates=12, min_updates=4, check_every=4),
            trainer=options(),
        )
    for round in range(2):
        query = learner.ask(9)
        assert len(set(query)) == 9 and not set(query) & set(learner.pool.labeled.tolist())
        learner.tell(query, [data.labels[index].item() for index in query])
        before = [p.detach().clone() for p in learner.model.module.parameters()]
        result = learner.fit()
        assert 4 <= result.updates <= 12
        after = list(learner.model.module.parameters())
        assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
        assert learner.round == round
    assert learner.evaluate(data).accuracy >= 1 / CLASSES
    assert learner.rank(3).scores
