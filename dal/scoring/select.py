"""One choice: read the candidates, keep what the acquisition function wants of them, and select.

Where Lightning has started several processes, each reads a part of the candidates, and all select together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dal.acquisition.base import AcquisitionFunction, Selection
from dal.acquisition.search.flops import counted_work
from dal.acquisition.search.shards import Shard
from dal.costs.ledger import Ledger
from dal.data.images import ImageData
from dal.errors import bad_value
from dal.models.adapt import AdaptedModel
from dal.runtime.progress import OnProgress, silent
from dal.runtime.seeding import derive_seed, generator
from dal.scoring.external_features import ExternalFeatures, takes_external_features
from dal.scoring.model_pass import ScoringConfig, summarize_points
from dal.scoring.row_store import Kept

Points = tuple[ImageData, Tensor]
"""Images, and the (N,) int64 positions of those that are meant."""


def choose(
    model: AdaptedModel,
    acquisition: AcquisitionFunction,
    candidates: Points,
    labeled: Points,
    query_size: int,
    *,
    labels: Tensor | None = None,
    targets: Tensor | None = None,
    seed: int = 0,
    round: int = 0,
    scoring: ScoringConfig | None = None,
    device: torch.device | None = None,
    ledger: Ledger | None = None,
    on_progress: OnProgress = silent,
) -> Selection:
    """The ``query_size`` candidates most worth a label, best first; positions are those in ``candidates``.

    It is the same whatever the number of processes. With ``scoring.embeddings`` positions in the data must be those in
    the training set. ``labels`` (L,) are those of the labeled points, for functions that need them, and
    ``targets`` (T,) the positions, in the data of the labeled points, of the inputs that count to those that go by
    some. Raises DalError, in
    all processes, where a query size is out of range or one of them meets a NaN.
    """
    scoring, ledger = scoring or ScoringConfig(), ledger or Ledger()
    if acquisition.needs_labels and (labels is None or len(labels) != len(labeled[1])):
        got = None if labels is None else len(labels)
        raise bad_value("labels", f"one for each of the {len(labeled[1])} labeled points", got)
    # Without a budget: what it bounds is the pass and what is kept of it. Selection holds no more than it must, and to
    # refuse it in the middle of a campaign would help nobody.
    pool_place, labeled_place = (Shard.shared(len(indices)) for _, indices in (candidates, labeled))
    is_given = scoring.embeddings is not None and takes_external_features(acquisition)
    embeddings = ExternalFeatures(str(scoring.embeddings)) if is_given else None

    def read(function: AcquisitionFunction, points: Points, place: Shard) -> tuple[Kept, Kept]:
        """What the function keeps of this process's share, and the same with embeddings in the features' place."""
        data, indices = points
        # A process without a point of its own reads one all the same, and so learns the shapes.
        share = indices[place.span] if place.size else indices[:1]
        given = embeddings.rows(share) if embeddings is not None and len(indices) else None
        if given is not None and function.features_alone:
            own: Kept = (given,)
        else:
            own = summarize_points(
                model,
                function,
                data,
                share,
                seed=derive_seed(seed, round, "mc_dropout"),
                config=scoring,
                device=device,
                on_progress=on_progress,
                ledger=ledger if len(indices) else None,
                num_images=len(indices),
            )
        own = own if place.size else tuple(part[:0] for part in own)
        if given is None:
            return own, own
        given = given[: place.size]
        return own, tuple(given if part == function.features_part else x for part, x in enumerate(own))

    with ledger.phase("score"):
        with labeled_place.agreed():
            own, others = read(acquisition, labeled, labeled_place)
        known = labeled_place.gather(own) if acquisition.needs_labels else ()
        with pool_place.agreed():
            if labels is not None and acquisition.needs_labels:
                acquisition = acquisition.with_labeled(known, labels)
            _, pool = read(acquisition, candidates, pool_place)
        if acquisition.takes_targets and targets is not None:
            place = Shard.shared(len(targets))
            with place.agreed():
                of_targets, _ = read(acquisition, (labeled[0], targets), place)
            acquisition = acquisition.with_targets(place.gather(of_targets))
    with ledger.phase("select"), counted_work() as work:
        seen = labeled_place.gather(others) if acquisition.needs_labeled else ()
        chosen = acquisition.select_in(pool_place, pool, seen, query_size, generator(seed, round, "acquisition"))
        flops = pool_place.total_of(torch.tensor(float(work.flops), dtype=torch.float64))
    ledger.add("select", flops=int(flops))
    return chosen
