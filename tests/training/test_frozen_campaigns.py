"""Campaigns on a frozen backbone: the labels are the same as on images, and the final model trains at their end."""

import json
from dataclasses import replace

import pytest
import torch
from helpers import killed_run, processes

from dal import ActiveLearner, run
from dal.acquisition import BADGE, BALD, Margin, Random
from dal.cli.run import run_campaign
from dal.config.overrides import compose
from dal.errors import DalError
from dal.labeling.oracle import DatasetOracle
from dal.models import Classifier
from dal.models.backbones import SmallCNN
from dal.runs.records import Records
from dal.scoring.candidates import NeighborCandidates
from dal.stopping import CampaignConfig
from dal.training.final_model import read_final_model

CAMPAIGN = CampaignConfig(initial_size=20, query_size=10, budget=50, validation_size=10, stop_set_size=15)


class Counted(SmallCNN):
    images = 0

    def forward(self, x):
        Counted.images += len(x)
        return super().forward(x)


def frozen():
    return Classifier(Counted(1, (8, 8)), 3, lr=3e-3, freeze_backbone=True)


def campaign(data, test_data, quick, acquisition=None, records=None, model=frozen, **options):
    Counted.images = 0
    # On a GPU, tiles are larger than these pools and are filled up, so the number of images says nothing.
    options["trainer"] = {"accelerator": "cpu"}
    learner = ActiveLearner(model, data, acquisition or Margin(), training=quick, seed=3, **options)
    rows = run(learner, DatasetOracle(data), CAMPAIGN, test=test_data, records=records)
    return learner, rows


@pytest.mark.parametrize("acquisition", [Margin(), BALD(num_draws=4), BADGE()], ids=lambda f: f.name)
def test_features_choose_and_learn_what_images_do_for_one_pass_over_them(
    acquisition, data, test_data, quick, monkeypatch
):
    learner, rows = campaign(data, test_data, quick, acquisition)
    passes = Counted.images
    with monkeypatch.context() as patched:
        patched.setattr(ActiveLearner, "seen", lambda self, images, phase="": images)
        plain, expected = campaign(data, test_data, quick, acquisition)
    assert learner.pool.labeled.tolist() == plain.pool.labeled.tolist()
    assert [row["test_accuracy"] for row in rows] == [row["test_accuracy"] for row in expected]
    assert [row["stop_predictions"] for row in rows] == [row["stop_predictions"] for row in expected]
    assert [row["test_loss"] for row in rows] == pytest.approx([row["test_loss"] for row in expected], rel=1e-3)
    assert [row.get("samples_forward_embed", 0) for row in rows] == [90, 0, 0]
    # Test images are read once too, and then the head alone runs on their features.
    assert [row["samples_forward_test"] for row in rows] == [60 + 60, 60, 60]
    assert rows[0]["flops_forward_test"] > 10 * rows[1]["flops_forward_test"] > 0
    # Tiles are filled up, and their size and cost are found on a few images.
    assert 150 <= passes < 320 < 1500 < Counted.images
    assert total_flops(rows) < 0.2 * total_flops(expected)


def total_flops(rows):
    return sum(row.cost().total_flops for row in rows)


@pytest.mark.parametrize("warm_start", ["scratch", "continue", "shrink_perturb"])
def test_a_frozen_backbone_is_that_of_the_first_start(data, test_data, quick, warm_start):
    records = Records()
    learner, rows = campaign(data, test_data, replace(quick, warm_start=warm_start), records=records)
    first = ActiveLearner(frozen, data, Margin(), seed=3).model.module.state_dict()
    last = learner.model.module.state_dict()
    assert len(rows) == 3
    assert all(torch.equal(last[name], first[name]) for name in first if name.startswith("backbone."))
    assert not torch.equal(last["head.weight"], first["head.weight"])


def test_fresh_starts_renew_the_head(data, quick):
    starts = []

    class Seen(Classifier):
        def on_train_start(self):
            starts.append(self.head.weight.detach().clone())

    def model():
        return Seen(Counted(1, (8, 8)), 3, freeze_backbone=True)

    campaign(data, None, quick, model=model)
    assert len({tuple(start.flatten().tolist()) for start in starts}) == 3


