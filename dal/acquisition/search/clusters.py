"""k-means that is reproducible from a generator for any number of threads."""

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

# If a pass over the points takes more products than this, k-means uses mini-batches.
_MOST_PRODUCTS = 2**31
_MINI_BATCH = 4096


def points_of(argument: str, features: Tensor) -> Tensor:
    """Return (N, D) float64 points on the CPU, safe to square.

    The points have no gradients. Scaling by a power of two keeps their squares from overflowing or underflowing. Raises
    DalError for another shape and NonFiniteError for a number that is not finite.
    """
    check_dims(argument, features, "N, D")
    points = features.detach()
    scale = safe_scale(check_rows(argument, points))
    return points.cpu().double() * scale


def unit_points(argument: str, features: Tensor) -> Tensor:
    """Normalize rows to length 1, in float64 on the CPU.

    Rows of zeros do not change. Raises the same errors as points_of().

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
    """Return the features of the labeled points.

    The result is (0, D) if there are none. Raises DalError if their width differs from that of the pool's features.
    """
    if not labeled or not len(labeled["features"]):
        return features[:0]
    if labeled["features"].shape[1:] != features.shape[1:]:
        expected = f"{features.shape[1]} features per point, as in the pool"
        raise bad_value("labeled_features", expected, labeled["features"].shape[1])
    return labeled["features"]


def k_means(points: Tensor, num_clusters: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Run scikit-learn's k-means from one k-means++ start.

    Large inputs use mini-batches. The result depends on the generator and possibly on the order of the points, but not
    on the number of threads. If there are fewer distinct points than clusters, some clusters are empty or share a
    center.

    Args:
        points: (N, D) float64 on the CPU, finite.
        num_clusters: from 1 to N.
        generator: on the CPU; one number is drawn from it.

    Returns:
        (N,) int64 cluster indices from 0, and (num_clusters, D) float64 centers.

    >>> clusters, _ = k_means(torch.tensor([[0.0], [9.0], [0.1]]).double(), 2, torch.Generator().manual_seed(0))
    >>> bool(clusters[0] == clusters[2] != clusters[1])
    True
    """
    # The import is slow, and most functions do not need it.
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    seed = draw_seed(generator) % 2**32
    products = points.shape[0] * points.shape[1] * num_clusters
    if products <= _MOST_PRODUCTS:
        model = KMeans(num_clusters, n_init=1, random_state=seed)
    else:
        model = MiniBatchKMeans(num_clusters, n_init=1, random_state=seed, batch_size=max(_MINI_BATCH, num_clusters))
    # Several threads add in varying order, which would change the last digits.
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters
        model.fit(points.numpy())
    add_flops(3 * products * (int(model.n_iter_) + 1))
    return torch.from_numpy(model.labels_).long(), torch.from_numpy(model.cluster_centers_)


def nearest_to_centers(points: Tensor, centers: Tensor) -> Tensor:
    """Return the nearest point of each center, each point at most once.

    The centers choose in order, each from the points that no earlier center has taken. Ties go to the lowest position.

    Args:
        points: (N, D) float64.
        centers: (Q, D) float64, Q at most N; centers may be equal.

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
            # The products cannot rank these points, because they differ by no more than rounding.
            close = (squares <= squares.min() + 2 * slack).nonzero().flatten()
            # Squared distances: a square root could make distances that differ in the last digit equal.
            exact = (points[close] - center).square().sum(dim=1)
            positions.append(int(close[exact.argmin()]))
            taken[positions[-1]] = True
    return torch.tensor(positions)


def k_means_picks(points: Tensor, query_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the points nearest to k-means centers, largest clusters first.

    Args:
        points: (N, D) float64 on the CPU, finite, N at least Q.
        query_size: number Q of clusters.
        generator: on the CPU; one number is drawn from it.

    Returns:
        (Q,) int64 distinct rows of ``points``, and (Q,) float64 sizes of their clusters.
    """
    clusters, centers = k_means(points, query_size, generator)
    sizes = torch.bincount(clusters, minlength=query_size)
    order = sizes.sort(descending=True, stable=True).indices
    return nearest_to_centers(points, centers[order]), sizes[order].double()
