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

_POINTS_A_LIST = 64  # for k-means


def check_faiss() -> None:
    """Raise DalError if FAISS is not installed."""
    if find_spec("faiss") is None:
        raise DalError(
            "candidates.index: FAISS is not installed; run pip install faiss-cpu, or set candidates.index=exact."
        )


class FaissNeighbors:
    """Searches with FAISS (arXiv:2401.08281), with all points in memory.

    Points are stored in float32. Up to ``flat_up_to`` points, a search compares all of them, in single precision. With
    more points, k-means with a fixed seed assigns the points to √N lists (IVF). A query then searches only its nearest
    lists, a fraction ``share_probed`` of all, and misses some neighbors. One thread builds the lists, and queries do
    not share matrix products, so a resumed run on the same type of machine finds the same neighbors.

    Raises DalError if FAISS is not installed.
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
        """See Neighbors.search; FAISS determines the order of equal distances."""
        wanted = min(num_neighbors, len(self.embedding) - 1)
        found = [torch.empty(0, wanted, dtype=torch.int64)]
        for block in row_blocks(len(queries), self.embedding.width):
            own = queries[block].numpy()
            with _by_differences():
                _, near = self._index.search(self._centered(queries[block]), wanted + 1)
            is_own = near == own[:, None]
            # Among many duplicates, a query may not find itself. In that case, drop the farthest.
            is_own[~is_own.any(axis=1), -1] = True
            found.append(torch.from_numpy(near[~is_own].reshape(len(own), wanted).astype(np.int64)))
        return torch.cat(found)

    def _centered(self, rows: Index) -> Floats:
        """Return (B, D) float32 rows, small enough for float32 products."""
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
    """Make FAISS compute distances from differences.

    For many queries, FAISS multiplies matrices by default, and rounding then depends on the queries in a batch.
    """
    import faiss

    before = faiss.cvar.distance_compute_blas_threshold
    faiss.cvar.distance_compute_blas_threshold = 2**31 - 1
    try:
        yield
    finally:
        faiss.cvar.distance_compute_blas_threshold = before
