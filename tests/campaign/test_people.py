"""A campaign whose labels come from people: the simulation's selections, waiting, corrections, classes, kills."""

import json
from dataclasses import replace

import pytest
import torch
from helpers.labelers import Labelers, until_done
from helpers.toys import toy_model

from dal import ActiveLearner, run
from dal.acquisition import Margin
from dal.errors import DalError, WaitingForAnswers
from dal.labeling.oracle import DatasetOracle, OracleConfig
from dal.labeling.people.oracle import People
from dal.models import Classifier
from dal.models.backbones import SmallCNN
from dal.runs.asked import read_asked
from dal.runs.folder import RunFolder
from dal.runs.layout import ASKED, SELECTIONS
from dal.stopping import CampaignConfig

SIZES = {"initial_size": 8, "query_size": 6, "budget": 30}


class PeopleRun:
    """One run folder that each start opens with a new learner, as in a new process."""

    def __init__(self, path, data, training, test=None, rebuilds=True, **sizes):
        self.path, self.data, self.training, self.test = path, data, training, test
        self.campaign = CampaignConfig(**{**SIZES, **sizes})
        self.rebuilds, self.config = rebuilds, OracleConfig(kind="people")
        self.labelers = Labelers(path, data)

    def learner(self, classes=None):
        data = self.data if classes is None else replace(self.data, classes=list(classes))
        return ActiveLearner(
            lambda: Classifier(SmallCNN(1, (8, 8)), num_classes=data.num_classes, lr=3e-3),
            data,
            Margin(),
            training=self.training,
            seed=3,
        )

    def start(self, oracle=None):
        people = People(self.data, self.path, self.config, self.learner if self.rebuilds else None)
        folder = RunFolder(self.path, {}, self.data.fingerprint())
        try:
            return run(self.learner(), oracle or people, self.campaign, test=self.test, records=folder)
        finally:
            folder.close()

    def finish(self):
        return until_done(self.start, self.labelers)


@pytest.fixture
def people(tmp_path, data, quick):
    tmp_path.joinpath("run").mkdir()
    return PeopleRun(tmp_path / "run", data, quick)


def unlike(row):
    """The entries of a row that tell the two ways apart: people's facts, times and the pass of suggestions."""
    times = ("seconds", "peak", "joules", "samples_forward_score", "flops_forward_score", "num_test")
    facts = {"answers_seq", "behind", "num_unsure", "num_none", "num_corrected", "annotator_seconds", "rho"}
    return {k: v for k, v in row.items() if not k.startswith(times) and k not in facts | {"weights_sha256"}}


@pytest.mark.parametrize("sizes", [{}, {"validation_size": 5, "test_size": 7, "budget": 40}], ids=["plain", "held_out"])
def test_people_who_answer_at_once_get_the_selections_of_the_simulation(tmp_path, data, quick, sizes):
    (tmp_path / "people").mkdir()
    simulated = PeopleRun(tmp_path / "simulated", data, quick, **sizes)
    expected = simulated.start(DatasetOracle(data))
    asked = PeopleRun(tmp_path / "people", data, quick, **sizes)
    rows = asked.finish()
    assert (asked.path / SELECTIONS).read_bytes() == (simulated.path / SELECTIONS).read_bytes()
    assert list(map(unlike, rows)) == list(map(unlike, expected))
    assert [row["labels_bought"] for row in rows] == [row["labels_bought"] for row in expected]
