"""Images that a small network learns in a few updates, and states that compare with ==. Fixtures hand these out."""

import random

import numpy as np
import torch

from dal.data.images import ImageData, TensorSource


def make_images(count=40, *, channels=1, size=8, classes=3, seed=0, **changes):
    """Images whose brightness tells the class; ``changes`` are other fields of ImageData."""
    labels = torch.arange(count) % classes
    noise = torch.randint(0, 60, (count, channels, size, size), generator=torch.Generator().manual_seed(seed))
    pixels = (noise + labels.view(-1, 1, 1, 1) * (190 // max(1, classes - 1))).to(torch.uint8)
    fields = {
        "name": "toy",
        "source": TensorSource(pixels),
        "ids": [f"image-{i:03d}" for i in range(count)],
        "labels": labels,
        "classes": [f"class-{c}" for c in range(classes)],
        "mean": [0.5],
        "std": [0.25],
    }
    return ImageData(**(fields | changes))


def rng_states():
    """The states of the global generators of random, NumPy and torch."""
    numpy_state = np.random.get_state()  # noqa: NPY002
    return random.getstate(), numpy_state[1].tolist(), numpy_state[2:], torch.get_rng_state().tolist()


def module_state(module):
    """Everything of a module that scoring must leave alone: tensors, flags, dropout settings, hooks."""
    tensors = {k: v.detach().cpu().numpy().tobytes() for k, v in module.state_dict(keep_vars=True).items()}
    requires_grad = {k: v.requires_grad for k, v in module.named_parameters()}
    layers = {
        name: (m.training, getattr(m, "p", None), len(m._forward_hooks), len(m._forward_pre_hooks))
        for name, m in module.named_modules()
    }
    return tensors, requires_grad, layers
