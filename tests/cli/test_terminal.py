import pytest
from rich.console import Console

from dal.cli.terminal import change_sentence, closing_table, round_line
from dal.costs.prices import PricesConfig
from dal.runs.round import Round
from dal.runs.stopped import STOPPED

ROWS = [
    {
        "round": i,
        "labels_bought": 20 * (i + 1) + 10,
        "num_validation": 10,
        "test_accuracy": 0.5,
        "updates": 100,
        "samples_forward_train": 3000,
        "samples_backward_train": 3000,
        "samples_forward_validate": 40,
        "samples_forward_score": 400 * i,
        "samples_forward_test": 500,
        "flops_forward_train": 10**9,
        "flops_backward_train": 2 * 10**9,
        "flops_forward_validate": 10**8,
        "flops_forward_score": 10**10 * i,
        "flops_draws_score": 10**9 * i,
        "flops_select": 3 * 10**6 * i,
        "flops_forward_test": 10**9,
        "seconds_train": 900.0,
        "seconds_validate": 10.0,
        "seconds_score": 90.0 * i,
        "seconds_select": 9.0 * i,
        "seconds_test": 18.0,
        "devices": 2,
    }
    for i in range(2)
]


def printed(rows, prices=None, width=80):
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(closing_table([Round(row) for row in rows], prices))
    return captured.get()


def cells(text):
    """The words of each line, by its name."""
    known = ("training set", "validation set", "test set", "other answers", "without tests", "stop set")
    lines = {}
    for line in text.splitlines():
        name = next((k for k in known if line.strip().startswith(k)), line.strip().split(" ")[0])
        lines[name] = line.strip().removeprefix(name).split()
    return lines


def without(rows, *prefixes):
    return [{k: v for k, v in row.items() if not k.startswith(prefixes)} for row in rows]


def test_every_phase_has_its_line_and_they_add_up():
    lines = cells(printed(ROWS))
    assert lines["training set"] == ["40"]
    assert lines["validation set"] == ["10"]
    assert lines["training"] == ["200", "6,000", "6,000", "6.00", "G", "1,800"]
    assert lines["validating"] == ["80", "200", "M", "20.0"]
    assert lines["scoring"] == ["400", "10.0", "G", "90.0"]
    assert lines["selecting"] == ["3.00", "M", "9.0"]
    assert lines["testing"] == ["1,000", "2.00", "G", "36.0"]
    assert lines["without tests"] == ["50", "200", "6,480", "6,000", "16.2", "G", "1,919"]
    assert lines["total"] == ["50", "200", "7,480", "6,000", "18.2", "G", "1,955"]
    assert not {"stop set", "checkpoints"} & set(lines)


def test_money_is_for_labels_and_all_devices():
    # 0.1 a label; 1800 s on 2 devices at 3 an hour are 3
    lines = cells(printed(ROWS, PricesConfig(label=0.1, gpu_hour=3.0, currency="EUR")))
    assert lines["training set"][-1] == "4.00"
    assert lines["validation set"][-1] == "1.00"
    assert lines["training"][-1] == "3.00"
    assert lines["total"][-1] == f"{5 + 2 * 1955 / 3600 * 3:.2f}"
    assert "EUR" in printed(ROWS, PricesConfig(label=0.1, currency="EUR"))
    assert "USD" not in printed(ROWS)


def test_energy_stands_there_only_where_it_was_measured():
    assert "energy" not in printed(ROWS)
    lines = cells(printed([row | {"joules_train": 3600.0, "joules_test": 360.0} for row in ROWS]))
    assert (lines["training"][-1], lines["without tests"][-1], lines["total"][-1]) == ("2", "2", "2.2")
    assert lines["scoring"][-1] == "90.0"


def test_rows_of_the_first_versions_have_a_table():
    old = without(ROWS, "flops", "devices", "num_validation", "samples_forward_validate", "seconds_validate")
    text = printed(old)
    assert "FLOPs" not in text
    assert cells(text)["training set"] == ["50"]
    assert cells(text)["total"] == ["50", "200", "7,400", "6,000", "1,935"]
    # A sum over some rounds only would be a wrong number.
    assert "FLOPs" not in printed([old[0], ROWS[1]])


def test_a_campaign_without_tests_has_one_total():
    lines = cells(printed(without(ROWS, "samples_forward_test", "flops_forward_test", "seconds_test", "test")))
    assert "testing" not in lines and "without tests" not in lines
    assert lines["total"][-1] == "1,919"


def test_a_phase_that_the_bill_does_not_know_is_not_lost():
    lines = cells(printed([row | {"flops_forward_distill": 10**12, "seconds_distill": 50.0} for row in ROWS]))
    assert lines["distill"] == ["2.00", "T", "100.0"]
    assert lines["total"][-3:] == ["2.02", "T", "2,055"]


