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

_BLOCK = 2**17  # numbers, few enough to stay in a core's cache between a product and its logarithm
_FEWEST_POINTS = 8  # at once: products of fewer columns are slow
_SETTLED = 1e-12  # nats: less is lost in the rounding of entropies
_STANDARD_ERRORS = 3.0
_FEW = 1024  # joint labels that a point is judged by first
_LOG_CHANCE = 15.0  # minus the logarithm of half the chance, below one in a million, that it is judged too low by them


def batchbald_select(
    log_probs: Tensor, query_size: int, generator: torch.Generator, *, num_joint_samples: int = 10_000
) -> Selection:
    """The greedy batch of largest mutual information of its labels and the network (arXiv:1906.08158).

    The first point is that of the highest BALD score. Each next one is that whose label tells most about the network
    to somebody who will know the labels of the points before: the mean, over what those labels may be, of the BALD
    score under the draws weighted by their likelihood. That is the increase of the joint mutual information of the
    paper, without the difference of two large entropies, and it neither underflows nor gets negative, however long the
    batch is. All possible labels are gone through while they are at most ``num_joint_samples``; after that so many are
    sampled, evenly over the draws.

    What a label tells can only fall when more labels are known. So an old value is an upper bound, and only points
    whose bounds are above the best value are looked at again; a sampled value gets three standard errors on top. Most
    of those are ruled out by a thousand of the joint labels, with an empirical Bernstein bound (arXiv:0907.3740). Hence
    there is no need to drop points of low BALD score beforehand. K draws hold ln K nats at most: once less than 1e-12
    nats are left, the rest is in random order, as are all ties.

    Beside its inputs it holds some 16 bytes a point, 16 K bytes a joint sample and blocks of fixed size.

    Args:
        log_probs: (N, K, C) for N points, K draws of the network, at least 2, and C classes, any floating dtype, in
            nats; -inf is a probability of 0. Logits may be given too. Draw k must be one network for all points.
        query_size: Q, from 1 to N.
        generator: on the CPU.
        num_joint_samples: joint labels of a batch to compute with, at least 1, whatever the number of draws.

    Returns:
        Q distinct positions in the order they were taken, and what each added, in nats, which sums up to the mutual
        information of all (estimated, where labels are sampled).

    Raises:
        DalError: the shape is not (N, K, C), K is 1, or another argument is out of range.
        NonFiniteError: a row holds NaN or +inf, or nothing but -inf.

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
    """``batchbald_select`` on the network's draws; K C numbers a point are kept.

    Args:
        num_draws: Networks drawn by Monte Carlo dropout, at least 2. K draws hold at most ln K nats, so batches of
            many points want many draws.
        num_joint_samples: Joint labels of a batch that are sampled for its score.
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
        # Rows on disk stay there: few are read again.
        kept = pool if shard.group is None else shard.gather(pool)
        return _select(kept["log_probs"], self.num_draws, query_size, generator, self.num_joint_samples)


