"""Multi-label classification: its numbers against a slow reference, and whole campaigns through the task seam."""

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.synthetic_runs import config_of
from PIL import Image
from torchmetrics.classification import MultilabelRankingLoss

from dal import ActiveLearner, Classifier, run
from dal.acquisition import CoreSet, Margin, Random, ScoreFunction
from dal.analysis import read_run
from dal.cli.main import main
from dal.data.images import ImageData, TensorSource
from dal.errors import DalError
from dal.labeling import DatasetOracle, NoisyOracle, Pool
from dal.models.backbones import SmallCNN
from dal.models.config import ModelConfig
from dal.runs.folder import RunFolder
from dal.stopping import CampaignConfig
from dal.tasks import MULTI_LABEL, MultiLabel

CAMPAIGN = CampaignConfig(initial_size=20, query_size=10, budget=50, validation_size=8, stop_set_size=15)


def squares(count=90, seed=0, task=MULTI_LABEL):
    """Images whose three classes are a bright left, a bright top and a bright center, each there or not."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (count, 3), generator=g)
    images = torch.randint(0, 90, (count, 1, 8, 8), generator=g)
    for image, (left, top, center) in zip(images, labels.tolist(), strict=True):
        image[:, :, :3] += 80 * left
        image[:, :3] += 60 * top
        image[:, 4:6, 4:6] += 70 * center
    ids = [f"square-{i:03d}" for i in range(count)]
    pixels = images.clamp(max=255).to(torch.uint8)
    classes = ["left", "top", "center"]
    return ImageData("squares", TensorSource(pixels), ids, labels, classes, mean=[0.3], std=[0.2], task=task)


@dataclass(frozen=True)
class Unsure(ScoreFunction):
    """The smallest distance of a probability from one half: margin for yes-or-no decisions."""

    tasks: ClassVar = ("multi_label", "toy")

    def score(self, model, x):
        return -(model.head(model.features(x)).sigmoid() - 0.5).abs().amin(dim=1)


class Toy(MultiLabel):
    """A task that dal does not know: rules and reports follow another metric than that of MultiLabel."""

    def __init__(self):
        for name, value in {"name": "toy", "primary_metric": "f1", "rule_metrics": ("f1",)}.items():
            object.__setattr__(self, name, value)


def campaign(data, acquisition, quick, records=None, **options):
    def model():
        return Classifier(SmallCNN(1, (8, 8)), 3, lr=3e-3, task=data.task)

    learner = ActiveLearner(model, data, acquisition, training=replace(quick, max_updates=60), seed=3, **options)
    return learner, run(learner, DatasetOracle(data), CAMPAIGN, test=squares(60, 1, data.task), records=records)


@pytest.mark.parametrize("task", [MULTI_LABEL, Toy()], ids=lambda task: task.name)
@pytest.mark.parametrize("acquisition", [Random(), Unsure(), CoreSet()], ids=lambda function: type(function).__name__)
def test_a_whole_campaign_runs_through_the_seam(task, acquisition, quick):
    learner, rows = campaign(squares(task=task), acquisition, quick)
    assert [row["labels_bought"] for row in rows] == [28, 38, 48, 50]
    assert rows[-1]["campaign_stopped"] == "budget"
    metric = f"test_{task.primary_metric}"
    assert rows[-1][metric] > 0.75 and rows[-1]["test_label_accuracy"] > 0.75
    assert f"val_{task.primary_metric}" in rows[-1] and "test_accuracy" not in rows[-1]
    assert all(isinstance(p, int) for p in rows[-1]["stop_predictions"]) and 0 < rows[-1]["stop_uncertainty"] < 1
    labeled = learner.pool.labeled
    assert torch.equal(learner.pool.labels(labeled), learner.data.labels[labeled])


def test_a_run_folder_resumes_to_the_same_end(tmp_path, quick):
    class Stop(Exception):
        pass

    def interrupted(row):
        if row["round"] == 1:
            raise Stop

    data = squares()
    expected = campaign(data, CoreSet(), quick)[1]
    folder = RunFolder(tmp_path / "run", config_of(acquisition="coreset", seed=3), data.fingerprint())
    learner = ActiveLearner(
        lambda: Classifier(SmallCNN(1, (8, 8)), 3, lr=3e-3, task=data.task),
        data,
        CoreSet(),
        training=replace(quick, max_updates=60),
        seed=3,
    )
    with pytest.raises(Stop):
        run(learner, DatasetOracle(data), CAMPAIGN, test=squares(60, 1), records=folder, on_round=interrupted)
    folder.close()
    folder = RunFolder(tmp_path / "run", config_of(acquisition="coreset", seed=3), data.fingerprint())
    found = campaign(data, CoreSet(), quick, folder)[1]
    folder.close()
    assert [row["test_mean_average_precision"] for row in found] == [
        row["test_mean_average_precision"] for row in expected
    ]
    assert read_run(tmp_path / "run").primary_metric == "mean_average_precision"
    told = pd.read_csv(tmp_path / "run" / "selections.csv", dtype=str)
    labels = {row.id: {int(n) for n in row.label.split(";") if n} for row in told.itertuples()}
    for index, name in enumerate(data.ids):
        if name in labels:
            assert labels[name] == set(data.labels[index].nonzero().flatten().tolist())


def average_precision(scores, truth):
    """Mean over positives of the precision among all that score as high."""
    return np.mean([truth[scores >= s].mean() for s in scores[truth == 1]])


def test_metrics_are_those_of_the_definition():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (50, 4))
    labels[:, 3] = 0
    logits = rng.normal(size=(50, 4)) + labels
    found = MULTI_LABEL.metrics(torch.from_numpy(logits), torch.from_numpy(labels))
    by_class = [average_precision(logits[:, c], labels[:, c]) for c in range(3)]
    assert found.average_precision[:3] == pytest.approx(by_class) and found.average_precision[3] is None
    assert found.mean_average_precision == pytest.approx(np.mean(by_class))
    predicted = logits > 0
    true_positives = (predicted & (labels == 1)).sum()
    assert found.f1 == pytest.approx(2 * true_positives / (predicted.sum() + labels.sum()))
    assert found.label_accuracy == pytest.approx((predicted == (labels == 1)).mean())
    probs = 1 / (1 + np.exp(-logits))
    loss = -(labels * np.log(probs) + (1 - labels) * np.log(1 - probs)).mean()
    assert found.loss == pytest.approx(loss)
    entropy = -(probs * np.log2(probs) + (1 - probs) * np.log2(1 - probs)).mean()
    assert MULTI_LABEL.uncertainty(torch.from_numpy(logits)) == pytest.approx(entropy)
    assert MULTI_LABEL.value(torch.from_numpy(logits), torch.from_numpy(labels)) == found.mean_average_precision
    assert found.keys() == set(MULTI_LABEL.metric_names)


def test_predictions_tell_sets_of_classes_apart():
    logits = torch.tensor([[1.0, -1.0, 1.0], [-1.0, -1.0, -1.0], [1.0, -1.0, 2.0]])
    assert MULTI_LABEL.predictions(logits) == [5, 0, 5]
    wide = MULTI_LABEL.predictions(torch.cat([logits] * 30, dim=1))
    assert wide[0] == wide[2] != wide[1] and all(0 <= p < 2**63 for p in wide)


def test_what_does_not_fit_multi_label_data_is_one_sentence(quick):
    data = squares()
    for function, message in (
        (Margin(), "acquisition: expected a function that works with multi-label data"),
        (Unsure(), None),
    ):
        if message:
            with pytest.raises(DalError, match=message):
                ActiveLearner(lambda: Classifier(SmallCNN(1, (8, 8)), 3, task=MULTI_LABEL), data, function)
    with pytest.raises(DalError, match=r"model: expected Classifier\(..., task=MULTI_LABEL\) to match the data, got"):
        ActiveLearner(Classifier(SmallCNN(1, (8, 8)), 3), data, Random())
    with pytest.raises(DalError, match=r"pool: expected 90 points of 3 classes \(multi_label\) to match the data, got"):
        multi_label = Classifier(SmallCNN(1, (8, 8)), 3, task=MULTI_LABEL)
        ActiveLearner(multi_label, data, Random(), pool=Pool(len(data), 3))
    with pytest.raises(DalError, match=r"oracle.noise: expected 0 with multi_label data"):
        NoisyOracle(data, 0.1)
    with pytest.raises(DalError, match=r"model.ensemble_size: expected 1 with multi_label data"):
        ModelConfig(ensemble_size=2).build((1, 8, 8), 3, MULTI_LABEL)
    learner, _ = campaign(data, Random(), quick)
    unlabeled = learner.pool.unlabeled[:2].tolist()
    with pytest.raises(DalError, match=rf"labels: expected classes from 0 to 2, got 3 for index {unlabeled[1]}"):
        learner.tell(unlabeled, [(0,), (1, 3)])
    with pytest.raises(DalError, match="labels: expected a tuple of class numbers, got 1"):
        learner.tell(unlabeled, [1, (2,)])
    with pytest.raises(DalError, match="labels: expected rows of 0 and 1"):
        replace(data, labels=data.labels + 1)
    with pytest.raises(
        DalError, match=r"campaign.target_metric: expected one of test_f1, test_label_accuracy, test_mean_"
    ):
        campaign_of = CampaignConfig(target_metric="test_balanced_accuracy", target=0.9)
        run(learner, DatasetOracle(data), campaign_of, test=squares(10, 1))


def test_metrics_of_ones_own_are_in_the_journal(quick):
    own = {"ranking_loss": MultilabelRankingLoss(3)}
    _, rows = campaign(squares(), Random(), quick, metrics=own)
    assert all(0 <= row["test_ranking_loss"] < 0.6 for row in rows)
    with pytest.raises(DalError, match=r"metrics: expected names other than .*f1.*, got 'f1'"):
        campaign(squares(), Random(), quick, metrics={"f1": own["ranking_loss"]})
    with pytest.raises(DalError, match=r"metrics\['mine'\]: expected a torchmetrics Metric, got 'function'"):
        campaign(squares(), Random(), quick, metrics={"mine": lambda logits, labels: 1.0})


def assert_ends(status, arguments):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == status, arguments


def test_a_folder_with_several_labels_an_image_runs_from_the_command_line(tmp_path, capsys):
    data = squares(60)
    (tmp_path / "images").mkdir()
    lines = ["id,labels"]
    for index, name in enumerate(data.ids):
        Image.fromarray(data.source.images[index, 0].numpy()).save(tmp_path / "images" / f"{name}.png")
        names = [data.classes[c] for c in data.labels[index].nonzero().flatten().tolist()]
        lines.append(f"{name}.png,{';'.join(names) or ';'}")
    lines[5] = lines[5].split(",")[0] + ","  # an image without labels
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    settings = ["data=image_folder", f"data.root={tmp_path / 'images'}", f"data.csv={tmp_path / 'labels.csv'}"]
    settings += ["data.image_size=8", "campaign.initial_size=10", "campaign.query_size=10", "campaign.budget=30"]
    settings += ["training.max_updates=100", "campaign.stop_set_size=5", f"run_dir={tmp_path / 'run'}"]
    assert_ends(0, ["run", "acquisition=coreset", *settings])
    printed = capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "data.json").read_text())["primary_metric"] == "mean_average_precision"
    rows = [json.loads(line) for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()]
    assert len(rows) == 3 and all("test_mean_average_precision" in row for row in rows)
    assert "mean average precision" in printed
    other = [*settings[:-1], f"run_dir={tmp_path / 'other'}"]
    for wrong, message in (
        ("acquisition=margin", "acquisition: expected a function that works with multi-label"),
        ("campaign.initial=balanced", "campaign.initial: expected random with multi_label data"),
        ("campaign.target_metric=test_balanced_accuracy", "campaign.target_metric: expected one of test_f1"),
        ("oracle.noise=0.1", "oracle.noise: expected 0 with multi_label data"),
        ("data.outside_classes=1", "data.outside_classes: expected 0 with multi_label data"),
        ("model.ensemble_size=2", "model.ensemble_size: expected 1 with multi_label data"),
    ):
        assert_ends(2, ["run", "acquisition=coreset", *other, wrong])
        assert message in capsys.readouterr().err, wrong
        assert not (tmp_path / "other").exists(), wrong
