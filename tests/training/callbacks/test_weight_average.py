"""A round may end with the mean of its last weights."""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from helpers.training import fit
from torch import nn

from dal.errors import DalError
from dal.models import adapt
from dal.training import TrainingConfig

UPDATES = 10


class Net(pl.LightningModule):
    """With BatchNorm, whose state has statistics and a whole number."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.BatchNorm1d(5))
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.body(x))

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.5)


class States(pl.Callback):
    """The state after every update."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.global_step > len(self.seen):
            self.seen.append({k: v.double().numpy().copy() for k, v in module.state_dict().items()})


def trained(shared, average, kind=Net, monitor="none", check_every=50, max_updates=UPDATES, **options):
    torch.manual_seed(0)
    module, states = kind(), States()
    data = shared.make_images(24)
    config = TrainingConfig(
        batch_size=8, monitor=monitor, check_every=check_every, min_updates=1, max_updates=max_updates, average=average
    )
    options = {"accelerator": "cpu", "callbacks": states} | options
    result = fit(adapt(module, "head"), data, (torch.arange(24), data.labels), config=config, trainer_options=options)
    return {k: v.double().numpy() for k, v in module.state_dict().items()}, states.seen, result


@pytest.mark.parametrize(("average", "last"), [(0.01, 1), (0.3, 3), (0.55, 5), (1.0, 10)])
def test_weights_are_the_mean_over_the_last_updates(shared, average, last):
    state, seen, result = trained(shared, average)
    assert result.updates == len(seen) == UPDATES and result.stopped_because == "max_updates"
    for name, value in state.items():
        expected = seen[-1][name] if "num_batches" in name else sum(s[name] for s in seen[-last:]) / last
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-7)


def test_training_itself_is_not_changed(shared):
    (plain, seen, _), (averaged, same, _) = trained(shared, 0.0), trained(shared, 0.5)
    for one, other in zip(seen, same, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)
    assert all(np.array_equal(plain[name], seen[-1][name]) for name in plain)
    assert not np.array_equal(averaged["head.weight"], plain["head.weight"])


def test_updates_are_counted_where_gradients_are_accumulated(shared):
    state, seen, result = trained(shared, 0.3, accumulate_grad_batches=2)
    assert result.updates == len(seen) == UPDATES
    np.testing.assert_allclose(state["head.weight"], sum(s["head.weight"] for s in seen[-3:]) / 3, rtol=1e-5)


class Half(Net):
    def __init__(self):
        super().__init__()
        self.coarse = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))

    def training_step(self, batch, batch_idx):
        # It rises by one step of bfloat16 an update.
        return super().training_step(batch, batch_idx) - 0.01 * self.coarse.float().sum()


def test_half_precision_is_averaged_in_single(shared):
    # After 128 updates it stands still, and a mean in bfloat16 would soon do so far below it.
    state, seen, _ = trained(shared, 1.0, Half, max_updates=200)
    mean = torch.tensor(sum(s["coarse"] for s in seen) / 200).bfloat16().double().numpy()
    assert len({float(s["coarse"][0]) for s in seen}) == 128
    np.testing.assert_array_equal(state["coarse"], mean)


def test_the_best_weights_are_kept_where_something_is_watched(shared):
    watched = {"monitor": "train_accuracy", "check_every": 2}
    (plain, _, one), (same, _, other) = (trained(shared, average, **watched) for average in (0.0, 0.5))
    assert one == other and all(np.array_equal(plain[name], same[name]) for name in plain)


def test_a_share_out_of_range_is_refused():
    with pytest.raises(DalError, match=r"^training\.average: expected a share from 0 to 1, got 1\.5\.$"):
        TrainingConfig(average=1.5, monitor="none")
