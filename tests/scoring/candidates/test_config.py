"""Candidates from a configuration: what it makes, and what dal rank does with them."""

import numpy as np
import pytest
import torch
from helpers.synthetic_runs import as_before_digests

from dal.cli.rank import rank_command
from dal.cli.run import run_campaign
from dal.config.overrides import compose
from dal.config.schema import build
from dal.data.images import ImageSplits
from dal.errors import DalError
from dal.runs.saved_config import dump_config
from dal.scoring.candidates import AllCandidates, CandidatesConfig, Known, NeighborCandidates, RandomCandidates

EMBEDDINGS = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)


def toy_run(data, **settings):
    campaign = {"initial_size": 10, "query_size": 10, "budget": 40}
    config = {"data": {"name": "digits"}, "acquisition": {"name": "margin"}, "campaign": campaign}
    return build(config | {"candidates": settings}).learner(ImageSplits(data, None))


def test_a_configuration_becomes_the_candidates_of_the_learner(data, tmp_path):
    np.save(tmp_path / "embeddings.npy", EMBEDDINGS)
    assert toy_run(data).candidates == AllCandidates()
    assert toy_run(data, kind="random", size=20).candidates == RandomCandidates(20)
    learner = toy_run(data, kind="neighbors", features_file=str(tmp_path / "embeddings.npy"), num_neighbors=7)
    learner.tell([4, 8], [0, 1])
    in_memory = NeighborCandidates(EMBEDDINGS, num_neighbors=7)
    found = [c.choose(learner.pool, 1, torch.Generator(), Known()) for c in (learner.candidates, in_memory)]
    assert found[0].tolist() == found[1].tolist() and 7 <= len(found[0]) <= 14
    with pytest.raises(DalError, match=r"candidates.size: expected at least the 10 points of a query, got 9"):
        toy_run(data, kind="random", size=9)
    np.save(tmp_path / "embeddings.npy", EMBEDDINGS[:89])
    with pytest.raises(DalError, match=r"candidates.features_file: expected one row for each of the 90 .* got 89"):
        toy_run(data, kind="neighbors", features_file=str(tmp_path / "embeddings.npy"))


def test_dal_rank_needs_no_embeddings_and_works_on_old_folders(tmp_path):
    embeddings = tmp_path / "embeddings.npy"
    np.save(embeddings, np.random.default_rng(1).normal(size=(100, 3)))
    settings = ["data.max_train=100", "campaign.max_rounds=1", "training.min_updates=1", "training.max_updates=2"]
    settings += ["candidates.kind=neighbors", f"candidates.features_file={embeddings}", f"run_dir={tmp_path / 'run'}"]
    config = compose(settings)
    run_campaign(config)
    embeddings.unlink()
    ranking = rank_command(str(tmp_path / "run")).read_text()
    assert ranking.count("\n") == 1 + 80
    with pytest.raises(DalError, match="half_size_until: expected 0, as at the start of the run, got 20"):
        rank_command(str(tmp_path / "run"), ["training.half_size_until=20"])
    old = {k: v for k, v in config.items() if k != "candidates"}
    (tmp_path / "run" / "config.yaml").write_text(dump_config(old))
    as_before_digests(tmp_path / "run")
    for overrides in ([], ["candidates.kind=random", "candidates.size=20"]):
        assert rank_command(str(tmp_path / "run"), overrides).read_text() == ranking


def test_settings_that_do_nothing_are_said():
    with pytest.warns(UserWarning, match="all points are scored because candidates.kind is all"):
        CandidatesConfig(size=100).build()
