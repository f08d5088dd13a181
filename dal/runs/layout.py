"""File names of a run folder, and stages of a run."""

from __future__ import annotations

import re
from pathlib import Path

# The journals, and the pending query.
ROUNDS = "rounds.jsonl"
SELECTIONS = "selections.csv"
VALIDATION = "validation.csv"
TEST = "test.csv"
QUERY = "query.csv"

# The commit and the inputs of the run.
STATE = "state.json"
CONFIG = "config.yaml"
ENVIRONMENT = "environment.jsonl"
DATA = "data.json"
POINTS = "data_points.json.gz"
LOCK = ".lock"

# What people are asked and answer, and what `dal label` and its trainer keep.
ANSWERS = "answers.jsonl"
ANSWERS_LOCK = ".answers.lock"
MASKS = "masks"
ASKED = "asked.csv"
LEASES = ".leases"
PAGE = ".page.json"
PAGE_LOCK = ".page.lock"
LABEL_START = "label.json"
TRAINER = "trainer.json"
TRAINER_LOG = "trainer.log"
TENSORBOARD = "tensorboard"

FINAL_MODEL = "final_model.json"
FINAL_MODEL_WEIGHTS = "final_model_weights.pt"
OLD_FINAL_MODEL = "target.json"
"""The name of FINAL_MODEL in folders of older runs."""

# Files that reports write.
LEARNING_CURVE = "learning_curve.png"
BILLS = "bills.png"
SUMMARY = "summary.csv"

ANY_WEIGHTS, ANY_SCORES = "weights_*.pt", "scores_*.pt"
ANY_DYNAMICS, ANY_FEATURES = "dynamics_[0-9]*.npz", "features_[0-9]*.npz"
OF_ROUNDS = (ANY_WEIGHTS, ANY_SCORES, ANY_DYNAMICS, ANY_FEATURES)
"""Patterns of the files of single rounds."""

FOLDERS = (TENSORBOARD, MASKS)
"""Folders in a run folder."""

PEOPLE = {ANSWERS, ANSWERS_LOCK, MASKS, ASKED, LEASES, PAGE, PAGE_LOCK, LABEL_START, TRAINER, TRAINER_LOG}
"""Files of a run whose labels people give. Some are there before the run starts."""

UNCOMMITTED = {CONFIG, DATA, POINTS, LOCK, SELECTIONS, ROUNDS, VALIDATION, TEST, QUERY, ENVIRONMENT, TENSORBOARD}
UNCOMMITTED |= PEOPLE
"""Files that a folder without a commit can have."""

OURS = {STATE, FINAL_MODEL, FINAL_MODEL_WEIGHTS, *UNCOMMITTED}
"""Files that a run writes, in addition to those of single rounds (OF_ROUNDS)."""


# The next step, as recorded in state.json. A query is selected, answered with labels, and trained on.
SELECT, ANSWER, TRAIN, DONE = "select", "answer", "train", "done"
ANSWER_TEST, ANSWER_VALIDATION = "answer_test", "answer_validation"


def weights_file(round: int) -> str:
    """Return the file name of the weights that this round trained.

    >>> weights_file(4)
    'weights_004.pt'
    """
    return f"weights_{round:03d}.pt"


def scores_file(round: int) -> str:
    """Return the file name of the last scores before this round."""
    return f"scores_{round:03d}.pt"


def ranking_file(acquisition: str, suffix: str = ".csv", pool: str | None = None) -> str:
    """Return the file name of a ranking by `dal rank`. ``pool`` is the folder of new images.

    >>> ranking_file("margin"), ranking_file("margin", pool="new photos/")
    ('ranking_margin.csv', 'ranking_margin_of_new_photos.csv')
    """
    of = "" if pool is None else f"_of_{re.sub(r'[^a-zA-Z0-9.-]+', '_', Path(pool).resolve().name)[:100] or 'pool'}"
    return f"ranking_{acquisition}{of}{suffix}"
