"""k-means with a given generator, independent of the number of threads."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from dal.acquisition.base import Summary, check_dims
from dal.acquisition.search.exponential_race import draw_seed
from dal.acquisition.search.flops import add_flops
from dal.acquisition.search.numbers import check_finite, safe_scale
from dal.acquisition.search.pairs import Pairs
from dal.acquisition.search.rows import check_rows
from dal.errors import bad_value

# Beyond so many products a pass over the points, centers are moved by a few points at a time.
_MOST_PRODUCTS = 2**31
_MINI_BATCH = 4096


def points_of(argument: str, features: Tensor) -> Tensor:
    """(N, D) float64 on the CPU, without gradients, multiplied by a power of two so that squares neither overflow nor
    underflow. Raises DalError for another shape, NonFiniteError for a number that is not finite."""
    check_dims(argument, features, "N, D")
    points = features.detach()
    scale = safe_scale(check_rows(argument, points))
    return points.cpu().double() * scale


def unit_points(argument: str, features: Tensor) -> Tensor:
    """(N, D) float64 rows of length 1, on the CPU; rows of zeros stay. Raises as points_of().

    >>> unit_points("features", torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]], dtype=torch.float64)
    """
    check_dims(argument, features, "N, D")
    check_finite(argument, features)
    points = features.detach().cpu().double()
    largest = points.abs().amax(dim=1, keepdim=True) if points.numel() else points[:, :1]
    points = points / torch.where(largest > 0, largest, 1)
    lengths = torch.linalg.vector_norm(points, dim=1, keepdim=True)
    return points / torch.where(lengths > 0, lengths, 1)


def labeled_features(labeled: Summary, features: Tensor) -> Tensor:
    """The features of the labeled points; (0, D) if there is no labeled point.

    Raises DalError where their width is not that of the pool's features.
    """
    if not labeled or not len(labeled["features"]):
        return features[:0]
    if labeled["features"].shape[1:] != features.shape[1:]:
        expected = f"{features.shape[1]} features a point, as in the pool"
        raise bad_value("labeled_features", expected, labeled["features"].shape[1])
    return labeled["features"]


def k_means(points: Tensor, num_clusters: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """k-means from one k-means++ start (scikit-learn); on large inputs by mini-batches.

    The answer is that of the generator, whatever the number of threads. It may depend on the order of the points. Where
    there are fewer distinct points than clusters, some clusters are empty, or share a center.

    Args:
        points: (N, D) float64 on the CPU, finite.
        num_clusters: from 1 to N.
        generator: on the CPU; one number is drawn from it.

    Returns:
        (N,) int64 clusters from 0, and their (num_clusters, D) float64 centers.

    >>> clusters, _ = k_means(torch.tensor([[0.0], [9.0], [0.1]]).double(), 2, torch.Generator().manual_seed(0))
    >>> bool(clusters[0] == clusters[2] != clusters[1])
    True
    """
    # Here, as it takes long to import and most functions do without.
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    seed = draw_seed(generator) % 2**32
    products = points.shape[0] * points.shape[1] * num_clusters
    if products <= _MOST_PRODUCTS:
        model = KMeans(num_clusters, n_init=1, random_state=seed)
    else:
        model = MiniBatchKMeans(num_clusters, n_init=1, random_state=seed, batch_size=max(_MINI_BATCH, num_clusters))
    # Sums of several threads come in any order, and so would the last digits.
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of fewer distinct points than clusters
        model.fit(points.numpy())
    add_flops(3 * products * (int(model.n_iter_) + 1))
    return torch.from_numpy(model.labels_).long(), torch.from_numpy(model.cluster_centers_)


def nearest_to_centers(points: Tensor, centers: Tensor) -> Tensor:
    """For each center in turn the nearest point that no center before it has taken; ties go to the lowest position.

    Args:
        points: (N, D) float64.
        centers: (Q, D) float64, Q at most N; they may be equal.

    Returns:
        (Q,) int64 distinct rows of ``points``.

    >>> nearest_to_centers(torch.tensor([[0.0], [1.0], [5.0]]).double(), torch.tensor([[0.0], [0.0]]).double())
    tensor([0, 1])
    """
    pairs = Pairs(centers, points)
    taken = torch.zeros(len(points), dtype=torch.bool)
    positions = []
    for rows in pairs.blocks(torch.arange(len(centers))):
        for center, squares, slack in zip(centers[rows], pairs.squares(rows), pairs.slack(rows), strict=True):
            squares.masked_fill_(taken, torch.inf)
            # Rounding leaves these open.
            close = (squares <= squares.min() + 2 * slack).nonzero().flatten()
            # Without a root, after which distances that differ in the last digit may be equal.
            exact = (points[close] - center).square().sum(dim=1)
            positions.append(int(close[exact.argmin()]))
            taken[positions[-1]] = True
    return torch.tensor(positions)


def k_means_picks(points: Tensor, query_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The points nearest to the centers of ``query_size`` clusters, those of the largest clusters first.

    Args:
        points: (N, D) float64 on the CPU, finite, N at least ``query_size``.

    Returns:
        (Q,) int64 distinct rows of ``points``, and (Q,) float64: how many points the cluster of each holds.
    """
    clusters, centers = k_means(points, query_size, generator)
    sizes = torch.bincount(clusters, minlength=query_size)
    order = sizes.sort(descending=True, stable=True).indices
    return nearest_to_centers(points, centers[order]), sizes[order].double()
