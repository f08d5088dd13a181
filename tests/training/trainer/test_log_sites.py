"""Code that may log a metric out of sight leaves the list of metrics open, so that nothing is refused."""

from functools import partialmethod

import lightning.pytorch
import pytest
import pytorch_lightning
from pytorch_lightning import LightningModule
from torch import nn

from dal.training.trainer.log_sites import log_sites


class Plain(LightningModule):
    def training_step(self, batch, index):
        self.log("loss", 1.0)
        return getattr(self, "loss", None)


class ByName(LightningModule):
    def training_step(self, batch, index):
        getattr(self, "log")("m", 1.0)  # noqa: B009


class ByMadeName(LightningModule):
    def training_step(self, batch, index):
        getattr(self, "lo" + "g")("m", 1.0)


class InText(LightningModule):
    def training_step(self, batch, index):
        eval("self.log('m', 1.0)")


class Kept(LightningModule):
    def __init__(self):
        super().__init__()
        self.emit = self.log


class InHookOfLayer(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.layer.register_forward_hook(lambda layer, given, made: self.log("m", made.mean()))


class Partial(LightningModule):
    def step(self, name, batch, index):
        self.log(name, 1.0)

    training_step = partialmethod(lambda self, name, batch, index: self.log(name, 1.0), "m")


def made_by_exec(place):
    text = "class Base(Parent):\n    def training_step(self, batch, index):\n        self.log('m', 1.0)\n"
    names = {"Parent": LightningModule} | ({"__name__": place} if place else {})
    exec(text, names)
    return names["Base"]


class Assigned(LightningModule):
    training_step = vars(made_by_exec(None))["training_step"]


Assigned.training_step.__module__ = None


def is_complete(module, *callbacks):
    return log_sites(module, callbacks, validates=True).is_complete


def test_a_module_whose_calls_are_all_seen():
    assert is_complete(Plain())


@pytest.mark.parametrize(
    "module",
    [ByName, ByMadeName, InText, Kept, InHookOfLayer, Assigned, made_by_exec(None), made_by_exec("nowhere")],
)
def test_calls_that_are_out_of_sight(module):
    assert not is_complete(module())


def test_the_function_of_a_partial_method():
    found = log_sites(Partial(), [], validates=True)
    assert "*" in {site.name for site in found.sites} or not found.is_complete
    assert any(function.__name__ == "<lambda>" for function in found.functions)


@pytest.mark.parametrize("package", [pytorch_lightning, lightning.pytorch])
def test_a_callback_of_functions(package):
    callback = package.callbacks.LambdaCallback(on_train_batch_end=lambda trainer, module, *_: module.log("m", 1.0))
    assert not is_complete(Plain(), callback)
