"""Loads the weights of a module."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from dal.errors import bad_value


def load_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a state dict of the same layers, also if buffers have other shapes.

    Raises DalError if parameters have other shapes.
    """
    now = module.state_dict()
    buffers = dict(module.named_buffers())
    for name, value in state.items():
        if name in now and now[name].shape != value.shape:
            if name not in buffers:
                expected = f"parameters that keep their shapes in training, such as {tuple(value.shape)} for {name!r}"
                raise bad_value("model", expected, tuple(now[name].shape))
            layer, _, attribute = name.rpartition(".")
            # A buffer that grows, such as a queue, is a new tensor.
            module.get_submodule(layer)._buffers[attribute] = buffers[name].new_empty(value.shape)
    module.load_state_dict(dict(state))
