"""Scores the candidates with an acquisition function and selects a query.

With several Lightning processes, each reads a shard of the candidates, and all of them select together.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dal.acquisition.base import AcquisitionFunction, ScoreFunction, Selection, Summary, check_summary
from dal.acquisition.search.flops import counted_work
from dal.acquisition.search.rows import all_rows
from dal.acquisition.search.shards import Shard
from dal.costs.units import ClickModel
from dal.data.images import ImageData
from dal.errors import NonFiniteError, bad_content, bad_value
from dal.models.adapted.scoring_model import NoHeadError, ScoringModel
from dal.runtime.seeding import derive_seed, generator
from dal.scoring.dense.predicted_clicks import CLICKS
from dal.scoring.dense.unit_rows import UnitRows
from dal.scoring.external_features import external_features, takes_external_features
from dal.scoring.limit import Limit
from dal.scoring.model_pass import Charge, ModelPass
from dal.scoring.observer import PredictedClasses, Seen
from dal.scoring.row_store import Kept, RowStore

Points = tuple[ImageData, Tensor]
"""Images, and the (N,) int64 positions of the points to use."""


@dataclass(frozen=True, eq=False)
class KnownPoints:
    """Points that candidates are compared with: labeled points and target points."""

    data: ImageData
    labeled: Tensor
    """(L,) int64 positions in ``data``."""
    labels: Tensor
    """(L,) int64, or the label type of the task."""
    target_points: Tensor | None = None
    """(T,) int64 positions in ``data``, for functions that use target points."""


def select_points(
    passes: ModelPass,
    acquisition: AcquisitionFunction,
    candidates: Points,
    known: KnownPoints,
    query_size: int,
    *,
    seed: int = 0,
    round: int = 0,
    limit: Limit | None = None,
) -> Selection:
    """Select ``query_size`` candidates, best first, as positions in ``candidates``.

    With ``limit``, ``query_size`` is the largest number, and the selection is as long as the limit allows. The
    selection does not depend on the number of processes. With ``scoring.features_file``, positions in the data must
    be positions in the training set.

    Raises DalError in all processes if the query size is out of range or one process finds a NaN.
    """
    if acquisition.learns_from_labels and len(known.labels) != len(known.labeled):
        raise bad_value("labels", f"one label for each of the {len(known.labeled)} labeled points", len(known.labels))
    acquisition = acquisition.at_round(round)
    # The memory budget does not limit the selection, because an error in the middle of a campaign would not help.
    pool_shard, labeled_shard = (Shard.shared(len(indices)) for indices in (candidates[1], known.labeled))
    # What can be computed again is kept within the budget.
    pool_shard = replace(pool_shard, room=passes.config.bytes_allowed)
    reader = _Reader(passes, derive_seed(seed, round, "mc_dropout"))
    ledger = passes.ledger
    with ledger.phase("score"):
        with labeled_shard.agreed():
            own, others = reader.read(acquisition, (known.data, known.labeled), labeled_shard)
        seen = labeled_shard.gather(own) if acquisition.learns_from_labels else {}
        with pool_shard.agreed():
            if acquisition.learns_from_labels:
                acquisition = acquisition.with_labeled(seen, known.labels)
            counted = PredictedClasses() if passes.observer.counts_candidates else None
            clicks = None if limit is None else limit.click_model
            _, pool = reader.read(acquisition, candidates, pool_shard, counted, clicks)
        passes.observer.seen = None if counted is None else _of_all(counted, pool_shard)
        if acquisition.uses_target_points and known.target_points is not None:
            shard = Shard.shared(len(known.target_points))
            with shard.agreed():
                of_targets, _ = reader.read(acquisition, (known.data, known.target_points), shard)
            acquisition = acquisition.with_target_points(shard.gather(of_targets))
    with ledger.phase("select"), counted_work() as work:
        labeled = labeled_shard.gather(others) if acquisition.uses_labeled_points else {}
        chosen = select_rows(
            lambda: generator(seed, round, "acquisition"),
            acquisition,
            pool_shard,
            (pool, labeled),
            candidates[1],
            query_size,
            limit,
        )
        flops = pool_shard.total_of(torch.tensor(float(work.flops), dtype=torch.float64))
    ledger.add("select", flops=int(flops))
    return chosen


def select_rows(
    new_generator: Callable[[], torch.Generator],
    acquisition: AcquisitionFunction,
    shard: Shard,
    rows: tuple[Kept, Summary],
    points: Tensor,
    query_size: int,
    limit: Limit | None,
) -> Selection:
    """Return the selection of all processes. ``rows`` are those of the candidates and of the labeled points."""
    pool, labeled = rows
    clicks = None
    if CLICKS in pool:
        clicks = shard.gather({CLICKS: pool[CLICKS]})[CLICKS].cpu()
        pool = {name: part for name, part in pool.items() if name != CLICKS}
    if limit is not None and limit.options.per_cost:
        own = None if clicks is None else clicks[shard.span]
        pool = pool | {"scores": limit.per_cost(all_rows(pool["scores"]), points[shard.span], own)}

    def choose(count: int) -> Selection:
        chosen = acquisition.select_in(shard, pool, labeled, count, new_generator())
        return _checked(acquisition, chosen, len(points), count)

    return choose(query_size) if limit is None else limit.select(choose, points, clicks, query_size)


def _of_all(counted: PredictedClasses, shard: Shard) -> Seen | None:
    """Return the predicted classes of all processes, or None if some points have no prediction."""
    counts, sums = counted.counts.double(), counted.probabilities
    part = torch.cat([torch.tensor([counted.num_points], dtype=torch.float64), counts, sums])
    # A process without points reads one to learn the shapes.
    total = shard.total_of(part if shard.size else torch.zeros_like(part))
    if int(total[0]) != shard.total:
        return None
    return Seen(shard.total, total[1 : 1 + len(sums)].long(), total[1 + len(sums) :])


def _checked(function: AcquisitionFunction, chosen: object, num_points: int, query_size: int) -> Selection:
    """Return a selection on the CPU. Raises DalError unless it has distinct positions in range, and their scores."""
    is_default = type(function).select_in is AcquisitionFunction.select_in
    argument = f"{type(function).__name__}.{'select' if is_default else 'select_in'}()"
    if not isinstance(chosen, Selection):
        raise bad_value(argument, "a Selection of positions and scores", type(chosen).__name__)
    for name, part in chosen._asdict().items():
        if not isinstance(part, Tensor) or part.shape != (query_size,):
            got = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
            raise bad_value(argument, f"{name} of shape ({query_size},), the query size", got)
    positions = chosen.positions.cpu()
    if positions.is_floating_point() or positions.is_complex() or positions.dtype == torch.bool:
        raise bad_content(argument, "positions that are whole numbers", str(positions.dtype))
    wrong = (positions < 0) | (positions >= num_points)
    if bool(wrong.any()):
        raise bad_value(argument, f"positions from 0 to {num_points - 1}", int(positions[wrong][0]))
    values, counts = torch.unique(positions, return_counts=True)
    if len(values) < len(positions):
        expected = "distinct positions"
        raise bad_content(argument, expected, f"position {int(values[counts > 1][0])} more than once")
    return Selection(positions, chosen.scores.cpu())


class _Reader:
    """Reads the shard of this process, with external features if used."""

    def __init__(self, passes: ModelPass, seed: int) -> None:
        self._passes, self._seed = passes, seed

    def read(
        self,
        function: AcquisitionFunction,
        points: Points,
        shard: Shard,
        counted: PredictedClasses | None = None,
        clicks: ClickModel | None = None,
    ) -> tuple[Kept, Kept]:
        """Return the summary of this shard, and the same with external features. ``counted`` sees the pass.

        With a click model, a summary that needs a pass also has the rows CLICKS.
        """
        data, indices = points
        # A process with an empty shard reads one point to learn the shapes.
        share = indices[shard.span] if shard.size else indices[:1]
        path = self._passes.config.features_file
        is_given = path is not None and takes_external_features(function) and len(indices) > 0
        given = external_features(str(path), share) if is_given else None
        if given is not None and function.keeps == ("features",):
            own: Kept = {"features": given}
        else:
            num_images = len(indices) if data.units_per_image == 1 else len(torch.unique(data.images_of(indices)))
            own = summarize_points(
                self._passes,
                function,
                (data, share),
                seed=self._seed,
                num_images=num_images,
                counted=counted,
                clicks=clicks,
            )
        own = own if shard.size else {name: part[:0] for name, part in own.items()}
        return own, own if given is None else own | {"features": given[: shard.size]}


def summarize_points(
    passes: ModelPass,
    acquisition: AcquisitionFunction,
    points: Points,
    *,
    seed: int = 0,
    num_images: int | None = None,
    counted: PredictedClasses | None = None,
    clicks: ClickModel | None = None,
) -> Kept:
    """Return the summary that the acquisition function needs of these points.

    RowStore decides whether the rows are in main memory, on a GPU, or on disk. A function that needs no pass gets empty
    rows at no cost. The pass is charged to the phase ``score`` for ``num_images`` images, counted over all processes;
    None counts those read by this process. ``counted`` counts the predicted classes. With a click model, the summary
    also has the rows CLICKS.
    """
    data, indices = points
    if not acquisition.needs_pass or not len(indices):
        return {name: torch.empty(len(indices), 0) for name in acquisition.keeps}
    config = passes.config
    # The labeled points may change what a function computes without changing its repr.
    what = None if acquisition.learns_from_labels else (type(acquisition), repr(acquisition), clicks is None)

    def new_store(num_rows: int, device: torch.device) -> RowStore:
        return RowStore(num_rows, config.bytes_allowed, device, config.disk_folder)

    def summarize(view: ScoringModel, x: Tensor) -> Summary:
        summary = acquisition.summarize(view, x)
        check_summary(acquisition, summary, len(x))
        return {name: summary[name] for name in acquisition.keeps}

    units = None
    if data.task.is_dense:
        units = UnitRows(acquisition, data, indices, passes.pooling, config.tile_bytes, clicks)
        indices = units.images
    reduce = units or (summarize if counted is None else counted.around(summarize))
    charge = Charge(what, num_images)
    try:
        rows = passes.run(data, indices, reduce, seed=seed, charge=charge, new_store=new_store)
        return rows if units is None else units.in_order(rows)
    except NonFiniteError as error:
        if error.row is None or not _network_is_finite(passes, data, indices[error.row : error.row + 1]):
            raise
        step = "score" if isinstance(acquisition, ScoreFunction) else "summarize"
        index = int(indices[error.row])
        raise NonFiniteError(
            f"{type(acquisition).__name__}.{step}(): expected finite numbers, got NaN or infinity for "
            f"{data.ids[index]!r} (index {index}), whose logits and features are finite.",
            error.row,
        ) from error


def _network_is_finite(passes: ModelPass, data: ImageData, index: Tensor) -> bool:
    """Whether the logits of an image are finite, and its features if the network has a head."""
    try:
        passes.run(data, index, lambda view, x: {"logits": view.logits(x)})
        with suppress(NoHeadError):
            passes.features(data, index, charged=False)
    except NonFiniteError:
        return False
    return True
