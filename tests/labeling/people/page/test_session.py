"""The calls of the page: leases, answers, undo, the last answers, classes and the status."""

import threading
from random import Random

import pytest
from helpers.label_page import Client, label, lines_of, site_of

from dal.labeling.people.events import Answer, ClassChange
from dal.labeling.people.fold import Fold
from dal.labeling.people.page.facts import Facts
from dal.labeling.people.page.session import LabelingSession
from dal.labeling.people.page.status import Counts
from dal.runs.asked import AskedLine
from dal.runs.stopped import STOPPED


@pytest.fixture
def site(tmp_path):
    return site_of(tmp_path)


def test_images_come_in_the_order_of_the_query(site):
    with site.serve() as server:
        indices, found = Client(server).lease(4)
        assert indices == [0, 1, 2, 3]
        assert found["items"][0] == {
            "ask": 0,
            "index": 0,
            "id": "000.jpg",
            "purpose": "query",
            "suggestion": None,
            "confidence": None,
        }


def test_two_people_and_two_tabs_of_one_person_share_no_image(site):
    with site.serve() as server:
        first, second, other = Client(server), Client(server, tab="tab2"), Client(server, "bo")
        assert first.lease(2)[0] == [0, 1]
        assert second.lease(2)[0] == [2, 3]
        assert other.lease(4)[0] == [4, 5]
        assert first.lease(4, have=[0, 1])[0] == []


def test_a_tab_that_closes_gives_its_images_back(site):
    with site.serve() as server:
        first, second = Client(server), Client(server, tab="tab2")
        first.lease(4)
        assert first.post("release")[0] == 200
        assert second.lease(4)[0] == [0, 1, 2, 3]


@pytest.mark.parametrize("is_late", [True, False])
def test_a_page_that_is_reloaded_goes_on_with_its_images_whenever_the_old_page_says_that_it_closed(site, is_late):
    with site.serve() as server:
        old, new, other = Client(server), Client(server, tab="tab2"), Client(server, tab="tab3")
        assert old.lease(3)[0] == [0, 1, 2]
        if not is_late:
            old.post("release")
        assert new.lease(3, reloaded=old.tab)[0] == [0, 1, 2]
        if is_late:
            old.post("release")
        assert new.lease(0, have=[0, 1, 2])[1]["kept"] == [0, 1, 2]
        assert other.lease(2, reloaded="tab0")[0] == [3, 4]
        assert new.post("lease", count=1, have=[], reloaded="<tab>")[0] == 400


def test_what_a_tab_holds_stays_with_it_after_a_restart(site):
    with site.serve() as server:
        Client(server).lease(3)
        Client(server, "bo").lease(1)
    with site.serve() as server:
        assert Client(server, "cy").lease(2)[0] == [4, 5]
        assert Client(server, tab="tab2").lease(4)[0] == []
        indices, found = Client(server).lease(1, have=[0, 1, 2])
        assert (indices, found["kept"]) == ([], [0, 1, 2])


def test_a_restart_does_not_write_the_leases_anew(site):
    with site.serve() as server:
        Client(server).lease(3)
    before = (site.run / ".leases").stat().st_ino, (site.run / ".leases").read_bytes()
    site.session()
    assert ((site.run / ".leases").stat().st_ino, (site.run / ".leases").read_bytes()) == before
    (site.run / ".leases").write_bytes(before[1] + b'[3,"a')
    site.session()
    assert (site.run / ".leases").read_bytes() == before[1] + b'[3,"a\n'
    assert (site.run / ".leases").stat().st_ino != before[0]  # the old file is whole until the new one is


def test_images_of_a_tab_that_never_comes_back_are_free_after_the_lease(tmp_path):
    now = [1000.0]
    site = site_of(tmp_path, clock=lambda: now[0])
    with site.serve() as server:
        Client(server).lease(6)
        assert Client(server, "bo").lease(6)[0] == []
        now[0] += 61
        assert Client(server, "bo").lease(6)[0] == [0, 1, 2, 3, 4, 5]


def test_an_image_that_is_gone_is_given_up_and_not_handed_out(site):
    (site.root / "001.jpg").unlink()
    with site.serve() as server:
        client = Client(server)
        indices, found = client.lease(3)
        assert (indices, found["status"]["unreadable"]) == ([0, 2, 3], 1)
        (site.root / "002.jpg").unlink()
        indices, found = client.lease(1, have=[0, 2, 3])
        assert (indices, found["kept"], found["status"]["unreadable"]) == ([4], [0, 3], 2)
        assert [(one["kind"], one["id"], one["annotator"]) for one in site.journal()] == [
            ("unreadable", name, "dal") for name in ("001.jpg", "002.jpg")
        ]
        site.root.rename(site.root.with_name("elsewhere"))
        assert client.lease(2, have=[0, 3, 4])[1]["kept"] == [0, 3, 4], "a disk that is not mounted"
        assert len(site.journal()) == 2


