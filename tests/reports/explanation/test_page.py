"""What the page holds; test_browser.py drives it."""

import base64
import gzip
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from helpers.detections import TITLES, detected_of
from helpers.histories import history_of, journal_alone
from PIL import Image

from dal.analysis.diagnosis.detectors import all_detected
from dal.analysis.diagnosis.finding import NO_TEST, Detected, Finding, few_rounds
from dal.analysis.diagnosis.history import NOT_WRITTEN
from dal.reports.explanation.facts import Facts
from dal.reports.explanation.headlines import MOST, headlines
from dal.reports.explanation.page import SECTIONS, page, still
from dal.reports.explanation.records import notice
from dal.reports.explanation.sprite import SIDE, Sprite, thumbnail
from dal.reports.explanation.view import MOST_CLASSES, SHOWN_CLASSES, View
from dal.runs.wilson import wilson_interval

EVIL = "</script><img src=x onerror=alert(1)> $a$ %{x}"


def facts_of(history, **changes):
    tested = history.tested.sum(1)
    curve = np.divide(history.right.sum(1), tested, out=np.full(len(tested), np.nan), where=tested > 0)
    rounds = history.num_rounds
    known = {"flops": np.arange(1, rounds + 1) * 1e9, "money": np.arange(1, rounds + 1) * 2.0, "currency": "USD"}
    labels = history.labels_bought.tolist()
    return Facts(**({"name": "runs/x", "data": "digits", "acquisition": "margin", "seed": 0, "finished": True,
                     "labels": labels, "curve": curve} | known | changes))  # fmt: skip


def image_of(split, index):
    return np.full((8, 8, 1), index % 256, np.uint8)


def figures_of(text):
    packed = re.search(r'id="figures">([^<]*)<', text)[1]
    return json.loads(gzip.decompress(base64.b64decode(packed)))


