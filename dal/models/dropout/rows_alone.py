"""Runs a random network with the same draw for all images."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils._pytree import tree_leaves, tree_map

from dal.runtime.memory import out_of_memory
from dal.runtime.seeding import seed_generators

Out = TypeVar("Out", Tensor, tuple[Tensor, Tensor])


class RowsAlone(Generic[Out]):
    """Runs a pass for each image alone, with equal random states.

    The network then draws the same masks for every image, regardless of the batch size and order. If ``torch.vmap``
    supports the pass, it runs all images at once with the same result.

    >>> rows = RowsAlone(lambda x: torch.nn.functional.dropout(x, 0.5))
    >>> drawn = rows(torch.ones(4, 8), seed=1)
    >>> bool((drawn == drawn[0]).all()), torch.equal(rows(torch.ones(2, 8), seed=1), drawn[:2])
    (True, True)
    """

    def __init__(self, run: Callable[[Tensor], Out]) -> None:
        self.run: Callable[[Tensor], Out] = run
        self._is_vectorized: bool | None = None
        self._copies = 1

    def __call__(self, x: Tensor, seed: int) -> Out:
        if self._is_vectorized is None:
            self._choose(x[:3], seed)
        return self._vectorized(x, seed) if self._is_vectorized else self._one_by_one(x, seed)

    def _choose(self, few: Tensor, seed: int) -> None:
        try:
            expected = self._one_by_one(few, seed)
        except Exception as error:
            if out_of_memory(error):
                raise
            # A squeeze() in forward() may remove the first dimension of a batch of one.
            self._copies = 2
            expected = self._one_by_one(few, seed)
        try:
            found = self._vectorized(few, seed)
        except Exception as error:
            if out_of_memory(error):
                raise
            self._is_vectorized = False
            return
        self._is_vectorized = all(
            torch.allclose(ours, theirs, rtol=1e-2, atol=1e-3, equal_nan=True)
            for ours, theirs in zip(tree_leaves(found), tree_leaves(expected), strict=True)
        )

    def _one(self, image: Tensor) -> Out:
        out: Out = tree_map(lambda part: part[0], self.run(image.expand(self._copies, *image.shape)))
        return out

    def _vectorized(self, x: Tensor, seed: int) -> Out:
        seed_generators(seed)
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=".*performance drop because we have not yet implemented the batc.*"
            )
            out: Out = vmap(self._one, randomness="same")(x)
        return out

    def _one_by_one(self, x: Tensor, seed: int) -> Out:
        rows = []
        for image in x:
            seed_generators(seed)
            rows.append(self._one(image))
        out: Out = tree_map(lambda *parts: torch.stack(parts), *rows)
        return out