@pytest.mark.parametrize("prices", [None, PricesConfig(label=1.25), PricesConfig(label=0.1, gpu_hour=2, kwh=0.3)])
@pytest.mark.parametrize("energy", [False, True])
def test_large_numbers_fit_80_columns_whole(prices, energy):
    large = [
        row
        | {"labels_bought": 99_500, "updates": 99_999, "samples_forward_train": 10**9, "seconds_train": 49_000.0}
        | ({"joules_train": 7.2e6} if energy else {})
        for row in ROWS
    ]
    text = printed(large, prices)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for whole in ("199,998", "2.00 G", "98,000", "backward", "without tests"):
        assert whole in text


@pytest.mark.parametrize("flops", [0, 10**9, 999_999 * 10**9, 10**17])
def test_a_round_fits_80_columns(flops):
    row = Round(round=12, labels_bought=15_500, updates=74_070, test_accuracy=0.5, seconds_train=9170.0)
    line = round_line(Round(row, flops_forward_train=flops, flops_forward_test=10**20))
    assert len(line) <= 80 and "50.0 %" in line and line.endswith("9,170 s")
    assert line[: line.index("updates")] == round_line(row)[: line.index("updates")]
    assert "FLOP" not in round_line(row)


def test_a_round_names_the_primary_metric():
    row = Round(round=0, labels_bought=5, updates=9, test_mean_average_precision=0.25, test_accuracy=0.5)
    assert "  test mean average precision 25.0 %  " in round_line(row, "mean_average_precision")
    assert "  test accuracy 50.0 %  " in round_line(row)
    assert "test" not in round_line(row, "loss")


def test_every_reason_to_stop_has_a_sentence():
    import inspect
    import re

    from dal.stopping.rules import reason_to_stop

    reasons = re.findall(r'^        "(\w+)": lambda', inspect.getsource(reason_to_stop), re.MULTILINE)
    assert len(reasons) >= 8
    assert set(reasons) <= set(STOPPED)


BOUGHT = {"round": 2, "num_labeled": 50, "num_test": 100, "labels_bought": 150, "updates": 300, "test_accuracy": 0.9}


def test_an_accuracy_on_a_test_set_that_people_labeled_has_its_interval():
    row = Round(BOUGHT, flops_forward_train=10**12, seconds_train=999.0)
    assert "  test 90.0 % (82-95)  " in round_line(row)
    assert len(round_line(row)) <= 80
    # 90 of 100 labels have a class, so 81 of 90 are right; the interval is wider.
    matrix = [[45, 5], [4, 36]]
    assert "(82-95)" in round_line(Round(row, test_confusion_matrix=matrix))
    assert "(59-99)" in round_line(Round(row, test_confusion_matrix=[[5, 1], [0, 4]]))
    # Labels that come with the data have no interval, and neither has another metric.
    assert "test accuracy 90.0 %" in round_line(Round(row, num_test=0))
    assert "test loss 90.0 %" in round_line(Round(row, test_loss=0.9), "loss")


def test_the_closing_sentence_says_how_sure_it_is():
    first = Round(BOUGHT, test_accuracy=0.6, labels_bought=120)
    assert change_sentence(first, Round(BOUGHT)) == (
        "Test accuracy rose from 60.0% (50-70) with 120 labels to 90.0% (82-95) with 150. In brackets: 95 % interval "
        "in percent, from 100 test labels."
    )
    ordinary = [Round(test_accuracy=a, labels_bought=n) for a, n in ((0.5, 20), (0.4, 1000))]
    assert change_sentence(*ordinary) == (
        "Test accuracy did not rise: it changed from 50.0% with 20 labels to 40.0% with 1,000."
    )


def test_every_label_that_people_gave_has_its_line():
    lines = cells(printed([BOUGHT | {"labels_bought": 153}], PricesConfig(label=0.5)))
    assert lines["training set"] == ["50", "25.00"]
    assert lines["test set"] == ["100", "50.00"]
    assert lines["other answers"] == ["3", "1.50"]
    assert lines["total"] == ["153", "300", "76.50"]


def test_the_time_of_people_has_its_line_and_is_no_wall_time():
    rows = [BOUGHT | {"annotator_seconds": 60.0}, BOUGHT | {"annotator_seconds": 660.0, "seconds_train": 3.0}]
    text = printed(rows, PricesConfig(label_hour=30))
    lines = cells(text)
    assert lines["people"] == ["0.2", "h", "6.00"]
    assert lines["total"] == ["150", "600", "3.0", "6.00"]
    assert "people 1.5 min" in printed([BOUGHT | {"annotator_seconds": 90.0}])
    assert "people" not in printed([BOUGHT])
