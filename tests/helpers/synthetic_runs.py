"""Small run folders for the tests of analysis and report."""

import copy
import json

import torch
import yaml

from dal.runs.folder import RunFolder
from dal.runs.journal import Asked

CONFIG = {
    "seed": 0,
    "run_dir": "elsewhere",
    "data": {"name": "digits", "max_train": None},
    "acquisition": {"name": "margin"},
    "scoring": {"batch_size": 256, "num_workers": 0},
    "campaign": {"query_size": 10, "budget": 100},
}


def config_of(data="digits", acquisition="margin", seed=0, **changes):
    """``campaign__query_size=20`` changes a nested key; a value of None in it stays None."""
    config = copy.deepcopy(CONFIG)
    config["seed"], config["data"]["name"], config["acquisition"]["name"] = seed, data, acquisition
    for key, value in changes.items():
        *sections, last = key.split("__")
        section = config
        for name in sections:
            section = section.setdefault(name, {})
        section[last] = value
    return config


def rows_of(accuracies, labels=None, stopped="budget"):
    labels = labels or [10 * (i + 1) for i in range(len(accuracies))]
    return [
        {
            "round": i,
            "num_labeled": bought,
            "labels_bought": bought,
            "test_accuracy": accuracy,
            "test_recall": [accuracy, None],
            "test_confusion_matrix": [[1, 0], [0, 1]],
            "updates": 100 + i,
            "training_stopped": "patience",
            "samples_forward_train": 640,
            "seconds_train": 1.0 + i,
            "seconds_score": 0.5,
            "seconds_select": 0.25,
            "seconds_test": 0.125,
            "campaign_stopped": stopped if i == len(accuracies) - 1 else None,
        }
        for i, (accuracy, bought) in enumerate(zip(accuracies, labels, strict=True))
    ]


def flops_of(i, scale=1):
    """Keys of a round that counts FLOPs; flops_draws_score is a part of flops_forward_score."""
    return {
        "flops_forward_train": 100 * (i + 1) * scale,
        "flops_backward_train": 200 * (i + 1) * scale,
        "flops_forward_validate": 10 * scale,
        "flops_forward_embed": 5 * scale,
        "flops_forward_score": 1000 * i * scale,
        "flops_draws_score": 900 * i * scale,
        "flops_select": 3 * i * scale,
        "flops_forward_stop": 7 * scale,
        "flops_forward_test": 40 * scale,
    }


def write_run(path, accuracies, labels=None, stopped="budget", fingerprint="aaaa", extra=None, **config):
    """The files that a report reads, as RunFolder writes them, without its syncing of the disk. ``extra`` gives more
    keys of a round."""
    path.mkdir(parents=True)
    rows = rows_of(accuracies, labels, stopped)
    rounds = "".join(json.dumps(row | (extra(row["round"]) if extra else {})) + "\n" for row in rows)
    (path / "rounds.jsonl").write_text(rounds)
    (path / "config.yaml").write_text(yaml.safe_dump(config_of(**config), sort_keys=False))
    state = {
        "stage": "done" if stopped else "select",
        "rounds": len(accuracies),
        "bytes": {"rounds.jsonl": len(rounds.encode())} if accuracies else {},
        "data": fingerprint,
    }
    (path / "state.json").write_text(json.dumps(state))
    return path


def write_real_run(path, accuracies, stopped="budget", **config):
    """The same by the package's own RunFolder."""
    folder = RunFolder(path, config_of(**config), "aaaa")
    for row in rows_of(accuracies, stopped=stopped):
        point = Asked(row["round"], 0, row["round"], "image", None)
        folder.commit_query([point], {})
        folder.commit_selection([point.answered(0)])
        folder.keep_weights({"weight": torch.zeros(1)})
        folder.commit_round(row)
    folder.close()
    return path


def write_paired_run(path, accuracies, initial=("a", "b"), validation=(), **options):
    """write_run() with the points of the initial and validation set, which comparisons look at."""
    write_run(path, accuracies, **options)
    lines = [f"0,{i},{i},{point},0," for i, point in enumerate(initial)]
    lines += [f"{i},0,9,later,0," for i in range(1, len(accuracies))]
    selections = "\n".join(["round,rank,index,id,label,score", *lines, ""])
    (path / "selections.csv").write_text(selections)
    if validation:
        lines = [f"0,{i},{i},{point},0," for i, point in enumerate(validation)]
        (path / "validation.csv").write_text("\n".join(["round,rank,index,id,label,score", *lines, ""]))
    state = json.loads((path / "state.json").read_text())
    state["bytes"]["selections.csv"], state["num_validation"] = len(selections.encode()), len(validation)
    (path / "state.json").write_text(json.dumps(state))
    return path


def as_before_digests(path, **changes):
    """Make a run folder one of the versions of dal without digests. ``changes`` are values of its state.json."""
    state = json.loads((path / "state.json").read_text())
    state.pop("digest", None), state.pop("digests", None)
    (path / "state.json").write_text(json.dumps(state | changes))


def write_multilabel_run(path, values, write=write_run, **options):
    """A run whose primary metric is the mean average precision, beside an accuracy that says nothing."""
    write(path, [0.0] * len(values), extra=lambda i: {"test_mean_average_precision": values[i]}, **options)
    (path / "data.json").write_text(json.dumps({"primary_metric": "mean_average_precision"}))
    return path