def test_neighbors_of_the_first_network_need_no_pass_of_their_own(data, test_data, quick):
    _, rows = campaign(data, test_data, quick, candidates=NeighborCandidates(num_neighbors=5))
    assert [row.get("samples_forward_embed", 0) for row in rows] == [90, 0, 0]
    assert Counted.images < 320


def test_new_images_rank_as_the_pool_does(data, quick):
    learner, _ = campaign(data, None, quick)
    as_features, as_images = learner.rank(), learner.rank(data=replace(data))
    unlabeled = set(learner.pool.unlabeled.tolist())
    assert [i for i in as_images if i in unlabeled] == list(as_features)


def test_ranking_at_random_reads_no_image(data, quick):
    learner, _ = campaign(data, None, quick, Random())
    again = ActiveLearner(frozen, data, Random(), training=quick, seed=3)
    Counted.images = 0
    again.tell(learner.pool.labeled.tolist(), data.labels[learner.pool.labeled].tolist())
    again._fitted_round = 0
    assert sorted(again.rank()) == again.pool.unlabeled.tolist()
    assert Counted.images == 0


SETTINGS = [
    *["campaign.initial_size=20", "campaign.query_size=15", "campaign.budget=60", "campaign.validation_size=10"],
    *["training.min_updates=20", "training.max_updates=40", "training.check_every=20", "data.max_train=400"],
    *["model.freeze_backbone=true", "acquisition=bald", "acquisition.num_draws=5", "campaign.stop_set_size=20"],
]


def what_counts(folder):
    rows = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    times = ("seconds_", "peak_memory_bytes", "joules_")
    counted = [{k: v for k, v in row.items() if not k.startswith(times)} for row in rows]
    return (folder / "selections.csv").read_text(), counted


def test_a_run_killed_at_any_phase_counts_its_features_once_and_ends_the_same(tmp_path):
    def outcome(folder, points):
        done = processes.run([killed_run.__file__, folder, ",".join(points), *SETTINGS])
        assert done.returncode == 0, done.stdout + done.stderr
        return what_counts(folder)

    undisturbed = outcome(tmp_path / "undisturbed", [])
    assert [row.get("samples_forward_embed", 0) for row in undisturbed[1]] == [400, 0, 0]
    points = ["embed:100", "test:1", "score:1", "commit:2"]
    assert outcome(tmp_path / "killed", points) == undisturbed


@pytest.fixture
def config(tmp_path):
    kept = [s for s in SETTINGS if not s.startswith("model.")]
    return compose([*kept, "model.final_backbone=small_cnn", "model.dropout=0.3", f"run_dir={tmp_path / 'run'}"])


def test_the_final_model_is_trained_once_the_campaign_is_done_and_not_again(config, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr("dal.training.final_model.train_final_model", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_campaign(config)
    assert read_final_model(folder) is None
    assert json.loads((folder / "state.json").read_text())["stage"] == "done"
    rounds = (folder / "rounds.jsonl").read_text()
    rows = run_campaign(config)
    assert (folder / "rounds.jsonl").read_text() == rounds
    target = read_final_model(folder)
    assert target["labels_bought"] == rows[-1]["labels_bought"] == 60 and target["num_validation"] == 10
    said = f"The final model small_cnn, trained on 50 labels in {target['updates']} updates: test accuracy"
    output = capsys.readouterr().out
    assert said in output and "is already finished, except for its final model. Its rounds:" in output
    weights = torch.load(folder / "final_model_weights.pt", weights_only=True)
    assert weights["head.weight"].shape == (10, 128)
    with monkeypatch.context() as patched:
        patched.setattr("dal.training.final_model.train_final_model", interrupted)
        run_campaign(config)
    output = capsys.readouterr().out
    assert said in output and "is already finished. Its rounds:" in output
    assert read_final_model(folder) == target


def interrupted(*args, **options):
    raise KeyboardInterrupt


def test_a_final_model_that_cannot_be_had_is_said_before_a_label_is_bought(config, tmp_path):
    config["model"]["final_backbone"] = "torchvision/resnet19"
    with pytest.raises(DalError, match=r"^model.final_backbone: expected one of"):
        run_campaign(config)
    assert not (tmp_path / "run").exists()
