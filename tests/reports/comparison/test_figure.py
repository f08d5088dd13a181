import itertools

import pytest

from dal.analysis import read_run
from dal.analysis.pairing import pair_runs
from dal.reports.comparison.figure import comparison_figure


@pytest.fixture
def problems_of(synthetic, tmp_path):
    numbers = itertools.count()

    def build(names, datasets=("digits",), **options):
        paths = [
            synthetic.write_paired_run(
                tmp_path / f"{next(numbers)}", [0.4, 0.5 + i / 100], acquisition=name, data=data, **options
            )
            for data in datasets
            for i, name in enumerate(names)
        ]
        return pair_runs(map(read_run, paths))

    return build


def test_a_panel_a_problem_best_last_accuracy_first_with_its_notes_once(problems_of):
    figure = comparison_figure(problems_of(["random", "margin"], ("digits", "cifar10")))
    first, second = figure.axes
    assert (first.get_title(loc="left"), second.get_title(loc="left")) == ("cifar10, 1 seed", "digits, 1 seed")
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["margin", "random"]
    assert [line.get_ydata().tolist() for line in first.get_lines()] == [[40, 51], [40, 50]]
    notes = figure.get_supxlabel().split("\n")
    assert notes == [f"{name}: one seed: no intervals and no tests." for name in ("cifar10", "digits")]


def test_fifteen_functions_are_told_apart_without_their_markers(problems_of):
    (axes,) = comparison_figure(problems_of(["random", *(f"f{i}" for i in range(14))])).axes
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}) == 15
    assert len({(line.get_color(), line.get_marker()) for line in axes.get_lines()}) == 15


def test_many_panels_are_in_rows_and_long_names_are_folded(problems_of):
    long = "a_function_with " * 6
    figure = comparison_figure(problems_of(["random", long.strip()], [f"data{i}" for i in range(5)]))
    places = {(axes.get_subplotspec().rowspan.start, axes.get_subplotspec().colspan.start) for axes in figure.axes}
    assert places == {(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)}
    folded = figure.axes[0].get_legend().get_texts()[0].get_text().split("\n")
    assert len(folded) == 3 and max(map(len, folded)) <= 45