def test_an_answer_is_an_event_with_what_the_page_showed(tmp_path):
    lines = [AskedLine(0, 3, 0, 1, "001.jpg", 0.5, "query", "dog", 0.75)]
    site = site_of(tmp_path, lines=lines, facts=Facts(answers_seq=0))
    with site.serve() as server:
        client = Client(server)
        _, found = client.lease(1)
        assert (found["items"][0]["suggestion"], found["items"][0]["confidence"]) == ("dog", 0.75)
        status, found = client.answer(label("e1", 1, "cat", ask=0, seconds=2.5, shown=True, ago=10))
        assert (status, found["saved"], found["status"]["bought"]) == (200, {"e1": 1}, 1)
    (event,) = site.journal()
    assert {**event, "at": ""} == {
        "seq": 1,
        "event": "e1",
        "kind": "label",
        "index": 1,
        "id": "001.jpg",
        "label": "cat",
        "annotator": "ana",
        "at": "",
        "seconds": 2.5,
        "ask": 0,
        "score_round": 3,
        "behind": 0,
        "suggestion": "dog",
        "undoes": None,
        "source": "page",
    }


def test_a_suggestion_that_was_hidden_and_a_pause_are_not_recorded(tmp_path):
    site = site_of(tmp_path, lines=lines_of(["000.jpg"], suggestion="dog", confidence=0.9))
    with site.serve() as server:
        Client(server).answer(label("e1", 0, "cat", ask=0, shown=False, seconds=None))
    assert (site.journal()[0]["suggestion"], site.journal()[0]["seconds"]) == (None, None)


def test_a_repeated_answer_changes_nothing(site):
    with site.serve() as server:
        client = Client(server)
        first = client.answer(label("e1", 0, "cat"), label("e2", 1, "dog"))
        again = client.answer(label("e2", 1, "dog"), label("e1", 0, "cat"))
        assert first[1]["saved"] == again[1]["saved"] == {"e1": 1, "e2": 2}
    assert len(site.journal()) == 2


def test_a_request_is_recorded_whole_or_not_at_all(site):
    with site.serve() as server:
        status, _ = Client(server).answer(label("e1", 0, "cat"), label("e2", 1, "cow"))
        assert status == 400
        undo = {"event": "u", "kind": "undo", "undoes": "e1"}
        assert Client(server).answer(label("e1", 0, "cat"), undo, label("e2", 1, "cow"))[0] == 400
    assert site.journal() == []


def test_undo_takes_the_answer_of_the_same_request_back(site):
    with site.serve() as server:
        client = Client(server)
        client.lease(1)
        undo = {"event": "u1", "kind": "undo", "undoes": "e1"}
        status, found = client.answer(label("e1", 0, "cat"), undo, label("e2", 0, "dog"))
        assert (status, found["saved"]) == (200, {"e1": 1, "u1": 2, "e2": 3})
        assert found["status"]["bought"] == 1
    assert [event["undoes"] for event in site.journal()] == [None, 1, None]


def test_an_image_that_is_undone_is_leased_to_the_person_who_sees_it(site):
    with site.serve() as server:
        client = Client(server)
        client.lease(1)
        client.answer(label("e1", 0, "cat"))
        client.answer({"event": "u1", "kind": "undo", "undoes": "e1"})
        assert Client(server, "bo").lease(1)[0] == [1]
        assert client.lease(0, have=[0])[1]["kept"] == [0]


def test_an_undone_image_of_an_earlier_query_stays_with_its_person(site):
    with site.serve() as server:
        client = Client(server)
        client.answer(label("e1", 0, "cat"))
        site.lines = [*site.lines, AskedLine(6, 1, 0, 5, "005.jpg")]
        client.answer({"event": "u1", "kind": "undo", "undoes": "e1"})
        site.lines = [*site.lines, AskedLine(7, 2, 0, 0, "000.jpg"), AskedLine(8, 2, 1, 4, "004.jpg")]
        assert Client(server, "bo").lease(3)[0] == [4]


