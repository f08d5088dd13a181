"""One choice: read the candidates, keep what the acquisition function wants of them, and select.

Where Lightning has started several processes, each reads a part of the candidates, and all select together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dal.acquisition.base import AcquisitionFunction, Selection
from dal.acquisition.search.work import counted_work
from dal.acquisition.search.workspace import Workspace
from dal.data.base import ImageData
from dal.embeddings import Embeddings, takes_embeddings
from dal.ledger import Ledger
from dal.models.adapt import AdaptedModel
from dal.progress import OnProgress, silent
from dal.row_store import Kept
from dal.scoring import ScoringConfig, summarize_points
from dal.seeding import derive_seed, generator

Points = tuple[ImageData, Tensor]
"""Images, and the (N,) int64 positions of those that are meant."""


def choose(
    model: AdaptedModel,
    acquisition: AcquisitionFunction,
    candidates: Points,
    labeled: Points,
    query_size: int,
    *,
    seed: int = 0,
    round: int = 0,
    scoring: ScoringConfig | None = None,
    device: torch.device | None = None,
    ledger: Ledger | None = None,
    on_progress: OnProgress = silent,
) -> Selection:
    """The ``query_size`` candidates most worth a label, best first; positions are those in ``candidates``.

    It is the same whatever the number of processes. With ``scoring.embeddings`` positions in the data must be those in
    the training set. Raises DalError, in all processes, where a query size is out of range or one of them meets a NaN.
    """
    scoring, ledger = scoring or ScoringConfig(), ledger or Ledger()
    # Without a budget: what it bounds is the pass and what is kept of it. Selection holds no more than it must, and to
    # refuse it in the middle of a campaign would help nobody.
    places = [Workspace.shared(len(indices)) for _, indices in (candidates, labeled)]
    kept: list[Kept] = []
    is_given = scoring.embeddings is not None and takes_embeddings(acquisition)
    embeddings = Embeddings(str(scoring.embeddings)) if is_given else None
    with ledger.phase("score"), places[0].agreed():
        for (data, indices), place in zip((candidates, labeled), places, strict=True):
            # A process without a point of its own reads one all the same, and so learns the shapes.
            share = indices[place.span] if place.size else indices[:1]
            given = embeddings.rows(share) if embeddings is not None and len(indices) else None
            if given is not None and acquisition.features_alone:
                rows: Kept = (given,)
            else:
                rows = summarize_points(
                    model,
                    acquisition,
                    data,
                    share,
                    seed=derive_seed(seed, round, "mc_dropout"),
                    config=scoring,
                    device=device,
                    on_progress=on_progress,
                    ledger=ledger if len(indices) else None,
                    num_images=len(indices),
                )
                if given is not None:
                    rows = tuple(given if part == acquisition.features_part else x for part, x in enumerate(rows))
            kept.append(rows if place.size else tuple(part[:0] for part in rows))
    with ledger.phase("select"), counted_work() as work:
        g = generator(seed, round, "acquisition")
        chosen = acquisition.select_in(places[0], kept[0], places[1].gather(kept[1]), query_size, g)
        flops = places[0].total_of(torch.tensor(float(work.flops), dtype=torch.float64))
    ledger.add("select", flops=int(flops))
    return chosen
