"""Images of none of the classes in the pool: asked about one, the oracle says so, which costs a label and teaches
nothing."""

from dataclasses import replace

import pytest
import torch
from helpers.training import setup_of

from dal import ActiveLearner, run
from dal.acquisition import Margin
from dal.acquisition.base import ScoreFunction
from dal.data.variants.subset import without_classes
from dal.errors import DalError
from dal.labeling.initial_set import initial_set
from dal.labeling.oracle import DatasetOracle, NoisyOracle
from dal.models import Classifier
from dal.models.adapt import as_adapted
from dal.models.backbones import SmallCNN
from dal.runs.files.state import read_state
from dal.runs.folder import RunFolder
from dal.runs.journal import read_selections, read_validation
from dal.stopping import CampaignConfig
from dal.tasks.base import OUT_OF_CLASS
from dal.training import TrainingConfig
from dal.training.final_model import train_final_model

TRAINING = TrainingConfig(batch_size=16, min_updates=5, max_updates=20, check_every=10)


@pytest.fixture
def open_set(data):
    return without_classes(data, 1)


def model():
    return Classifier(SmallCNN(1, (8, 8)), num_classes=2, lr=3e-3)


def learner(data, **settings):
    return ActiveLearner(model, data, Margin(), training=TRAINING, seed=2, **settings)


def test_a_campaign_pays_for_them_and_learns_as_without(open_set, test_data, tmp_path):
    config = CampaignConfig(initial_size=12, query_size=12, budget=46, validation_size=10, stop_set_size=0)
    test = without_classes(test_data, 1)
    folder = RunFolder(tmp_path / "run", {"seed": 2}, open_set.fingerprint())
    one = learner(open_set)
    rows = run(one, DatasetOracle(open_set), config, test=test, records=folder)
    folder.close()
    state = read_state(tmp_path / "run")
    bought, validation = read_selections(tmp_path / "run", state), read_validation(tmp_path / "run", state)
    assert [p.label for p in bought] == open_set.labels[[p.index for p in bought]].tolist()
    outside = [[p.label for p in [*validation, *bought] if p.round <= row["round"]].count(OUT_OF_CLASS) for row in rows]
    assert [row["num_outside"] for row in rows] == outside and outside[0] > 0
    assert [row["labels_bought"] for row in rows] == [22, 34, 46] and rows[-1]["num_validation"] == 10
    # What was learned is what a learner learns that was only told the points of a class.
    inside = [p for p in bought if p.round == 0 and p.label != OUT_OF_CLASS]
    other = learner(open_set)
    kept = [p for p in validation if p.label != OUT_OF_CLASS]
    assert len(kept) < 10
    other.tell_validation([p.index for p in kept], [p.label for p in kept])
    other.tell([p.index for p in inside], [p.label for p in inside])
    other.fit()
    assert other.evaluate(test).accuracy == rows[0]["test_accuracy"]
    assert rows[0]["samples_forward_test"] == int((test.labels >= 0).sum())


def test_cut_off_and_resumed_it_ends_the_same(open_set, tmp_path):
    config = CampaignConfig(initial_size=12, query_size=12, budget=46, validation_size=10, stop_set_size=0)

    def go(name, stop_after=None):
        folder = RunFolder(tmp_path / name, {"seed": 2}, open_set.fingerprint())

        def on_round(row):
            if row["round"] + 1 == stop_after:
                raise KeyboardInterrupt

        try:
            run(learner(open_set), DatasetOracle(open_set), config, records=folder, on_round=on_round)
        except KeyboardInterrupt:
            pass
        finally:
            folder.close()
        return (tmp_path / name / "selections.csv").read_text()

    whole = go("whole")
    assert go("cut", stop_after=1) != whole
    assert go("cut") == whole


