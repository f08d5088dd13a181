import itertools

import numpy as np
import pytest
import scipy.stats
from PIL import Image

from dal.analysis import read_run
from dal.errors import DalError
from dal.reports.overview import learning_curve_figure, plot_learning_curves


@pytest.fixture
def make(synthetic, tmp_path):
    numbers = itertools.count()
    return lambda accuracies, **options: read_run(
        synthetic.write_run(tmp_path / f"{next(numbers)}", accuracies, **options)
    )


def lines_of(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_lines_and_band_are_the_numbers_of_the_runs(make):
    values = np.array([[0.3, 0.5, 0.6], [0.4, 0.6, 0.65], [0.35, 0.52, 0.7]])
    runs = [make(v.tolist(), seed=s, labels=[10, 20, 50]) for s, v in enumerate(values)]
    (axes,) = learning_curve_figure(runs).axes
    (line,) = axes.get_lines()
    assert line.get_xdata().tolist() == [10, 20, 50]
    np.testing.assert_allclose(line.get_ydata(), 100 * values.mean(0))
    (band,) = axes.collections
    low, high = scipy.stats.t.interval(0.95, 2, loc=values.mean(0), scale=scipy.stats.sem(values))
    drawn = band.get_paths()[0].vertices
    for x, bottom, top in zip((10, 20, 50), low, high, strict=True):
        heights = drawn[drawn[:, 0] == x, 1]
        assert (heights.min(), heights.max()) == pytest.approx((100 * bottom, 100 * top))


def test_one_seed_has_no_band_and_says_so(make):
    (axes,) = learning_curve_figure([make([0.3, 0.5])]).axes
    assert not axes.collections
    assert axes.get_title(loc="left") == "digits, 1 seed"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Labels bought", "Test accuracy (%)")


def test_a_panel_for_each_data_set_and_the_same_style_in_each(make):
    runs = [
        make([0.3, end], data=data, acquisition=name, seed=seed)
        for data, ends in (("digits", (0.9, 0.8)), ("cifar10", (0.5, 0.6)))
        for name, end in zip(("badge", "margin"), ends, strict=True)
        for seed in range(2 if data == "digits" else 1)
    ]
    first, second = learning_curve_figure(runs).axes
    assert first.get_title(loc="left") == "cifar10, 1 seed"
    assert second.get_title(loc="left") == "digits, 2 seeds, band: 95 % interval of the mean"
    for name in ("badge", "margin"):
        left, right = lines_of(first)[name], lines_of(second)[name]
        assert (left.get_color(), left.get_marker()) == (right.get_color(), right.get_marker())
    assert lines_of(first)["badge"].get_color() != lines_of(first)["margin"].get_color()
    assert lines_of(first)["badge"].get_ydata()[-1] == 50.0
    assert lines_of(second)["badge"].get_ydata()[-1] == 90.0


def test_legend_is_sorted_by_final_accuracy_and_random_is_grey_and_dashed(make):
    ends = {"margin": 0.7, "random": 0.6, "badge": 0.9, "bald": 0.5}
    (axes,) = learning_curve_figure([make([0.3, end], acquisition=name) for name, end in ends.items()]).axes
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["badge", "margin", "random", "bald"]
    assert not legend.get_frame_on()
    lines = lines_of(axes)
    assert (lines["random"].get_color(), lines["random"].get_linestyle()) == ("#7F7F7F", "--")
    assert {line.get_linestyle() for name, line in lines.items() if name != "random"} == {"-"}
    assert len({line.get_color() for line in lines.values()}) == 4


def test_two_query_sizes_are_two_lines(make):
    runs = [make([0.3, 0.5], campaign__query_size=10, seed=0), make([0.4, 0.9], campaign__query_size=20, seed=1)]
    (axes,) = learning_curve_figure(runs).axes
    drawn = {name: line.get_ydata().tolist() for name, line in lines_of(axes).items()}
    assert drawn == {"margin, query_size=10": [30.0, 50.0], "margin, query_size=20": [40.0, 90.0]}


def test_no_two_of_many_groups_look_the_same(make):
    runs = [
        make([0.3, 0.5], acquisition=name, campaign__query_size=q)
        for name in ("random", "a", "b", "c")
        for q in (1, 2, 3)
    ]
    (axes,) = learning_curve_figure(runs).axes
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in axes.get_lines()}
    assert len(axes.get_lines()) == len(looks) == 12


def test_a_cut_group_says_so_in_the_picture(make):
    figure = learning_curve_figure([make([0.3, 0.5], seed=0), make([0.3], seed=1, stopped=None)])
    assert figure.get_supxlabel().startswith("digits, margin: compared up to 10 of 20 labels")
    assert learning_curve_figure([make([0.3, 0.5], seed=2)]).get_supxlabel() == ""


def test_all_means_are_inside_the_picture_and_wide_bands_do_not_flatten_them(make):
    runs = [make([0.80, 0.85 + 0.02 * s], seed=s) for s in range(2)]
    (axes,) = learning_curve_figure(runs).axes
    bottom, top = axes.get_ylim()
    assert bottom < 80 < 86 < top
    assert top - bottom <= 1.5 * 7 + 1e-6


def test_png_has_200_dots_an_inch_and_the_line_in_its_color(make, tmp_path):
    path = tmp_path / "curve.png"
    plot_learning_curves([make([0.3, 0.5, 0.9])], path)
    with Image.open(path) as image:
        image.load()
        pixels = np.asarray(image.convert("RGB"))
        assert image.size == (1280, 880)
    blue = (pixels == (0x00, 0x72, 0xB2)).all(axis=-1)
    columns = np.flatnonzero(blue.any(axis=0))
    assert columns[-1] - columns[0] > 900  # from the left of the panel to its right
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["curve.png"]


def test_svg_by_suffix_and_another_suffix_is_refused(make, tmp_path):
    run = make([0.3, 0.5])
    plot_learning_curves([run], tmp_path / "curve.svg")
    text = (tmp_path / "curve.svg").read_text()
    assert text.startswith("<?xml")
    assert "#0072b2" in text.lower()
    with pytest.raises(DalError, match=r"^path: expected a file name that ends with \.png or \.svg, got '.*\.jpeg'\.$"):
        plot_learning_curves([run], tmp_path / "curve.jpeg")


def test_the_figures_of_a_user_are_left_alone(make, tmp_path):
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    before, backend = dict(mpl.rcParams), mpl.get_backend()
    plot_learning_curves([make([0.3, 0.5])], tmp_path / "curve.png")
    assert plt.get_fignums() == []
    assert (dict(mpl.rcParams), mpl.get_backend()) == (before, backend)
