"""Greedy selection by Fisher information, with Woodbury updates.

The information of a point is V Vᵀ with V = A ⊗ h. A is (E, R), a factor of its class part, and h are its D features. M
is the information collected so far and U is that of the pool, both (E D, E D). The goal is a small tr(M⁻¹ U).

Each point has two small matrices, a = Vᵀ M⁻¹ V and b = Vᵀ M⁻¹ U M⁻¹ V, both (R, R). Adding the point to M decreases the
trace by tr((I + a)⁻¹ b), and removing it increases the trace by tr((I - a)⁻¹ b). Both change a and b of all points by
products of (R, R) matrices. M⁻¹ and M⁻¹ U M⁻¹ are stored too. An update therefore costs two products of a matrix with
h, for any R, plus low-rank sums.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dal.acquisition.search.flops import add_flops
from dal.acquisition.search.numbers import row_blocks
from dal.errors import DalError

_BLOCK = 2**20
_SMALLEST_PART = 1e-3


class Informative:
    """N points, given by their class factors and features.

    The class factors are (N, E, R) float64. The features are (N, D) of any floating dtype.
    """

    def __init__(self, class_factors: Tensor, features: Tensor) -> None:
        self.class_factors, self.features = class_factors, features
        self.num_rows, self.rank = class_factors.shape[1:]
        self.width = self.num_rows * features.shape[1]

    def __len__(self) -> int:
        return len(self.features)

    def at(self, rows: Tensor) -> Informative:
        """Return the points at these rows."""
        return Informative(self.class_factors[rows], self.features[rows])

    def factor(self, row: int) -> Tensor:
        """Return the (E D, R) matrix V of one point."""
        return torch.einsum("er,d->edr", self.class_factors[row], self.features[row].double()).reshape(self.width, -1)

    def times(self, matrix: Tensor, row: int) -> Tensor:
        """Multiply a contiguous (E D, E D) matrix by one point's V."""
        add_flops(2 * matrix.numel())
        return (matrix.view(-1, self.features.shape[1]) @ self.features[row].double()).view(
            self.width, self.num_rows
        ) @ self.class_factors[row]

    def information(self) -> Tensor:
        """Return the points' total information V Vᵀ, (E D, E D)."""
        total = self.features.new_zeros(self.width, self.width, dtype=torch.float64)
        for block in row_blocks(len(self), self.width * self.rank, _BLOCK):
            a, h = self.class_factors[block], self.features[block].double()
            factors = torch.einsum("ner,nd->ednr", a, h).reshape(self.width, -1)
            add_flops(2 * self.width * factors.numel())
            total.addmm_(factors, factors.T)
        return total

    def quadratic(self, matrix: Tensor) -> Tensor:
        """Return (N, R, R) Vᵀ ``matrix`` V of all points."""
        found = torch.empty(len(self), self.rank, self.rank, dtype=torch.float64)
        matrix = matrix.reshape(self.num_rows, -1, self.num_rows, self.features.shape[1])
        for block in row_blocks(len(self), self.num_rows * self.width, _BLOCK):
            a, h = self.class_factors[block], self.features[block].double()
            add_flops(2 * len(h) * self.width * self.width)
            # (B, E, E), one pair of classes at a time, to avoid a (B, E, E, D) tensor.
            between = torch.stack(
                [
                    torch.stack([((h @ matrix[e, :, f]) * h).sum(dim=1) for f in range(self.num_rows)], dim=1)
                    for e in range(self.num_rows)
                ],
                dim=1,
            )
            found[block] = a.transpose(1, 2) @ between @ a
        return found

    def project(self, columns: Tensor) -> Tensor:
        """Return (N, R, P) products Vᵀ ``columns`` with (E D, P) columns."""
        found = torch.empty(len(self), self.rank, columns.shape[1], dtype=torch.float64)
        by_feature = columns.reshape(self.num_rows, -1, columns.shape[1]).permute(1, 0, 2).flatten(1)
        add_flops(2 * len(self) * by_feature.numel())
        for block in row_blocks(len(self), self.features.shape[1] + by_feature.shape[1], _BLOCK):
            a, products = self.class_factors[block], self.features[block].double() @ by_feature
            found[block] = a.transpose(1, 2) @ products.reshape(len(a), self.num_rows, -1)
        return found