def test_a_page_that_is_killed_after_an_undo_gives_the_image_to_nobody_else(site, monkeypatch):
    with site.serve() as server:
        Client(server).answer(label("e1", 0, "cat"))
        monkeypatch.setattr(LabelingSession, "_settle", lambda *_: 1 / 0)  # ends after the undo is on the disk
        assert Client(server).answer({"event": "u1", "kind": "undo", "undoes": "e1"})[0] == 500
    with site.serve() as server:
        assert Client(server, "bo").lease(2)[0] == [1, 2]


@pytest.mark.parametrize("kind", ["label", "skip"])
def test_an_answer_that_comes_again_frees_no_image_that_its_person_has_again(site, kind):
    answer = label("e1", 0, "cat") if kind == "label" else {"event": "e1", "index": 0, "kind": "skip"}
    with site.serve() as server:
        client = Client(server)
        client.lease(1)
        client.answer(answer)
        client.answer({"event": "u1", "kind": "undo", "undoes": "e1"})
        client.answer(answer)
        assert Client(server, "bo").lease(1)[0] == [1]


def test_a_page_that_starts_again_leaves_a_skipped_image_with_the_person_who_has_it_again(tmp_path):
    site = site_of(tmp_path, count=1)
    with site.serve() as server:
        Client(server).lease(1)
        Client(server).answer({"event": "e1", "index": 0, "kind": "skip"})
        assert Client(server).lease(1)[0] == [0]
    with site.serve() as server:
        assert Client(server, "bo").lease(1)[0] == []


def test_an_undo_that_leaves_an_earlier_answer_keeps_no_image(tmp_path):
    site = site_of(tmp_path, overlap=2, budget=4, count=2)
    with site.serve() as server:
        client = Client(server)
        client.answer(label("e1", 0, "cat"), label("e2", 0, "dog"))
        client.answer({"event": "u1", "kind": "undo", "undoes": "e2"})
        assert Client(server, "bo").lease(2)[0] == [0, 1]
        assert Client(server, "cy").lease(2)[0] == [1]


def test_nobody_undoes_what_another_person_said(site):
    with site.serve() as server:
        Client(server).answer(label("e1", 0, "cat"))
        status, found = Client(server, "bo").answer({"event": "u1", "kind": "undo", "undoes": "e1"})
        assert (status, found["error"]) == (400, "undoes: expected an answer of bo, got one of ana.")


def test_a_late_answer_is_a_second_opinion_and_never_refused(site):
    with site.serve() as server:
        ana, bo = Client(server), Client(server, "bo")
        assert bo.lease(1)[0] == [0]
        assert ana.answer(label("e1", 0, "cat"))[1]["second"] == [], "the first answer, also for an image of another"
        status, found = bo.answer(label("e2", 0, "dog", ask=0))
        assert (status, found["second"], found["status"]["bought"]) == (200, [{"id": "000.jpg", "by": "ana"}], 2)
        for again in (label("e2", 0, "dog"), label("e3", 0, "cat"), {"event": "e4", "kind": "skip", "index": 0}):
            assert bo.answer(again)[1]["second"] == [], "a repeat, a correction, and no answer"
    assert [event["annotator"] for event in site.journal()] == ["ana", "bo", "bo", "bo"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("seconds", value) for value in (1e300, -1, 86_401, float("nan"), float("inf"), "2", True, [1])),
        *(("ago", value) for value in (-1, 1e300, "2")),
        *(("index", value) for value in (True, -1, 1.0, 2**53, 10**400, None, "0")),
        *(("ask", value) for value in (True, -1, 1.5, 2**60, "0")),
        *(("event", value) for value in ("", "e" * 65, "a b", "é", 3, None)),
    ],
)
def test_a_value_that_an_answer_cannot_have_is_one_sentence(site, name, value):
    with site.serve() as server:
        status, found = Client(server).answer({**label("e1", 0, "cat"), name: value})
    assert status == 400 and site.journal() == []
    assert found["error"].startswith((f"{name}: expected", "body: expected a JSON object")), found


@pytest.mark.parametrize("name", ["", "a" * 65, "a b", "é", "dal", 3, None, ["ana"]])
def test_a_name_that_nobody_can_have_is_refused(site, name):
    with site.serve() as server:
        status, found = Client(server, name).post("status")
    assert status == 400 and found["error"].startswith("annotator: expected 1 to 64 of")


