"""A folder with few images gets smaller sizes than the defaults, which a person can still choose."""

import pytest
from helpers.label_command import make_photos

from dal.cli.label_start import open_run
from dal.cli.small_folder import small_sizes
from dal.labeling.people.start import read_start
from dal.stopping import CampaignConfig
from dal.stopping.sizes import check_sizes

DEFAULT = {"initial_size": 20, "query_size": 20, "budget": 1000, "test_size": 0, "validation_size": 0}


def sizes(count, classes=2, overlap=1, **given):
    return small_sizes(count, DEFAULT | given, given, classes, overlap)


@pytest.mark.parametrize("classes", [2, 3, 12])
@pytest.mark.parametrize("given", [{}, {"test_size": 5}, {"initial_size": 6}, {"query_size": 1}, {"budget": 8}])
def test_every_small_folder_gets_sizes_that_fit_it(classes, given):
    for count in range(8, 121):
        found = sizes(count, classes, **given)
        check_sizes(CampaignConfig(**DEFAULT | given | found), count)
        assert not set(found) & set(given)
        assert all(size < DEFAULT[name] for name, size in found.items()), "never more than the default"


@pytest.mark.parametrize(
    ("count", "classes", "expected"),
    [
        (1, 2, {"initial_size": 1, "query_size": 1, "budget": 1}),
        (8, 3, {"initial_size": 3, "query_size": 2, "budget": 8}),
        (20, 2, {"initial_size": 5, "query_size": 5, "budget": 20}),
        (39, 3, {"initial_size": 9, "query_size": 9, "budget": 39}),
        (80, 2, {"budget": 80}),
        (1000, 2, {}),
    ],
)
def test_a_quarter_comes_first_and_the_budget_is_the_folder(count, classes, expected):
    assert sizes(count, classes) == expected


def test_the_budget_counts_each_answer_of_an_overlap():
    assert sizes(20, overlap=2)["budget"] == 40


def test_a_size_that_is_no_number_is_left_to_the_trainer():
    assert sizes(20, budget="many") == {}


def test_the_sizes_stay_those_of_the_start_and_those_of_a_person_come_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos = make_photos(tmp_path / "photos", 8)
    run = open_run(["photos"], "cat,dog")
    assert read_start(run.path)["sizes"] == ["campaign.initial_size=2", "campaign.query_size=2", "campaign.budget=8"]
    assert len(run.asked()) == 4, "the initial set and the first query"
    run.answers.record({"kind": "label", "index": 0, "id": run.ids[0], "label": "cat"})
    (photos / "more.png").write_bytes((photos / "00-cat.png").read_bytes())
    assert open_run(["photos"], "cat,dog").setting("campaign.budget") == 8
    run = open_run(["photos", "campaign.initial_size=4"], "cat,dog")
    assert read_start(run.path)["sizes"] == ["campaign.query_size=2", "campaign.budget=8"]
    assert run.setting("campaign.initial_size") == 4
