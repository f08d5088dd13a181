"""A row of the journal is a dict for users, and has typed properties for readers."""

import json

import pandas as pd

from dal.runs.round import Round

ROW = Round(
    {
        "round": 1,
        "test_accuracy": 0.5,
        "num_validation": 7,
        "updates": 9,
        "samples_forward_test": 100,
        "flops_forward_train": 1,
        "flops_backward_train": 20,
        "flops_forward_test": 300,
        "flops_forward_score": 4000,
        "flops_draws_score": 3999,  # a part of the one above
        "flops_select": 50000,
        "seconds_train": 1.0,
        "seconds_test": 0.5,
        "joules_train": 10.0,
        "joules_test": 2.0,
    }
)


def test_a_row_is_the_dict_that_the_journal_holds():
    assert ROW["test_accuracy"] == 0.5 and ROW.get("val_accuracy") is None
    assert json.loads(json.dumps(ROW)) == ROW and next(iter(ROW)) == "round"
    assert pd.DataFrame([ROW])["updates"].tolist() == [9]


def test_the_draws_are_counted_once_and_testing_can_be_left_out():
    assert ROW.cost().total_flops == 54321
    assert (ROW.method.total_flops, ROW.method.seconds, ROW.method.joules) == (54021, 1.0, 10.0)


def test_the_phases_of_a_row_add_up_to_it():
    assert set(ROW.costs) == {"test", "train", "score", "select"}
    assert [ROW.cost([phase]).total_flops for phase in ("test", "train", "score", "select")] == [300, 21, 4000, 50000]
    assert sum(costs.seconds for costs in ROW.costs.values()) == ROW.cost().seconds == 1.5
    assert ROW.cost(["test", "train"]).samples_forward == 100


def test_metrics_are_named_without_their_split():
    row = Round(test_accuracy=0.5, test_mean_average_precision=0.25, train_loss=1.0, training_stopped="max_updates")
    assert row.metrics("test") == {"accuracy": 0.5, "mean_average_precision": 0.25}
    assert row.metrics("train") == {"loss": 1.0} and row.metrics("val") == {}


def test_old_rows_lack_keys():
    old = Round({"labels_bought": 30, "seconds_train": 1.0, "samples_forward_train": 3})
    assert ROW.counts_flops and not old.counts_flops
    assert (old.num_labeled, old.num_validation, old.devices, old.campaign_stopped) == (30, 0, 1, None)
    assert old.cost().joules is None and Round(old, num_validation=10).num_labeled == 20
