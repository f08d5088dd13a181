"""A campaign whose labels come from people: the simulation's selections, waiting, corrections, classes, kills."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.labelers import Labelers, until_done
from rich.text import Text

from dal import ActiveLearner, run
from dal.acquisition import Margin
from dal.analysis import read_run
from dal.analysis.diagnosis.read import read_history
from dal.analysis.people import answers_of, class_lines
from dal.campaign.people_state import restore_with_people
from dal.campaign.replayed import replay
from dal.errors import DalError, WaitingForAnswers
from dal.labeling.oracle import DatasetOracle, OracleConfig
from dal.labeling.people.answers import Answers
from dal.labeling.people.first_asks import first_asks
from dal.labeling.people.leases import Leases
from dal.labeling.people.oracle import People
from dal.labeling.people.page.body import Body
from dal.labeling.people.page.session import LabelingSession
from dal.models import Classifier
from dal.models.backbones import SmallCNN
from dal.reports.overview.people import print_people
from dal.runs.asked import read_asked
from dal.runs.folder import RunFolder
from dal.runs.layout import ASKED, SELECTIONS
from dal.runs.restored import read_run_folder
from dal.runtime.progress import silent
from dal.stopping import CampaignConfig

SIZES = {"initial_size": 8, "query_size": 6, "budget": 30}


class PeopleRun:
    """One run folder that each start opens with a new learner, as in a new process."""

    def __init__(self, path, data, training, test=None, rebuilds=True, **sizes):
        self.path, self.data, self.training, self.test = path, data, training, test
        self.campaign = CampaignConfig(**{**SIZES, **sizes})
        self.rebuilds, self.config = rebuilds, OracleConfig(kind="people")
        self.labelers, self.on_progress = Labelers(path, data), silent

    def learner(self, classes=None):
        data = self.data if classes is None else replace(self.data, classes=list(classes))
        return ActiveLearner(
            lambda: Classifier(SmallCNN(1, (8, 8)), num_classes=data.num_classes, lr=3e-3),
            data,
            Margin(),
            training=self.training,
            seed=3,
            on_progress=self.on_progress,
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
    """The entries of a row that do not depend on the way: no people's facts, no times, no pass of suggestions.

    The budget of the records for diagnosis grows with that pass.
    """
    times = ("seconds", "peak", "joules", "samples_forward_score", "flops_forward_score", "num_test")
    facts = {"answers_seq", "answers_sha256", "behind", "num_unsure", "num_none", "num_corrected", "annotator_seconds"}
    facts |= {"rho", "weights_sha256", "samples_forward_diagnose", "flops_forward_diagnose", "flops_diagnose"}
    return {k: v for k, v in row.items() if not k.startswith(times) and k not in facts}


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


def asked(path):
    return read_asked(path)


def sentence(count, people, round=0):
    path = people.path
    return (
        f"run: waiting for {count} labels of round {round}. Run `dal ask {path}` and "
        f"`dal tell {path} FILE`, then run the same program again."
    )


def test_a_run_asks_for_all_first_labels_at_once_and_waits(tmp_path, data, quick):
    (tmp_path / "run").mkdir()
    people = PeopleRun(tmp_path / "run", data, quick, test_size=5, validation_size=4, budget=40)
    with pytest.raises(WaitingForAnswers) as waiting:
        people.start()
    assert str(waiting.value) == sentence(17, people)
    lines = asked(people.path)
    assert [line.kind for line in lines] == ["test"] * 5 + ["validation"] * 4 + ["initial"] * 8
    assert [line.ask for line in lines] == list(range(17)) and len({line.index for line in lines}) == 17
    assert all(line.suggestion is None and line.score is None for line in lines)
    assert lines == first_asks(data.ids, 3, test_size=5, validation_size=4, initial_size=8), "what a page shows first"
    people.labelers.answer(5)
    before = (people.path / ASKED).read_bytes()
    with pytest.raises(WaitingForAnswers) as waiting:
        people.start()
    assert str(waiting.value) == sentence(12, people), "partial answers stay in the journal"
    assert (people.path / ASKED).read_bytes() == before
    people.labelers.answer()
    with pytest.raises(WaitingForAnswers) as waiting:
        people.start()
    assert str(waiting.value) == sentence(6, people, round=1)
    new = asked(people.path)[17:]
    assert [(line.kind, line.round, line.rank) for line in new] == [("query", 1, rank) for rank in range(6)]
    assert all(line.suggestion in data.classes and 1 / 3 <= line.confidence <= 1 for line in new)
    row = json.loads((people.path / "rounds.jsonl").read_text())
    assert (row["num_labeled"], row["num_validation"], row["num_test"], row["labels_bought"]) == (8, 4, 5, 17)
    assert (row["answers_seq"], row["annotator_seconds"]) == (17, 34.0) and len(row["weights_sha256"]) == 64
    chosen = {line.index for line in new}
    assert not chosen & {line.index for line in lines}, "held-out points are never selected"


def test_a_run_that_is_killed_never_loses_its_lock_to_people(people):
    with pytest.raises(WaitingForAnswers):
        people.start()
    other = RunFolder(people.path, {}, people.data.fingerprint())
    other.close()


def to_round(people, number, **last):
    """Answer until round ``number`` is trained. The points that it asks for next stay open."""
    while True:
        with pytest.raises(WaitingForAnswers):
            people.start()
        rows = (
            (people.path / "rounds.jsonl").read_text().splitlines() if (people.path / "rounds.jsonl").exists() else []
        )
        if len(rows) > number:
            return [json.loads(row) for row in rows]
        people.labelers.answer()


def test_the_four_answers_that_are_no_class_are_four_different_things(people):
    to_round(people, 0)
    none, unsure, unreadable, skipped, *rest = people.labelers.wanted()
    labelers = people.labelers
    for line, kind in ((none, "none"), (unsure, "unsure"), (unreadable, "unreadable"), (skipped, "skip")):
        labelers.answer(lines=[line], kind=kind)
    labelers.answer(lines=rest)
    with pytest.raises(WaitingForAnswers, match="waiting for 1 label of round 1"):
        people.start()
    labelers.answer(lines=[skipped])
    rows = to_round(people, 1)
    assert (rows[1]["num_labeled"], rows[1]["num_none"], rows[1]["num_unsure"]) == (12, 1, 1)
    assert rows[1]["labels_bought"] == 8 + 5, "an unreadable image is not paid, an unsure answer is"
    lines = (people.path / SELECTIONS).read_text().splitlines()
    assert [line.split(",")[4] for line in lines if line.split(",")[2] == str(none.index)] == ["-2"]
    again = {line.index for line in asked(people.path) if line.round == 2}
    assert not again & {none.index, unsure.index, unreadable.index, skipped.index}
    labelers.label(unsure.index, "left")  # later, somebody can tell
    labelers.answer()
    rows = to_round(people, 2)
    assert (rows[2]["num_labeled"], rows[2]["num_unsure"]) == (12 + 6 + 1, 0)


def test_corrections_and_undone_answers_reach_the_next_model(people):
    rows = to_round(people, 0)
    first, second = people.labelers.answers.events(0), None
    first = next(iter(first))
    wrong = next(name for name in people.data.classes if name != first.label)
    people.labelers.label(first.index, wrong)
    second = list(people.labelers.answers.events(0))[1]
    people.labelers.answers.record(
        {"kind": "undo", "undoes": second.seq, "index": second.index, "id": second.id, "annotator": "ana"}
    )
    with pytest.raises(WaitingForAnswers, match="waiting for 7 labels of round 1"):  # the point is open again
        people.start()
    people.labelers.answer(lines=[line for line in people.labelers.wanted() if line.index != second.index])
    people.labelers.answer(lines=list(people.labelers.wanted()), kind="unsure")
    rows = to_round(people, 1)
    assert rows[1]["num_labeled"] == 8 - 1 + 6
    assert rows[1]["num_corrected"] == 1 and rows[1]["labels_bought"] == 8 + 6
    learner = restored(people)
    labels = dict(zip(learner.pool.labeled.tolist(), learner.pool.labels(learner.pool.labeled).tolist(), strict=True))
    assert labels[first.index] == people.data.classes.index(wrong) and second.index not in labels
    assert int(learner.pool.rounds(torch.tensor([first.index]))) == 0, "a correction keeps the round"


def restored(people):
    """The learner as the folder leaves it."""
    records = read_run_folder(people.path, people.data.fingerprint())
    oracle = People(people.data, people.path, people.config, people.learner)
    return restore_with_people(people.learner(), oracle, people.campaign, records)


def replayed(people, to=None):
    records = read_run_folder(people.path, people.data.fingerprint())
    oracle = People(people.data, people.path, people.config, people.learner)
    return replay(people.learner(), oracle, people.campaign, records, to)


def test_a_class_that_is_added_midway_gets_a_model_with_one_more_output(people, monkeypatch):
    to_round(people, 1)
    labelers = people.labelers
    labelers.change("add_class", "dark")
    line, *rest = labelers.wanted()
    labelers.label(line.index, "dark")
    labelers.answer(lines=rest)
    rows = to_round(people, 2)
    assert rows[2]["warm_start"] == "scratch"
    learner = restored(people)
    assert learner.data.classes == [*people.data.classes, "dark"] and learner.pool.num_classes == 4
    assert int(learner.pool.labels(torch.tensor([line.index]))) == 3
    assert learner.model.module.state_dict()[list(learner.model.module.state_dict())[-1]].shape[0] == 4
    people.finish()
    assert replayed(people).difference is None
    monkeypatch.setattr(
        "dal.runs.reader.read_config",
        lambda path: {"seed": 3, "data": {"name": "toy"}, "acquisition": {"name": "margin"}},
    )
    history = read_history(people.path)
    assert list(history.classes) == [*people.data.classes, "dark"]
    assert history.test_log_prob.shape[2] == 4 and np.isnan(history.test_log_prob[1, :, 3]).all()
    assert 3 in history.trained[2].label and np.isnan(history.trained[2].before).all(), "a new model has no past"
    assert len(history.pool[1].counts) == 4


def test_classes_that_the_page_changes_midway_reach_labels_report_and_replay(people):
    to_round(people, 0)
    answers = Answers(people.path, people.data.classes)
    page = LabelingSession(answers, lambda: asked(people.path), people.data.ids, Leases(60, 1))
    count = iter(range(99))

    def post(call, **values):
        return call(Body({"annotator": "ana", "tab": "tab", "event": f"e{next(count)}", **values}))

    def change(kind, name, to=None):
        return [one["name"] for one in post(page.change_class, kind=f"{kind}_class", name=name, to=to)["classes"]]

    assert change("add", " dark ") == ["bright", "left", "top", "dark"]
    assert change("rename", "bright", "light") == ["light", "left", "top", "dark"]
    assert change("merge", "top", "light") == ["light", "left", "dark"]
    assert change("retire", "left") == ["light", "dark"], "its labels stay"
    with pytest.raises(DalError, match=r"^retire_class: expected at least two classes to remain, got"):
        change("retire", "dark")
    items = post(page.lease, count=6, have=[])["items"]
    # The last three answers were under way while the classes changed.
    for item, name in zip(items, ("dark", "light", "dark", "left", "bright", "top"), strict=True):
        post(
            page.answer, answers=[{"event": f"e{next(count)}", "kind": "label", "label": name, "index": item["index"]}]
        )
    row = to_round(people, 1)[1]
    new = [item["index"] for item in items]

    learner = restored(people)
    assert row["warm_start"] == "scratch" and learner.data.classes == ["light", "left", "top", "dark"]
    assert learner.pool.labels(torch.tensor(new)).tolist() == [3, 0, 3, 1, 0, 0]
    first = [index for index in learner.pool.labeled.tolist() if index not in new]
    truth = people.data.labels[first].tolist()
    assert learner.pool.labels(torch.tensor(first)).tolist() == [{2: 0}.get(label, label) for label in truth]
    assert {line.suggestion for line in asked(people.path) if line.round == 2} <= {"light", "dark"}

    fold = answers_of(read_run(people.path))
    labels = {"light": 8 - truth.count(1) + 3, "left": truth.count(1) + 1, "dark": 2}
    assert {line.name: line.labels for line in class_lines(fold)} == labels
    _, table = print_people([read_run(people.path)])
    assert list(table.columns[0].cells) == [Text(name) for name in labels]
    assert list(table.columns[1].cells) == [str(number) for number in labels.values()]

    assert change("add", "left") == ["light", "left", "dark"], "the same number again"
    people.labelers.answer(kind="none")
    to_round(people, 2)
    learner = restored(people)
    assert learner.pool.num_classes == 4 and learner.pool.labels(torch.tensor(new)).tolist() == [3, 0, 3, 1, 0, 0]
    assert replayed(people).difference is None


def test_without_a_way_to_rebuild_a_new_class_is_refused_with_a_sentence(people):
    people.rebuilds = False
    to_round(people, 0)
    people.labelers.change("add_class", "dark")
    people.labelers.answer()
    with pytest.raises(
        DalError, match=r"^classes: expected a learner of the 4 classes bright, left, top, dark, got one"
    ):
        people.start()


def test_more_points_are_asked_while_no_answer_is_a_class(people):
    with pytest.raises(WaitingForAnswers):
        people.start()
    people.labelers.answer(kind="none")
    with pytest.raises(WaitingForAnswers, match="waiting for 8 labels of round 0"):
        people.start()
    lines = asked(people.path)
    assert [line.kind for line in lines] == ["initial"] * 16 and len({line.index for line in lines}) == 16
    people.labelers.answer()
    assert to_round(people, 0)[0]["num_labeled"] == 16
    people.finish()
    assert replayed(people).difference is None


def test_a_replay_names_the_first_line_that_differs(people):
    people.finish()
    found = replayed(people)
    assert (found.difference, found.rounds, found.asked, found.selected) == (None, 5, 30, 30)
    assert replayed(people, to=1).rounds == 2
    journal = people.path / "answers.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    event = json.loads(lines[10])
    event["label"] = next(name for name in people.data.classes if name != event["label"])
    lines[10] = json.dumps(event, separators=(",", ":")) + "\n"
    journal.write_text("".join(lines))
    difference = replayed(people).difference
    assert difference.startswith("line 12 of selections.csv: expected 1,2,"), difference
    assert replayed(people, to=0).difference is None
    # The rounds name the lines that they saw.
    for reads in (people.start, lambda: restored(people)):
        with pytest.raises(DalError) as caught:
            reads()
        assert str(caught.value) == (
            f"answers: the first 14 lines of answers.jsonl in {str(people.path)!r} are not those that round 1 saw. "
            "Restore the file, and correct labels on the page or with dal tell."
        )


class Schedule:
    """People who answer now and then: while the run waits, trains and scores. They also correct, undo and skip."""

    def __init__(self, people, seed, monkeypatch, adds_class=False):
        self.people, self.random, self.adds_class, self.turns = people, random.Random(seed), adds_class, 0
        people.config = OracleConfig(kind="people", wait=True, refit_labels=3, refit_growth=0.0, prefetch=2)
        people.on_progress = lambda phase, done, total: self.random.random() < 0.05 and self.turn()
        monkeypatch.setattr("dal.campaign.people.time.sleep", lambda seconds: self.turn())

    def turn(self):
        self.turns += 1
        assert self.turns < 2000
        labelers = self.people.labelers
        for line in labelers.wanted()[: self.random.randint(1, 3)]:
            kind = self.random.choices(("label", "none", "unsure", "skip", "unreadable"), (90, 3, 3, 3, 1))[0]
            labelers.answer(lines=[line], kind=kind)
        labels = [event for event in labelers.answers.events() if event.kind == "label"]
        if labels and self.random.random() < 0.1:
            event = self.random.choice(labels)
            labelers.label(event.index, self.random.choice(self.people.data.classes))
        if labels and self.random.random() < 0.1:
            event = self.random.choice(labels)
            labelers.answers.record(
                {"kind": "undo", "undoes": event.seq, "index": event.index, "id": event.id, "annotator": "ana"}
            )
        if self.adds_class and len(labels) > 15:
            self.adds_class = False
            labelers.change("add_class", "dark")
            labelers.label(labels[-1].index, "dark")


@pytest.mark.parametrize("seed", range(3))
def test_a_random_schedule_of_answers_is_replayed_bit_by_bit(people, monkeypatch, seed):
    Schedule(people, seed, monkeypatch, adds_class=seed == 1)
    rows = people.start()
    assert rows[-1]["campaign_stopped"] == "budget" and rows[-1]["labels_bought"] >= 30
    assert len(rows) >= 4 and sum(row["rho"] for row in rows) > 0, "labels arrived while it trained"
    found = replayed(people)
    assert (found.difference, found.rounds) == (None, len(rows))
    assert found.asked == len(asked(people.path))
    told = json.loads((people.path / "trainer.json").read_text())
    assert (told["phase"], told["round"], told["error"]) == ("stopped", len(rows), None)


def test_training_starts_before_the_test_set_is_complete_unless_a_rule_needs_it(tmp_path, data, quick, monkeypatch):
    for name, sizes, expected in (("free", {}, 0), ("ruled", {"target": 1.0}, 6)):
        (tmp_path / name).mkdir()
        people = PeopleRun(tmp_path / name, data, quick, test_size=6, budget=40, max_rounds=2, **sizes)
        people.config = OracleConfig(kind="people", wait=True)

        def answer(seconds, people=people):
            lines = people.labelers.wanted()
            people.labelers.answer(lines=[line for line in lines if line.kind != "test"] or lines)

        monkeypatch.setattr("dal.campaign.people.time.sleep", answer)
        rows = people.start()
        assert rows[0]["num_test"] == expected
        assert ("test_accuracy" in rows[0]) == (name == "ruled")


def test_the_first_model_does_not_wait_for_a_skipped_point(people, monkeypatch):
    people.config = OracleConfig(kind="people", wait=True)
    skipped = []

    def answer(seconds):
        lines = people.labelers.wanted()
        if lines and not skipped:
            skipped.append(people.labelers.answer(lines=lines[:1], kind="skip")[0].index)
        people.labelers.answer(lines=[line for line in lines if line.kind == "initial" and line.index not in skipped])
        if (people.path / "rounds.jsonl").exists():
            people.labelers.answer()

    monkeypatch.setattr("dal.campaign.people.time.sleep", answer)
    rows = people.start()
    assert rows[0]["num_labeled"] == SIZES["initial_size"] - 1
    assert replayed(people).rounds == len(rows)


def test_images_that_cannot_be_decoded_are_answered_by_dal_and_never_trained(tmp_path, quick, data):
    (tmp_path / "run").mkdir()
    broken = replace(data, set_aside={data.ids[i]: "cut off" for i in range(0, 90, 3)})
    people = PeopleRun(tmp_path / "run", broken, quick)
    with pytest.raises(WaitingForAnswers):
        people.start()
    lines = asked(people.path)
    assert any(line.index % 3 == 0 for line in lines) and all(line.index % 3 for line in people.labelers.wanted())
    people.finish()
    assert all(line.index % 3 for line in asked(people.path)[8:])
    assert {event.annotator for event in people.labelers.answers.events() if event.kind == "unreadable"} == {"dal"}
    assert replayed(people).difference is None


def test_a_simulation_buys_a_test_set_only_where_the_data_has_none(tmp_path, data, test_data, quick):
    simulated = PeopleRun(tmp_path / "run", data, quick, test=test_data, test_size=5)
    with pytest.raises(
        DalError, match=r"^campaign\.test_size: expected 0, because the data has a test set of 60 images"
    ):
        simulated.start(DatasetOracle(data))
    assert not (tmp_path / "run" / "state.json").exists() or not (tmp_path / "run" / SELECTIONS).exists()
    with pytest.raises(DalError, match=r"^campaign\.budget: expected at least the 34 initial, validation and test"):
        CampaignConfig(initial_size=20, validation_size=4, test_size=10, budget=30)
    with pytest.raises(DalError, match=r"^campaign\.validation_size: expected at most the 0 points of the pool"):
        run(simulated.learner(), DatasetOracle(data), CampaignConfig(test_size=90, validation_size=1, initial_size=1))


def test_people_are_never_asked_for_a_balanced_set(people):
    people.campaign = replace(people.campaign, initial="balanced")
    with pytest.raises(DalError, match=r"^campaign\.initial: expected random"):
        people.start()


def test_a_run_that_waits_asks_for_spare_points_and_counts_no_earlier_answer_as_arrived(people, monkeypatch):
    people.config = OracleConfig(kind="people", wait=True)
    for index in range(5):
        people.labelers.label(index, people.data.classes[int(people.data.labels[index])])
    monkeypatch.setattr("dal.campaign.people.time.sleep", lambda seconds: people.labelers.answer())
    rows = people.start()
    assert [row["rho"] for row in rows] == [0] * len(rows), "nobody answers while it trains"
    first = [line for line in asked(people.path) if line.round == 0]
    assert [line.kind for line in first] == ["initial"] * 8 + ["query"] * 6
    assert first == first_asks(people.data.ids, 3, initial_size=8, spare=6), "the page shows these before the trainer"


def other_label(people, event):
    return next(name for name in people.data.classes if name != event.label)


@pytest.mark.parametrize("waits", [False, True])
def test_labels_that_people_change_after_the_end_reach_one_more_model(people, waits):
    rows = people.finish()
    people.config = OracleConfig(kind="people", wait=waits)
    assert people.start() == rows, "nothing has changed"
    labelers, first = people.labelers, next(iter(people.labelers.answers.events()))
    unlabeled = next(index for index in range(len(people.data)) if index not in set(labelers.answers.fold.points()))
    labelers.label(unlabeled, "left")
    assert len(people.start()) == len(rows), "a further label is no correction"
    labelers.label(first.index, other_label(people, first))
    again = people.start()
    assert len(again) == len(rows) + 1 and again[-1]["campaign_stopped"] == "budget"
    assert again[-1]["labels_changed"] == 1 and "labels_changed" not in again[-2]
    assert again[-1]["weights_sha256"] != again[-2]["weights_sha256"]
    assert len(asked(people.path)) == 30, "nobody is asked for more"
    assert len(people.start()) == len(again)
    people.config = OracleConfig(kind="people")  # as at the start
    found = replayed(people)
    assert (found.difference, found.rounds) == (None, len(again))
    learner = restored(people)
    assert int(learner.pool.labels(torch.tensor([first.index]))) == people.data.classes.index(
        other_label(people, first)
    )


def test_a_kill_while_it_trains_again_changes_nothing(people, monkeypatch):
    people.finish()
    first = next(iter(people.labelers.answers.events()))
    people.labelers.label(first.index, other_label(people, first))
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("dal.campaign.people.train_round", killed)
        people.start()
    records = read_run_folder(people.path, people.data.fingerprint())
    assert records.stage == "train"
    rows = people.start()
    assert len(rows) == 6 and rows[-1]["labels_changed"] == 1
    assert replayed(people).difference is None


def killed(*arguments):
    raise KeyboardInterrupt
