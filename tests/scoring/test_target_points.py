"""Target inputs from a file: read, refused, and gone by."""

import pytest
import torch
from helpers.passes import summarize_points

from dal import ActiveLearner
from dal.acquisition import EPIG, Margin, epig_scores
from dal.errors import DalError
from dal.runtime.seeding import derive_seed
from dal.scoring.config import ScoringConfig
from dal.scoring.target_points import load_target_points

IDS = ["a.png", "b c.png", "d,e.png", "4"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.png\n4\n", [0, 3]),
        ("  4  \n\nb c.png", [3, 1]),
        ("d,e.png\n", [2]),
        ('rank,id,score\n0,"d,e.png",0.5\n1,a.png,0.1\n', [2, 0]),
        ("id\n4\n", [3]),
    ],
)
def test_ids_are_read(text, expected, tmp_path):
    (tmp_path / "ids").write_text(text)
    found = load_target_points(str(tmp_path / "ids"), IDS)
    assert found.dtype == torch.int64 and found.tolist() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "a file with one id per line, or a CSV file with a column id, got '.*No such file or directory"),
        (b"\xff\xfe\x00", "a file with one id per line, .*not UTF-8"),
        (b"", "at least one id, got none in "),
        (b"id,label\n", "at least one id, got none in "),
        (b"a.png\nz.png\n", "ids of the training set, such as 'a.png', got 'z.png'"),
        (b"a.png\n4\na.png\n", "each id once, got 'a.png'"),
    ],
)
def test_refused_in_one_sentence(text, message, tmp_path):
    if text is not None:
        (tmp_path / "ids").write_bytes(text)
    with pytest.raises(DalError, match=rf"^scoring\.target_points: expected {message}"):
        load_target_points(str(tmp_path / "ids"), IDS)


@pytest.fixture
def learner(new_model, data, quick, tmp_path):
    def make(targets, function):
        (tmp_path / "targets.txt").write_text("\n".join(data.ids[i] for i in targets))
        torch.manual_seed(0)
        scoring = ScoringConfig(target_points=str(tmp_path / "targets.txt"))
        made = ActiveLearner(new_model(), data, function, training=quick, scoring=scoring, seed=3)
        query = made.ask(12)
        made.tell(query, [int(data.labels[i]) for i in query])
        made.fit()
        return made

    return make


def test_scores_are_for_the_targets_without_a_label(learner, data):
    function = EPIG(num_draws=5)
    first = learner(range(4), function)
    labeled, unlabeled = first.pool.labeled.tolist(), first.pool.unlabeled.tolist()
    targets = [unlabeled[3], labeled[0], unlabeled[9], unlabeled[0]]
    made = learner(targets, function)
    assert made.pool.labeled.tolist() == labeled
    query = made.ask(len(unlabeled))

    def draws(points):
        seed = derive_seed(3, made.round, "mc_dropout")
        (rows,) = summarize_points(made.model, function, data, torch.tensor(points), seed=seed)
        return torch.as_tensor(rows[:]).view(len(points), 5, -1)

    expected = epig_scores(draws(unlabeled), draws([unlabeled[3], unlabeled[9], unlabeled[0]]))
    scores = dict(zip(query, query.scores, strict=True))
    assert [scores[i] for i in unlabeled] == pytest.approx(expected.tolist(), rel=1e-6, abs=1e-9)
    assert list(query) != list(first.ask(len(unlabeled)))


def test_where_all_have_a_label_the_pool_stands_in(learner):
    labeled = learner([0], EPIG(num_draws=3)).pool.labeled.tolist()
    some = learner(labeled[:3], EPIG(num_draws=3))
    some_scores = some.ask(5).scores
    # Without a file it is the same.
    some._targets = None
    assert some.ask(5).scores == some_scores


def test_what_they_cost_is_counted(learner, data):
    costs = []
    for targets in (range(30), [learner([0], Margin()).pool.labeled.tolist()[0]]):
        made = learner(targets, EPIG(num_draws=3))
        left = int(torch.isin(torch.tensor(list(targets)), made.pool.unlabeled).sum())
        made.ask(5)
        costs.append((made.ledger.row()["samples_forward_score"], left))
    (with_targets, left), (without, none) = costs
    assert none == 0 and left > 0 and with_targets == without + left


def test_other_functions_take_no_notice(learner, data, tmp_path):
    made = learner([0], Margin())
    assert made._targets is None and len(made.ask(3)) == 3
    scoring = ScoringConfig(target_points=str(tmp_path / "no such file"))
    ActiveLearner(made.model, data, Margin(), scoring=scoring)
    with pytest.raises(DalError, match=r"^scoring\.target_points"):
        ActiveLearner(made.model, data, EPIG(num_draws=3), scoring=scoring)
