import numpy as np
import pandas as pd
import pytest
from helpers.people_runs import CLASSES, label, write_people_run
from helpers.synthetic_runs import write_run
from rich.console import Console

from dal.analysis import group_runs, read_run, summarize_runs
from dal.costs.prices import PricesConfig
from dal.errors import DalError
from dal.labeling.people.answers import Answers
from dal.reports.comparison import compare
from dal.reports.overview import learning_curve_figure, report

ANSWERS = [
    label("cat", seconds=2.0, index=0),
    label("cat", "ben", seconds=4.0, index=0),
    {"kind": "add_class", "name": "bird", "annotator": "ana"},
    label("bird", seconds=6.0, index=1),
    {"kind": "skip", "annotator": "ben", "index": 2},
]


def reported(*paths, **options):
    console = Console(width=140, color_system=None)
    with console.capture() as captured:
        written = report(paths, console=console, **options)
    return captured.get(), [path.name for path in written]


def test_a_run_without_a_test_set_says_that_the_accuracy_is_not_known(tmp_path):
    run = write_people_run(
        tmp_path / "run",
        [None, None],
        ANSWERS,
        seconds=[360.0, 720.0],
        more=lambda i: {"stop_predictions": [0, 1, 1, i]},
    )
    text, written = reported(run, prices=PricesConfig(label_hour=30), target=0.9)
    assert written == ["summary.csv"]
    assert (
        "digits, margin: the accuracy is not known, because the run has no test set (2 rounds, 20 labels). The last "
        "two models agree on 75.0% of the stop set." in text
    )
    (line,) = [line.split() for line in text.splitlines() if line.startswith(" margin")]
    assert line == ["margin", "1", "20", "–", "–", "–", "3.0", "1.5", "9.00"]
    assert "1 point with two or more opinions: 100.0% of the opinions agree with the majority." in text
    assert "not reached" not in text


def test_labels_that_changed_after_the_last_training_are_named_with_the_remedy(tmp_path):
    run = write_people_run(tmp_path / "run", [0.5, 0.9], ANSWERS, more=lambda i: {"labels_changed": 3 * i})
    text, _ = reported(run)
    assert "The last round trained again, because 3 labels changed after the campaign had ended." in text
    assert "after the last training" not in text
    Answers(run, CLASSES).record(label("dog", index=1, id="1.jpg"))
    assert f"1 label changed after the last training. To train again, run dal label {run}." in " ".join(
        reported(run)[0].split()
    )


def test_answers_that_differ_from_those_of_a_round_are_not_shown(tmp_path, capsys):
    run = write_people_run(tmp_path / "run", [0.5], ANSWERS, more=lambda i: {"answers_sha256": "0" * 64})
    text, _ = reported(run)
    assert "ana" not in text
    assert "the first 5 lines of answers.jsonl in " in capsys.readouterr().err


def test_every_person_and_class_is_shown(tmp_path):
    text, written = reported(write_people_run(tmp_path / "run", [0.5, 0.9], ANSWERS), prices=PricesConfig(label=0.5))
    assert written == ["learning_curve.png", "bills.png", "summary.csv"]
    lines = {words[0]: words for line in text.splitlines() if (words := line.split())}
    assert lines["ana"] == ["ana", "2", "2", "0", "0", "0", "0", "4.0", "0.00", "1.00"]
    assert lines["ben"] == ["ben", "2", "1", "0", "0", "1", "0", "4.0", "0.00", "0.50"]
    assert lines["cat"] == ["cat", "2", "3.0"]
    assert lines["dog"] == ["dog", "0", "–"]
    assert lines["bird"] == ["bird", "1", "6.0"]


def test_a_run_that_nobody_labeled_shows_no_people(tmp_path):
    text, _ = reported(write_run(tmp_path / "run", [0.5, 0.9]))
    assert "People" not in text and "In brackets" not in text
    assert "num_test" not in (tmp_path / "run" / "summary.csv").read_text()


