"""Candidates near what is labeled: SEALS (arXiv:2007.00077)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dal.acquisition.search.rows import all_rows
from dal.data.images import ImageData
from dal.errors import bad_value, unknown_choice
from dal.labeling.pool import Pool
from dal.scoring.candidates.base import Known, check_count, draw
from dal.scoring.candidates.exact_neighbors import Embedding, ExactNeighbors, Floats, Neighbors
from dal.scoring.candidates.faiss_neighbors import FaissNeighbors, check_faiss
from dal.scoring.external_features import load_array
from dal.scoring.model_pass import ModelPass

INDEXES = ("exact", "faiss")


class NeighborCandidates:
    """The unlabeled ones among the ``num_neighbors`` nearest neighbors of every labeled point: SEALS
    (arXiv:2007.00077), whose scoring costs what is labeled, not what is there.

    Neighbors are Euclidean in a fixed embedding: (N, D) floating-point numbers, a row for each point of the training
    set, or None, for the features of the network that the campaign starts from. They are looked for among all points,
    so the candidates follow from what is labeled, whenever it was; only newly labeled points are searched. Where there
    are fewer than a query wants, random unlabeled points fill up what is missing.

    ``index`` is exact, or faiss, which is approximate where there are many points.

    Raises DalError for embeddings that are not as above, and where FAISS is wanted and not installed.

    >>> pool = Pool(size=6, num_classes=2)
    >>> pool.label([4], [1], round=0)
    >>> near = NeighborCandidates(torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0], [9.0]]), num_neighbors=2)
    >>> near.choose(pool, 1, torch.Generator(), Known())
    tensor([2, 3])
    """

    def __init__(
        self, embeddings: Tensor | Floats | None = None, num_neighbors: int = 100, index: str = "exact"
    ) -> None:
        check_count("num_neighbors", num_neighbors)
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
        if self._given is not None and len(self._given) != num_points:
            expected = f"one row for each of the {num_points} images of the training set"
            raise bad_value("candidates.features_file", expected, len(self._given))

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
        """Forget another learner's pool, and the features of its network."""
        self._pool = pool
        self._near, self._searched = torch.zeros(2, pool.size, dtype=torch.bool)
        if self._given is None:
            self._neighbors = None


def load_embeddings(path: str) -> Floats:
    """The array of a .npy file, memory-mapped. Raises DalError where there is none."""
    return load_array("candidates.features_file", path)


def starting_features(passes: ModelPass, state: Mapping[str, Tensor], data: ImageData, charged: bool = True) -> Tensor:
    """(N, D) float32 features of all points, by the network with the weights of ``state``.

    The model's own weights are back afterwards. Raises NonFiniteError, naming the image, for features that are not
    finite.
    """
    module = passes.model.module
    own = {name: value.detach().clone() for name, value in module.state_dict().items()}
    try:
        module.load_state_dict(dict(state))
        features = passes.features(data, torch.arange(len(data)), charged=charged)
    finally:
        module.load_state_dict(own)
    return all_rows(features).float()
