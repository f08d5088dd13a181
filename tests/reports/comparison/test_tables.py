import io

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from dal.analysis import read_run
from dal.analysis.comparison import compare_problems
from dal.analysis.pairing import pair_runs
from dal.reports.comparison.latex import latex
from dal.reports.comparison.tables import Table, findings, tables_of
from dal.reports.comparison.terminal import print_table


@pytest.fixture
def comparison_of(synthetic, tmp_path):
    def build(curves, targets=(), data="digits"):
        runs = [
            read_run(
                synthetic.write_paired_run(tmp_path / data / name / str(s), row, acquisition=name, seed=s, data=data)
            )
            for name, rows in curves.items()
            for s, row in enumerate(rows)
        ]
        return compare_problems(pair_runs(runs), targets=targets)

    return build


def sheet_of(comparison, key):
    (table,) = (table for table in tables_of(comparison) if table.key == key)
    return table


def column(table, start):
    (i,) = (i for i, text in enumerate(table.header) if text.startswith(start))
    return {row[0]: row[i] for row in table.rows}


def printed(table, width, encoding="utf-8"):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(width=width, file=file, color_system=None)
    print_table(console, table)
    file.flush()
    return file.buffer.getvalue().decode(encoding)


def test_never_more_than_and_at_once_are_said(comparison_of):
    curves = {"random": [0.5, 0.6, 0.7], "margin": [0.5, 0.8, 0.9], "bald": [0.5, 0.55, 0.6]}
    comparison = comparison_of({n: [row, row] for n, row in curves.items()}, targets=[0.4, 0.65, 0.8, 0.95])
    table = sheet_of(comparison, "targets")
    assert column(table, "labels to 40")["bald"] == "≤ 10 (≤ 10 to ≤ 10)"
    assert column(table, "labels to 65") == {"margin": "15 (15 to 15)", "random": "25 (25 to 25)", "bald": "never"}
    # margin needs 15 labels for 0.65, random 25; for 0.8 margin needs 20, and random more than all its 30
    assert column(table, "label efficiency at 65") == {"margin": "1.67", "random": "–", "bald": "never"}
    assert column(table, "label efficiency at 80")["margin"] == "> 1.50"
    assert column(table, "label efficiency at 95")["margin"] == "neither reaches it"
    assert table.caption.startswith("Labels: where")


def test_a_target_by_rule_is_explained(comparison_of):
    table = sheet_of(comparison_of({"random": [[0.5, 0.6]], "margin": [[0.5, 0.9]]}), "targets")
    assert table.caption.startswith("60 % is the last mean of random. ")
    alone = sheet_of(comparison_of({"badge": [[0.5, 0.6]], "bald": [[0.5, 0.7]]}), "targets")
    assert alone.caption.startswith("60 % is the lowest last mean of a function. ") and len(alone.header) == 2


def test_findings_name_above_below_and_undecided(comparison_of):
    noise = np.array([0.0, 0.004, -0.004, 0.002, -0.002])
    curves = {"random": 0 * noise, "good": 0.1 + noise, "bad": -0.1 + noise, "same": np.roll(noise, 1)}
    comparison = comparison_of({name: [[0.5, 0.6 + a] for a in values] for name, values in curves.items()})
    assert findings(comparison) == [
        "digits, 5 seeds, 10 to 20 labels, area: good is significantly above random; bad is significantly below "
        "random; same is not significantly different from random (paired t, Holm, 5 %)."
    ]
    same = {name: [[0.5, 0.6 + a] for a in noise] for name in ("random", "a", "b", "c")}
    assert "all 3 others are not significantly different" in findings(comparison_of(same, data="four"))[0]
    assert (
        "a and b are not significantly different"
        in findings(comparison_of({n: same[n] for n in list(same)[:3]}, data="two"))[0]
    )
    assert findings(comparison_of({"random": [[0.5, 0.6]], "b": [[0.5, 0.7]]}, data="one seed")) == []
    (sentence,) = findings(comparison_of({"a": [[0.5, 0.6]] * 2, "b": [[0.5, 0.7]] * 2}))
    assert sentence == "No baseline: 'random' is not in all problems. Choose one with --baseline."


def test_penalty_says_rows_and_columns_in_words(comparison_of):
    comparison = comparison_of({"random": [[0.5, 0.6], [0.5, 0.61]], "margin": [[0.5, 0.7], [0.5, 0.71]]})
    table = sheet_of(comparison, "penalty")
    assert table.rows[:2] == (("1 margin", "–", "1.00"), ("2 random", "0.00", "–"))
    assert table.rows[2] == ("mean of the column", "0.00", "0.50")
    assert "at which the function of the row beats that of the column" in table.caption
    assert table.heat[0][1] == 1 and np.isnan(table.heat[0][0])


def test_many_pairs_are_cut_to_the_baselines_and_it_is_said(comparison_of):
    comparison = comparison_of({name: [[0.5, 0.6], [0.5, 0.6]] for name in ("random", "a", "b", "c")})
    (whole,) = (s for s in tables_of(comparison) if s.key == "pairs")
    (cut,) = (s for s in tables_of(comparison, most_pairs=5) if s.key == "pairs")
    assert len(whole.rows) == 6 and len(cut.rows) == 3
    assert all("random" in row[:2] for row in cut.rows)
    assert cut.caption.endswith("3 of 6 pairs; all are in pairs.csv.")


WIDE = Table(
    "functions",
    "手書き: 5 %",
    ("function", *(f"a number {i}" for i in range(9))),
    (("手書き数字_with_a_rather_long_name", *(["12.34 ± 5.67"] * 9)), ("random", *(["–"] * 9))),
    "Means ± intervals.",
)


@pytest.mark.parametrize("width", [200, 100, 60, 40, 30])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_any_width_and_encoding_shows_all_numbers_whole(width, encoding):
    text = printed(WIDE, width, encoding)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert text.count("12.34 +- 5.67" if encoding == "ascii" else "12.34 ± 5.67") == 9
    assert all(f" {i}" in text for i in range(9)) and "random" in text
    if encoding == "utf-8":
        assert "手書き: 5 %" in text


def test_brackets_are_not_markup():
    table = Table("functions", "[red]x", ("function", "n"), (("sizes=[1]", "1"),), "[bold]c")
    text = printed(table, 60)
    assert "[red]x" in text and "sizes=[1]" in text and "[bold]c" in text


def test_latex_escapes_and_has_a_column_each():
    rows = (("least_confidence", "12 ± 3", "<0.001"), ("a & b # {c} ~ ^ \\ $", "–", "≤ 10"))
    text = latex([Table("functions", "digits_1: 5 %", ("function", "area, %", "p"), rows, "100 % ∞.")])
    lines = text.splitlines()
    assert r"\begin{tabular}{lrr}" in lines and r"\caption{digits\_1: 5 \%. 100 \% \(\infty\).}" in lines
    assert r"least\_confidence & 12 \(\pm\) 3 & \(<\)0.001 \\" in lines
    escaped = r"a \& b \# \{c\} \textasciitilde{} \textasciicircum{} \textbackslash{} \$ & -- & \(\le\) 10 \\"
    assert escaped in lines
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