class Read(HTMLParser):
    """Texts by section, and everything that a browser would fetch."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.open, self.sections, self.key = [], [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.fetched += [given[name] for name in ("src", "href", "srcset", "data") if name in given]
        if tag not in ("meta", "link", "input"):
            self.open.append(tag)
        if tag == "section":
            self.key = given["id"]
            self.sections[self.key] = ""

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "section":
            self.key = None

    def handle_data(self, data):
        if self.key is not None:
            self.sections[self.key] += data


@pytest.fixture(scope="module")
def ten():
    return history_of(rounds=6, test=20, few={2: 12})


@pytest.fixture(scope="module")
def text(ten):
    return page(ten, detected_of(ten), facts_of(ten), image_of)


def test_every_section_has_a_figure_or_a_sentence_and_nothing_is_fetched(text):
    read = Read(text)
    assert read.open == []
    assert [url for url in read.fetched if not url.startswith(("data:", "#"))] == []
    keys = ["headlines", "run", "classes", "confusion", "queries", "training", "network", "images", "collect", "method"]
    assert list(read.sections) == keys and len(SECTIONS) == len(keys) - 1
    figures = figures_of(text)
    assert len(re.findall(r'<div class="figure" id="(\w+)">', text)) == len(figures) == 16
    for key, title in TITLES.items():
        said = read.sections["headlines"] + read.sections["method"]
        assert title in said, key


def test_equal_records_give_equal_bytes(ten, text):
    assert page(ten, detected_of(ten), facts_of(ten), image_of) == text
    assert len(text) < 3_000_000


def test_the_numbers_of_the_recall_are_those_of_the_records(ten, text):
    figure = figures_of(text)["recall"]
    heat = figure["data"][0]
    names = figure["layout"]["yaxis"]["ticktext"]
    row = names.index("class 2")
    right = [int(ten.right[at, ten.of_class(2)].sum()) for at in range(6)]
    assert heat["z"][row] == pytest.approx([100 * n / 12 for n in right], abs=1e-3)
    low, high = wilson_interval(right[5], 12)
    assert heat["text"][row][5].endswith(
        f"{right[5]} of 12 right: {right[5] / 12:.0%} ({100 * low:.0f} to {100 * high:.0f} %)"
    )
    strokes = next(trace for trace in figure["data"] if trace.get("name", "").startswith("fewer"))
    assert set(strokes["y"]) == {row} and len(strokes["x"]) == 6


def test_rows_are_in_the_order_in_which_classes_were_learned(ten, text):
    changes = detected_of(ten)[0].tables["changes"]
    first = changes[changes["event"] == "learned"].set_index("class")["round"].to_dict()
    names = figures_of(text)["recall"]["layout"]["yaxis"]["ticktext"][::-1]  # from top to bottom
    rounds = [first.get(int(name.split()[1]), 99) for name in names]
    assert rounds == sorted(rounds)


def test_the_matrix_has_the_predictions_of_all_rounds_with_errors_first(ten, text):
    figure = figures_of(text)["matrix"]
    number = [int(name.removeprefix("test/").removesuffix(".png")) for name in figure["ids"]]
    wrong = (~ten.right).sum(0)
    assert sorted(number) == np.flatnonzero(wrong).tolist() and len(figure["tiles"]) == min(200, len(number))
    assert (np.array(figure["label"])[: len(number)] == ten.test_label[number]).all()
    now = np.full(len(ten.test_label), -2)
    for at, entry in enumerate(figure["matrix"]):
        now[entry["at"]] = entry["to"]
        assert (now[: len(number)] == ten.test_predicted[at, number]).all()
        counts, own = np.zeros((10, 10), int), np.zeros((10, 10), int)
        np.add.at(counts, (ten.test_label, ten.test_predicted[at]), 1)
        np.add.at(own, (np.array(figure["label"]), now), 1)
        assert (own == counts).all()


def test_labels_bought_and_surprise_are_those_of_the_records(ten, text):
    figures = figures_of(text)
    bars = {trace["name"]: trace["y"] for trace in figures["bought"]["data"]}
    assert np.sum(list(bars.values()), axis=0).tolist() == ten.new_labels.sum(1).tolist() and len(bars) == 8
    trained = ten.trained[3]
    new = (trained.bought == 3) & (trained.label == 4)
    bits = -trained.before[new].mean() / np.log(2) if new.any() else None
    assert figures["surprise"]["data"][0]["z"][10 - 1 - 4][3] == pytest.approx(bits, abs=1e-4)


def test_names_with_markup_stay_text_in_every_place():
    history = history_of(classes=3, rounds=4, test=20, names=[EVIL, "b" * 300, "\x1b[1m\u202e"])
    ids = [EVIL + str(at) for at in range(len(history.test_label))]
    history = replace(history, test_ids=ids, train_ids=dict.fromkeys(history.train_ids, EVIL))
    detected = [
        Detected("learned", EVIL, (Finding("learned", EVIL, 1.0, (0,), 1),), "", EVIL, silenced=(EVIL,)),
        Detected("unheard_of", EVIL, (), EVIL, EVIL, unknown=True),
    ]
    text = page(history, [*detected, *detected_of(history)[1:]], facts_of(history, name=EVIL, data=EVIL), image_of)
    read = Read(text)
    assert read.open == [] and "<img" not in text and text.count("<script") == 3
    assert EVIL in read.sections["headlines"] and "\x1b" not in text and "\u202e" not in text
    drawn = json.dumps(figures_of(text))
    assert "<img" not in drawn and "%{x}</" not in drawn and "$a$" not in drawn


@pytest.mark.parametrize(
    "bare",
    [
        {"test": 0, "rounds": 1, "layers": 0, "checks": False, "features": False},
        {"test": 0, "rounds": 3},
        {"test": 3, "rounds": 1, "classes": 2},
    ],
)
def test_missing_records_are_sentences(bare):
    history = history_of(**({"classes": 3} | bare))
    if bare["rounds"] == 1:
        history = replace(history, trained=[None], pool=[None], stop_predicted=[None])
    text = page(history, [], facts_of(history, no_images="There are no thumbnails, because of this test."))
    read = Read(text)
    assert read.open == []
    if not bare["test"]:
        assert (
            "There is no test set" in read.sections["classes"] and "no confusion matrix" in read.sections["confusion"]
        )
    if bare["rounds"] == 1:
        assert "labeled points (all rounds)" in read.sections["method"]
    assert "There are no thumbnails, because of this test." in read.sections["images"]


def test_with_many_classes_the_page_shows_the_worst_and_says_so():
    history = history_of(classes=MOST_CLASSES + 1, rounds=2, test=2, query=300, layers=0, checks=False, features=False)
    view = View(history, [], facts_of(history))
    recall = view.recall[-1]
    assert len(view.classes) == SHOWN_CLASSES and recall[view.classes].max() <= np.sort(recall)[SHOWN_CLASSES]
    text = page(history, detected_of(history), facts_of(history))
    assert f"the {SHOWN_CLASSES} classes with the lowest recall of {MOST_CLASSES + 1}" in text
    assert len(figures_of(text)["recall"]["data"][0]["z"]) == SHOWN_CLASSES


def test_headlines_are_at_most_six_and_each_detector_comes_before_a_second_of_another():
    many = [Finding("learned", f"Lost {i}.", 10.0 - i) for i in range(9)]
    detected = [
        Detected("learned", "Classes that were lost", tuple(reversed(many)), "", ""),
        Detected("merge", "Pairs", (Finding("merge", "A pair.", 0.6), Finding("merge", "A detail.", 0.1)), "", ""),
        Detected("stability", "Layers", (Finding("stability", "A fact.", 0.1),), "", ""),
        Detected("association", "Labels", (Finding("association", "Labels help.", 0.0),), "", ""),
        Detected("onset", "Overfitting", (), "None.", ""),
        Detected("capacity", "Capacity", (), "No features.", "", unknown=True),
    ]
    said = headlines(detected)
    assert [finding.sentence for finding in said.findings] == [*(f"Lost {i}." for i in range(5)), "A pair."]
    assert [finding.sentence for finding in said.notes] == ["A fact."]
    assert (len(said.findings), said.more) == (MOST, 5)
    assert said.quiet_sentence == "Nothing found: overfitting." and [one.title for one in said.unknown] == ["Capacity"]


def test_a_run_without_records_has_what_its_journal_has():
    whole = history_of(rounds=4, test=20)
    history = journal_alone(whole)
    detected = all_detected(history)
    facts = facts_of(whole, notice=notice(history, {}, finished=True))
    text = page(history, detected, facts)
    read, figures = Read(text), figures_of(text)
    assert set(figures) == {"curve", "recall", "bought", "matrix"}
    recall = View(whole, [], facts_of(whole)).recall
    assert np.array_equal(View(history, [], facts_of(whole)).recall, recall)
    assert [round["counts"] for round in figures["matrix"]["matrix"]] == [one.tolist() for one in history.confusion]
    assert "only a new run with diagnosis=on" in read.sections["headlines"] and "Resume" not in text
    assert "action" not in read.sections["headlines"]
    for key in ("queries", "training", "network", "images", "collect"):
        assert read.sections[key].count("cannot be told, because the run has no records for diagnosis.") == 1, key


def test_what_is_missing_is_said_with_its_remedy():
    history = history_of(rounds=6, classes=3, test=5, layers=0)
    assert notice(history, {}, finished=True) == ""
    gap = replace(history, missing={1: NOT_WRITTEN, 2: NOT_WRITTEN, 3: NOT_WRITTEN, 5: "dynamics_005.npz is missing"})
    assert notice(gap, {}, finished=True) == (
        "Left out: dynamics_005.npz is missing (round 5). Without records: rounds 1 to 3, which ran with "
        "diagnosis=off, or with an older version of dal."
    )
    off = {"diagnosis": {"record": False}}
    assert notice(replace(history, missing={5: NOT_WRITTEN}), off, finished=False) == (
        "Without records: round 5, which ran with diagnosis=off. Resume the run with diagnosis=on, the default: later "
        "rounds then have records."
    )
    damaged = replace(history, missing_features="features_005.npz is damaged")
    assert notice(damaged, {}, finished=True).startswith("features_005.npz is damaged, so findings that need")


def test_detectors_with_the_same_kind_of_reason_share_a_line():
    detected = [
        Detected("learned", "Losses", (), "Two rounds are too few.", "", unknown=True, lack=few_rounds(2, 4)),
        Detected("merge", "Pairs", (), "3 are needed.", "", unknown=True, lack=few_rounds(2, 3)),
        Detected("onset", "Overfitting", (), "No test.", "", unknown=True, lack=NO_TEST),
        Detected("stall", "Stalls", (), "It cannot be told for x.", "", unknown=True),
    ]
    assert [line.sentence for line in headlines(detected).unknown_lines(finished=False)] == [
        "Cannot be told yet (too few rounds: 2 of 3 to 4): losses, pairs.",
        "Cannot be told (no predictions of a test set): overfitting.",
        "Cannot be told: stalls. It cannot be told for x.",
    ]
    finished = headlines(detected).unknown_lines(finished=True)
    assert finished[0].label == "Cannot be told" and finished[0].kind == "too few rounds: 2 of 3 to 4"
    read = Read(page(history := history_of(rounds=2, classes=3, test=5, layers=0), detected, facts_of(history)))
    assert "Two rounds are too few." in read.sections["classes"]
    assert "Two rounds are too few." not in read.sections["headlines"]


def test_a_loss_is_said_once(ten):
    changes = pd.DataFrame({"class": [1, 2, 2], "event": ["lost", "lost", "regained"], "round": [3, 2, 4]})
    lost = Detected("learned", "L", (Finding("learned", "Lost 1.", 2.5, (1,)),), "", "", tables={"changes": changes})
    findings = tuple(Finding("forgetting", f"Forgot {k}.", 1.5 - k / 10, (k,)) for k in (1, 2))
    said = headlines([lost, Detected("forgetting", "F", findings, "", "")])
    assert [finding.sentence for finding in said.findings] == ["Lost 1.", "Forgot 2."] and said.more == 0


def test_each_detector_has_one_place_under_its_own_title(ten, text):
    links = re.findall(r'<a class="chip" href="#\w+">([^<]*)</a>', text)
    assert len(links) == len(set(links)) and set(links) <= set(TITLES.values())


def test_a_live_page_reloads_itself_until_it_is_still(ten):
    live = page(ten, [], facts_of(ten), live=True)
    assert '<meta http-equiv="refresh"' in live and still(live) == page(ten, [], facts_of(ten))


def test_a_sprite_holds_each_image_once_in_its_tile():
    sprite = Sprite.of(
        "key", lambda split, index: None if index == 5 else image_of(split, index), "train", [3, 200, 5, 3]
    )
    assert sprite.points == (3, 200) and sprite.offset(200) == (SIDE, 0) and sprite.offset(5) is None
    picture = np.asarray(Image.open(io.BytesIO(sprite.picture)).convert("L")).astype(int)
    assert abs(picture[32, 32] - 3) < 9 and abs(picture[32, SIDE + 32] - 200) < 9
    assert 'aria-label="a &lt;b&gt;"' in sprite.element(3, "a <b>") and sprite.element(5, "x") == ""
    assert Sprite.of("key", lambda split, index: None, "train", [1]) is None


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((8, 8, 1), (64, 64)),
        ((28, 28), (56, 56)),
        ((50, 40, 3), (40, 50)),
        ((300, 600, 3), (64, 32)),
        ((9, 9, 5), (63, 63)),
    ],
)
def test_thumbnails_have_at_most_64_pixels_a_side(shape, size):
    assert thumbnail(np.zeros(shape, np.uint8)).size == size
