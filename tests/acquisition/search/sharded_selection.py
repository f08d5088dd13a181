"""One of several gloo processes that select together: python sharded_selection.py RANK RANKS INIT_FILE OUT.pt

Writes what every case gave here: positions and scores, or the sentence of the error.
"""

import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from dal.acquisition import BADGE, CoreSet, DiskRows, Shard, registry
from dal.errors import DalError

CASES = {
    "all functions": (41, 4, 6, 9),
    "one pick": (41, 4, 6, 1),
    "everything": (41, 4, 6, 41),
    "fewer points than processes": (2, 4, 6, 2),
    "many picks": (1001, 5, 24, 150),
}
# Functions whose defaults take seconds for 150 picks.
SETTINGS = {"batchbald": {"num_joint_samples": 100}}


def fake_model():
    spec = spec_from_file_location("acquisition_conftest", Path(__file__).parents[1] / "conftest.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.FakeModel


def selections(case, ranks_at_work, folder=None):
    """What each function selects, with this process's part of the pool."""
    num_points, num_classes, num_features, query_size = CASES[case]
    model = fake_model().random(num_points + 90, num_classes, num_features)
    shard = Shard.shared(num_points) if ranks_at_work else Shard.alone(num_points)
    pool, labeled = torch.arange(num_points)[shard.span], torch.arange(num_points, num_points + 90)
    found = {}
    for name, cls in sorted(registry().items()):
        function = cls(**SETTINGS.get(name, {}))
        if function.learns_from_labels:
            function = function.with_labeled(function.summarize(model, labeled), torch.arange(90) % num_classes)
        rows, others = function.summarize(model, pool), function.summarize(model, labeled)
        if folder is not None and name in ("badge", "coreset"):
            rows = {part: stored(rows[part], folder / f"{name}_{part}.npy") for part in rows}
        others = others if function.uses_labeled_points else {}
        chosen = function.select_in(shard, rows, others, query_size, torch.Generator().manual_seed(3))
        found[name] = chosen.positions, chosen.scores
    chosen = CoreSet().select_in(shard, {"features": model.features(pool)}, {}, query_size, torch.Generator())
    found["coreset without labels"] = chosen.positions, chosen.scores
    equal = BADGE().summarize(model, pool * 0)
    chosen = BADGE().select_in(shard, equal, {}, query_size, torch.Generator().manual_seed(3))
    found["badge of equal points"] = chosen.positions, chosen.scores
    return found


def stored(part, path):
    np.save(path, part.numpy())
    return DiskRows(path)


def error_on_one(rank):
    """Where one process finds a NaN, all say so, and none waits."""
    shard = Shard.shared(10)
    features = torch.zeros(shard.size, 2)
    if rank == dist.get_world_size() - 1:
        features[-1] = torch.nan
    try:
        CoreSet().select_in(shard, {"features": features}, {"features": torch.zeros(1, 2)}, 2, torch.Generator())
    except DalError as error:
        return str(error)
    return "no error"


def other_error_on_one(rank):
    """Errors of other kinds are told as words, so that they can be sent."""
    try:
        with Shard.shared(10).agreed():
            if rank == 0:
                raise OSError("no such disk")
    except OSError as error:
        return f"own: {error}"
    except DalError as error:
        return f"other: {error}"
    return "no error"


def main():
    rank, ranks, init_file, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{init_file}", rank=rank, world_size=ranks)
    folder = out.with_suffix("")
    folder.mkdir()
    found = {case: selections(case, True) for case in CASES}
    found["on disk"] = selections("many picks", True, folder)
    found["error"] = error_on_one(rank)
    found["other error"] = other_error_on_one(rank)
    shard = Shard.shared(41)
    found["span"] = shard.offset, shard.size
    torch.save(found, out)
    dist.barrier()
    dist.destroy_process_group()
    # Threads of gloo's now and then outlive the interpreter's own end, which aborts; all that is tested is written.
    os._exit(0)


if __name__ == "__main__":
    main()
