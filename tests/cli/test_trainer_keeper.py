"""The trainer of a page: when it is started again. A fake trainer ends as each test says."""

import hashlib
import json
from types import SimpleNamespace

import pytest

from dal.cli.trainer_keeper import TrainerKeeper
from dal.labeling.people.people_run import PeopleRun
from dal.labeling.people.start import write_start
from dal.runs.files.state import write_state

CONFIG = {"data": {"name": "unlabeled_folder", "classes": ["cat", "dog"]}, "oracle": {"kind": "people"}}


@pytest.fixture
def kept(tmp_path):
    return Kept(tmp_path)


class Kept:
    """A run with a keeper, a clock and trainers that end when they are told to."""

    def __init__(self, path):
        write_start(path, [], CONFIG, images=None)
        self.run, self.now, self.started = PeopleRun(path), 0.0, []
        self.keeper = TrainerKeeper(self.run, self.start, lambda: self.now)

    def start(self, path):
        trainer = SimpleNamespace(status=None, log=path / "trainer.log", phases=[], stop=lambda: None)
        trainer.tell_phase = lambda phase, error=None: trainer.phases.append((phase, error))
        trainer.last_words, trainer.last_lines = (lambda: "it broke."), (lambda: ["one", "two"])
        self.started.append(trainer)
        return trainer

    def ends(self, status):
        self.started[-1].status = status
        return self.look()

    def look(self, after=0.0):
        self.now += after
        return self.keeper.look()

    def commit(self, *rows):
        text = "".join(json.dumps({"round": i, "labels_bought": 2} | row) + "\n" for i, row in enumerate(rows))
        (self.run.path / "rounds.jsonl").write_text(text)
        stage = "done" if rows[-1].get("campaign_stopped") else "select"
        state = {"stage": stage, "rounds": len(rows), "bytes": {"rounds.jsonl": len(text)}, "data": "x", "asks": []}
        write_state(self.run.path, state | {"digests": {"rounds.jsonl": hashlib.sha256(text.encode()).hexdigest()}})

    def label(self, index, name):
        draft = {"kind": "label", "index": index, "id": f"{index}.jpg", "label": name, "annotator": "ana"}
        return self.run.answers.record(draft)


def test_a_trainer_that_dies_is_started_again_after_a_growing_pause(kept):
    assert kept.look() == []
    assert kept.ends(-9) == ["The trainer died: it broke. It starts again in 5 s. Answers are still saved."]
    assert kept.started[0].phases == [("restarting", "The trainer died: it broke. It starts again in 5 s.")]
    assert kept.look(4.9) == [] and len(kept.started) == 1
    assert kept.look(0.2) == [] and len(kept.started) == 2
    assert "It starts again in 20 s." in kept.ends(1)[0]
    kept.look(19)
    assert len(kept.started) == 2
    kept.look(2)
    assert len(kept.started) == 3


def test_three_deaths_without_a_finished_round_are_the_end(kept):
    kept.ends(-9)
    kept.look(6)
    kept.commit({})
    assert "in 5 s" in kept.ends(-9)[0], "a round was finished, so this death is the first again"
    kept.look(6)
    kept.ends(-9)
    kept.look(21)
    first, *lines = kept.ends(-9)
    assert first.startswith("The trainer died: it broke. It died 3 times without a finished round and stays off.")
    log = kept.run.path / "trainer.log"
    assert first.endswith(f"Start dal label again to go on. Answers are still saved. The end of {log}:")
    assert lines == ["  one", "  two"] and kept.started[-1].phases[-1][0] == "stopped"
    assert kept.look(1000) == [] and len(kept.started) == 4


def test_a_trainer_that_cannot_be_started_counts_as_dead(kept):
    kept.ends(-9)

    def refuse(path):
        raise OSError("Cannot allocate memory")

    kept.keeper._start = refuse
    assert "Cannot allocate memory. It starts again in 20 s." in kept.look(6)[0]


@pytest.mark.parametrize(("status", "sentence"), [(2, "The trainer has stopped: it broke."), (0, "Done")])
def test_a_trainer_that_ended_in_order_is_not_started_again(kept, status, sentence):
    kept.commit({})
    assert kept.ends(status)[0].startswith(sentence)
    assert kept.look(1000) == [] and kept.look(1000) == [] and len(kept.started) == 1


def test_changed_labels_start_the_trainer_again_once_people_pause(kept):
    first = kept.label(0, "cat")
    kept.label(1, "dog")
    kept.commit({"answers_seq": 2, "campaign_stopped": "budget"})
    kept.ends(0)
    kept.label(2, "cat")
    assert kept.look(0) == [] == kept.look(60), "a further label is no correction"
    kept.label(0, "dog")
    assert kept.look(0) == [] == kept.look(9)
    assert kept.look(2) == ["1 label has changed since the last training. The model trains again."]
    assert len(kept.started) == 2
    kept.commit({"answers_seq": 2, "campaign_stopped": "budget"}, {"answers_seq": 4, "campaign_stopped": "budget"})
    assert kept.ends(0) and kept.look(60) == [] == kept.look(60) and len(kept.started) == 2
    kept.run.answers.record({"kind": "undo", "undoes": first.seq + 3, "annotator": "ana"})
    kept.look(0)
    assert kept.look(11) and len(kept.started) == 3
