"""A campaign whose labels come later stops with its query stored, and ends as one that is answered at once."""

import csv

import pytest

from dal import ActiveLearner, run
from dal.acquisition import Margin
from dal.errors import DalError, WaitingForAnswers
from dal.labeling.oracle import DatasetOracle
from dal.runs.folder import RunFolder
from dal.runs.layout import QUERY, SELECTIONS, VALIDATION
from dal.runs.records import Records
from dal.runs.restored import read_run_folder
from dal.scoring.candidates import StaleCandidates
from dal.stopping import CampaignConfig


class SlowOracle(DatasetOracle):
    """Answers a query when it is asked for the ``times``-th time."""

    def __init__(self, data, times):
        super().__init__(data)
        self.times, self.asked = times, {}

    def __call__(self, indices):
        self.asked[tuple(indices)] = self.asked.get(tuple(indices), 0) + 1
        return super().__call__(indices) if self.asked[tuple(indices)] == self.times else None


class Starts:
    """Starts of one campaign, each with a new learner as in a new process."""

    def __init__(self, data, test_data, new_model, training, **options):
        self.data, self.test_data, self.new_model, self.training = data, test_data, new_model, training
        self.options, self.scored = options, 0

    def run(self, oracle, records):
        learner = ActiveLearner(
            self.new_model, self.data, Margin(), training=self.training, seed=3, on_progress=self.watch, **self.options
        )
        campaign = CampaignConfig(initial_size=10, query_size=10, budget=35, validation_size=5)
        try:
            return run(learner, oracle, campaign, test=self.test_data, records=records)
        finally:
            if isinstance(records, RunFolder):
                records.close()

    def watch(self, phase, done, total):
        self.scored += total if phase == "score" and done == total else 0


def counted(rows):
    return [{k: v for k, v in row.items() if not k.startswith(("seconds", "peak", "joules"))} for row in rows]


@pytest.mark.parametrize("candidates", [None, StaleCandidates(40)], ids=["all", "stale"])
def test_a_campaign_that_is_answered_on_the_third_start_ends_as_one_that_is_answered_at_once(
    tmp_path, data, test_data, new_model, quick, candidates
):
    def folder(name):
        return RunFolder(tmp_path / name, {}, data.fingerprint())

    at_once = Starts(data, test_data, new_model, quick, candidates=candidates)
    expected = at_once.run(DatasetOracle(data), folder("at_once"))
    later, oracle, sentences = Starts(data, test_data, new_model, quick, candidates=candidates), SlowOracle(data, 3), []
    while len(sentences) < 20:
        try:
            rows = later.run(oracle, folder("later"))
            break
        except WaitingForAnswers as waiting:
            sentences.append(str(waiting))
            assert (tmp_path / "later" / QUERY).exists()
    query = tmp_path / "later" / QUERY
    awaited = ["5 labels of the validation set", *(f"10 labels of round {i}" for i in range(3))]
    assert sentences[::2] == sentences[1::2]
    assert sentences[::2] == [
        f"run: waiting for {labels} ({query}). Run the same command again once you have them." for labels in awaited
    ]
    assert counted(rows) == counted(expected), "FLOPs among them"
    for name in (SELECTIONS, VALIDATION):
        assert (tmp_path / "later" / name).read_bytes() == (tmp_path / "at_once" / name).read_bytes()
    assert later.scored == at_once.scored > 0, "no point is scored twice"
    assert set(oracle.asked.values()) == {3}, "each start asks for the same points"
    assert not query.exists() and not list((tmp_path / "later").glob("*.new"))


class OnlyValidation(DatasetOracle):
    """Answers no query but the five points to validate on."""

    def __call__(self, indices):
        return super().__call__(indices) if len(indices) == 5 else None


@pytest.fixture
def waiting(tmp_path, data, test_data, new_model, quick):
    """The folder of a campaign whose initial set is asked for and not answered, and what starts it again."""
    starts, path = Starts(data, test_data, new_model, quick), tmp_path / "run"

    def start(oracle):
        return starts.run(oracle, RunFolder(path, {}, data.fingerprint()))

    with pytest.raises(WaitingForAnswers, match="waiting for 10 labels of round 0"):
        start(OnlyValidation(data))
    return path, start


def test_the_stored_query_has_no_labels_and_belongs_to_no_round_yet(waiting, data):
    path, _ = waiting
    records = read_run_folder(path, data.fingerprint())
    assert (records.stage, len(records.validation), records.selections, records.rows) == ("answer", 5, [], [])
    lines = list(csv.DictReader((path / QUERY).open()))
    assert list(lines[0]) == ["round", "rank", "index", "id", "score"] and len(lines) == 10
    assert [line["id"] for line in lines] == [data.ids[point.index] for point in records.pending]
    assert not (path / SELECTIONS).exists()


def test_wrong_labels_leave_the_query_as_it_is(waiting, data):
    path, start = waiting
    before = (path / QUERY).read_bytes()

    class Wrong(DatasetOracle):
        def __call__(self, indices):
            return [99] * len(indices)

    with pytest.raises(DalError, match=r"^labels: expected"):
        start(Wrong(data))
    assert (path / QUERY).read_bytes() == before
    assert len(start(DatasetOracle(data))) == 3


def test_a_query_that_lost_points_is_said(waiting, data):
    path, start = waiting
    whole = (path / QUERY).read_text().splitlines(keepends=True)
    cases = (
        ("".join(whole[:-2]), r"query\.csv in .* is damaged"),
        (None, r"expected query\.csv in .*, got no such file"),
    )
    for text, sentence in cases:
        if text is None:
            (path / QUERY).unlink()
        else:
            (path / QUERY).write_text(text)
        with pytest.raises(DalError, match=rf"^run: {sentence}.* Restore it, or choose another folder\.$"):
            start(DatasetOracle(data))


def test_a_query_that_was_never_committed_does_not_count(waiting, data):
    path, start = waiting
    start(DatasetOracle(data))
    (path / QUERY).write_text("round,rank,index,id,score\n9,0,1,toy-001,\n")
    assert len(start(DatasetOracle(data))) == 3
    assert not (path / QUERY).exists()


def test_records_in_memory_wait_too(data, test_data, new_model, quick):
    starts, records = Starts(data, test_data, new_model, quick), Records()
    with pytest.raises(WaitingForAnswers, match=r"^run: waiting for 5 labels of the validation set\. Run"):
        starts.run(SlowOracle(data, 2), records)
    with pytest.raises(WaitingForAnswers, match=r"^run: waiting for 10 labels of round 0\. Run"):
        starts.run(OnlyValidation(data), records)
    assert len(starts.run(DatasetOracle(data), records)) == 3
    assert records.stage == "done" and records.pending == []
