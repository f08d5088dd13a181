"""File names of a run folder, and stages of a run."""

from __future__ import annotations

# The journals, and the query whose labels are awaited.
ROUNDS = "rounds.jsonl"
SELECTIONS = "selections.csv"
VALIDATION = "validation.csv"
QUERY = "query.csv"

# The commit, and what the run was started with.
STATE = "state.json"
CONFIG = "config.yaml"
ENVIRONMENT = "environment.jsonl"
DATA = "data.json"
LOCK = ".lock"

TENSORBOARD = "tensorboard"

FINAL_MODEL = "final_model.json"
FINAL_MODEL_WEIGHTS = "final_model_weights.pt"
OLD_FINAL_MODEL = "target.json"
"""The name of FINAL_MODEL in folders of older runs."""

# What reports write.
LEARNING_CURVE = "learning_curve.png"
BILLS = "bills.png"
SUMMARY = "summary.csv"

ANY_WEIGHTS, ANY_SCORES = "weights_*.pt", "scores_*.pt"


# What comes next, by state.json. A query is asked, answered with labels, and trained on.
SELECT, ANSWER, TRAIN, DONE = "select", "answer", "train", "done"
ANSWER_VALIDATION = "answer_validation"


def weights_file(round: int) -> str:
    """The weights of the network that this round trained.

    >>> weights_file(4)
    'weights_004.pt'
    """
    return f"weights_{round:03d}.pt"


def scores_file(round: int) -> str:
    """The last scores of all points, as they are when labels for this round are asked for."""
    return f"scores_{round:03d}.pt"


def ranking_file(acquisition: str) -> str:
    """The pool in the order of an acquisition function, as `dal rank` writes it."""
    return f"ranking_{acquisition}.csv"
