"""k-means that is reproducible from a generator for any number of threads."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from dal.acquisition.base import Summary, check_dims
from dal.acquisition.search.exponential_race import draw_seed
from dal.acquisition.search.flops import add_flops
from dal.acquisition.search.geometry import Euclidean, near_mean
from dal.acquisition.search.lloyd import all_low, lloyd
from dal.acquisition.search.numbers import block_values, row_blocks, safe_scale
from dal.acquisition.search.rows import Rows, UnitRows, all_rows, check_rows
from dal.errors import bad_value

# If a pass over the points takes more products than this, k-means uses mini-batches.
_MOST_PRODUCTS = 2**31
_MINI_BATCH = 4096
_MOST_PAIRS = 2**19
_FEW, _MANY = 4, 64


def points_of(argument: str, features: Tensor) -> Tensor:
    """Return (N, D) points on the CPU, without gradients.

    Raises DalError for another shape and NonFiniteError for a number that is not finite.
    """
    check_dims(argument, features, "N, D")
    check_rows(argument, features)
    return features.detach().cpu()


def _centered(points: Rows) -> Euclidean:
    """Return the points with a scale that makes their squares safe, and an origin near their mean."""
    scale = safe_scale(check_rows("points", points))
    return Euclidean(points, scale, near_mean(points, scale))


def unit_rows(argument: str, features: Tensor) -> UnitRows:
    """Return rows normalized to length 1 on access. Raises the same errors as points_of()."""
    return UnitRows(points_of(argument, features))


def unit_points(argument: str, features: Tensor) -> Tensor:
    """Return unit_rows() in memory.

    >>> unit_points("features", torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]], dtype=torch.float64)
    """
    return all_rows(unit_rows(argument, features))


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


def k_means(points: Rows, num_clusters: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Run k-means from one k-means++ start.

    ``lloyd`` describes the iterations. Large inputs use scikit-learn's mini-batches. The result depends on the
    generator and possibly on the order of the points, but not on the number of threads. If there are fewer distinct
    points than clusters, some clusters are empty or share a center. In addition to the points, the function holds a
    float32 copy of them and blocks that are small beside it.

    Args:
        points: (N, D) on the CPU, finite, any floating dtype; a tensor or a view.
        num_clusters: from 1 to N.
        generator: on the CPU; one number is drawn from it.

    Returns:
        (N,) int64 cluster indices from 0, and (num_clusters, D) float64 centers.

    >>> clusters, _ = k_means(torch.tensor([[0.0], [9.0], [0.1]]), 2, torch.Generator().manual_seed(0))
    >>> bool(clusters[0] == clusters[2] != clusters[1])
    True
    """
    centered = _centered(points)
    clusters, centers = _k_means(centered, num_clusters, generator)
    return clusters, (centers + centered.origin) / centered.scale


