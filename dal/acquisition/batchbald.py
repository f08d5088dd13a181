"""BatchBALD: label the batch with the most joint information about the network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dal.acquisition.base import (
    KeptRows,
    PoolModel,
    Selection,
    ShardedFunction,
    Summary,
    check_dims,
    check_num_draws,
    check_query_size,
)
from dal.acquisition.search.flops import add_flops
from dal.acquisition.search.numbers import check_finite, check_whole, in_double, normalized_log_probs, row_blocks
from dal.acquisition.search.rows import Rows, ready
from dal.acquisition.search.shards import Shard
from dal.errors import bad_value

__all__ = ["BatchBALD", "batchbald_select"]

_BLOCK = 2**17  # numbers that fit in a core's cache from a product to its logarithm
_FEWEST_POINTS = 8  # per block, because products with fewer columns are slow
_SETTLED = 1e-12  # nats, below which entropies are only rounding errors
_STANDARD_ERRORS = 3.0
_FEW = 1024  # joint labels for a first bound of each point
_LOG_CHANCE = 15.0  # -log(p / 2), where p < 1e-6 is the probability that this bound is too low


def batchbald_select(
    log_probs: Tensor, query_size: int, generator: torch.Generator, *, num_joint_samples: int = 10_000
) -> Selection:
    """Select the most informative batch about the network, greedily (arXiv:1906.08158).

    Each step selects the point with the largest gain: the mutual information of its label and the network, given the
    labels of the points selected before. Those labels are not known yet. The gain is therefore an average over their
    possible combinations, the joint labels. Given one joint label, it is the BALD score with the draws weighted by
    their likelihood. The paper computes the same gain as a difference of two large entropies. This form neither
    underflows nor becomes negative, whatever the batch size. If there are more than ``num_joint_samples`` joint labels,
    that number is sampled, evenly over the draws.

    A gain can only decrease as more labels are given, so an earlier gain is an upper bound (plus three standard errors
    if sampled). Only points whose bounds exceed the best gain are evaluated again. An empirical Bernstein bound over
    about 1,000 joint labels (arXiv:0907.3740) first rules out most of these. Points with low BALD scores thus need no
    prior filtering. K draws hold at most ln K nats. Once less than 1e-12 nats are left, the remaining points follow in
    random order. Ties are also in random order.

    In addition to its inputs, it holds about 16 bytes per point, 16 K bytes per joint sample and blocks of fixed size.

    Args:
        log_probs: (N, K, C) for N points, K draws of the network, at least 2, and C classes, any floating dtype, in
            nats; -inf is a probability of 0. Logits are accepted too. Draw k must be the same network for all points.
        query_size: Q, from 1 to N.
        generator: on the CPU.
        num_joint_samples: maximum number of joint labels, at least 1, for any number of draws.

    Returns:
        Q distinct positions in the order of selection, and their gains in nats. The gains sum to the joint mutual
        information (an estimate if labels are sampled).

    Raises:
        DalError: the shape is not (N, K, C), K is 1, or another argument is out of range.
        NonFiniteError: a row holds NaN or +inf, or only -inf.

    >>> split, other = [[1, 0], [1, 0], [0, 1], [0, 1]], [[1, 0], [0, 1], [1, 0], [0, 1]]
    >>> log_probs = torch.tensor([split, split, [[0.5, 0.5]] * 4, other]).log()
    >>> positions, gains = batchbald_select(log_probs, 2, torch.Generator().manual_seed(0))
    >>> sorted(positions.tolist()) in ([0, 3], [1, 3]), gains
    (True, tensor([0.6931, 0.6931], dtype=torch.float64))
    """
    check_dims("log_probs", log_probs, "N, K, C")
    if log_probs.shape[1] < 2 or log_probs.shape[2] < 1:
        raise bad_value("log_probs", "at least 2 draws and one class", tuple(log_probs.shape))
    check_whole("num_joint_samples", num_joint_samples)
    return _select(log_probs.flatten(1), log_probs.shape[1], query_size, generator, num_joint_samples)


@dataclass(frozen=True)
class BatchBALD(ShardedFunction):
    """Selects with ``batchbald_select``; keeps K C numbers per point.

    Args:
        num_draws: Networks drawn by Monte Carlo dropout, at least 2. K draws hold at most ln K nats, so large batches
            need many draws.
        num_joint_samples: Maximum number of joint labels used to score a batch, at least 1.
    """

    keeps: ClassVar[tuple[str, ...]] = ("log_probs",)
    needs_dropout: ClassVar[bool] = True

    num_draws: int = 20
    num_joint_samples: int = 10_000

    def __post_init__(self) -> None:
        check_num_draws(self.num_draws)
        check_whole("num_joint_samples", self.num_joint_samples)

    def summarize(self, model: PoolModel, x: Tensor) -> Summary:
        log_probs = model.mc_log_probs(x, self.num_draws)
        normalized_log_probs("log_probs", log_probs)
        return {"log_probs": log_probs.flatten(1)}

    def select_in(
        self,
        shard: Shard,
        pool: KeptRows,
        labeled: Summary,
        query_size: int,
        generator: torch.Generator,
    ) -> Selection:
        # Rows on disk stay there, because few are read again.
        kept = pool if shard.group is None else shard.gather(pool)
        return _select(kept["log_probs"], self.num_draws, query_size, generator, self.num_joint_samples)


def _select(
    rows: Rows, num_draws: int, query_size: int, generator: torch.Generator, num_joint_samples: int
) -> Selection:
    """Run ``batchbald_select`` on rows of K C numbers."""
    check_query_size(query_size, len(rows))
    with torch.inference_mode():
        rows = ready(rows)
        labels = _JointLabels(num_draws, num_joint_samples, rows.device, generator)
        batch = _Batch(rows, labels, generator)
        chosen = [batch.take(labels)]
        while len(chosen) < query_size:
            labels.add(batch.log_probs(torch.tensor([chosen[-1][0]]))[0])
            chosen.append(batch.take(labels))
    positions, gains = zip(*chosen, strict=True)
    return Selection(torch.tensor(positions), torch.tensor(gains, dtype=torch.float64))


class _Batch:
    """The points, and upper bounds on the gains of those not taken."""

    def __init__(self, rows: Rows, labels: _JointLabels, generator: torch.Generator) -> None:
        self.rows, self.num_draws = rows, labels.num_draws
        self.num_classes = rows.shape[1] // self.num_draws
        self.shuffled = torch.randperm(len(rows), generator=generator)  # the order among ties
        self.bounds = torch.empty(len(rows), dtype=torch.float64)
        for block in row_blocks(len(rows), rows.shape[1], _BLOCK):
            probs = self.log_probs(block).exp_()
            check_finite("log_probs", probs, block.start, len(rows))
            self.bounds[block] = _without_rounding(labels.tell(probs)[0])

    def log_probs(self, positions: Tensor | slice) -> Tensor:
        """Return (B, K, C) float64 log-probabilities."""
        rows = self.rows[positions if isinstance(positions, slice) else positions.to(self.rows.device)]
        return in_double(rows).reshape(len(rows), self.num_draws, self.num_classes).log_softmax(dim=2)

    def take(self, labels: _JointLabels) -> tuple[int, float]:
        """Take the remaining point with the largest gain given ``labels``; return both."""
        order = self.shuffled[torch.sort(self.bounds[self.shuffled], descending=True, stable=True).indices]
        best, taken = 0.0, int(order[0])
        for points in torch.split(order, labels.at_once(labels.count_of_few, self.num_classes)):
            if float(self.bounds[points[0]]) <= max(best, _SETTLED):
                break
            # Taken points sort last, but this block may contain some.
            points = points[self.bounds[points] >= 0]
            probs = self.log_probs(points).exp()
            if labels.count_of_few < labels.count and best > 0:
                bounds = labels.tell_at_most(probs)
                self.bounds[points] = _without_rounding(torch.minimum(self.bounds[points], bounds))
                left = bounds > best
                points, probs = points[left], probs[left.to(probs.device)]
            at_once = labels.at_once(labels.count, self.num_classes)
            for some, of_some in zip(torch.split(points, at_once), torch.split(probs, at_once), strict=True):
                if not len(some):
                    break
                gains, errors = labels.tell(of_some)
                bounds = gains + _STANDARD_ERRORS * errors
                self.bounds[some] = _without_rounding(bounds)
                if float(gains.max()) > best:
                    best, taken = float(gains.max()), int(some[gains.argmax()])
        self.bounds[taken] = -math.inf
        return taken, best


def _without_rounding(gains: Tensor) -> Tensor:
    return torch.where(gains <= _SETTLED, 0, gains)


class _JointLabels:
    """Joint labels of the taken points, and the draws' probabilities given each."""

    def __init__(self, num_draws: int, most: int, device: torch.device, generator: torch.Generator) -> None:
        self.num_draws, self.most, self.device, self.generator = num_draws, most, device, generator
        self.are_all, self._taken = True, list[Tensor]()
        # (M, K) log-probability of each joint label under each draw.
        self._likelihoods = torch.zeros(1, num_draws, dtype=torch.float64, device=device)
        self._weigh()

    @property
    def count(self) -> int:
        """Number of joint labels that leave uncertainty about the network."""
        return len(self._draws)

    def add(self, log_probs: Tensor) -> None:
        """Add a taken point by its (K, C) log-probabilities."""
        self._taken.append(log_probs)
        if self.are_all and len(self._likelihoods) * log_probs.shape[1] <= self.most:
            likelihoods = (self._likelihoods[:, None] + log_probs.T).flatten(0, 1)
            self._likelihoods = likelihoods[torch.logsumexp(likelihoods, dim=1) > -math.inf]
        else:
            self._sample()
        self._weigh()

    @property
    def count_of_few(self) -> int:
        """Number of joint labels that tell_at_most() uses."""
        return len(self._few_draws)

    def at_once(self, count: int, num_classes: int) -> int:
        """Number of points to process at once with ``count`` joint labels."""
        return max(_FEWEST_POINTS, _BLOCK // (num_classes * max(self.num_draws, count)))

    def tell(self, probs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gain of each point and its standard error.

        Maps (B, K, C) probabilities to two (B,) tensors in nats, on the CPU.
        """
        gains, squares = self._sums(probs, self._draws, self._weights, self._weights[:, None])
        return gains, self._errors(gains, squares[:, 0])

    def tell_at_most(self, probs: Tensor) -> Tensor:
        """Like tell(), but (B,) bounds that gains plus errors almost never exceed."""
        shares, squares = self._sums(probs, self._few_draws, self._few_weights, self._few_weights_of_squares)
        variances = (squares[:, 0] - shares.square()).clamp_(min=0)
        # An empirical Bernstein bound, which applies because shares are between 0 and 1.
        chance = _LOG_CHANCE / (len(self._few_draws) - 1)
        most = self._unknown * (shares + (2 * chance * variances).sqrt_() + 7 / 3 * chance)
        return most + _STANDARD_ERRORS * self._errors(self._unknown * shares, squares[:, 1])

    def _errors(self, gains: Tensor, squares: Tensor) -> Tensor:
        if self.are_all:
            return torch.zeros_like(gains)
        return ((squares - gains.square()).clamp_(min=0) / self.most).sqrt_()

    def _sums(self, probs: Tensor, draws: Tensor, weights: Tensor, of_squares: Tensor) -> tuple[Tensor, Tensor]:
        """Sum the points' information and its squares over joint labels.

        ``draws`` (M', K) are the draws' probabilities given each joint label. The sum of the information has weights
        (M',) and gives (B,). The sums of its squares have weights ``of_squares`` (M', S) and give (B, S).
        """
        count, num_draws, num_classes = probs.shape
        # Classes come before points, so that a sum over classes adds contiguous rows.
        columns = probs.permute(1, 2, 0).reshape(num_draws, num_classes * count)
        entropies = torch.special.entr(probs).sum(dim=2).T.contiguous()
        sums = torch.zeros(1 + of_squares.shape[1], count, dtype=probs.dtype, device=self.device)
        for block in row_blocks(len(draws), columns.shape[1], _BLOCK):
            mean = draws[block] @ columns
            # The clamp makes 0 log 0 equal to 0.
            mean.mul_(mean.clamp(min=1e-300).log_())
            information = mean.view(-1, num_classes, count).sum(dim=1)
            information.add_(draws[block] @ entropies).neg_().clamp_(min=0)
            sums[0] += weights[block] @ information
            sums[1:] += of_squares[block].T @ information.square_()
        add_flops(2 * len(draws) * num_draws * (num_classes + 1) * count)
        sums = sums.cpu()
        return sums[0], sums[1:].T

    def _sample(self) -> None:
        """Sample labels of newly taken points from one draw per joint label."""
        num_draws = self.num_draws
        rounds = -(-self.most // num_draws)
        if self.are_all:
            self.are_all, self._added = False, 0
            # All draws occur equally often, except that a random few occur once more.
            self._order = torch.randperm(num_draws, generator=self.generator).to(self.device)
            self._likelihoods = self._likelihoods.new_zeros(self.most, num_draws)
        for log_probs in self._taken[self._added :]:
            below = log_probs.exp().cumsum(dim=1)[self._order]
            uniform = torch.rand(rounds, num_draws, dtype=torch.float64, generator=self.generator)
            target = uniform.to(below).T.contiguous() * below[:, -1:]
            labels = torch.searchsorted(below, target, right=True).clamp_(max=below.shape[1] - 1)
            self._likelihoods += log_probs.T[labels.T.flatten()[: self.most]]
        self._added = len(self._taken)

    def _weigh(self) -> None:
        """Set the (M', K) draws' probabilities and the (M',) joint labels' weights."""
        draws = self._likelihoods.softmax(dim=1)
        if self.are_all:
            weights = (torch.logsumexp(self._likelihoods, dim=1) - math.log(self.num_draws)).exp()
        else:
            weights = draws.new_full((self.most,), 1 / self.most)
        # A point's information is at most the network's remaining entropy. Joint labels that leave none are dropped.
        # Samples that leave little are also dropped: they hold at most 0.01 / sqrt(M) of the total entropy, far less
        # than the sampling error.
        unknown = torch.special.entr(draws).sum(dim=1)
        least = _SETTLED if self.are_all else max(_SETTLED, 0.01 / math.sqrt(self.most) * float(unknown.mean()))
        kept = unknown > least
        self._draws, self._weights, unknown = draws[kept], weights[kept], unknown[kept]
        self._few_draws = self._draws
        if len(unknown) > 2 * _FEW:
            # Draw a few in proportion to their weighted entropy. Divided by that entropy, a point's information is a
            # share between 0 and 1. The order is random, because the labels of one point alternate. Its seed is fixed,
            # so that the shared generator does not advance.
            order = torch.randperm(len(unknown), generator=torch.Generator().manual_seed(len(unknown)))
            order = order.to(self.device)
            so_far = (self._weights * unknown)[order].cumsum(dim=0)
            self._unknown = float(so_far[-1])
            steps = (torch.arange(_FEW, dtype=so_far.dtype, device=self.device) + 0.5) / _FEW
            few = order[torch.searchsorted(so_far, steps * self._unknown).clamp_(max=len(unknown) - 1)]
            self._few_draws, self._few_weights = self._draws[few], 1 / (unknown[few] * _FEW)
            # Weights for the squares of the shares, and for the squares of the information.
            squares = [self._few_weights / unknown[few], self._few_weights * self._unknown]
            self._few_weights_of_squares = torch.stack(squares, dim=1)
