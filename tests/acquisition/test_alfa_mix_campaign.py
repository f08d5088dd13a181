"""A small campaign on real images with a function that reads the labeled points first, whole and cut off."""

import pandas as pd
import pytest

from dal import run
from dal.acquisition import ALFAMix
from dal.config.overrides import compose
from dal.config.schema import build
from dal.data import load
from dal.labeling.oracle import DatasetOracle
from dal.runs.folder import RunFolder

SETTINGS = ["acquisition=alfa_mix", "acquisition.epsilon=1", "data.max_train=300", "training.min_updates=20"]
SETTINGS += [
    "campaign.initial_size=20",
    "campaign.query_size=15",
    "campaign.growth=1",
    "campaign.budget=50",
    "campaign.stop_set_size=0",
]


@pytest.fixture(scope="module")
def built():
    return build(compose(SETTINGS))


def test_cut_off_and_resumed_it_asks_the_same(built, tmp_path):
    splits = load(built.data)

    def go(name, stop_after=None):
        folder = RunFolder(tmp_path / name, {"seed": 0}, splits.train.fingerprint())

        def on_round(row):
            if row["round"] + 1 == stop_after:
                raise KeyboardInterrupt

        try:
            run(built.learner(splits), DatasetOracle(splits.train), built.campaign, records=folder, on_round=on_round)
        except KeyboardInterrupt:
            pass
        finally:
            folder.close()
        return (tmp_path / name / "selections.csv").read_text()

    assert built.acquisition == ALFAMix(1)
    whole = go("whole")
    assert go("cut", stop_after=2) != whole
    assert go("cut") == whole
    chosen = pd.read_csv(tmp_path / "whole" / "selections.csv")
    assert chosen["index"].is_unique and len(chosen) == 50
    # Scores are numbers of anchors, of which there are ten at most, and most picks have some.
    scores = chosen["score"][20:]
    assert set(scores) <= set(range(11)) and (scores > 0).sum() > 15
