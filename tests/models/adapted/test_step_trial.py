"""training_step is tried before a label is bought."""

import pytest
import torch
from helpers.own_modules import OwnModule, dense, learner_of
from torch.nn import functional as F

from dal import adapt
from dal.acquisition import Random
from dal.errors import DalError


def learner_with(step, **attributes):
    module = type("Own", (OwnModule,), {"training_step": step, **attributes})(dense())
    return learner_of(adapt(module, head="net.4"), Random())


def trained(learner):
    query = learner.ask(6)
    learner.tell(query, learner.data.labels[list(query)].tolist())
    return learner.fit().updates


def loss_of(self, batch):
    return F.cross_entropy(self(batch[0]), batch[1])


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            lambda self, b, i: F.cross_entropy(self(b[0]), b[1], reduction="none"),
            r"a loss of one number, got .* \(2,\)",
        ),
        (lambda self, b, i: loss_of(self, b).detach(), "a loss with a gradient, got one that is detached"),
        (lambda self, b, i: loss_of(self, b).item(), "a loss as a tensor, got float"),
        (lambda self, b, i: {"train_loss": loss_of(self, b)}, r"a dict with a loss under 'loss', got \['train_loss'\]"),
    ],
    ids=["vector", "detached", "number", "no key loss"],
)
def test_a_step_without_a_loss_is_refused(step, message):
    with pytest.raises(DalError, match=f"^training_step: expected {message}"):
        learner_with(step)


def test_a_part_of_the_batch_that_is_used_late_is_missed_early():
    with pytest.raises(DalError, match=r"^batch: .*'tuple index out of range'"):
        learner_with(lambda self, batch, i: F.cross_entropy(self(batch[0]), batch[2]))


def soft(self, batch):
    return -(batch[1] * self(batch[0]).log_softmax(dim=1)).sum(dim=1).mean()


@pytest.mark.parametrize(
    ("loss", "form"),
    [
        (soft, "torch.nn.functional.one_hot(y, 3).float()"),
        (lambda self, b: F.cross_entropy(self(b[0]), b[1].argmax(dim=1)), "torch.nn.functional.one_hot(y, 3).float()"),
        (lambda self, b: F.binary_cross_entropy_with_logits(self(b[0])[:, 0], b[1]), "y.float()"),
        (lambda self, b: F.binary_cross_entropy_with_logits(self(b[0])[:, :1], b[1]), "y.float()[:, None]"),
    ],
    ids=["soft", "argmax", "float", "column"],
)
def test_labels_of_another_form_are_refused_with_the_form_that_works(loss, form):
    step = lambda self, batch, i: loss(self, batch)  # noqa: E731
    with pytest.raises(DalError, match=r"^batch: expected class numbers as labels") as error:
        learner_with(step)
    assert f"got one that takes {form}. Pass batch= to adapt()" in str(error.value)
    module = type("Own", (OwnModule,), {"training_step": step})(dense())
    batch = eval(f"lambda x, y: (x, {form})")
    assert trained(learner_of(adapt(module, head="net.4", batch=batch), Random())) == 2


def test_an_error_that_has_nothing_to_do_with_labels_surfaces_in_training():
    def step(self, batch, i):
        raise RuntimeError("mine")

    learner = learner_with(step)
    with pytest.raises(RuntimeError, match=r"^mine$"):
        trained(learner)


def weighted(self, batch, i):
    return (F.cross_entropy(self(batch[0]), batch[1], reduction="none") * self.weights[batch[1]]).mean()


def counted(self, batch, i):
    self.counts[0] += 1
    return loss_of(self, batch)


def logged(self, batch, i):
    self.log("loss", (loss := loss_of(self, batch)))
    self.logger.experiment.write(loss)
    return loss


def test_what_setup_and_the_trainer_provide_is_not_a_wrong_batch():
    def setup(self, stage):
        self.weights, self.counts = torch.ones(3), [0]

    for step in (weighted, counted):
        assert trained(learner_with(step, weights=None, counts=[], setup=setup)) == 2
    learner_with(logged)


@pytest.mark.parametrize(
    "step", [lambda self, b, i: None if i else loss_of(self, b), lambda s, b, i: loss_of(s, b)[None]]
)
def test_a_skipped_batch_and_a_vector_of_one_number_train(step):
    assert trained(learner_with(step)) == 2


def test_the_trial_leaves_the_module_as_it_is():
    def step(self, batch, i):
        self.seen = self.seen + 1
        return loss_of(self, batch)

    module = learner_with(step, seen=0).model.module
    assert module.seen == 0 and "log" not in vars(module)
    assert all(parameter.grad is None for parameter in module.parameters())
