"""One of several gloo processes that ask the same trained learner.

    python sharded_ask.py RANK RANKS INIT_FILE WEIGHTS OUT

Writes, for each acquisition function, the indices, the scores and how many images this process read.
"""

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from dal import ActiveLearner
from dal.acquisition import registry
from dal.acquisition.search import shards
from dal.campaign.budget import ask_within_budget, costs_for
from dal.errors import DalError
from dal.labeling.oracle import DatasetOracle
from dal.runs.journal import Labeled
from dal.runs.records import Records
from dal.runs.round import Round
from dal.scoring.config import ScoringConfig
from dal.scoring.limit import UnitOptions
from dal.stopping import CampaignConfig
from helpers.toy_masks import mask_learner, tiny_model, toy_mask_data
from helpers.toys import toy_data, toy_model

SETTINGS = {
    "in memory": {},
    "on disk": {"memory_budget": "20kB"},
}
REGION_FUNCTIONS = ("entropy", "bald", "coreset", "stratified", "random", "random_foreground", "cluster_margin")


def learner(function, weights, settings, data=None):
    """As after one round on 11 labels."""
    data = toy_data(90) if data is None else data
    made = ActiveLearner(toy_model(), data, function, scoring=ScoringConfig(tile_size=16, **settings), seed=5)
    records = Records()
    points = [Labeled(0, rank, 3 * rank, data.ids[3 * rank], int(data.labels[3 * rank]), None) for rank in range(11)]
    records.commit_selection(points)
    records.rows, records.weights = [Round({"num_labeled": 11})], weights
    made.restore(records)
    return made


def answers(weights, settings, functions=None):
    """name -> (indices, scores), and how many images were read for all of them here."""
    found, read = {}, []
    data = toy_data(90)
    batch = data.source.batch
    data.source.batch = lambda indices: read.append(len(indices)) or batch(indices)
    for name, cls in sorted(registry().items()):
        query = learner(cls(), weights, settings, data).ask(20)
        found[name] = list(query.indices), list(query.scores)
    return found, sum(read)


def for_targets(weights, path):
    """What EPIG asks for inputs that a file names."""
    query = learner(registry()["epig"](), weights, {"target_points": str(path)}).ask(20)
    return list(query.indices), list(query.scores)


def regions():
    """name -> (indices, scores) of queries of regions that a number of clicks pays, of 17 images in two shares."""
    found = {}
    for name in REGION_FUNCTIONS:
        kind = registry()[name]
        function = kind(**({"num_draws": 3} if "num_draws" in kind.__dataclass_fields__ else {}))
        data = toy_mask_data(17, region_size=3)
        torch.manual_seed(0)
        made = mask_learner(function, data, tiny_model(), scoring=ScoringConfig(tile_size=4))
        made.tell(range(6), DatasetOracle(data)(range(6)))
        made._fitted_round = 0
        can_divide = "scores" in function.keeps
        made.unit_options = UnitOptions(per_cost=can_divide, max_per_image=3)
        campaign = CampaignConfig(cost="clicks", initial_size=6, query_size=20, budget=60)
        costs = costs_for(made, campaign, has_people=False)
        query = ask_within_budget(made, campaign, [Round({"cost_clicks": 10.0})], costs)
        found[name] = list(query.indices), list(query.scores)
    return found


def error_on_last(rank, weights):
    """An image that spoils the scores of the last process stops all."""
    data = toy_data(90)
    data.source.images = data.source.images.float()
    data.source.images[89] = torch.nan
    try:
        learner(registry()["margin"](), weights, {}, data).ask(20)
    except DalError as error:
        return str(error)
    return "no error"


def main():
    # So that a small pool can be too large.
    shards._BYTES_OF_BLOCKS = shards._BYTES_A_NUMBER = 0
    rank, ranks, init_file, weights_file, out = sys.argv[1:]
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{init_file}", rank=int(rank), world_size=int(ranks))
    weights = torch.load(weights_file, weights_only=True)
    found = {name: answers(weights, settings) for name, settings in SETTINGS.items()}
    found["for targets"] = for_targets(weights, Path(init_file).with_name("targets.txt"))
    found["regions"] = regions()
    found["error"] = error_on_last(int(rank), weights)
    Path(out).write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()
    # Threads of gloo's now and then outlive the interpreter's own end, which aborts; all that is tested is written.
    os._exit(0)


if __name__ == "__main__":
    main()
