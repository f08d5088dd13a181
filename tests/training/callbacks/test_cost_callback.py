"""What training costs, against counts by hand, for Lightning's ways of training."""

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack as modes
from torch.utils.data import DataLoader, TensorDataset

from dal.costs.ledger import Ledger
from dal.training.callbacks.cost_callback import TrainingCounter

FIRST, SECOND = 2 * 64 * 8, 2 * 8 * 3
FORWARD, BACKWARD = FIRST + SECOND, FIRST + 2 * SECOND


class Plain(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(64, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.second(nn.functional.dropout(self.first(x).relu(), 0.3, self.training))

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


class Convolutions(Plain):
    def __init__(self):
        super().__init__()
        self.before = nn.Sequential(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
        self.before.extend([nn.Conv2d(6, 6, 3, padding=1, groups=3), nn.AvgPool2d(3), nn.Flatten(), nn.Linear(24, 64)])

    def forward(self, x):
        return super().forward(self.before(x))


class Validated(Plain):
    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))


class Manual(Plain):
    """Two optimizers that are stepped by hand."""

    automatic_optimization = False

    def training_step(self, batch, batch_idx):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(super().training_step(batch, batch_idx))
            optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.SGD(part.parameters(), lr=0.01) for part in (self.first, self.second)]


class Skips(Plain):
    def on_train_batch_start(self, batch, batch_idx):
        return -1 if batch_idx == 1 else None


class Fails(Plain):
    error = ValueError

    def training_step(self, batch, batch_idx):
        if batch_idx == 1:
            raise self.error("no")
        return super().training_step(batch, batch_idx)


class Interrupted(Fails):
    error = KeyboardInterrupt


class FailsInBackward(Plain):
    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        loss.register_hook(lambda grad: 1 / 0)
        return loss


class Busy(pl.Callback):
    """Computes much at the end of each batch, as a check on validation points does."""

    def on_train_batch_end(self, *args):
        torch.rand(50, 50) @ torch.rand(50, 50)


def loader(count, batch_size, seed=0):
    g = torch.Generator().manual_seed(seed)
    points = TensorDataset(torch.randn(count, 64, generator=g), torch.randint(0, 3, (count,), generator=g))
    return DataLoader(points, batch_size)


def train(kind, count=20, batch_size=4, counting=True, callbacks=(), module=None, **options):
    """The module as trained, and what it cost."""
    ledger = Ledger()
    torch.manual_seed(0)
    module = module or kind()
    validation = {"val_dataloaders": loader(6, 3)} if hasattr(kind, "validation_step") and kind is Validated else {}
    with TrainingCounter(ledger) as counter:
        trainer = pl.Trainer(
            **({"max_epochs": 1} | options),
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            callbacks=[counter] * counting + list(callbacks),
        )
        trainer.fit(module, loader(count, batch_size), **validation)
    return module, ledger.row()


def costs(row, phase="train"):
    keys = [f"{what}_{phase}" for what in ("samples_forward", "samples_backward", "flops_forward", "flops_backward")]
    return tuple(row.get(key, 0) for key in keys)


@pytest.mark.parametrize(
    ("count", "batch_size", "options"),
    [
        pytest.param(20, 4, {}, id="one shape"),
        pytest.param(20, 20, {}, id="one batch"),
        pytest.param(22, 4, {}, id="a shorter last batch"),
        pytest.param(20, 4, {"max_epochs": 3}, id="three epochs"),
        pytest.param(20, 4, {"accumulate_grad_batches": 3}, id="accumulated gradients"),
        pytest.param(20, 4, {"gradient_clip_val": 0.1}, id="clipped gradients"),
        pytest.param(20, 4, {"precision": "bf16-mixed"}, id="half precision"),
        pytest.param(20, 4, {"callbacks": [Busy()]}, id="a busy callback"),
    ],
)
def test_training_costs_what_a_hand_counts(count, batch_size, options):
    _, row = train(Plain, count, batch_size, **options)
    images = count * options.get("max_epochs", 1)
    assert costs(row) == (images, images, images * FORWARD, images * BACKWARD)