def test_the_four_answers_that_are_no_class_differ(site):
    with site.serve() as server:
        client = Client(server)
        client.lease(4)
        kinds = ("none", "unsure", "skip", "unreadable")
        _, found = client.answer(*({"event": k, "kind": k, "index": i} for i, k in enumerate(kinds)))
        assert found["status"]["bought"] == 2
        assert client.lease(6)[0] == [4, 5, 2]
        assert Client(server, "bo").lease(6)[0] == []
    assert [event["kind"] for event in site.journal()] == list(kinds)


def test_the_last_answers_go_back_without_end(site):
    with site.serve() as server:
        client = Client(server)
        client.answer(*(label(f"e{i}", i, "cat") for i in range(5)))
        Client(server, "bo").answer(label("bo", 5, "dog"))
        client.answer({"event": "u", "kind": "undo", "undoes": "e3"}, label("c", 0, "bird"))
        newest = client.post("recent", count=3)[1]["answers"]
        assert [(one["index"], one["label"]) for one in newest] == [(0, "bird"), (4, "cat"), (2, "cat")]
        older = client.post("recent", count=3, before=newest[-1]["seq"])[1]["answers"]
        assert [one["index"] for one in older] == [1, 0]
        assert client.post("recent", count=3, before=older[-1]["seq"])[1]["answers"] == []


def test_classes_change_midway(site):
    with site.serve() as server:
        client = Client(server)
        client.answer(label("e1", 0, "cat"), label("e2", 1, "dog"))
        for event, kind, name, to in (
            ("c1", "add_class", " cow ", None),
            ("c2", "rename_class", "dog", "hound"),
            ("c3", "merge_class", "cat", "cow"),
            ("c4", "retire_class", "bird", None),
        ):
            status, found = client.post("classes", event=event, kind=kind, name=name, to=to)
            assert status == 200, found
        assert found["classes"] == [
            {"number": 1, "name": "hound", "count": 1},
            {"number": 3, "name": "cow", "count": 1},
        ]
        assert [one["label"] for one in client.post("recent", count=9)[1]["answers"]] == ["hound", "cow"]
        assert client.answer(label("e3", 2, "dog"))[0] == 200
        status, found = client.post("classes", event="c5", kind="retire_class", name="cow")
        assert status == 400
        assert "at least two classes to remain" in found["error"]
        assert client.post("classes", event="c6", kind="rename_class", name="cow", to="=none")[0] == 400
        assert client.post("classes", event="c7", kind="drop", name="cow")[0] == 400


@pytest.mark.parametrize("name", ["x\ny", "\ud800", "\u202egpj"])
def test_a_new_class_has_a_name_that_can_be_printed(site, name):
    with site.serve() as server:
        for values in ({"kind": "add_class", "name": name}, {"kind": "rename_class", "name": "cat", "to": name}):
            status, found = Client(server).post("classes", event="e1", **values)
            assert (status, "expected a name of printable characters" in found["error"]) == (400, True)


def test_the_status_says_what_is_known_of_the_model(tmp_path):
    lines = [*lines_of(["000.jpg", "001.jpg"], kind="test"), AskedLine(2, 1, 0, 2, "002.jpg")]
    site = site_of(tmp_path, lines=lines, budget=20)
    with site.serve() as server:
        client = Client(server)
        status = client.post("status")[1]
        assert (status["accuracy"], status["ranking"]["behind"], status["trainer"]["phase"]) == (None, None, None)
        assert (status["bought"], status["budget"], status["test"]) == (0, 20, {"answered": 0, "size": 2})
    site.facts = Facts(0.9, 100, 32.0, 1, 4, "training")
    with site.serve() as server:
        client = Client(server)
        client.answer(*(label(f"e{i}", i, "cat") for i in range(3)))
        status = client.post("status")[1]
        assert status["accuracy"]["low"] == pytest.approx(0.8256, abs=1e-4)
        assert status["accuracy"]["high"] == pytest.approx(0.9448, abs=1e-4)
        assert status["ranking"] == {"behind": 2, "rho": 32.0, "round": 4}
        assert status["trainer"] == {"phase": "training", "error": None, "done": False}