class Trace:
    """The trace of M⁻¹ U while M gains and loses points.

    ``collected`` is M, which updates change in place. ``target`` is U.
    """

    def __init__(self, points: Informative, collected: Tensor, target: Tensor) -> None:
        self.points, self.collected, self.target = points, collected, target
        self.num_inversions = 0
        self._invert()

    def _invert(self) -> None:
        root, failed = torch.linalg.cholesky_ex(self.collected)
        if int(failed) or not bool((root.diagonal() > 0).all()):
            raise _not_invertible()
        self.inverse = torch.cholesky_inverse(root).contiguous()
        del root
        # ``spread`` is M⁻¹ U M⁻¹.
        self.spread = self.inverse @ self.target @ self.inverse
        add_flops(6 * self.points.width**3)
        self.a = self.points.quadratic(self.inverse)
        self.b = self.points.quadratic(self.spread)
        if not all(bool(torch.isfinite(torch.stack(torch.aminmax(m))).all()) for m in (self.inverse, self.a, self.b)):
            raise _not_invertible()
        self.num_inversions += 1
        self._largest = self._size()

    def _size(self) -> float:
        """Return the largest tr(b), which the rounding errors are proportional to."""
        return float(self.b.diagonal(dim1=1, dim2=2).sum(dim=1).max())

    def changes(self, sign: int) -> Tensor:
        """Return (N,) changes of the trace, one for each point.

        They are the decreases from adding the point (sign 1) or the increases from removing it (sign -1). An increase
        is inf if, to float64 precision, only this point has information about some direction.
        """
        changes = _solve(_plus_identity(self.a, sign), self.b).diagonal(dim1=1, dim2=2).sum(dim=1)
        if sign > 0:
            return changes
        # An exact increase is at least tr(b). A smaller value or NaN means that I - a consists of rounding errors.
        least = self.b.diagonal(dim1=1, dim2=2).sum(dim=1)
        return torch.where(changes >= least - 1e-9 * least.abs() - 1e-12 * self._size(), changes, torch.inf)

    def update(self, row: int, sign: int) -> None:
        """Add a point (sign 1) or remove it (sign -1)."""
        v = self.points.factor(row)
        w, z = self.points.times(self.inverse, row), self.points.times(self.spread, row)
        # The next lines transform w and z such that M⁻¹ decreases by sign w wᵀ and M⁻¹ U M⁻¹ by sign (w zᵀ + z wᵀ).
        values, vectors = torch.linalg.eigh(_plus_identity(v.T @ w, sign))
        # When removing a point with nearly all the information about a direction, rounding can make values <= 0.
        root = vectors / values.clamp(min=torch.finfo(values.dtype).eps).sqrt()
        within = root.T @ (v.T @ z) @ root
        w, z = w @ root, z @ root
        z -= sign / 2 * (w @ within)
        both = self.points.project(torch.cat([w, z], dim=1))
        of_w, of_z = both[:, :, : w.shape[1]], both[:, :, w.shape[1] :]
        self.a.baddbmm_(of_w, of_w.transpose(1, 2), alpha=-sign)
        self.b.baddbmm_(of_w, of_z.transpose(1, 2), alpha=-sign)
        self.b.baddbmm_(of_z, of_w.transpose(1, 2), alpha=-sign)
        add_flops(8 * self.points.width**2 * v.shape[1])
        self.inverse.addmm_(w, w.T, alpha=-sign)
        self.spread.addmm_(torch.cat([w, z], dim=1), torch.cat([z, w], dim=1).T, alpha=-sign)
        self.collected.addmm_(v, v.T, alpha=sign)
        # Updates retain the rounding errors of the initial, larger values. Once the values have shrunk this far, the
        # errors are too large in proportion, and the matrices are computed again.
        if self._size() < _SMALLEST_PART * self._largest:
            del self.inverse, self.spread  # frees the memory before the replacements are allocated
            self._invert()


def forward_backward(
    points: Informative, collected: Tensor, target: Tensor, query_size: int, oversampling: int
) -> tuple[list[int], list[float]]:
    """Select Q points greedily such that tr(M⁻¹ U) becomes small.

    The forward pass adds ``oversampling`` · Q points, each time the one that decreases the trace most. The backward
    pass removes points, each time the one whose removal increases the trace least, until Q are left. Ties go to the
    lowest position when adding and to the point added last when removing.

    ``collected`` is M, which changes in place, and ``target`` is U. Returns the rows of the selected points in the
    order they were added, and the decreases of the trace when they were added.
    """
    trace = Trace(points, collected, target)
    taken: list[int] = []
    falls: list[float] = []
    for _ in range(min(len(points), oversampling * query_size)):
        changes = trace.changes(1)
        changes[taken] = -torch.inf
        taken.append(int(changes.argmax()))
        falls.append(float(changes[taken[-1]]))
        trace.update(taken[-1], 1)
    if len(taken) == query_size:
        return taken, falls
    # A new Trace of only the added points discards the rounding errors of the updates so far.
    chosen, collected = points.at(torch.tensor(taken)), trace.collected
    del trace  # frees its matrices, because the new Trace allocates others of the same size
    trace = Trace(chosen, collected, target)
    left = torch.ones(len(taken), dtype=torch.bool)
    while int(left.sum()) > query_size:
        rises = trace.changes(-1)[left]
        # Among equal increases, removes the point added last.
        given_back = int(left.nonzero()[len(rises) - 1 - int(rises.flip(0).argmin())])
        left[given_back] = False
        trace.update(given_back, -1)
    kept = left.nonzero().flatten().tolist()
    return [taken[place] for place in kept], [falls[place] for place in kept]


def _not_invertible() -> DalError:
    return DalError(
        "regularization: expected a value that keeps the Fisher information invertible in float64, got one too "
        "small for features of this size."
    )


def _plus_identity(matrices: Tensor, sign: int) -> Tensor:
    return torch.eye(matrices.shape[-1], dtype=matrices.dtype) + sign * matrices


def _solve(matrices: Tensor, others: Tensor) -> Tensor:
    return others / matrices if matrices.shape[-1] == 1 else torch.linalg.solve_ex(matrices, others).result
