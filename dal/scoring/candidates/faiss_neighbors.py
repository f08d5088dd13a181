"""Approximate nearest neighbors with FAISS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dal.acquisition.search.geometry import Index
from dal.acquisition.search.numbers import row_blocks
from dal.errors import DalError
from dal.scoring.candidates.exact_neighbors import Embedding, Floats

_POINTS_A_LIST = 64  # that k-means looks at


def check_faiss() -> None:
    """Raise DalError, saying how to get it, where FAISS is not installed."""
    if find_spec("faiss") is None:
        raise DalError("candidates.index: expected exact, or FAISS installed (pip install faiss-cpu), got 'faiss'.")


class FaissNeighbors:
    """Neighbors by FAISS (arXiv:2401.08281), which holds all points in memory as float32.

    Up to ``flat_up_to`` points all are compared, in single precision. Beyond, the points are sorted into √N lists by
    k-means with a fixed seed (IVF), and a query looks into the ``share_probed`` of the lists nearest to it; that misses
    some neighbors. The lists are made by one thread and a query never shares a matrix product with others, so that a
    resumed run on the same kind of machine finds what the first one did.

    Raises DalError where FAISS is not installed.
    """

    def __init__(self, embedding: Embedding, flat_up_to: int = 50_000, share_probed: float = 1 / 16) -> None:
        check_faiss()
        import faiss

        self.embedding = embedding
        num_points, width = len(embedding), embedding.width
        flat = faiss.IndexFlatL2(width)
        self._index: Any = flat
        with _threads(1):
            if num_points > flat_up_to:
                num_lists = int(num_points**0.5)
                self._index = faiss.IndexIVFFlat(flat, width, num_lists)
                self._index.nprobe = min(num_lists, max(8, round(num_lists * share_probed)))
                self._index.cp.seed = 1
                step = max(1, num_points // (_POINTS_A_LIST * num_lists))
                self._index.train(self._centered(slice(None, None, step)))
            for block in row_blocks(num_points, width):
                self._index.add(self._centered(block))

    def search(self, queries: Tensor, num_neighbors: int) -> Tensor:
        """As Neighbors.search; equal distances in an order of FAISS's own."""
        wanted = min(num_neighbors, len(self.embedding) - 1)
        found = [torch.empty(0, wanted, dtype=torch.int64)]
        for block in row_blocks(len(queries), self.embedding.width):
            own = queries[block].numpy()
            with _by_differences():
                _, near = self._index.search(self._centered(queries[block]), wanted + 1)
            is_own = near == own[:, None]
            # Among many duplicates a query may not find itself; then the farthest goes.
            is_own[~is_own.any(axis=1), -1] = True
            found.append(torch.from_numpy(near[~is_own].reshape(len(own), wanted).astype(np.int64)))
        return torch.cat(found)

    def _centered(self, rows: Index) -> Floats:
        """(B, D) float32, small enough for products in single precision."""
        centered: Floats = self.embedding.low(rows).factors[0].numpy()
        return centered


@contextmanager
def _threads(count: int) -> Iterator[None]:
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


@contextmanager
def _by_differences() -> Iterator[None]:
    """With many queries at once FAISS multiplies matrices, whose rounding depends on the queries that come together."""
    import faiss

    before = faiss.cvar.distance_compute_blas_threshold
    faiss.cvar.distance_compute_blas_threshold = 2**31 - 1
    try:
        yield
    finally:
        faiss.cvar.distance_compute_blas_threshold = before