def _k_means(points: Euclidean, num_clusters: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return clusters and float64 centers relative to the origin."""
    seed = draw_seed(generator)
    if len(points) * points.width * num_clusters <= _MOST_PRODUCTS:
        clusters, centers = lloyd(points, num_clusters, torch.Generator().manual_seed(seed))
    else:
        clusters, centers = _mini_batches(points, num_clusters, seed)
    return clusters, centers.double()


def _mini_batches(points: Euclidean, num_clusters: int, seed: int) -> tuple[Tensor, Tensor]:
    # The import is slow, and most selections do not need it.
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    batch_size = max(_MINI_BATCH, num_clusters)
    model = MiniBatchKMeans(num_clusters, n_init=1, random_state=seed % 2**32, batch_size=batch_size)
    # Several threads add in varying order, which would change the last digits.
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters
        model.fit(all_low(points).numpy())
    add_flops(3 * len(points) * points.width * num_clusters * (int(model.n_iter_) + 1))
    return torch.from_numpy(model.labels_).long(), torch.from_numpy(model.cluster_centers_)


def nearest_to_centers(points: Tensor, centers: Tensor) -> Tensor:
    """Return the nearest point of each center, each point at most once.

    The centers choose in order, each from the points that no earlier center has taken. Ties go to the lowest position.
    float32 products find the few points that can be nearest, and float64 differences decide.

    Args:
        points: (N, D) on the CPU, any floating dtype.
        centers: (Q, D) float64, Q at most N; centers may be equal.

    Returns:
        (Q,) int64 distinct rows of ``points``.

    >>> nearest_to_centers(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[0.0], [0.0]]).double())
    tensor([0, 1])
    """
    centered = _centered(points)
    return _nearest_to(centered, centers.double() * centered.scale)


def _nearest_to(points: Euclidean, targets: Tensor) -> Tensor:
    which, rows, reach = _close_points(points, targets)
    squares = torch.empty(len(rows), dtype=torch.float64)
    for block in row_blocks(len(rows), points.width):
        squares[block] = _squared_distances(points, rows[block], targets[which[block]])
    close: list[list[tuple[float, int]]] = [[] for _ in targets]
    for place, square, row in zip(which.tolist(), squares.tolist(), rows.tolist(), strict=True):
        close[place].append((square, row))
    taken: dict[int, None] = {}  # in order
    for place, (candidates, most) in enumerate(zip(close, reach.tolist(), strict=True)):
        square, row = min((pair for pair in candidates if pair[1] not in taken), default=(math.inf, -1))
        if square > most:
            # Other centers have taken the close points.
            row = _nearest_free(points, targets[place], list(taken))
        taken[row] = None
    return torch.tensor(list(taken))


def _close_points(points: Euclidean, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return targets and rows of close pairs, and the (Q,) squared distances that all other rows exceed.

    The pairs include the nearest few rows of each target. If many rows are equally close, all are left out, with a
    distance of -inf.
    """
    low = points.low_of(targets)
    center, sizes = low.factors[0], low.squares
    near, smallest_off = torch.empty(len(targets), 0), torch.full_like(sizes, torch.inf)
    is_open, found, largest = torch.ones(len(targets), dtype=torch.bool), [], 0.0
    for block in row_blocks(len(points), max(len(targets), points.width), _MOST_PAIRS):
        some = points.low(block)
        # Bounds the errors of the rows so far. Later rows cannot bring back those that the limits exclude.
        largest = max(largest, float(some.squares.max()))
        off = points.slack * (sizes + largest) + points.smallest
        smallest_off = torch.minimum(smallest_off, off)
        # The length of the center does not change the order.
        about = torch.addmm(some.squares.float(), center, some.factors[0].T, alpha=-2)
        best = about.topk(min(2 * _FEW, about.shape[1]), dim=1, largest=False)
        near = torch.cat([near, best.values], dim=1)
        near = near.topk(min(_FEW, near.shape[1]), dim=1, largest=False).values
        limit = _raised(near[:, -1] + 2 * off).masked_fill(~is_open, -torch.inf)
        is_close = best.values <= limit[:, None]
        which, places = is_close.nonzero().unbind(dim=1)
        rows, abouts = best.indices[which, places], best.values[which, places]
        if bool(is_close[:, -1].any()):
            # There may be more of them.
            which, rows = (about <= limit[:, None]).nonzero().unbind(dim=1)
            abouts = about[which, rows]
        found.append((which, rows + block.start, abouts))
        is_open &= torch.bincount(which, minlength=len(targets)) <= _MANY
    add_flops(2 * len(points) * len(targets) * points.width)
    which, rows, abouts = (torch.cat(parts) for parts in zip(*found, strict=True))
    keep = (abouts <= near[which, -1] + 2 * off[which]) & is_open[which]
    reach = (near[:, -1] + sizes + smallest_off).masked_fill_(~is_open, -torch.inf)
    return which[keep], rows[keep], reach


def _raised(values: Tensor) -> Tensor:
    """Round float64 numbers up to float32."""
    return torch.nextafter(values.float(), torch.tensor(torch.inf))


def _squared_distances(points: Euclidean, rows: Tensor | slice, targets: Tensor) -> Tensor:
    # Squared distances: a square root could make distances that differ in the last digit equal.
    return (points.high(rows) - targets).square_().sum(dim=1)


def _nearest_free(points: Euclidean, target: Tensor, taken: list[int]) -> int:
    """Return the first row nearest to a target among those that are not taken."""
    most = block_values(len(points) * points.width, 2**20)
    squares = torch.cat([_squared_distances(points, b, target) for b in row_blocks(len(points), points.width, most)])
    squares[taken] = torch.inf
    return int(squares.argmin())


def k_means_picks(points: Rows, query_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the points nearest to k-means centers, largest clusters first.

    Args:
        points: (N, D) on the CPU, finite, any floating dtype, N at least Q; a tensor or a view.
        query_size: number Q of clusters.
        generator: on the CPU; one number is drawn from it.

    Returns:
        (Q,) int64 distinct rows of ``points``, and (Q,) float64 sizes of their clusters.
    """
    centered = _centered(points)
    clusters, centers = _k_means(centered, query_size, generator)
    sizes = torch.bincount(clusters, minlength=query_size)
    order = sizes.sort(descending=True, stable=True).indices
    return _nearest_to(centered, centers[order] + centered.origin), sizes[order].double()