def test_a_bought_test_set_gives_an_interval(tmp_path):
    run = write_people_run(tmp_path / "run", [0.6, 0.9], num_test=100)
    text, _ = reported(run)
    assert "90.0 (82-95)" in text
    assert "In brackets: 95 % Wilson interval from the test labels that people gave." in " ".join(text.split())
    line = pd.read_csv(run / "summary.csv").iloc[0]
    assert (line["num_test"], line["test_accuracy_low"]) == (100, pytest.approx(0.8256, abs=1e-4))
    (band,) = learning_curve_figure([read_run(run)]).axes[0].collections
    edge = band.get_paths()[0].vertices[:, 1]
    assert edge.min() == pytest.approx(50.2, abs=0.1) and edge.max() == pytest.approx(94.5, abs=0.1)
    assert "95 % interval of the test labels" in learning_curve_figure([read_run(run)]).axes[0].get_title(loc="left")


def test_first_rounds_without_test_labels_are_left_out_of_the_curve(tmp_path):
    run = write_people_run(tmp_path / "run", [None, 0.5, 0.75, 0.8], ANSWERS, num_test=10)
    text, written = reported(run, target=0.625, prices=PricesConfig(label=1))
    assert written[0] == "learning_curve.png"
    assert "62.5 % was reached with 25 labels and 25.00 USD." in text
    assert "not known" not in text
    (line,) = learning_curve_figure([read_run(run)]).axes[0].get_lines()
    np.testing.assert_allclose(line.get_ydata(), [np.nan, 50, 75, 80])


def test_known_and_unknown_runs_stand_together(tmp_path):
    runs = [
        write_people_run(tmp_path / "a", [None], acquisition="entropy"),
        write_run(tmp_path / "b", [0.5]),
        write_run(tmp_path / "c", [0.4], acquisition="random"),
    ]
    text, written = reported(*runs)
    assert written[0] == "learning_curve.png"
    shown = [line.split()[0] for line in text.splitlines() if line.startswith((" entropy", " margin", " random"))]
    assert shown == ["margin", "random", "entropy"]
    assert len(learning_curve_figure(map(read_run, runs)).axes[0].get_lines()) == 2


def test_hours_that_nobody_measured_are_named(tmp_path):
    text, _ = reported(write_run(tmp_path / "a", [0.5]), prices=PricesConfig(label_hour=30))
    assert "prices.label_hour adds nothing to the bill of the run, because the time of people was not measured." in text
    timed = write_people_run(tmp_path / "b", [0.5], seconds=[3600.0])
    text, _ = reported(timed, prices=PricesConfig(label_hour=30))
    assert "adds nothing" not in text


def test_a_damaged_journal_of_answers_does_not_hide_the_report(tmp_path, capsys):
    run = write_people_run(tmp_path / "run", [0.5], ANSWERS)
    lines = (run / "answers.jsonl").read_bytes().splitlines(keepends=True)
    (run / "answers.jsonl").write_bytes(b"".join([lines[0], b"nonsense\n", *lines[2:]]))
    text, _ = reported(run)
    assert "margin" in text and "People of" not in text
    assert "are not shown: answers: line 2 of answers.jsonl" in capsys.readouterr().err


def test_a_torn_last_line_does_not_count_and_stays(tmp_path):
    run = write_people_run(tmp_path / "run", [0.5], ANSWERS)
    whole = (run / "answers.jsonl").read_bytes() + b'{"seq":6,"ev'
    (run / "answers.jsonl").write_bytes(whole)
    assert "ana" in reported(run)[0]
    assert (run / "answers.jsonl").read_bytes() == whole


@pytest.mark.parametrize("accuracies", [[None, None], [None, 0.5]])
def test_runs_whose_accuracy_is_not_known_are_not_compared(tmp_path, accuracies):
    run = write_people_run(tmp_path / "run", accuracies, ANSWERS)
    with pytest.raises(DalError, match="expected test_accuracy in every round, got a run without it"):
        compare([run], console=Console(quiet=True))
    with pytest.raises(DalError, match="expected test_accuracy in every round"):
        group_runs([read_run(run)])
    with pytest.raises(DalError, match="expected test_accuracy in every round"):
        summarize_runs([read_run(run)])
