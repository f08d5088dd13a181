"""The final model trains once, as a first round would, on what the campaign bought."""

import json

import pytest
import torch
from helpers.passes import predict
from helpers.training import fit, setup_of

from dal.errors import DalError
from dal.models.adapt import as_adapted
from dal.models.backbones import SmallCNN, TorchvisionBackbone
from dal.models.classifier import Classifier
from dal.models.config import ModelConfig
from dal.runs.final_model import read_final_model
from dal.runs.layout import FINAL_MODEL, FINAL_MODEL_WEIGHTS
from dal.runs.round import Round
from dal.tasks import CLASSIFICATION
from dal.training import TrainingConfig
from dal.training.final_model import (
    final_model_sentence,
    finish_final_model,
    new_final_model,
    train_final_model,
)

CPU = {"accelerator": "cpu"}
# The proxy would be a ResNet; the final model is the quicker one here.
CONFIG = ModelConfig("resnet18_cifar", lr=3e-3, final_backbone="small_cnn")


@pytest.fixture
def points(data):
    """40 training and 10 validation points with the labels that were told, some of them wrong."""
    told = (data.labels + (torch.arange(90) % 20 == 0)) % 3
    return (torch.arange(40), told[:40]), (torch.arange(40, 50), told[40:50])


def states_equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_a_new_final_model_is_the_network_of_its_name_and_of_the_seed(data):
    def made(seed, config=CONFIG):
        return new_final_model(config, data, seed)

    assert isinstance(made(0).backbone, SmallCNN) and made(0).head.out_features == 3
    assert states_equal(made(0).state_dict(), made(0).state_dict())
    assert not states_equal(made(0).state_dict(), made(1).state_dict())
    other = made(0, ModelConfig(freeze_backbone=True, weights="any.pt", final_backbone="torchvision/resnet18"))
    assert isinstance(other.backbone, TorchvisionBackbone)
    assert all(p.requires_grad for p in other.parameters())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ModelConfig(), r"model.final_backbone: expected the name of a backbone, got None\."),
        (
            ModelConfig(final_backbone="smal_cnn"),
            "model.final_backbone: expected one of .*did you mean small_cnn",
        ),
        (
            ModelConfig(final_backbone="torchvision/resnet18", final_weights="no/such.pt"),
            "model.final_weights: .*no/such.pt",
        ),
    ],
)
def test_a_final_model_that_cannot_be_had_is_one_sentence(config, message, data):
    with pytest.raises(DalError, match=f"^{message}"):
        new_final_model(config, data)


def test_training_it_is_a_round_of_fit(data, test_data, points, quick):
    labeled, validation = points
    ours, theirs = new_final_model(CONFIG, data), new_final_model(CONFIG, data)
    untrained = {k: v.clone() for k, v in ours.state_dict().items()}
    setup = setup_of(as_adapted(ours), config=quick, trainer_options=CPU, seed=7)
    row = train_final_model(setup, data, labeled, validation, test=test_data)
    first = fit(as_adapted(theirs), data, labeled, validation, config=quick, trainer_options=CPU, seed=1)
    assert not states_equal(ours.state_dict(), untrained)
    assert not states_equal(ours.state_dict(), theirs.state_dict()), "its shuffles are its own"
    assert (row["updates"], row["training_stopped"]) == (20, "max_updates") == (first.updates, first.stopped_because)
    assert [check["update"] for check in row["training_history"]] == [10, 20]
    logits = predict(as_adapted(ours), test_data, torch.arange(60))
    expected = CLASSIFICATION.metrics(logits, test_data.labels).row("test")
    assert {k: row[k] for k in expected} == expected and row["test_accuracy"] > 0.5
    best = next(check for check in row["training_history"] if check["update"] == row["best_update"])
    assert (row["val_loss"], row["val_accuracy"]) == (best["loss"], best["accuracy"])
    watched = CLASSIFICATION.metrics(predict(as_adapted(ours), data, validation[0]), validation[1])
    assert row["val_loss"] == pytest.approx(watched.loss), "the best weights are those that are kept"
    assert (row["num_labeled"], row["num_validation"], row["labels_bought"]) == (40, 10, 50)
    counts = {k: row[f"samples_forward_{k}"] for k in ("train", "validate", "test", "score")}
    assert counts == {"train": 20 * 16, "validate": 2 * 10, "test": 60, "score": 0}
    assert row["samples_backward_train"] == 320 and row["seconds_train"] > 0
    assert row["devices"] == 1


def test_without_validation_and_test_points(data, points, quick):
    setup = setup_of(as_adapted(new_final_model(CONFIG, data)), config=quick, trainer_options=CPU)
    row = train_final_model(setup, data, points[0])
    assert (row["num_validation"], row["labels_bought"], row["samples_forward_test"]) == (0, 40, 0)
    assert "train_accuracy" in row and not any(key.startswith("test_") for key in row)


def test_it_learns_from_the_points_it_is_given_and_from_their_told_labels(data, points):
    read = set()

    class Watched(Classifier):
        def training_step(self, batch, batch_idx):
            read.update((image.numpy().tobytes(), int(label)) for image, label in zip(*batch, strict=True))
            return super().training_step(batch, batch_idx)

    once = TrainingConfig(batch_size=40, min_updates=1, max_updates=1)
    model = as_adapted(Watched(SmallCNN(1, (8, 8)), 3))
    train_final_model(setup_of(model, config=once, trainer_options=CPU), data, *points)
    images, labels = data.plain(range(40)), points[0][1]
    assert read == {(image.numpy().tobytes(), int(label)) for image, label in zip(images, labels, strict=True)}
    assert not torch.equal(labels, data.labels[:40])


