"""Candidates near labeled points: SEALS (arXiv:2007.00077)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from dal.acquisition.coreset import CoreSet
from dal.acquisition.search.numbers import check_whole
from dal.acquisition.search.rows import DiskRows, all_rows, check_num_rows
from dal.data.images import ImageData
from dal.errors import unknown_choice
from dal.labeling.pool import Pool
from dal.models.state import load_state
from dal.scoring.candidates.base import Known, draw
from dal.scoring.candidates.exact_neighbors import Embedding, ExactNeighbors, Floats, Neighbors
from dal.scoring.candidates.faiss_neighbors import FaissNeighbors, check_faiss
from dal.scoring.dense.unit_rows import UnitRows
from dal.scoring.model_pass import Charge, ModelPass

INDEXES = ("exact", "faiss")


class NeighborCandidates:
    """Scores the unlabeled neighbors of labeled points (SEALS, arXiv:2007.00077).

    These are the unlabeled points among the ``num_neighbors`` nearest neighbors of each labeled point. The cost of
    scoring therefore grows with the number of labeled points, not with the pool.

    ``embeddings`` are (N, D) floating-point numbers, one row per point of the training set, with Euclidean distances.
    None uses the features of the campaign's initial network. The search covers all points, labeled or not, so the
    candidates depend only on which points are labeled. Each round searches only from newly labeled points. If a query
    needs more candidates, random unlabeled points are added.

    ``index`` is exact, or faiss, which is approximate on large pools.

    Raises DalError for invalid embeddings, and for faiss if FAISS is not installed.

    >>> pool = Pool(size=6, num_classes=2)
    >>> pool.label([4], [1], round=0)
    >>> near = NeighborCandidates(torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0], [9.0]]), num_neighbors=2)
    >>> near.choose(pool, 1, torch.Generator(), Known())
    tensor([2, 3])
    """

    def __init__(
        self, embeddings: Tensor | Floats | DiskRows | None = None, num_neighbors: int = 100, index: str = "exact"
    ) -> None:
        check_whole("candidates.num_neighbors", num_neighbors)
        if index not in INDEXES:
            raise unknown_choice("candidates.index", INDEXES, index)
        if index == "faiss":
            check_faiss()
        self.num_neighbors, self.index = num_neighbors, index
        self._given = None if embeddings is None else Embedding(embeddings)
        self._neighbors: Neighbors | None = None
        self._pool: Pool | None = None
        self._near = self._searched = torch.empty(0, dtype=torch.bool)

    def check(self, num_points: int, query_size: int) -> None:
        if self._given is not None:
            check_num_rows("candidates.features_file", self._given, num_points)

    def choose(self, pool: Pool, query_size: int, generator: torch.Generator, known: Known) -> Tensor:
        self.check(pool.size, query_size)
        if pool is not self._pool:
            self._start(pool)
        if self._neighbors is None:
            embedding = self._given or Embedding(known.features())
            self._neighbors = ExactNeighbors(embedding) if self.index == "exact" else FaissNeighbors(embedding)
        new = pool.labeled[~self._searched[pool.labeled]]
        found = self._neighbors.search(new, self.num_neighbors).flatten()
        self._near[found[found >= 0]] = True
        self._searched[new] = True
        is_near = self._near[pool.unlabeled]
        near, others = pool.unlabeled[is_near], pool.unlabeled[~is_near]
        return torch.cat([near, draw(others, max(0, query_size - len(near)), generator)]).sort().values

    def _start(self, pool: Pool) -> None:
        """Reset the state for a new pool, and drop network features."""
        self._pool = pool
        self._near, self._searched = torch.zeros(2, pool.size, dtype=torch.bool)
        if self._given is None:
            self._neighbors = None


def load_embeddings(path: str) -> DiskRows:
    """Open the rows of a .npy file; raises DalError if that fails."""
    return DiskRows(path, "candidates.features_file")


def starting_features(passes: ModelPass, state: Mapping[str, Tensor], data: ImageData, charged: bool = True) -> Tensor:
    """Return (N, D) float32 features of all points under these weights.

    ``state`` holds the weights. The model's own weights are restored afterwards. Raises NonFiniteError, with the id of
    the image, for features that are not finite.
    """
    # The last round may have read images of half the size.
    passes, module = replace(passes, half_size=False), passes.model.module
    own = {name: value.detach().clone() for name, value in module.state_dict().items()}
    try:
        load_state(module, state)
        if data.task.is_dense:
            units = UnitRows(CoreSet(), data, torch.arange(data.num_points), passes.pooling)
            charge = Charge("features") if charged else None
            features = units.in_order(passes.run(data, units.images, units, "embed", charge=charge))["features"]
        else:
            features = passes.features(data, torch.arange(len(data)), charged=charged)
    finally:
        load_state(module, own)
    return all_rows(features).float()
