"""`dal report` and `dal compare` on costs."""

import io

import pandas as pd
import pytest
from rich.console import Console

from dal.errors import DalError
from dal.reports.comparison import compare
from dal.reports.overview import bills_figure, learning_curve_figure, read_runs, report


def costs(scale):
    return lambda i: {
        "cost_units": 10 * (i + 1), "cost_images": i + 1, "cost_pixels": 640 * (i + 1),
        "cost_clicks": scale * (i + 1), "cost_seconds": 2 * scale * (i + 1),
    }  # fmt: skip


@pytest.fixture
def runs(synthetic, tmp_path):
    for seed in range(2):
        synthetic.write_paired_run(tmp_path / f"m{seed}", [0.5, 0.6, 0.8], extra=costs(20 + seed), seed=seed)
        synthetic.write_paired_run(
            tmp_path / f"r{seed}", [0.5, 0.6, 0.7], extra=costs(15 + seed), seed=seed, acquisition="random"
        )
    return tmp_path


def printed(command, runs, output, **options):
    console = Console(width=140, record=True, file=io.StringIO())
    files = command([runs], output, console, **options)
    return console.export_text(), files


def test_a_report_shows_the_bought_unit_and_clicks(runs, tmp_path):
    text, _ = printed(report, runs, tmp_path / "out")
    assert "labels" in text and "clicks" in text
    line = next(words for words in map(str.split, text.splitlines()) if words[:1] == ["margin"])
    assert line[1:4] == ["2", "30", "62"]
    figure = bills_figure(read_runs([runs], Console(quiet=True)))
    assert [axes.get_xlabel() for axes in figure.axes][:2] == ["Labels bought", "Clicks"]


def test_a_report_has_any_cost_as_its_axis(runs, tmp_path):
    text, _ = printed(report, runs, tmp_path / "out", x="pixels", target=0.5)
    line = next(words for words in map(str.split, text.splitlines()) if words[:1] == ["margin"])
    assert line[1:4] == ["2", "1,920", "62"]
    reached = next(line for line in text.splitlines() if line.startswith("digits, margin: 50 % was reached"))
    assert reached.partition(" with ")[2].split()[:2] == ["640", "pixels"], reached
    table = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert set(table["axis"]) == {"pixels"} and set(table["labels"]) == {1920}
    figure = learning_curve_figure(read_runs([runs], Console(quiet=True)), "pixels")
    assert figure.axes[0].get_xlabel() == "Pixels bought"


def test_a_comparison_shows_the_bought_unit_and_clicks(runs, tmp_path):
    text, files = printed(compare, runs, tmp_path / "out")
    assert "digits: labels to reach a target" in text and "digits: clicks to reach a target" in text
    words = " ".join(text.split())
    assert "2 seeds, 10 to 30 labels." in words and "2 seeds, 21 to 45 clicks." in words
    assert len(files) == len(set(files)) and {f.parent.name for f in files} == {"out", "clicks"}
    table = pd.read_csv(tmp_path / "out" / "clicks" / "functions.csv")
    assert {"first_clicks", "last_clicks"} <= set(table) and "last_labels" not in table


def test_a_comparison_has_any_cost_as_its_axis(runs, tmp_path):
    text, files = printed(compare, runs, tmp_path / "out", x="seconds")
    assert "digits: seconds of labeling to reach a target" in text
    assert "digits: labels to reach" not in text and "clicks" not in text
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "Seconds of labeling" in page and "Labels bought" not in page
    assert {f.parent.name for f in files} == {"out"}


@pytest.mark.parametrize("command", [report, compare])
def test_an_axis_that_runs_do_not_record_is_refused(command, synthetic, tmp_path):
    for name in ("margin", "random"):
        synthetic.write_run(tmp_path / name, [0.5, 0.6], acquisition=name)
    with pytest.raises(DalError, match=r"^x: expected a cost that all runs record, got 'clicks', which '.*' does not"):
        command([tmp_path], tmp_path / "out", Console(quiet=True), x="clicks")
    assert not (tmp_path / "out").exists()


def write_unit_run(synthetic, path, name, unit, seed, initial=None):
    is_region = unit == "region"
    scale = {"entropy": 6, "random": 7}[name] if is_region else 10
    synthetic.write_paired_run(
        path,
        [0.3, 0.5 + seed / 100, 0.7, 0.8] if is_region else [0.4, 0.6 + seed / 100],
        initial=initial or ((f"1#r0-c{seed}",) if is_region else (f"{seed}",)),
        extra=costs(scale + seed),
        seed=seed,
        acquisition=name,
        campaign__unit=unit,
        campaign__initial_size=40 if is_region else 4,
        data__region_size=8,
    )


@pytest.fixture
def regions_and_images(synthetic, tmp_path):
    """Runs of entropy and random that buy regions, and of random that buys images."""
    for seed in range(3):
        for name, unit in (("entropy", "region"), ("random", "region"), ("random", "image")):
            write_unit_run(synthetic, tmp_path / f"{name}-{unit}-{seed}", name, unit, seed)
    return tmp_path


def test_regions_and_images_are_compared_at_clicks_and_paired_by_seed(regions_and_images, tmp_path):
    text, files = printed(compare, regions_and_images, tmp_path / "out", vary=["campaign.unit"])
    words = " ".join(text.split())
    assert "clicks to reach a target" in words and "labels to reach" not in words
    assert "runs buy images and regions of 8 pixels: initial sets differ too, and runs are paired by their" in words
    assert {f.parent.name for f in files} == {"out"}
    table = pd.read_csv(tmp_path / "out" / "functions.csv").set_index("function")
    assert set(table.index) == {"entropy, unit=region", "random, unit=region", "random, unit=image"}
    # The last run of images begins at 12 clicks, and the first one ends at 20.
    assert set(table["first_clicks"]) == {12} and set(table["last_clicks"]) == {20}


def test_regions_and_images_are_not_compared_by_their_number(regions_and_images, tmp_path):
    expected = r"^x: expected a cost such as clicks, because runs on digits buy images and regions of 8 pixels, got 'un"
    with pytest.raises(DalError, match=expected):
        compare([regions_and_images], tmp_path / "out", Console(quiet=True), vary=["campaign.unit"], x="units")
    with pytest.raises(DalError, match=r"got others in campaign\.unit \(region, image\), .*--vary KEY"):
        compare([regions_and_images], tmp_path / "out", Console(quiet=True))


def test_initial_sets_of_the_same_unit_are_still_compared(regions_and_images, synthetic, tmp_path):
    write_unit_run(synthetic, tmp_path / "margin", "entropy", "region", 3, initial=("1#r0-c9",))
    for name, unit in (("random", "region"), ("random", "image")):
        write_unit_run(synthetic, tmp_path / f"{name}-{unit}-3", name, unit, 3)
    with pytest.raises(DalError, match=r"expected the same initial set in every function with seed 3 on digits"):
        compare([regions_and_images], tmp_path / "out", Console(quiet=True), vary=["campaign.unit"])


def test_a_report_of_regions_and_images_has_clicks_as_its_axis(regions_and_images, tmp_path):
    printed(report, regions_and_images, tmp_path / "out")
    assert set(pd.read_csv(tmp_path / "out" / "summary.csv")["axis"]) == {"clicks"}