def test_the_answer_is_certain_even_from_a_noisy_oracle(open_set):
    outside = (open_set.labels == OUT_OF_CLASS).nonzero().flatten().tolist()
    assert NoisyOracle(open_set, 1.0)(outside) == [OUT_OF_CLASS] * len(outside)
    assert set(outside) <= set(DatasetOracle(open_set).answerable().tolist())


def test_a_learner_is_told_and_needs_a_class_to_fit(open_set):
    one = learner(open_set)
    outside = (open_set.labels == OUT_OF_CLASS).nonzero().flatten().tolist()
    with pytest.raises(DalError, match="labels: expected a class for at least one of the points, got none for all 3"):
        one.tell_validation(outside[:3], [OUT_OF_CLASS] * 3)
    one.tell(outside[:5], [OUT_OF_CLASS] * 5)
    with pytest.raises(DalError, match="fit: expected points labeled with a class, got 5 that belong to none"):
        one.fit()
    assert one.labels_bought == 5 and not set(one.pool.unlabeled.tolist()) & set(outside[:5])


def test_a_round_of_nothing_but_outside_points_trains_on_what_there_is(open_set):
    training = replace(TRAINING, warm_start="continue", monitor="none", updates_per_label=1.0)
    one = ActiveLearner(model, open_set, Margin(), training=training, seed=2)
    inside = (open_set.labels >= 0).nonzero().flatten().tolist()
    outside = (open_set.labels == OUT_OF_CLASS).nonzero().flatten().tolist()
    one.tell(inside[:20], open_set.labels[inside[:20]].tolist())
    one.fit()
    one.tell(outside[:5], [OUT_OF_CLASS] * 5)
    assert one.fit().updates == training.min_updates


def test_a_balanced_start_takes_classes_first(open_set):
    points = torch.arange(len(open_set))
    inside = int((open_set.labels >= 0).sum())
    chosen = initial_set("balanced", points, open_set, inside, torch.Generator().manual_seed(0))
    assert bool((open_set.labels[chosen] >= 0).all())
    with pytest.raises(DalError, match="balanced with"):
        initial_set("balanced", points, open_set, inside + 1, torch.Generator())


def test_a_target_counts_them_and_learns_without(open_set):
    points = torch.arange(40)
    setup = setup_of(as_adapted(model()), config=TRAINING)
    row = train_final_model(setup, open_set, (points, open_set.labels[points]))
    assert row["labels_bought"] == 40 and int((open_set.labels[:40] == OUT_OF_CLASS).sum()) > 0


def test_functions_that_ask_for_labels_are_told_of_them(open_set, monkeypatch):
    """And they are no anchors."""
    from dal.acquisition import ALFAMix

    asked = []
    summarize = ALFAMix.summarize
    monkeypatch.setattr(ALFAMix, "summarize", lambda self, *a: asked.append(self) or summarize(self, *a))
    one = ActiveLearner(model, open_set, ALFAMix(), training=TRAINING, seed=2)
    inside = (open_set.labels >= 0).nonzero().flatten().tolist()
    outside = (open_set.labels == OUT_OF_CLASS).nonzero().flatten().tolist()
    points = [*inside[:10], *outside[:3]]
    one.tell(points, open_set.labels[points].tolist())
    one.fit()
    assert len(one.ask(5)) == 5 and len(asked[-1].anchors.means) == open_set.num_classes == 2


def test_functions_that_look_at_labeled_points_see_them_too(open_set):
    """An image that was looked at is covered, whatever it shows."""
    from dal.acquisition import CoreSet

    one = ActiveLearner(model, open_set, CoreSet(), training=TRAINING, seed=2)
    inside = (open_set.labels >= 0).nonzero().flatten().tolist()
    outside = (open_set.labels == OUT_OF_CLASS).nonzero().flatten().tolist()
    one.tell([*inside[:10], outside[0]], [*open_set.labels[inside[:10]].tolist(), OUT_OF_CLASS])
    one.fit()
    assert not isinstance(CoreSet(), ScoreFunction) and outside[0] not in list(one.ask(20))
