"""One of several gloo processes that ask the same trained learner.

    python sharded_ask.py RANK RANKS INIT_FILE WEIGHTS OUT

Writes, for each acquisition function, the indices, the scores and how many images this process read.
"""

import json
import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import torch
import torch.distributed as dist

from dal import ActiveLearner
from dal.acquisition import registry
from dal.acquisition.search import shards
from dal.errors import DalError
from dal.runs.folder import Labeled, Records
from dal.scoring.config import ScoringConfig

SETTINGS = {
    "in memory": {},
    "on disk": {"memory_budget": "20kB"},
}


def toys():
    sys.path.insert(0, str(Path(__file__).parents[1]))
    spec = spec_from_file_location("tests_conftest", Path(__file__).parents[1] / "conftest.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def learner(function, weights, settings, data=None):
    """As after one round on 11 labels."""
    data = toys().toy_data(90) if data is None else data
    made = ActiveLearner(toys().toy_model(), data, function, scoring=ScoringConfig(tile_size=16, **settings), seed=5)
    records = Records()
    points = [Labeled(0, rank, 3 * rank, data.ids[3 * rank], int(data.labels[3 * rank]), None) for rank in range(11)]
    records.commit_selection(points, {})
    records.rows, records.weights = [{}], weights
    made.restore(records)
    return made


def answers(weights, settings, functions=None):
    """name -> (indices, scores), and how many images were read for all of them here."""
    found, read = {}, []
    data = toys().toy_data(90)
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


def error_on_last(rank, weights):
    """An image that spoils the scores of the last process stops all."""
    data = toys().toy_data(90)
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
    found["error"] = error_on_last(int(rank), weights)
    Path(out).write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()
    # Threads of gloo's now and then outlive the interpreter's own end, which aborts; all that is tested is written.
    os._exit(0)


if __name__ == "__main__":
    main()
