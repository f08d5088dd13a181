"""Metrics of the user: names and kinds that are refused when a learner is made, and stopping rules that follow them."""

import pytest
import torch
from torchmetrics import MeanMetric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MultilabelAUROC,
    MultilabelF1Score,
)

from dal import ActiveLearner, run
from dal.acquisition import Random
from dal.errors import DalError
from dal.labeling import DatasetOracle
from dal.runs import Records
from dal.stopping import CampaignConfig
from dal.tasks import CLASSIFICATION, MULTI_LABEL
from dal.tasks.own_metrics import OwnMetrics
from dal.training import TrainingConfig

SIZES = {"initial_size": 10, "query_size": 10, "budget": 30}


@pytest.mark.parametrize("name", ["f 1", "", " ", "_f1", "a/b", "f1\n", "é è", 1, None])
def test_a_name_that_the_journal_cannot_hold(name):
    with pytest.raises(DalError) as error:
        OwnMetrics({name: MulticlassF1Score(3)}, CLASSIFICATION, 3)
    assert str(error.value) == f"metrics: expected names of letters, digits and _, such as f1, got {name!r}."


@pytest.mark.parametrize("name", ["test_f1", "val_f1", "train_f1", "stop_f1"])
def test_a_name_that_starts_like_a_key_of_the_journal(name):
    with pytest.raises(DalError, match=rf"^metrics: expected names that do not start with test_ .* got '{name}'\.$"):
        OwnMetrics({name: MulticlassF1Score(3)}, CLASSIFICATION, 3)


@pytest.mark.parametrize("metrics", [[MulticlassF1Score(3)], MulticlassF1Score(3), "f1", ()])
def test_what_is_no_dict(metrics):
    with pytest.raises(DalError, match=r"^metrics: expected a dict of torchmetrics by name, such as .*, got '\w+'\.$"):
        OwnMetrics(metrics, CLASSIFICATION, 3)


@pytest.mark.parametrize("num_classes", [2, 5, 1000])
@pytest.mark.parametrize("other", [1, -1, 3])
def test_a_metric_of_another_number_of_classes_is_named(num_classes, other):
    if num_classes + other < 2:
        other = 2
    metric = MulticlassF1Score(num_classes + other)
    with pytest.raises(DalError, match=rf"^metrics\['mine'\]: expected a metric of {num_classes} classes") as error:
        OwnMetrics({"mine": metric}, CLASSIFICATION, num_classes)
    assert "\n" not in str(error.value) and "MulticlassF1Score" in str(error.value)


def test_a_metric_of_another_kind_is_named(data, new_model):
    for metrics in ({"mine": MeanMetric()}, {"mine": MultilabelF1Score(3)}):
        with pytest.raises(DalError, match=r"^metrics\['mine'\]: expected a metric of 3 classes that takes logits"):
            ActiveLearner(new_model, data, Random(), metrics=metrics)


def test_metrics_that_fit_are_taken_and_left_as_they_were():
    fitting = {"f1": MulticlassF1Score(3), "top-2@3.x": MulticlassAccuracy(3, top_k=2), "é": MulticlassF1Score(3)}
    fitting["matrix"] = MulticlassConfusionMatrix(3)
    own = OwnMetrics(fitting, CLASSIFICATION, 3)
    assert own.numbers == ["f1", "top-2@3.x", "é"]
    assert own(torch.eye(3)[[0, 1, 1]], torch.tensor([0, 1, 2]))["matrix"] == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert OwnMetrics({"auroc": MultilabelAUROC(4)}, MULTI_LABEL, 4).numbers == ["auroc"]
    assert OwnMetrics({"f1": MulticlassF1Score(1000)}, CLASSIFICATION, 1000).numbers == ["f1"]


def test_a_target_can_be_a_metric_of_the_learner(data, test_data, new_model):
    quick = TrainingConfig(batch_size=16, min_updates=1, max_updates=2, monitor="none")
    metrics = {"f1": MulticlassF1Score(3), "macro": MulticlassF1Score(3), "matrix": MulticlassConfusionMatrix(3)}

    def go(name, metrics=metrics):
        learner = ActiveLearner(new_model, data, Random(), training=quick, metrics=metrics)
        config, records = CampaignConfig(**SIZES, target=0.01, target_metric=name), Records()
        return run(learner, DatasetOracle(data), config, test=test_data, records=records)

    for name in ("test_f1", "test_macro"):
        rows = go(name)
        assert rows[-1]["campaign_stopped"] == "target" and rows[-1][name] >= 0.01
    for name in ("test_matrix", "test_makro", "test_f1_macro"):
        with pytest.raises(DalError, match=r"^campaign.target_metric: expected one of test_accuracy, .*test_macro, "):
            go(name)
    with pytest.raises(DalError, match=r"^campaign.target_metric: expected one of test_accuracy, "):
        go("test_f1", {})