def test_validation_steps_of_ones_own_cost_forward_passes():
    _, row = train(Validated)
    assert costs(row) == (20, 20, 20 * FORWARD, 20 * BACKWARD)
    assert costs(row, "validate") == (6, 0, 6 * FORWARD, 0)


def test_optimizers_that_are_stepped_by_hand():
    # All gradients are computed for each of the two.
    _, row = train(Manual)
    assert costs(row) == (20, 20, 2 * 20 * FORWARD, 2 * 20 * BACKWARD)


def test_parameters_that_are_thawed_cost_more_from_then_on():
    class Thaw(pl.Callback):
        def on_train_epoch_start(self, trainer, module):
            module.first.requires_grad_(trainer.current_epoch == 1)

    _, row = train(Plain, max_epochs=2, callbacks=[Thaw()])
    assert costs(row) == (40, 40, 40 * FORWARD, 20 * SECOND + 20 * BACKWARD)


@pytest.mark.parametrize("kind", [Plain, Convolutions, Validated, Manual])
def test_counting_changes_nothing(kind, shared):
    found = []
    for counting in (True, False):
        module, row = train(kind, 22, counting=counting)
        assert (row["flops_backward_train"] > 0) == counting
        found.append((shared.module_state(module), shared.rng_states()))
    assert found[0] == found[1]


def test_one_batch_a_shape_is_slower(monkeypatch):
    opened = []
    monkeypatch.setattr("dal.costs.flops.FlopCounter.__enter__", lambda self: opened.append(self) or self)
    monkeypatch.setattr("dal.costs.flops.FlopCounter.__exit__", lambda self, *args: None)
    train(Validated, 22, max_epochs=3)
    assert len(opened) == 3  # two sizes of batches to train on, one to validate on


@pytest.mark.parametrize("kind", [Fails, Interrupted, FailsInBackward])
@pytest.mark.parametrize("count", [8, 7])  # the batch that fails is of a known shape, or the first of its own
def test_nothing_stays_open_where_training_breaks_off(kind, count):
    with pytest.raises((ValueError, ZeroDivisionError, SystemExit, KeyboardInterrupt)):
        train(kind, count)
    assert modes() == []
    with pytest.raises(ValueError, match="callback"):
        train(Plain, callbacks=[Raises()])
    assert modes() == []


class Raises(pl.Callback):
    """Breaks off a batch, and then hides that from the callbacks that come later."""

    def on_train_batch_start(self, *args):
        raise ValueError("callback")

    def on_exception(self, *args):
        raise ValueError("callback")


def test_batches_that_a_hook_skips_are_not_charged():
    _, row = train(Skips, 7, max_epochs=2)
    # The first batch alone, twice: Lightning ends an epoch at a batch that is skipped.
    assert costs(row) == (8, 8, 8 * FORWARD, 8 * BACKWARD)
    assert modes() == []


def test_several_devices_cost_what_all_of_them_do(monkeypatch):
    monkeypatch.setattr(pl.Trainer, "world_size", property(lambda self: 3))
    _, row = train(Validated)
    assert costs(row) == (60, 60, 60 * FORWARD, 60 * BACKWARD)
    assert costs(row, "validate") == (18, 0, 18 * FORWARD, 0)


class Dicts(Plain):
    """Makes a dict of each batch."""

    def on_before_batch_transfer(self, batch, dataloader_idx):
        return {"meta": ["name"] * len(batch[0]), "image": batch[0], "label": batch[1]}

    def training_step(self, batch, batch_idx):
        return super().training_step((batch["image"], batch["label"]), batch_idx)


def test_batches_of_any_form_are_counted():
    _, row = train(Dicts)
    assert costs(row) == (20, 20, 20 * FORWARD, 20 * BACKWARD)
