"""Which points are scored: what each kind chooses, and that a resumed campaign chooses as an undisturbed one does."""

import numpy as np
import pytest
import torch
from helpers.passes import passes_of

from dal import ActiveLearner, Pool, run
from dal.acquisition import CoreSet, Margin, Random
from dal.errors import DalError, NonFiniteError
from dal.labeling.oracle import DatasetOracle
from dal.models.adapt import as_adapted
from dal.runs.folder import RunFolder
from dal.runtime.seeding import generator
from dal.scoring.candidates import (
    AllCandidates,
    Known,
    NeighborCandidates,
    RandomCandidates,
    load_embeddings,
    starting_features,
)
from dal.stopping import CampaignConfig

EMBEDDINGS = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)


def unused():
    raise AssertionError("no features were wanted")


def choose(candidates, pool, query_size, purpose="test", features=unused):
    return candidates.choose(pool, query_size, generator(0, 1, purpose), Known(features))


def used_pool(size=90):
    pool = Pool(size, 3, excluded=[2, 3, 5, 7])
    pool.label([11, 13, 17], [0, 1, 2], round=0)
    return pool


def near_by_hand(embeddings, pool, num_neighbors):
    """The unlabeled neighbors of the labeled points, from all distances."""
    found = set()
    for i in pool.labeled.tolist():
        distances = np.square(np.asarray(embeddings, dtype=np.float64) - embeddings[i]).sum(axis=1)
        found |= set([j for j in np.argsort(distances, kind="stable").tolist() if j != i][:num_neighbors])
    return sorted(found & set(pool.unlabeled.tolist()))


