import pytorch_lightning as pl

from dal.training.callbacks.together import Together


class Says(pl.Callback):
    def __init__(self, name, said):
        self.name, self.said = name, said

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.said.append((self.name, batch_idx))


class AlsoStarts(Says):
    def setup(self, trainer, pl_module, stage):
        self.said.append((self.name, stage))


def test_hooks_run_in_order_and_hooks_that_none_defines_are_none():
    said = []
    together = Together([Says("first", said), AlsoStarts("second", said)])
    together.setup(None, None, stage="fit")
    together.on_train_batch_end(None, None, None, None, 7)
    assert said == [("second", "fit"), ("first", 7), ("second", 7)]
    assert together.on_before_zero_grad is None and together.on_train_batch_start is None
    assert together.on_save_checkpoint(None, None, {}) is None  # Lightning calls it in any case


def test_a_class_that_derives_from_two_packages_defines_only_its_own_hooks():
    class Callback(pl.Callback):  # as that of another Lightning package
        def on_train_end(self, trainer, pl_module):
            raise AssertionError

    both = type("Both", (Says, Callback), {})("both", [])
    together = Together([both])
    assert together.on_train_end is None and together.on_train_batch_end is not None