def _select(
    rows: Rows, num_draws: int, query_size: int, generator: torch.Generator, num_joint_samples: int
) -> Selection:
    """``batchbald_select`` of rows of K C numbers."""
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
    """The points, those taken, and upper bounds of what the label of each of the others tells."""

    def __init__(self, rows: Rows, labels: _JointLabels, generator: torch.Generator) -> None:
        self.rows, self.num_draws = rows, labels.num_draws
        self.num_classes = rows.shape[1] // self.num_draws
        self.shuffled = torch.randperm(len(rows), generator=generator)  # the order of ties
        self.bounds = torch.empty(len(rows), dtype=torch.float64)
        for block in row_blocks(len(rows), rows.shape[1], _BLOCK):
            probs = self.log_probs(block).exp_()
            check_finite("log_probs", probs, block.start, len(rows))
            self.bounds[block] = _without_rounding(labels.tell(probs)[0])

    def log_probs(self, positions: Tensor | slice) -> Tensor:
        """(B, K, C) float64."""
        rows = self.rows[positions if isinstance(positions, slice) else positions.to(self.rows.device)]
        return in_double(rows).reshape(len(rows), self.num_draws, self.num_classes).log_softmax(dim=2)

    def take(self, labels: _JointLabels) -> tuple[int, float]:
        """The best point that is left, and what its label tells to somebody who will know ``labels``."""
        order = self.shuffled[torch.sort(self.bounds[self.shuffled], descending=True, stable=True).indices]
        best, taken = 0.0, int(order[0])
        for points in torch.split(order, labels.at_once(labels.count_of_few, self.num_classes)):
            if float(self.bounds[points[0]]) <= max(best, _SETTLED):
                break
            # What was taken before stays out; it is last, but perhaps in these.
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
    """What labels the points taken may have, and how likely the draws are under each."""

    def __init__(self, num_draws: int, most: int, device: torch.device, generator: torch.Generator) -> None:
        self.num_draws, self.most, self.device, self.generator = num_draws, most, device, generator
        self.are_all, self._taken = True, list[Tensor]()
        # (M, K) the logarithm of the probability that a draw gives to the labels.
        self._likelihoods = torch.zeros(1, num_draws, dtype=torch.float64, device=device)
        self._weigh()

    @property
    def count(self) -> int:
        """Joint labels that leave anything to be told."""
        return len(self._draws)

    def add(self, log_probs: Tensor) -> None:
        """One more point is taken; (K, C)."""
        self._taken.append(log_probs)
        if self.are_all and len(self._likelihoods) * log_probs.shape[1] <= self.most:
            likelihoods = (self._likelihoods[:, None] + log_probs.T).flatten(0, 1)
            self._likelihoods = likelihoods[torch.logsumexp(likelihoods, dim=1) > -math.inf]
        else:
            self._sample()
        self._weigh()

    @property
    def count_of_few(self) -> int:
        """Those that tell_at_most() looks at."""
        return len(self._few_draws)

    def at_once(self, count: int, num_classes: int) -> int:
        """Points that ``count`` joint labels are gone through for together."""
        return max(_FEWEST_POINTS, _BLOCK // (num_classes * max(self.num_draws, count)))

    def tell(self, probs: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K, C) to (B,): the mutual information of each point's label and the network, in nats, once the labels of
        those taken are known; and its standard error. On the CPU."""
        gains, squares = self._sums(probs, self._draws, self._weights, self._weights[:, None])
        return gains, self._errors(gains, squares[:, 0])

    def tell_at_most(self, probs: Tensor) -> Tensor:
        """(B, K, C) to (B,): what tell() hardly ever says more than, with the standard errors. On the CPU."""
        shares, squares = self._sums(probs, self._few_draws, self._few_weights, self._few_weights_of_squares)
        variances = (squares[:, 0] - shares.square()).clamp_(min=0)
        # An empirical Bernstein bound of shares, which are from 0 to 1.
        chance = _LOG_CHANCE / (len(self._few_draws) - 1)
        most = self._unknown * (shares + (2 * chance * variances).sqrt_() + 7 / 3 * chance)
        return most + _STANDARD_ERRORS * self._errors(self._unknown * shares, squares[:, 1])

    def _errors(self, gains: Tensor, squares: Tensor) -> Tensor:
        if self.are_all:
            return torch.zeros_like(gains)
        return ((squares - gains.square()).clamp_(min=0) / self.most).sqrt_()

    def _sums(self, probs: Tensor, draws: Tensor, weights: Tensor, of_squares: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) and (B, S): weighted sums over (M', K) joint labels of what they make a point tell, by (M',), and of its
        squares, by (M', S)."""
        count, num_draws, num_classes = probs.shape
        # The classes outside, so that sums over them run along rows.
        columns = probs.permute(1, 2, 0).reshape(num_draws, num_classes * count)
        entropies = torch.special.entr(probs).sum(dim=2).T.contiguous()
        sums = torch.zeros(1 + of_squares.shape[1], count, dtype=probs.dtype, device=self.device)
        for block in row_blocks(len(draws), columns.shape[1], _BLOCK):
            mean = draws[block] @ columns
            # 0 log 0 is 0.
            mean.mul_(mean.clamp(min=1e-300).log_())
            information = mean.view(-1, num_classes, count).sum(dim=1)
            information.add_(draws[block] @ entropies).neg_().clamp_(min=0)
            sums[0] += weights[block] @ information
            sums[1:] += of_squares[block].T @ information.square_()
        add_flops(2 * len(draws) * num_draws * (num_classes + 1) * count)
        sums = sums.cpu()
        return sums[0], sums[1:].T

    def _sample(self) -> None:
        """Draw labels of the points that have none yet: of each a network first, and from it the labels."""
        num_draws = self.num_draws
        rounds = -(-self.most // num_draws)
        if self.are_all:
            self.are_all, self._added = False, 0
            # Every draw as often as any other, and a random few once more.
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
        """Set the draws' probabilities given labels (M', K), and the labels' (M',), without what is settled."""
        draws = self._likelihoods.softmax(dim=1)
        if self.are_all:
            weights = (torch.logsumexp(self._likelihoods, dim=1) - math.log(self.num_draws)).exp()
        else:
            weights = draws.new_full((self.most,), 1 / self.most)
        # A label tells no more about the network than is not known of it. What is settled is left out, and of samples
        # also what is nearly so: in all at most 0.01 / sqrt(M) of what is unknown, far less than sampling is off by.
        unknown = torch.special.entr(draws).sum(dim=1)
        least = _SETTLED if self.are_all else max(_SETTLED, 0.01 / math.sqrt(self.most) * float(unknown.mean()))
        kept = unknown > least
        self._draws, self._weights, unknown = draws[kept], weights[kept], unknown[kept]
        self._few_draws = self._draws
        if len(unknown) > 2 * _FEW:
            # Some as often as what is unknown under them is of all: a point tells from nothing to all of it. In random
            # order, as the labels of one point alternate, and always in the same, so that no draw of others moves.
            order = torch.randperm(len(unknown), generator=torch.Generator().manual_seed(len(unknown)))
            order = order.to(self.device)
            so_far = (self._weights * unknown)[order].cumsum(dim=0)
            self._unknown = float(so_far[-1])
            steps = (torch.arange(_FEW, dtype=so_far.dtype, device=self.device) + 0.5) / _FEW
            few = order[torch.searchsorted(so_far, steps * self._unknown).clamp_(max=len(unknown) - 1)]
            self._few_draws, self._few_weights = self._draws[few], 1 / (unknown[few] * _FEW)
            # For the squares of shares, and for those of what is told.
            squares = [self._few_weights / unknown[few], self._few_weights * self._unknown]
            self._few_weights_of_squares = torch.stack(squares, dim=1)
