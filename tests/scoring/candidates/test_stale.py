"""Candidates by their last scores: what is scored again, and what becomes of the scores."""

import numpy as np
import pytest
import torch

from dal import ActiveLearner, Pool, run
from dal.acquisition import BADGE, CoreSet, Entropy, Margin, Random, margin_scores
from dal.errors import DalError
from dal.labeling.oracle import DatasetOracle
from dal.runs.folder import RunFolder
from dal.scoring.candidates import Known, RandomCandidates
from dal.scoring.candidates.stale import StaleCandidates
from dal.stopping import CampaignConfig


def choose(candidates, pool, query_size, scores, seed=0):
    known = Known(scores=None if scores is None else torch.from_numpy(scores))
    return candidates.choose(pool, query_size, torch.Generator().manual_seed(seed), known).tolist()


def used_pool(size=50):
    pool = Pool(size, 2, excluded=[3, 14, 30])
    pool.label([5, 7, 49], [0, 1, 1], round=0)
    return pool


def best_by_hand(scores, unlabeled, count):
    """The points without a score first, then from the highest down; equal ones in the order of the pool."""
    order = sorted(unlabeled, key=lambda i: (0, 0.0, i) if np.isnan(scores[i]) else (1, -scores[i], i))
    return order[:count]


@pytest.mark.parametrize("size", [1, 2, 7, 20, 43])
@pytest.mark.parametrize("explore", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_highest_scores_are_chosen_and_the_rest_is_random(size, explore, seed):
    rng, pool = np.random.default_rng(seed), used_pool()
    unlabeled = pool.unlabeled.tolist()
    assert len(unlabeled) == 44
    scores = rng.integers(0, 12, 50) / 4.0 - 1  # with ties
    scores[[0, 5, 14, 20]] = np.nan  # of these 0 and 20 are unlabeled
    scores[[3, 7]] = 100.0  # the score of a point that has a label, or never gets one
    chosen = choose(StaleCandidates(size, explore), pool, 1, scores, seed)
    assert len(chosen) == len(set(chosen)) == size and chosen == sorted(chosen)
    assert set(chosen) <= set(unlabeled)
    num_explored = int(np.floor(explore * size + 0.5))
    best = best_by_hand(scores, unlabeled, size - num_explored)
    assert set(best) <= set(chosen)
    assert len(set(chosen) - set(best)) == num_explored


def test_what_is_explored_is_drawn_alike_and_anew_each_time():
    pool, scores = used_pool(), np.arange(50.0)
    candidates = StaleCandidates(10, 0.5)
    best = set(best_by_hand(scores, pool.unlabeled.tolist(), 5))
    counts = np.zeros(50)
    for seed in range(400):
        explored = set(choose(candidates, pool, 1, scores, seed)) - best
        counts[list(explored)] += 1
    rest = sorted(set(pool.unlabeled.tolist()) - best)
    assert counts.sum() == counts[rest].sum() == 400 * 5
    # 2000 draws of 39 points: 51 each, with a standard deviation of 6.7.
    assert counts[rest].min() > 20 and counts[rest].max() < 90
    assert choose(candidates, pool, 1, scores, 7) == choose(candidates, pool, 1, scores, 7)


def test_without_scores_or_with_few_points_all_are_chosen():
    pool = used_pool()
    assert choose(StaleCandidates(5), pool, 2, None) == pool.unlabeled.tolist()
    for size in (44, 45, 1000):
        assert choose(StaleCandidates(size), pool, 2, np.arange(50.0)) == pool.unlabeled.tolist()


def test_bad_candidates_are_one_sentence_each(data, new_model):
    with pytest.raises(DalError, match=r"^candidates.size: expected a whole number of at least 1, got 0\.$"):
        StaleCandidates(0)
    for explore in (-0.1, 1.1, np.nan):
        with pytest.raises(DalError, match=r"^candidates.explore: expected a share from 0 to 1, got"):
            StaleCandidates(5, explore)
    with pytest.raises(DalError, match=r"candidates.size: expected at least the 9 points of a query, got 8"):
        choose(StaleCandidates(8), used_pool(), 9, np.arange(50.0))
    for function in (BADGE(), CoreSet(), Random()):
        message = f"acquisition: expected a function that scores points independently, .* got '{function.name}'"
        with pytest.raises(DalError, match=message):
            ActiveLearner(new_model, data, function, candidates=StaleCandidates(8))
    learner = ActiveLearner(new_model, data, Margin(), candidates=StaleCandidates(25))
    settings = CampaignConfig(initial_size=10, query_size=10, growth=2.0, budget=80)
    with pytest.raises(DalError, match=r"candidates.size: expected at least the 40 points of a query, got 25"):
        run(learner, DatasetOracle(data), settings)
    assert learner.pool.num_labeled == 0


def step(learner, data, size):
    query = learner.ask(size)
    learner.tell(query, data.labels[list(query)].tolist())
    learner.fit()
    return query


def scores_now(learner):
    """Margin scores of the whole training set by the network as it is."""
    return margin_scores(learner.predict(torch.arange(len(learner.data))))


def test_scores_are_those_of_the_last_time_a_point_was_scored(data, new_model, quick):
    learner = ActiveLearner(new_model, data, Margin(), candidates=StaleCandidates(20, 0.25), training=quick, seed=4)
    step(learner, data, 10)
    assert learner.scores is None, "the initial set is no query"
    expected = np.full(90, np.nan)
    for round in range(1, 5):
        pool, before = learner.pool.unlabeled, expected.copy()
        now = scores_now(learner).double().numpy()
        query = learner.ask(5)
        after = learner.scores.numpy()
        changed = np.flatnonzero(~((after == before) | (np.isnan(after) & np.isnan(before))))
        scored = pool.numpy() if round == 1 else changed
        if round > 1:
            assert len(changed) == 20 and set(changed) <= set(pool.tolist())
            assert set(best_by_hand(before, pool.tolist(), 15)) <= set(changed)
        expected[scored] = now[scored]
        np.testing.assert_allclose(after, expected, rtol=1e-6, atol=1e-7)
        best = sorted(scored, key=lambda i: -after[i])[:5]
        assert list(query) == best and list(query.scores) == after[best].tolist()
        expected = after.copy()
        learner.tell(query, data.labels[list(query)].tolist())
        learner.fit()


@pytest.mark.parametrize("explore", [0.2, 1.0])
def test_asking_again_before_tell_gives_the_same_answer(data, new_model, quick, explore):
    learner = ActiveLearner(new_model, data, Margin(), candidates=StaleCandidates(12, explore), training=quick, seed=4)
    step(learner, data, 10)
    for _ in range(3):
        query = learner.ask(6)
        assert learner.ask(6).indices == query.indices
        learner.tell(query, data.labels[list(query)].tolist())
        learner.fit()


def campaign(data, test_data, new_model, quick, candidates, records=None, stop_after=None, acquisition=None):
    """Selections and rows of a campaign; ``stop_after`` cuts it off after so many rounds."""

    def on_round(row):
        if row["round"] + 1 == stop_after:
            raise KeyboardInterrupt

    learner = ActiveLearner(new_model, data, acquisition or Margin(), candidates=candidates, training=quick, seed=2)
    config = CampaignConfig(initial_size=6, query_size=8, budget=48, validation_size=10)
    try:
        rows = run(learner, DatasetOracle(data), config, test=test_data, records=records, on_round=on_round)
    except KeyboardInterrupt:
        return None
    finally:
        if records is not None:
            records.close()
    counted = [
        {k: v for k, v in r.items() if not (k.startswith(("seconds", "peak", "joules")) or "diagnose" in k)}
        for r in rows
    ]
    return learner.pool.labeled.tolist(), counted


def test_the_first_query_scores_all_and_later_ones_size(data, test_data, new_model, quick):
    labeled, rows = campaign(data, test_data, new_model, quick, StaleCandidates(15))
    assert [row["samples_forward_score"] for row in rows] == [0, 90 - 10 - 6, 15, 15, 15]
    assert labeled != campaign(data, test_data, new_model, quick, RandomCandidates(15))[0]


@pytest.mark.parametrize("acquisition", [Margin(), Entropy()], ids=lambda f: f.name)
def test_as_many_candidates_as_points_are_all_candidates(data, test_data, new_model, quick, acquisition):
    expected = campaign(data, test_data, new_model, quick, None, acquisition=acquisition)
    assert campaign(data, test_data, new_model, quick, StaleCandidates(90), acquisition=acquisition) == expected
    few = campaign(data, test_data, new_model, quick, StaleCandidates(9), acquisition=acquisition)
    assert few[0] != expected[0]


def test_a_campaign_that_is_cut_off_after_every_round_ends_as_the_undisturbed_one(
    tmp_path, data, test_data, new_model, quick
):
    undisturbed = campaign(data, test_data, new_model, quick, StaleCandidates(12, 0.5))
    for rounds in (1, 2, 3, 4):
        records = RunFolder(tmp_path, {}, data.fingerprint())
        arguments = (data, test_data, new_model, quick, StaleCandidates(12, 0.5), records)
        assert campaign(*arguments, stop_after=rounds) is None
        kept = [path.name for path in tmp_path.glob("scores_*.pt")]
        # The file is named after the round that it chose the labels of; the initial set has none.
        assert kept == ([] if rounds == 1 else [f"scores_{rounds - 1:03d}.pt"])
    (tmp_path / "scores_099.pt").write_text("left by a crash")
    records = RunFolder(tmp_path, {}, data.fingerprint())
    assert not (tmp_path / "scores_099.pt").exists()
    assert campaign(data, test_data, new_model, quick, StaleCandidates(12, 0.5), records) == undisturbed


def test_a_campaign_that_is_cut_off_while_it_trains_keeps_the_scores(tmp_path, data, test_data, new_model, quick):
    undisturbed = campaign(data, test_data, new_model, quick, StaleCandidates(12, 0.5))

    class Cut(RunFolder):
        def keep_weights(self, weights):
            if len(self.rows) == 2:
                raise KeyboardInterrupt
            super().keep_weights(weights)

    records = Cut(tmp_path, {}, data.fingerprint())
    assert campaign(data, test_data, new_model, quick, StaleCandidates(12, 0.5), records) is None
    records = RunFolder(tmp_path, {}, data.fingerprint())
    assert records.stage == "train" and int((~records.scores.isnan()).sum()) == 90 - 10 - 6
    assert campaign(data, test_data, new_model, quick, StaleCandidates(12, 0.5), records) == undisturbed
