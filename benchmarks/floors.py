"""Floors: the same work in plain PyTorch, as fast as possible.

A floor computes in float32 and has no checks, progress or memory limits. The ratio of dal's time to that of the floor
is therefore the cost of dal's checks, exactness and generality. Floors run on the device and in the floating-point type
of their tensors.

This module has no command: see speed.py and gpu.py.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dal import Classifier

Step = Callable[[Tensor], Tensor]


def dropout_masks(model: Classifier, num_draws: int, seed: int = 0) -> list[Tensor]:
    """Return K scaled masks for each dropout layer.

    The model is a Classifier with SmallCNN, which has two such layers. The masks are (K, 1568) and (K, 128).
    """
    g = torch.Generator().manual_seed(seed)
    inner = next(m for m in model.backbone.modules() if isinstance(m, nn.Dropout))
    dense = next(m for m in model.backbone.modules() if isinstance(m, nn.Linear))
    masks = []
    for layer, width in ((inner, dense.in_features), (model.dropout, model.head.in_features)):
        keep = torch.rand(num_draws, width, generator=g) >= layer.p
        masks.append((keep / (1 - layer.p)).to(model.head.weight.device))
    return masks


def small_cnn_step(model: Classifier, masks: list[Tensor]) -> Step:
    """Return a function from (B, C, H, W) to (B,) BALD scores.

    The convolutions run once, and the layers after the K fixed masks run on B * K rows.
    """
    layers = list(model.backbone.layers)
    first = next(i for i, layer in enumerate(layers) if isinstance(layer, nn.Dropout))
    trunk, rest = nn.Sequential(*layers[:first]), nn.Sequential(*layers[first + 1 :])
    inner, outer = masks

    def step(x: Tensor) -> Tensor:
        flat = trunk(x)
        hidden = rest((flat[:, None] * inner).flatten(0, 1)).view(len(x), len(outer), -1)
        return bald(model.head(hidden * outer))

    return step


@torch.inference_mode()
def over_batches(step: Step, images: Tensor, batch_size: int) -> Tensor:
    """Return the outputs of the step for all images.

    They are scores, or logits if the step is a model.
    """
    return torch.cat([step(x) for x in images.split(batch_size)])


def bald(logits: Tensor) -> Tensor:
    """Return the (B,) scores of (B, K, C) logits, in their dtype."""
    probs = logits.softmax(dim=2)
    entropy_of_mean = torch.special.entr(probs.mean(dim=1)).sum(dim=1)
    return entropy_of_mean - torch.special.entr(probs).sum(dim=2).mean(dim=1)


@torch.inference_mode()
def coreset(features: Tensor, labeled: Tensor, query_size: int, block: int = 8192) -> Tensor:
    """Select with greedy k-center.

    The cost is a matrix product for the labeled points and one matrix-vector product per pick.
    """
    sizes, labeled_sizes = squared_lengths(features), squared_lengths(labeled)
    nearest = torch.empty_like(sizes)
    for rows in (slice(start, start + block) for start in range(0, len(features), block)):
        # |c|² - 2 x·c; the term |x|² is the same for all centers.
        if features.dtype == torch.float32:
            about = torch.addmm(labeled_sizes, features[rows], labeled.T, alpha=-2)
        else:
            about = torch.sub(labeled_sizes, features[rows] @ labeled.T, alpha=2)
        torch.amin(about, dim=1, out=nearest[rows])
    nearest += sizes
    distances, products = torch.empty_like(sizes), torch.empty_like(features[:, 0])
    picks = torch.empty(query_size, dtype=torch.int64, device=features.device)
    for i in range(query_size):
        # Of shape (1,), because indexing with a single number synchronizes with the GPU.
        pick = nearest.argmax(dim=0, keepdim=True)
        picks[i : i + 1] = pick
        if i + 1 == query_size:
            break
        torch.mv(features, features.index_select(0, pick)[0], out=products)
        torch.sub(sizes, products, alpha=2, out=distances)
        distances += sizes.index_select(0, pick)
        torch.minimum(nearest, distances, out=nearest)
        nearest.index_fill_(0, pick, -torch.inf)
    return picks.cpu()


@torch.inference_mode()
def badge(probs: Tensor, features: Tensor, query_size: int, generator: torch.Generator) -> Tensor:
    """Select with k-means++ on factored gradients.

    The cost is two matrix-vector products per pick.
    """
    a = probs.clone()
    a[torch.arange(len(a), device=a.device), probs.argmax(dim=1)] -= 1
    sizes = squared_lengths(a) * squared_lengths(features)
    draws = torch.rand(query_size, generator=generator).to(features.device)
    along, across = torch.empty_like(a[:, 0]), torch.empty_like(features[:, 0])
    distances, nearest = torch.empty_like(sizes), torch.full_like(sizes, torch.inf)
    picks = torch.empty(query_size, dtype=torch.int64, device=features.device)
    pick = (draws[:1] * len(features)).long()
    for i in range(query_size):
        picks[i : i + 1] = pick
        if i + 1 == query_size:
            break
        torch.mv(a, a.index_select(0, pick)[0], out=along)
        torch.mv(features, features.index_select(0, pick)[0], out=across)
        torch.mul(along, across, out=distances)
        torch.sub(sizes, distances, alpha=2, out=distances)
        distances += sizes.index_select(0, pick)
        torch.minimum(nearest, distances.clamp_(min=0), out=nearest)
        nearest.index_fill_(0, pick, 0)
        cumulative = nearest.cumsum(dim=0)
        target = draws[i + 1 : i + 2] * cumulative[-1:]
        pick = torch.searchsorted(cumulative, target).clamp_(max=len(features) - 1)
    return picks.cpu()


@torch.inference_mode()
def alfa_mix(
    features: Tensor, weight: Tensor, bias: Tensor, anchors: Tensor, epsilons: Tensor, tile: int = 128
) -> Tensor:
    """Count the anchors that change the prediction of a linear head, (N, S).

    The cost is four products per tile. Elements that are equal in a point and an anchor do not move; only zeros are
    compared, in the columns where an anchor is 0.
    """
    anchor_sizes = squared_lengths(anchors)
    zeros = [(row == 0).nonzero()[:, 0] for row in anchors]
    has_zeros = any(map(len, zeros))
    counts = []
    for z in features.split(tile):
        logits = torch.addmm(bias, z, weight.T)
        best, predicted = logits.max(dim=1, keepdim=True)
        errors = logits.scatter(1, predicted, -torch.inf).softmax(dim=1).scatter_(1, predicted, -1)
        gradients = errors @ weight
        slopes = (gradients @ weight.T)[None]
        if has_zeros:
            slopes = slopes.repeat(len(anchors), 1, 1)
            of_zeros = gradients * (z == 0)
            for slope, columns in zip(slopes, zeros, strict=True):
                slope -= of_zeros[:, columns] @ weight[:, columns].T
        slopes = slopes - slopes.gather(2, predicted.expand(len(slopes), -1, 1))
        slopes /= torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
        margins = best - logits
        reached = torch.where(slopes > 0, margins / slopes, torch.inf).amin(dim=2)
        lengths = torch.sub(z.square().sum(dim=1), anchors @ z.T, alpha=2).add_(anchor_sizes[:, None]).sqrt_()
        counts.append((lengths[:, :, None] * epsilons > reached[:, :, None]).sum(dim=0))
    return torch.cat(counts)


@torch.inference_mode()
def batchbald(log_probs: Tensor, query_size: int, block: int = 128) -> Tensor:
    """Select with greedy BatchBALD over all joint labels.

    The cost per pick is a matrix product and an entropy, in blocks of the pool.
    """
    probs = log_probs.exp()
    num_draws = probs.shape[1]
    given_network = torch.special.entr(probs).sum(dim=2).mean(dim=1)
    joint = probs.new_full((1, num_draws), 1 / num_draws)
    picks: list[int] = []
    while len(picks) < query_size:
        entropies = [
            torch.special.entr(torch.einsum("jk,bkc->bjc", joint, rows)).sum(dim=(1, 2)) for rows in probs.split(block)
        ]
        gains = torch.cat(entropies) - given_network
        gains[picks] = -torch.inf
        picks.append(int(gains.argmax()))
        joint = (joint[:, None] * probs[picks[-1]].T).flatten(0, 1)
    return torch.tensor(picks)


@torch.inference_mode()
def nearest_to_centers(points: Tensor, centers: Tensor, few: int = 4) -> Tensor:
    """Give each center the nearest point that no earlier center has taken.

    The cost is a product in blocks. float64 differences decide among the nearest few.
    """
    origin = points[:: max(1, len(points) // 256)].mean(dim=0)
    low, found = (centers - origin).float(), []
    step = max(1, 2**19 // len(centers))
    for start in range(0, len(points), step):
        x = points[start : start + step] - origin
        about = torch.addmm(x.square().sum(dim=1), low, x.T, alpha=-2)
        near = about.topk(few, dim=1, largest=False)
        found.append((near.values, near.indices + start))
    values, rows = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
    rows = rows.gather(1, values.topk(few, dim=1, largest=False).indices)
    order = (points[rows].double() - centers[:, None]).square().sum(dim=2).argsort(dim=1)
    taken: dict[int, None] = {}
    for row in rows.gather(1, order).tolist():
        taken[next(place for place in row if place not in taken)] = None
    return torch.tensor(list(taken))


@torch.inference_mode()
def probcover(points: Tensor, query_size: int, delta: float) -> Tensor:
    """Cover greedily. The cost is a product in blocks, and a graph of balls as one mask."""
    inside = torch.cat([torch.cdist(rows, points) < delta for rows in points.split(512)])
    picks, newly, uncovered = [], inside.sum(dim=1), torch.ones(len(points), dtype=torch.bool)
    for _ in range(query_size):
        picks.append(int(newly.argmax()))
        covered = (inside[picks[-1]] & uncovered).nonzero()[:, 0]
        uncovered[covered] = False
        newly -= inside[covered].sum(dim=0)
    return torch.tensor(picks)


def average_linkage(points: Tensor, num_clusters: int) -> Tensor:
    """Cluster by average linkage. The cost is a product and SciPy's linkage."""
    from scipy.cluster.hierarchy import fcluster, linkage

    sizes = points.square().sum(dim=1)
    distances = torch.addmm(sizes, points, points.T, alpha=-2).add_(sizes[:, None]).clamp_(min=0).sqrt_()
    rows, columns = torch.triu_indices(len(points), len(points), 1)
    tree = linkage(distances[rows, columns].numpy(), method="average")
    return torch.from_numpy(fcluster(tree, num_clusters, "maxclust")).long() - 1


def squared_lengths(x: Tensor) -> Tensor:
    """Return (N,) float32 squared lengths without another (N, D) tensor."""
    return torch.cat([block.float().square().sum(dim=1) for block in x.split(8192)])
