"""Derives random generators from the seed, the round and the purpose.

Because each generator is derived, there is no state that a crash could lose.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from dal.runtime.accelerators import has_accelerator
from dal.runtime.derived_seed import derive_seed

__all__ = ["derive_seed", "generator", "isolated_cpu_rng", "isolated_rng", "seed_cpu_generators", "seed_generators"]


def generator(seed: int, *key: int | str) -> torch.Generator:
    """Return a new CPU generator for one purpose.

    An example is ``generator(seed, round, "acquisition")``.
    """
    return torch.Generator().manual_seed(derive_seed(seed, *key))


@contextmanager
def isolated_rng(seed: int, *key: int | str) -> Iterator[None]:
    """Seed the global generators inside the block, and restore them on exit.

    Weight initialization and training dropout can use only the global generators.
    """
    value = derive_seed(seed, *key)
    # NumPy takes twice as long for the tuple of older versions as for a dict.
    python_state, numpy_state = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002
    with torch.random.fork_rng(devices=range(torch.cuda.device_count() if has_accelerator() else 0)):
        seed_generators(value)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


@contextmanager
def isolated_cpu_rng() -> Iterator[None]:
    """Restore the global CPU generators on exit.

    CUDA generators are not restored, because forked workers read images and must not use CUDA.
    """
    states = random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


def seed_generators(value: int) -> None:
    """Seed the global generators. Use it inside isolated_rng(), which restores them."""
    if has_accelerator():
        torch.manual_seed(value)
    else:
        # Otherwise, PyTorch stores the call for a later start of CUDA, with a trace of the stack.
        torch.default_generator.manual_seed(value)
    random.seed(value)
    np.random.seed(value % 2**32)  # noqa: NPY002


def seed_cpu_generators(value: int) -> None:
    """Seed the global CPU generators. Use it inside isolated_cpu_rng(), which restores them."""
    random.seed(value)
    np.random.seed(value % 2**32)  # noqa: NPY002
    # torch.manual_seed would also seed CUDA.
    torch.default_generator.manual_seed(value)
