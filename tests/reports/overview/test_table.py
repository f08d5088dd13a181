import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from dal.analysis import read_run, summarize_runs
from dal.reports.overview import summary_table, write_csv


def printed(summary, width=100):
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(summary_table(summary))
    return captured.get()


@pytest.fixture
def summary(synthetic, tmp_path):
    runs = [
        synthetic.write_run(
            tmp_path / f"{name}{seed}", [0.5, last], acquisition=name, seed=seed, campaign__query_size=10
        )
        for name, lasts in (("margin", (0.90, 0.92)), ("random", (0.80, 0.82)))
        for seed, last in enumerate(lasts)
    ]
    return summarize_runs(map(read_run, runs))


def test_numbers_are_percents_with_one_decimal_and_their_interval(summary):
    # final 0.91, sd 0.0141, t(1) 12.706: ± 0.127; areas 0.70 and 0.71, half as wide; 0.05 better, each seed the same
    (line,) = (line for line in printed(summary).splitlines() if "margin" in line)
    assert " ".join(line.split()) == "margin 2 20 91.0 ± 12.7 70.5 ± 6.4 +5.0 ± 0.0 3.0 1.5"
    (line,) = (line for line in printed(summary).splitlines() if line.strip().startswith("random "))
    assert " ".join(line.split()) == "random 2 20 81.0 ± 12.7 65.5 ± 6.4 – 3.0 1.5"


def test_it_fits_100_columns_with_large_numbers_and_long_names_whole(summary):
    wide = summary.assign(
        acquisition="least_confidence", settings="query_size=1000, warm_start=shrink_perturb", labels=100_000,
        seconds_train=123_456.0, seconds_score_select=23_456.0, seconds_total=999_999.0,
    )  # fmt: skip
    text = printed(wide)
    assert max(map(len, text.splitlines())) <= 100
    for whole in ("91.0 ± 12.7", "100,000", "123,456", "23,456", "+5.0 ± 0.0"):
        assert whole in text


def test_flops_and_money_fit_110_columns_and_are_explained(summary):
    dear = summary.assign(
        acquisition="least_confidence", settings="warm_start=shrink_perturb", labels=100_000, seconds_method=123_456.0,
        flops_train=[1.234e15, np.nan], flops_score=[9.9e9, np.nan], money_total=123_456.0, currency="EUR",
    )  # fmt: skip
    text = printed(dear, 110)
    assert max(map(len, text.splitlines())) <= 110
    first, second = (line.split() for line in text.splitlines() if line.strip().startswith("least_confidence"))
    assert first[-6:] == ["1.23", "P", "9.90", "G", "123,456", "123,456"]
    assert second[-4:] == ["–", "–", "123,456", "123,456"]
    text = " ".join(text.split())
    assert "EUR" in text and "Cost: labels and compute." in text and "seconds and FLOPs without testing" in text
    plain = printed(summary)
    assert "FLOPs" not in plain and "ost:" not in plain


def test_notes_and_meaning_of_columns_stand_below(summary):
    noted = summary.assign(note=["seed 1 not finished", ""])
    text = " ".join(printed(noted).split())
    assert "margin: seed 1 not finished." in text
    assert text.count("not finished") == 1
    assert "half the width of their 95 % t interval" in text
    assert "Δ random: area minus that of random" in text


def test_brackets_in_a_setting_are_not_markup(summary):
    assert "sizes=[1]" in printed(summary.assign(settings="sizes=[1]", data="[red]x"))
    assert "[red]x" in printed(summary.assign(data="[red]x"))


def test_a_table_for_each_data_set(summary):
    both = pd.concat([summary, summary.assign(data="cifar10")])
    lines = [line.strip() for line in printed(both).splitlines()]
    assert lines.index("digits") < lines.index("cifar10")
    assert sum(line.startswith("margin") for line in lines) == 2


def test_csv_comes_back_with_all_digits(summary, tmp_path):
    write_csv(summary, tmp_path / "summary.csv")
    back = pd.read_csv(tmp_path / "summary.csv", keep_default_na=True, float_precision="round_trip")
    assert list(back.columns) == list(summary.columns)
    for column in summary.select_dtypes("number"):
        np.testing.assert_array_equal(back[column], summary[column])
    assert np.isnan(back["area_minus_random"][1])