KINDS = {
    "all": AllCandidates(),
    "random": RandomCandidates(20),
    "neighbors": NeighborCandidates(EMBEDDINGS, num_neighbors=10),
    "few neighbors": NeighborCandidates(EMBEDDINGS, num_neighbors=1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_candidates_are_unlabeled_points_in_ascending_order_enough_for_the_query(kind):
    pool = used_pool()
    found = choose(KINDS[kind], pool, 15)
    assert found.dtype == torch.int64 and found.tolist() == sorted(set(found.tolist()))
    assert set(found.tolist()) <= set(pool.unlabeled.tolist()) and len(found) >= 15
    assert torch.equal(choose(KINDS[kind], pool, 15), found)


def test_all_are_all():
    assert torch.equal(choose(AllCandidates(), used_pool(), 1), used_pool().unlabeled)


def test_random_ones_are_drawn_anew_from_the_generator_and_all_where_there_are_no_more():
    pool = used_pool()
    found = choose(RandomCandidates(20), pool, 20)
    assert len(found) == 20
    assert not torch.equal(found, choose(RandomCandidates(20), pool, 20, "other"))
    seen = torch.cat([choose(RandomCandidates(20), pool, 1, str(i)) for i in range(60)]).unique()
    assert torch.equal(seen, pool.unlabeled), "every unlabeled point has its turn"
    for size in (83, 84, 10**9):
        assert torch.equal(choose(RandomCandidates(size), pool, 83), pool.unlabeled)


def test_neighbors_are_those_of_all_that_is_labeled_and_found_round_by_round_as_at_once():
    for embeddings in (EMBEDDINGS, EMBEDDINGS + 1e4, np.round(EMBEDDINGS)):
        by_rounds = NeighborCandidates(torch.from_numpy(embeddings), num_neighbors=6)
        pool = used_pool()
        for round, label in enumerate([[4, 60], [1, 77, 80], []]):
            found = choose(by_rounds, pool, 1)
            assert found.tolist() == near_by_hand(embeddings, pool, 6)
            assert torch.equal(choose(NeighborCandidates(embeddings, num_neighbors=6), pool, 1), found)
            pool.label(label, [0] * len(label), round + 1)


def test_only_what_is_newly_labeled_is_searched(monkeypatch):
    from dal.scoring.candidates.exact_neighbors import ExactNeighbors

    searched, search = [], ExactNeighbors.search

    def spy(self, queries, num_neighbors):
        searched.append(queries.tolist())
        return search(self, queries, num_neighbors)

    monkeypatch.setattr(ExactNeighbors, "search", spy)
    candidates, pool = NeighborCandidates(EMBEDDINGS), used_pool()
    choose(candidates, pool, 1)
    choose(candidates, pool, 1)
    pool.label([20], [0], 1)
    choose(candidates, pool, 1)
    assert searched == [[11, 13, 17], [], [20]]


def test_too_few_neighbors_are_filled_up_with_random_points_from_the_generator():
    pool = used_pool()
    near = near_by_hand(EMBEDDINGS, pool, 2)
    assert 0 < len(near) < 15
    drawn = [set(choose(KINDS["few neighbors"], pool, 15, purpose).tolist()) for purpose in ("a", "b")]
    near = near_by_hand(EMBEDDINGS, pool, 1)
    assert all(set(near) < found and len(found) == 15 for found in drawn) and drawn[0] != drawn[1]
    assert choose(KINDS["few neighbors"], pool, len(near)).tolist() == near
    assert torch.equal(choose(KINDS["few neighbors"], pool, 83), pool.unlabeled)


def test_one_object_serves_several_learners_without_mixing_them_up():
    shared = NeighborCandidates(num_neighbors=5)
    pools = [used_pool(), Pool(90, 3)]
    pools[1].label([50], [0], 0)
    embeddings = [EMBEDDINGS, np.roll(EMBEDDINGS, 1, axis=0)]
    for i in (0, 1, 0):
        found = choose(shared, pools[i], 1, features=lambda i=i: torch.from_numpy(embeddings[i]))
        assert found.tolist() == near_by_hand(embeddings[i], pools[i], 5)


def test_starting_features_are_those_of_the_first_network_and_the_trained_one_comes_back(data, new_model):
    module = new_model()
    model, first = as_adapted(module), {k: v.clone() for k, v in module.state_dict().items()}
    seen = []
    module.eval()
    with torch.inference_mode():
        handle = module.head.register_forward_hook(lambda m, args, out: seen.append(args[0]))
        module(data.plain(range(90)))
        handle.remove()
    module.train()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(1)
    trained = {k: v.clone() for k, v in module.state_dict().items()}
    found = starting_features(passes_of(model), first, data)
    assert found.dtype == torch.float32 and torch.allclose(found, seen[0], atol=1e-5)
    assert module.training and all(torch.equal(v, trained[k]) for k, v in module.state_dict().items())
    for broken, error in (
        ({k: v + torch.nan if v.is_floating_point() else v for k, v in first.items()}, NonFiniteError),
        (first | {"stranger": torch.zeros(1)}, RuntimeError),
    ):
        with pytest.raises(error):
            starting_features(passes_of(model), broken, data)
            assert all(torch.equal(v, trained[k]) for k, v in module.state_dict().items())


def campaign(data, test_data, new_model, quick, candidates, records=None, stop_after=None, acquisition=None):
    """Selections and counts of a campaign; ``stop_after`` cuts it off after so many rounds."""

    def on_round(row):
        if row["round"] + 1 == stop_after:
            raise KeyboardInterrupt

    learner = ActiveLearner(new_model, data, acquisition or Margin(), candidates=candidates, training=quick, seed=2)
    config = CampaignConfig(initial_size=6, query_size=8, budget=40, validation_size=10)
    try:
        rows = run(learner, DatasetOracle(data), config, test=test_data, records=records, on_round=on_round)
    except KeyboardInterrupt:
        return None
    finally:
        if records is not None:
            records.close()
    assert not set(learner.validation[0].tolist()) & set(learner.pool.labeled.tolist())
    counted = [
        {k: v for k, v in r.items() if not (k.startswith(("seconds", "peak", "joules")) or "diagnose" in k)}
        for r in rows
    ]
    return learner.pool.labeled.tolist(), counted


@pytest.mark.parametrize("kind", ["random", "neighbors", "first network"])
def test_a_campaign_that_is_cut_off_after_every_round_ends_as_the_undisturbed_one(
    tmp_path, data, test_data, new_model, quick, kind
):
    def candidates():
        return {
            "random": RandomCandidates(15),
            "neighbors": NeighborCandidates(EMBEDDINGS, num_neighbors=3),
            "first network": NeighborCandidates(num_neighbors=3),
        }[kind]

    undisturbed = campaign(data, test_data, new_model, quick, candidates())
    assert undisturbed[0] != campaign(data, test_data, new_model, quick, None)[0]
    for rounds in (1, 2, 3):
        records = RunFolder(tmp_path, {}, data.fingerprint())
        assert campaign(data, test_data, new_model, quick, candidates(), records, stop_after=rounds) is None
    records = RunFolder(tmp_path, {}, data.fingerprint())
    assert campaign(data, test_data, new_model, quick, candidates(), records) == undisturbed


def test_the_ledger_counts_what_was_scored(data, test_data, new_model, quick):
    _, rows = campaign(data, test_data, new_model, quick, RandomCandidates(15))
    assert [row["samples_forward_score"] for row in rows] == [0, 15, 15, 15]
    _, rows = campaign(data, test_data, new_model, quick, RandomCandidates(15), acquisition=CoreSet())
    assert [row["samples_forward_score"] for row in rows] == [0, 15 + 6, 15 + 14, 15 + 22]
    _, rows = campaign(data, test_data, new_model, quick, NeighborCandidates(EMBEDDINGS, num_neighbors=4))
    assert 8 <= rows[1]["samples_forward_score"] <= 24 and rows[1]["samples_forward_embed"] == 0
    _, rows = campaign(data, test_data, new_model, quick, NeighborCandidates(num_neighbors=4))
    assert [row["samples_forward_embed"] for row in rows] == [0, 90, 0, 0]
    assert 8 <= rows[1]["samples_forward_score"] <= 24


def test_ask_keeps_to_the_candidates_and_rank_does_not(data, new_model, quick):
    learner = ActiveLearner(
        new_model, data, Margin(), candidates=NeighborCandidates(EMBEDDINGS, num_neighbors=5), training=quick
    )
    first = learner.ask(4)
    assert first.indices == ActiveLearner(new_model, data, Margin()).ask(4).indices, "the initial set is no sub-pool's"
    learner.tell(first, data.labels[list(first)].tolist())
    learner.fit()
    near = near_by_hand(EMBEDDINGS, learner.pool, 5)
    query = learner.ask(len(near))
    assert sorted(query) == near and learner.ask(len(near)).indices == query.indices
    ranking = learner.rank()
    assert sorted(ranking) == learner.pool.unlabeled.tolist()
    assert query.indices[0] == next(i for i in ranking if i in near)
    learner.candidates = RandomCandidates(12)
    drawn = set(learner.ask(12))
    assert set(learner.ask(12)) == drawn
    learner.tell([query[0]], [0])
    learner.fit()
    assert set(learner.ask(12)) != drawn, "drawn anew each round"


def test_bad_candidates_are_one_sentence_each(tmp_path, data, new_model, quick):
    with pytest.raises(DalError, match=r"^candidates.size: expected a whole number of at least 1, got 0\.$"):
        RandomCandidates(0)
    with pytest.raises(DalError, match=r"candidates.num_neighbors: expected a whole number of at least 1, got True"):
        NeighborCandidates(EMBEDDINGS, num_neighbors=True)
    with pytest.raises(DalError, match=r"candidates.index: expected one of exact, faiss, got 'hnsw'"):
        NeighborCandidates(EMBEDDINGS, index="hnsw")
    with pytest.raises(DalError, match=r"candidates.size: expected at least the 9 points of a query, got 8"):
        choose(RandomCandidates(8), used_pool(), 9)
    with pytest.raises(DalError, match=r"candidates.features_file: expected one row for each of the 90 .* got 80"):
        ActiveLearner(new_model, data, Margin(), candidates=NeighborCandidates(EMBEDDINGS[:80]))
    with pytest.raises(DalError, match=r"candidates: expected candidates such as RandomCandidates.* got 100"):
        ActiveLearner(new_model, data, Margin(), candidates=100)
    with pytest.raises(DalError, match=r"candidates: expected candidates such as RandomCandidates.* got <class"):
        ActiveLearner(new_model, data, Margin(), candidates=RandomCandidates)
    with pytest.raises(NonFiniteError, match=r"features_file: expected finite numbers, got nan at row 3 of 90"):
        NeighborCandidates(np.where(np.arange(90)[:, None] == 3, np.nan, EMBEDDINGS))
    with pytest.raises(DalError, match=r"candidates.features_file: expected a .npy file .* \(No such file"):
        load_embeddings(str(tmp_path / "nowhere.npy"))
    (tmp_path / "text.npy").write_text("1 2 3")
    with pytest.raises(
        DalError, match=r"candidates.features_file: expected a .npy file of numbers, got 'text.npy \(no array in it\)'"
    ):
        load_embeddings(str(tmp_path / "text.npy"))
    np.savez(tmp_path / "two.npz", a=EMBEDDINGS, b=EMBEDDINGS)
    with pytest.raises(
        DalError, match=r"candidates.features_file: expected a .npy file of numbers, got 'two.npz \(no array in it\)'"
    ):
        load_embeddings(str(tmp_path / "two.npz"))


def test_a_campaign_whose_queries_outgrow_the_candidates_is_refused_before_it_begins(data, new_model):
    learner = ActiveLearner(new_model, data, Random(), candidates=RandomCandidates(25))
    settings = CampaignConfig(initial_size=10, query_size=10, growth=2.0, budget=80)
    with pytest.raises(DalError, match=r"candidates.size: expected at least the 40 points of a query, got 25"):
        run(learner, DatasetOracle(data), settings)
    assert learner.pool.num_labeled == 0
