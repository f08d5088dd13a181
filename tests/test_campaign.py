"""What a campaign records beside its metrics, and the rules of the stop set at work."""

import math
from itertools import pairwise

import pytest
import torch

from dal import ActiveLearner, run
from dal.acquisition import Margin
from dal.errors import DalError
from dal.labeling.oracle import DatasetOracle
from dal.runs.folder import RunFolder
from dal.runs.records import Records
from dal.stopping import CampaignConfig
from dal.stopping.stop_set import stop_set
from dal.training import TrainingConfig


def campaign(data, new_model, records=None, stop_after=None, **settings):
    """The learner and rows of a campaign, and the (M, C) logits of all points after each round."""
    training = TrainingConfig(batch_size=16, min_updates=5, max_updates=20, check_every=10)
    learner = ActiveLearner(new_model, data, Margin(), training=training, seed=2)
    seen = []

    def on_round(row):
        if len(seen) < row["round"] + 1:
            seen.append(learner.predict(torch.arange(len(data))))
        if row["round"] + 1 == stop_after:
            raise KeyboardInterrupt

    config = CampaignConfig(**{"initial_size": 6, "query_size": 8, "budget": 30, "stop_set_size": 25} | settings)
    try:
        rows = run(learner, DatasetOracle(data), config, records=records, on_round=on_round)
    except KeyboardInterrupt:
        return None
    finally:
        if isinstance(records, RunFolder):
            records.close()
    return learner, rows, seen


def counted(rows):
    """The rows without times, and without what records in a folder cost."""
    return [
        {k: v for k, v in r.items() if not k.startswith(("seconds", "peak", "joules")) and not k.endswith("_diagnose")}
        for r in rows
    ]


def test_the_same_points_are_followed_in_every_round(data, new_model):
    learner, rows, seen = campaign(data, new_model, validation_size=10)
    followed = stop_set(learner.pool, 25, seed=2)
    assert len(set(followed.tolist())) == 25 and not set(followed.tolist()) & set(learner.validation[0].tolist())
    assert set(followed.tolist()) & set(learner.pool.labeled.tolist()), "bought or not, they stay"
    for row, logits in zip(rows, seen, strict=True):
        probs = logits[followed].double().softmax(dim=1)
        entropies = [-sum(p * math.log(p) for p in point if p > 0) for point in probs.tolist()]
        assert row["stop_predictions"] == probs.argmax(dim=1).tolist()
        assert row["stop_uncertainty"] == pytest.approx(sum(entropies) / 25 / math.log(3), rel=1e-6)
        assert row["samples_forward_stop"] == 25
        assert row["devices"] == 1 and row["warm_start"] == "scratch" and row["seconds_checkpoint"] > 0


def test_no_stop_set_no_predictions(data, new_model):
    _, rows, _ = campaign(data, new_model, stop_set_size=0)
    assert not any("stop_predictions" in row or "stop_uncertainty" in row for row in rows)
    assert [row["samples_forward_stop"] for row in rows] == [0] * len(rows)


def test_a_campaign_that_is_cut_off_keeps_stop_set_and_sizes(tmp_path, data, new_model):
    settings = {"budget": 60, "growth": 1.5, "validation_size": 10}
    undisturbed = counted(campaign(data, new_model, **settings)[1])

    class Cut(RunFolder):
        def keep_weights(self, weights):
            raise KeyboardInterrupt

    for rounds in (1, 2, 3):
        records = RunFolder(tmp_path, {}, data.fingerprint())
        assert campaign(data, new_model, records, stop_after=rounds, **settings) is None
        assert campaign(data, new_model, Cut(tmp_path, {}, data.fingerprint()), **settings) is None
        records = RunFolder(tmp_path, {}, data.fingerprint())
        assert records.stage == "train"
        records.close()
    _, rows, _ = campaign(data, new_model, RunFolder(tmp_path, {}, data.fingerprint()), **settings)
    assert counted(rows) == undisturbed


def test_rules_of_the_stop_set_end_a_campaign_at_the_first_round_that_they_hold(data, new_model):
    settings = {"budget": 80, "initial_size": 20}
    _, rows, _ = campaign(data, new_model, **settings)
    assert rows[-1]["campaign_stopped"] == "budget" and len(rows) > 4
    changes = [
        sum(a != b for a, b in zip(before["stop_predictions"], row["stop_predictions"], strict=True)) / 25
        for before, row in pairwise(rows)
    ]
    bound = sorted(changes)[1]
    expected = next(i for i, change in enumerate(changes, 1) if change <= bound)
    _, ended, _ = campaign(data, new_model, max_change=bound, **settings)
    assert ended[-1]["campaign_stopped"] == "classification_change" and len(ended) == expected + 1
    doubts = [row["stop_uncertainty"] for row in rows]
    bound = sorted(doubts)[2]
    _, ended, _ = campaign(data, new_model, max_uncertainty=bound, **settings)
    assert ended[-1]["campaign_stopped"] == "certain"
    assert len(ended) == next(i for i, doubt in enumerate(doubts, 1) if doubt <= bound)
    _, ended, _ = campaign(data, new_model, kappa=1e-6, kappa_rounds=3, **settings)
    assert ended[-1]["campaign_stopped"] == "stable_predictions" and 3 <= len(ended) < len(rows)
    records = Records()
    campaign(data, new_model, records, max_uncertainty=1.0, **settings)
    assert records.stage == "done" and len(records.rows) == 1


def test_validation_accuracy_is_there_though_training_watches_nothing(data, test_data, new_model):
    training = TrainingConfig(batch_size=16, min_updates=1, max_updates=5, monitor="none")
    learner = ActiveLearner(new_model, data, Margin(), training=training)
    config = CampaignConfig(
        initial_size=10, query_size=10, budget=40, validation_size=10, target=0.01, target_metric="val_accuracy"
    )
    rows = run(learner, DatasetOracle(data), config, test=test_data)
    assert rows[-1]["campaign_stopped"] == "target"
    indices, labels = learner.validation
    right = (learner.predict(indices).argmax(dim=1) == labels).double().mean()
    assert rows[-1]["val_accuracy"] == float(right)


def test_a_monitor_without_validation_points_is_refused_before_a_label_is_bought(data, new_model):
    learner = ActiveLearner(new_model, data, Margin(), training=TrainingConfig(monitor="val_loss"))
    with pytest.raises(DalError, match=r"training.monitor: expected train_accuracy or auto"):
        run(learner, DatasetOracle(data), CampaignConfig(initial_size=10, query_size=10, budget=40))
    assert learner.labels_bought == 0


@pytest.mark.parametrize("settings", [{"initial_size": 500, "budget": 900}, {"target": 0.9}, {"cost_optimum": True}])
def test_records_are_opened_once_the_settings_are_checked(settings, data, new_model):
    opened = []

    def records():
        opened.append(Records())
        return opened[-1]

    with pytest.raises(DalError):
        campaign(data, new_model, records, **settings)
    assert opened == []
    _, rows, _ = campaign(data, new_model, records, max_rounds=1)
    assert [one.rows for one in opened] == [rows]
