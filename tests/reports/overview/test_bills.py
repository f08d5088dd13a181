import itertools

import numpy as np
import pytest
import scipy.stats

from dal.analysis import read_run
from dal.costs.prices import PricesConfig
from dal.reports.overview import bills_figure, plot_bills


@pytest.fixture
def make(synthetic, tmp_path):
    numbers = itertools.count()
    return lambda accuracies, **options: read_run(
        synthetic.write_run(tmp_path / f"{next(numbers)}", accuracies, **options)
    )


def panels_of(figure):
    return {axes.get_xlabel(): axes for axes in figure.axes}


def test_a_point_is_the_mean_run_at_its_round(make, synthetic):
    values = np.array([[0.3, 0.5, 0.6], [0.4, 0.6, 0.7]])
    runs = [
        make(v.tolist(), seed=s, extra=lambda i, s=s: synthetic.flops_of(i, 1 + 2 * s)) for s, v in enumerate(values)
    ]
    panels = panels_of(bills_figure(runs, PricesConfig(label=0.5, gpu_hour=3600.0, currency="EUR")))
    assert list(panels) == ["Labels bought", "FLOPs", "Seconds", "Labels and compute (EUR)"]
    totals = np.cumsum([3 * 100 * (i + 1) + 10 + 5 + 1003 * i + 7 for i in range(3)])  # without the 40 of testing
    seconds = np.cumsum([1.75, 2.75, 3.75])
    money = np.array([5, 10, 15]) + seconds
    for axes, x in zip(panels.values(), ([10, 20, 30], 2 * totals, seconds, money), strict=True):
        (line,) = axes.get_lines()
        np.testing.assert_allclose(line.get_xdata(), x)
        np.testing.assert_allclose(line.get_ydata(), 100 * values.mean(0))
        (band,) = axes.collections
        heights = band.get_paths()[0].vertices
        top = 100 * (values[:, 0].mean() + scipy.stats.t.ppf(0.975, 1) * scipy.stats.sem(values[:, 0]))
        assert heights[np.isclose(heights[:, 0], x[0]), 1].max() == pytest.approx(top)
        assert axes.get_ylim() == panels["Labels bought"].get_ylim()


def test_what_is_not_known_has_no_panel(make):
    assert list(panels_of(bills_figure([make([0.3, 0.5])]))) == ["Labels bought", "Seconds"]


def test_a_group_that_counts_no_flops_is_left_out_there_only(make, synthetic):
    runs = [make([0.3, 0.5], acquisition="badge", extra=synthetic.flops_of), make([0.2, 0.9])]
    runs.append(make([0.1, 0.2], data="cifar10"))
    figure = bills_figure(runs)
    names = [[line.get_label() for line in axes.get_lines()] for axes in figure.axes]
    assert names == [["margin"], [], ["margin"], ["margin", "badge"], ["badge"], ["margin", "badge"]]
    assert [text.get_text() for text in figure.axes[1].texts] == ["not counted"]
    assert figure.axes[3].get_ylim() == figure.axes[4].get_ylim() != figure.axes[0].get_ylim()
    assert figure.axes[4].get_ylim()[1] > 90
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["margin", "badge"]


@pytest.mark.parametrize(("last", "scale"), [(9, "linear"), (1000, "log")])
def test_an_axis_is_logarithmic_where_the_span_is_large(make, last, scale):
    run = make([0.3, 0.5], extra=lambda i: {"flops_forward_train": 10**12 * (last if i else 1)})
    panels = panels_of(bills_figure([run]))
    assert panels["FLOPs"].get_xscale() == scale
    assert {panels[name].get_xscale() for name in ("Labels bought", "Seconds")} == {"linear"}
    ticks = [text.get_text() for text in panels["FLOPs"].get_xticklabels()]
    assert ("1 T" in ticks or "2 T" in ticks) and not any("e+" in tick for tick in ticks)


def test_a_cut_group_says_so_and_a_single_round_is_drawn(make, synthetic, tmp_path):
    runs = [make([0.3, 0.5], seed=0, extra=synthetic.flops_of), make([0.3], seed=1, stopped=None)]
    assert bills_figure(runs).get_supxlabel().startswith("digits, margin: compared up to 10 of 20 labels")
    plot_bills([make([0.3], extra=synthetic.flops_of)], tmp_path / "bills.svg")
    assert (tmp_path / "bills.svg").read_text().startswith("<?xml")
