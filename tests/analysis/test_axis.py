import numpy as np
import pytest

from dal.analysis import read_run
from dal.analysis.axis import axes_of, axis_of, bought
from dal.analysis.grouping import group_runs
from dal.analysis.pairing import pair_runs
from dal.analysis.summary import summarize_runs
from dal.errors import DalError


def costs_of(clicks, images=None):
    """Further keys of the rounds, from the clicks after each round."""
    images = images or list(range(1, len(clicks) + 1))
    return lambda i: {
        "cost_units": 10 * (i + 1), "cost_images": images[i], "cost_pixels": 640 * (i + 1),
        "cost_clicks": clicks[i], "cost_seconds": 2 * clicks[i],
    }  # fmt: skip


@pytest.fixture
def run(tmp_path, synthetic):
    def make(name, accuracies, clicks=None, images=None, **config):
        extra = None if clicks is None else costs_of(clicks, images)
        return read_run(synthetic.write_paired_run(tmp_path / name, accuracies, extra=extra, **config))

    return make


def test_the_axis_is_the_cost_of_the_campaigns_and_clicks_come_next_to_it(run):
    by_labels, by_pixels = run("a", [0.5], [4.5]), run("b", [0.5], [4.5], campaign__cost="pixels")
    assert axis_of([by_labels]) == "units" and axis_of([by_pixels]) == "pixels"
    assert axes_of([by_labels]) == ["units", "clicks"] and axes_of([by_pixels]) == ["pixels", "clicks"]
    assert axes_of([by_pixels, by_labels]) == ["units", "clicks"]
    assert axes_of([run("c", [0.5], [4.5], campaign__cost="clicks")]) == ["clicks"]
    assert axes_of([by_pixels], "images") == ["images"]
    assert axes_of([run("d", [0.5])]) == ["units"]  # classification records no costs


def test_unknown_axes_are_refused(run):
    one = run("a", [0.5])
    with pytest.raises(DalError, match=r"^x: expected one of clicks, images, pixels, seconds, units, got 'click'"):
        axis_of([one], "click")
    with pytest.raises(DalError, match=r"^x: expected a cost that all runs record, got 'clicks', which .* does not\.$"):
        group_runs([one], axis="clicks")


def test_seeds_are_averaged_round_by_round_at_their_mean_cost(run):
    runs = [run("a", [0.4, 0.6], [4, 10]), run("b", [0.5, 0.7, 0.8], [6, 11, 20], seed=1)]
    (group,) = group_runs(runs, axis="clicks")
    assert group.axis == "clicks" and group.labels.tolist() == [5, 10.5]
    assert group.accuracy.tolist() == [[0.4, 0.6], [0.5, 0.7]]
    assert group.note == "compared up to round 1: seed 1 goes on"


def test_rounds_that_open_no_image_stay_apart(run):
    x = bought(run("a", [0.4, 0.6, 0.7], [4, 5, 6], images=[3, 3, 4]), "images")
    assert (np.diff(x) > 0).all() and x.round(6).tolist() == [3, 3, 4]


def test_areas_on_a_cost_are_compared_over_the_range_that_all_runs_share(run):
    runs = [
        run("a", [0.4, 0.6], [4, 8]),
        run("b", [0.4, 0.8], [4, 12], acquisition="random"),
    ]
    table = summarize_runs(runs, axis="clicks")
    margin = table[table["acquisition"] == "margin"].iloc[0]
    assert margin["labels"] == 8 and margin["axis"] == "clicks"
    assert margin["cost_pixels"] == 1280
    # From 4 to 8 clicks both rise from 0.4 to 0.6.
    assert margin["area"] == pytest.approx(0.5) and margin["area_minus_random"] == pytest.approx(0)
    assert margin["note"] == "difference to random: 1 of 1 seeds, 4 to 8 clicks"


def test_classification_has_no_further_columns(run):
    table = summarize_runs([run("a", [0.4, 0.6])])
    assert not [column for column in table if column.startswith("cost_") or column == "axis"]


def test_functions_are_paired_on_a_cost(run):
    runs = [
        run("a", [0.4, 0.6], [4, 8]),
        run("b", [0.4, 0.8], [4, 12], acquisition="random"),
    ]
    (problem,) = pair_runs(runs, axis="clicks")
    assert problem.axis == "clicks" and problem.labels.tolist() == [4, 8]
    assert [function.accuracy[0].tolist() for function in problem.functions] == [[0.4, pytest.approx(0.6)]] * 2
    assert "the costs of rounds differ between runs" in problem.notes[0]