def finished(folder, data, points, test_data, quick, config=CONFIG, **options):
    proxy = as_adapted(Classifier(SmallCNN(1, (8, 8)), 3))
    setup = setup_of(proxy, config=quick, trainer_options=CPU, seed=5, **options)
    return finish_final_model(folder, config, setup, data, *points, test=test_data)


def counted(row):
    return {k: v for k, v in row.items() if not k.startswith(("seconds_", "peak_memory", "joules_"))}


def test_the_row_and_the_weights_are_in_the_run_folder(tmp_path, data, points, test_data, quick):
    assert read_final_model(tmp_path) is None
    row = finished(tmp_path, data, points, test_data, quick)
    assert json.loads((tmp_path / FINAL_MODEL).read_text()) == row == read_final_model(tmp_path)
    assert (row["backbone"], row["weights"]) == ("small_cnn", None)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([FINAL_MODEL, FINAL_MODEL_WEIGHTS])
    model = new_final_model(CONFIG, data, seed=99)
    model.load_state_dict(torch.load(tmp_path / FINAL_MODEL_WEIGHTS, weights_only=True))
    logits = predict(as_adapted(model), test_data, torch.arange(60))
    assert CLASSIFICATION.metrics(logits, test_data.labels).accuracy == row["test_accuracy"]


def test_a_finished_final_model_is_not_trained_again(tmp_path, data, points, test_data, quick):
    row = finished(tmp_path, data, points, test_data, quick)
    trained = []
    again = finished(tmp_path, data, points, test_data, quick, on_progress=lambda *progress: trained.append(progress))
    assert again == row and not trained


@pytest.mark.parametrize("moment", ["training", "weights written"])
def test_one_that_was_killed_is_trained_again_to_the_same_end(
    tmp_path, data, points, test_data, quick, moment, monkeypatch
):
    class Killed(BaseException):
        pass

    def die(*args):
        raise Killed

    expected = finished(tmp_path, data, points, test_data, quick)
    expected_weights = (tmp_path / FINAL_MODEL_WEIGHTS).read_bytes()
    folder = tmp_path / "killed"
    folder.mkdir()
    with monkeypatch.context() as patched, pytest.raises(Killed):
        if moment == "training":
            finished(folder, data, points, test_data, quick, on_progress=die)
        else:
            patched.setattr("dal.runs.final_model.write_text", die)
            finished(folder, data, points, test_data, quick)
    assert (folder / FINAL_MODEL_WEIGHTS).exists() == (moment == "weights written")
    assert read_final_model(folder) is None
    assert counted(finished(folder, data, points, test_data, quick)) == counted(expected)
    assert (folder / FINAL_MODEL_WEIGHTS).read_bytes() == expected_weights


def test_another_final_model_or_more_labels_train_anew(tmp_path, data, points, test_data, quick):
    finished(tmp_path, data, points, test_data, quick)
    (indices, labels), validation = points
    fewer = ((indices[:30], labels[:30]), validation)
    assert finished(tmp_path, data, fewer, test_data, quick)["num_labeled"] == 30
    other = ModelConfig(final_backbone="torchvision/resnet18")
    assert finished(tmp_path, data, fewer, test_data, quick, other)["backbone"] == "torchvision/resnet18"
    assert read_final_model(tmp_path)["backbone"] == "torchvision/resnet18"


def test_labels_that_changed_train_anew(tmp_path, data, points, test_data, quick):
    row = finished(tmp_path, data, points, test_data, quick)
    (indices, labels), validation = points
    changed = torch.where(indices == 3, (labels + 1) % 3, labels)
    again = finished(tmp_path, data, ((indices, changed), validation), test_data, quick)
    assert again["labels_sha256"] != row["labels_sha256"] and again["num_labeled"] == row["num_labeled"]
    older = {key: value for key, value in again.items() if key != "labels_sha256"}
    (tmp_path / FINAL_MODEL).write_text(json.dumps(older))
    assert finished(tmp_path, data, points, test_data, quick) == older, "an older version noted no labels"


def test_the_closing_line_of_a_run_without_test_points():
    row = Round({"backbone": "small_cnn", "num_labeled": 40, "updates": 1200})
    assert final_model_sentence(row) == "The final model small_cnn, trained on 40 labels in 1,200 updates: not tested."


def test_the_closing_line_names_the_primary_metric():
    row = Round({"backbone": "small_cnn", "num_labeled": 40, "updates": 9, "test_mean_average_precision": 0.5})
    assert final_model_sentence(row, "mean_average_precision").endswith(": test mean average precision 50.0 %.")


def test_the_final_model_of_an_older_run_is_read_under_its_old_name(tmp_path, data, points, test_data, quick):
    row = finished(tmp_path, data, points, test_data, quick)
    (tmp_path / FINAL_MODEL).rename(tmp_path / "target.json")
    assert read_final_model(tmp_path) == row
    trained = []
    again = finished(tmp_path, data, points, test_data, quick, on_progress=lambda *progress: trained.append(progress))
    assert again == row and not trained