@pytest.mark.parametrize(
    ("facts", "budget", "kind", "sentence"),
    [
        (Facts(), None, "waiting", "Nothing to label now: the model chooses the next images."),
        (Facts(), 6, "done", "Done: the budget of 6 labels is spent."),
        *(
            (Facts(stopped=reason), None, "done", f"Done: {words}.")
            for reason, words in [*STOPPED.items(), ("new_rule", "its stopping rule new rule applies")]
        ),
        (Facts(phase="stopped"), None, "error", "Nothing to label now: no trainer is running."),
        (Facts(error="x"), None, "error", "Nothing to label now: the trainer has stopped."),
        (
            Facts(phase="restarting", error="x"),
            None,
            "waiting",
            "Nothing to label now: the trainer died and starts again soon.",
        ),
    ],
)
def test_the_page_says_why_there_is_nothing_to_label(tmp_path, facts, budget, kind, sentence):
    site = site_of(tmp_path, facts=facts, budget=budget)
    with site.serve() as server:
        client = Client(server)
        client.answer(*(label(f"e{i}", i, "cat") for i in range(6)))
        assert client.lease(4)[1]["nothing"] == {"kind": kind, "sentence": sentence}


def test_the_last_images_may_be_open_elsewhere(site):
    with site.serve() as server:
        Client(server).lease(6)
        found = Client(server, "bo").lease(4)[1]
        assert found["nothing"]["sentence"] == "Nothing to label now: the last 6 images are open in another window."


def test_a_new_query_replaces_what_is_queued(site):
    site.lines = site.lines[:4]
    with site.serve() as server:
        client = Client(server)
        assert client.lease(3)[0] == [0, 1, 2]
        site.lines = [*site.lines, AskedLine(4, 1, 0, 5, "005.jpg"), AskedLine(5, 1, 1, 1, "001.jpg")]
        indices, found = client.lease(3, have=[0, 1, 2])
        assert (found["kept"], indices, found["status"]["asked"]) == ([1], [5], 6)


def test_ten_people_at_once_label_nothing_twice(tmp_path):
    site = site_of(tmp_path, count=100)
    with site.serve() as server:

        def work(person):
            client = Client(server, person)
            while indices := client.lease(2)[0]:
                for index in indices:
                    assert client.answer(label(f"{person}-{index}", index, "cat"))[0] == 200

        threads = [threading.Thread(target=work, args=(f"p{i}",)) for i in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    events = site.journal()
    assert sorted(event["index"] for event in events) == list(range(100))
    assert [event["seq"] for event in events] == list(range(1, 101))


def test_with_an_overlap_of_two_exactly_two_people_see_an_image(tmp_path):
    site = site_of(tmp_path, count=2, overlap=2)
    with site.serve() as server:
        for person in ("ana", "bo"):
            client = Client(server, person)
            assert client.lease(2)[0] == [0, 1]
            client.answer(label(person, 0, "cat"))
        assert Client(server, "cy").lease(2)[0] == []


def test_a_full_disk_acknowledges_nothing(site, monkeypatch):
    with site.serve() as server:
        client = Client(server)

        def full(*args, **kwargs):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("dal.labeling.people.answers.append_text", full)
        status, found = client.answer(label("e1", 0, "cat"))
        assert status == 507
        assert "No space left on device" in found["error"]
        monkeypatch.undo()
        assert client.answer(label("e1", 0, "cat"))[1]["saved"] == {"e1": 1}


def test_labels_are_counted_from_the_new_events_as_from_all():
    random = Random(0)
    fold, counts = Fold(["cat", "dog", "bird"]), Counts()
    for seq in range(1, 400):
        person, index = random.choice("ab"), random.randrange(30)
        kind = random.choice(["label", "label", "none", "skip", "undo"])
        if seq == 200:
            fold.apply(ClassChange(seq, "merge", "merge_class", "dog", "cat"))
        elif kind == "undo" and (own := list(fold.answers_of(person))):
            target = fold.answer(random.choice(own))
            fold.apply(Answer(seq, f"e{seq}", "undo", target.index, "x", annotator=person, undoes=target.seq))
        else:
            name = random.choice(["cat", "bird"]) if kind == "label" else None
            fold.apply(Answer(seq, f"e{seq}", "skip" if kind == "undo" else kind, index, "x", name, person))
        if seq % 3 == 0:
            found = {number: count for number, count in counts.of(fold).items() if count}
            assert found == {number: count for number, count in Counts().of(fold).items() if count}


def test_no_more_images_are_handed_out_than_the_budget_allows(tmp_path):
    with site_of(tmp_path, count=20, budget=6).serve() as server:
        assert Client(server).lease(4)[0] == [0, 1, 2, 3]
        other = Client(server, "bo")
        assert other.lease(4)[0] == [4, 5]
        assert Client(server, "cy").lease(4)[0] == []
        other.post("release")
        assert Client(server, "cy").lease(4)[0] == [4, 5]
