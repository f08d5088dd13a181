"""Records for diagnosis: they change nothing, agree with slow references, and stay within their budget."""

import json

import numpy as np
import pytest
import torch
from helpers.toys import toy_data

from dal import ActiveLearner, run
from dal.acquisition import BALD, Margin, Random
from dal.analysis.diagnosis import form
from dal.analysis.diagnosis.detectors import WITHOUT, all_detected
from dal.analysis.diagnosis.history import NOT_TESTED, NOT_WRITTEN
from dal.analysis.diagnosis.read import read_history
from dal.campaign.diagnosed_arrays import test_arrays as arrays_of_test
from dal.config.overrides import compose
from dal.config.schema import build
from dal.data import ImageSplits
from dal.errors import DalError
from dal.labeling.oracle import DatasetOracle
from dal.models import Classifier
from dal.models.backbones import SmallCNN
from dal.runs import DiagnosisConfig, RunFolder
from dal.runs.dynamics import read_arrays
from dal.runs.files.state import read_state
from dal.runs.saved_config import without_effect
from dal.scoring.candidates import RandomCandidates
from dal.scoring.layer_outputs import layers_with_weights
from dal.stopping import CampaignConfig
from dal.training import TrainingConfig

PLAIN = {"batch_size": 16, "min_updates": 1, "monitor": "none", "warm_start": "continue"}
TRAINING = TrainingConfig(**PLAIN | {"max_updates": 40})
DROPOUT = {"lr": 3e-3, "dropout": 0.2}


def campaign(folder, *, test=None, acquisition=None, diagnosis=None, seen=None, stop_after=None, **settings):
    """The learner and rows of a campaign, or None if it is cut off after a round."""
    data = toy_data(90)

    def on_round(row):
        if seen is not None and len(seen) == row["round"]:
            seen.append({name: value.clone() for name, value in learner.model.module.state_dict().items()})
        if stop_after == row["round"] + 1:
            raise KeyboardInterrupt

    learner = ActiveLearner(
        lambda: Classifier(SmallCNN(1, (8, 8)), num_classes=3, **DROPOUT),
        data,
        acquisition or Margin(),
        training=settings.pop("training", TRAINING),
        candidates=settings.pop("candidates", None),
        seed=3,
    )
    chosen = {"initial_size": 8, "query_size": 8, "budget": 24, "stop_set_size": 20} | settings
    config = {"seed": 3, "data": {"name": "toy"}, "acquisition": {"name": "margin"}}
    records = RunFolder(folder, config, ImageSplits(data, test).fingerprint())
    try:
        rows = run(
            learner,
            DatasetOracle(data),
            CampaignConfig(**chosen),
            test=test,
            records=records,
            on_round=on_round,
            diagnosis=diagnosis,
        )
    except KeyboardInterrupt:
        return None
    finally:
        records.close()
    return learner, rows


def arrays(folder, name):
    with np.load(folder / name) as file:
        return dict(file)


def without_costs(rows):
    times = ("seconds", "peak", "joules")
    return [{k: v for k, v in r.items() if not k.startswith(times) and not k.endswith("_diagnose")} for r in rows]


OFF = DiagnosisConfig(record=False)


@pytest.mark.parametrize(
    ("acquisition", "diagnosis", "settings"),
    [
        (Margin(), None, {}),
        (BALD(num_draws=4), DiagnosisConfig(checks=4), {"validation_size": 6}),
        (Random(), DiagnosisConfig(checks=3), {"test_size": 10, "budget": 34}),
    ],
    ids=["margin", "bald and checks", "random and checks"],
)
def test_selections_metrics_and_weights_are_the_same_bits(tmp_path, acquisition, diagnosis, settings):
    test = None if "test_size" in settings else toy_data(60, seed=1)
    kinds = {"on": diagnosis, "off": OFF}
    weights = {kind: [] for kind in kinds}
    rows = {
        kind: campaign(
            tmp_path / kind, test=test, acquisition=acquisition, diagnosis=config, seen=weights[kind], **settings
        )[1]
        for kind, config in kinds.items()
    }
    assert without_costs(rows["on"]) == without_costs(rows["off"])
    assert (tmp_path / "on/selections.csv").read_bytes() == (tmp_path / "off/selections.csv").read_bytes()
    for one, other in zip(weights["on"], weights["off"], strict=True):
        assert all(torch.equal(one[name], other[name]) for name in other)
    assert not list((tmp_path / "off").glob("*.npz")) and len(list((tmp_path / "on").glob("dynamics_*.npz"))) == 3
    assert all(row["samples_forward_diagnose"] > 0 for row in rows["on"])
    assert not any(row["samples_forward_diagnose"] or row["flops_diagnose"] for row in rows["off"])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A finished run, and the weights after each round."""
    folder, weights = tmp_path_factory.mktemp("recorded") / "run", []
    learner, rows = campaign(folder, test=toy_data(60, seed=1), seen=weights, diagnosis=DiagnosisConfig(checks=4))
    return folder, learner, rows, weights


def logits_of(learner, weights, indices, data=None):
    learner.model.module.load_state_dict(weights)
    return learner.passes.logits(data or learner.data, torch.as_tensor(indices, dtype=torch.int64)).double().numpy()


def log_softmax(logits):
    return np.array([[z - np.log(sum(np.exp(o - max(row)) for o in row)) - max(row) for z in row] for row in logits])


def test_arrays_agree_with_the_weights_of_their_round(recorded):
    folder, learner, rows, weights = recorded
    test = toy_data(60, seed=1)
    for round, after in enumerate(weights):
        found = arrays(folder, f"dynamics_{round:03d}.npz")
        logits = logits_of(learner, after, range(60), test)
        assert found["test_index"].tolist() == list(range(60)) and found["test_of"] == 0
        assert (found["test_label"] == test.labels.numpy()).all()
        assert (found["test_predicted"] == logits.argmax(axis=1)).all()
        assert np.allclose(found["test_log_prob"], log_softmax(logits), rtol=2e-3, atol=2e-3)
        assert (found["test_predicted"] == found["test_label"]).mean() == pytest.approx(rows[round]["test_accuracy"])
        assert found["stop_predicted"].tolist() == rows[round]["stop_predictions"]
        labeled = found["labeled_index"]
        logits, told = logits_of(learner, after, labeled), found["labeled_label"]
        assert (found["labeled_predicted"] == logits.argmax(axis=1)).all()
        own = [row[k] for row, k in zip(log_softmax(logits), told, strict=True)]
        assert np.allclose(found["labeled_log_prob"], own, rtol=2e-3, atol=2e-3)
        margins = [row[k] - max(np.delete(row, k)) for row, k in zip(logits, told, strict=True)]
        assert np.allclose(found["labeled_margin"], margins, rtol=5e-3, atol=5e-3)
        is_new = found["labeled_round"] == round
        assert len(labeled) == 8 * (round + 1) and is_new.sum() == 8
        if not round:
            assert np.isnan(found["labeled_before"]).all() and "pool_counts" not in found
            continue
        before = log_softmax(logits_of(learner, weights[round - 1], labeled[is_new]))
        own = [row[k] for row, k in zip(before, told[is_new], strict=True)]
        assert np.allclose(found["labeled_before"][is_new], own, rtol=2e-3, atol=2e-3)
        assert np.isnan(found["labeled_before"][~is_new]).all()
        pool = sorted(set(range(90)) - set(labeled[~is_new].tolist()))
        probabilities = np.exp(log_softmax(logits_of(learner, weights[round - 1], pool)))
        assert found["pool_counts"].tolist() == np.bincount(probabilities.argmax(axis=1), minlength=3).tolist()
        assert np.allclose(found["pool_probabilities"], probabilities.sum(axis=0), rtol=1e-4)
        assert found["pool_size"] == len(pool)


def slow_cka(x, y):
    """The unbiased estimate of Song et al. from n x n matrices, by loops."""

    def hsic(k, m):
        n = len(k)
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        trace = sum(k[i, j] * m[j, i] for i in range(n) for j in range(n))
        both = sum(k[i].sum() * m[i].sum() for i in range(n))
        return (trace + k.sum() * m.sum() / (n - 1) / (n - 2) - 2 * both / (n - 2)) / (n * (n - 3))

    x, y = (np.asarray(part, dtype=np.float64) for part in (x, y))
    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


def outputs_by_hand(learner, weights, data):
    """The mean outputs over space of layers with weights, and the inputs of the head."""
    module, found = learner.model.module, {}
    module.load_state_dict(weights)
    module.eval()
    kinds = torch.nn.Conv2d | torch.nn.Linear
    layers = {name: part for name, part in module.named_modules() if isinstance(part, kinds)}

    def keep(name):
        return lambda layer, given, out: found.update({name: out.flatten(2).mean(2) if out.ndim == 4 else out})

    handles = [layer.register_forward_hook(keep(name)) for name, layer in layers.items()]
    handles.append(module.head.register_forward_hook(lambda layer, given, out: found.update(features=given[0])))
    with torch.no_grad():
        module(data.plain(list(range(len(data)))))
    for handle in handles:
        handle.remove()
    return {name: out.numpy() for name, out in found.items()}


def test_statistics_of_layers_agree_with_loops(recorded):
    folder, learner, _, weights = recorded
    test = toy_data(60, seed=1)
    now, before = (outputs_by_hand(learner, one, test) for one in (weights[2], weights[1]))
    found, features = arrays(folder, "dynamics_002.npz"), arrays(folder, "features_002.npz")
    names = found["layer_names"].tolist()
    assert names == [name for name in now if name != "features"] and names[-1] == "head"
    for i, name in enumerate(names):
        assert np.allclose(features[f"layer{i}_test"], now[name], rtol=1e-2, atol=1e-2)
        assert found["layer_width"][i] == now[name].shape[1]
        weight, old = (w[f"{name}.weight"].double().numpy().ravel() for w in (weights[2], weights[1]))
        assert found["layer_norm"][i] == pytest.approx(np.sqrt(sum(weight**2)), rel=1e-5)
        assert found["layer_change"][i] == pytest.approx(np.sqrt(sum((weight - old) ** 2) / sum(old**2)), rel=1e-4)
        assert found["layer_cka"][i] == pytest.approx(slow_cka(now[name], before[name]), abs=3e-3)
        values = np.linalg.svd(now[name].astype(np.float64), compute_uv=False)
        shares = values[values > 0] / values.sum()
        assert found["layer_rank"][i] == pytest.approx(np.exp(-sum(shares * np.log(shares))), rel=5e-3)
    assert np.allclose(features["test_features"], now["features"], rtol=1e-2, atol=1e-2)
    assert features["test_position"].tolist() == features["layer_position"].tolist() == list(range(60))
    assert len(features["labeled_features"]) == len(found["labeled_index"]) == len(features["layer_labeled_row"])
    first = arrays(folder, "dynamics_000.npz")
    assert np.isnan(first["layer_cka"]).all() and np.isnan(first["layer_change"]).all()
    assert sorted(path.name for path in folder.glob("features_*")) == ["features_002.npz"]


def test_checks_end_with_the_weights_of_the_round(recorded):
    folder, learner, rows, weights = recorded
    found = arrays(folder, "dynamics_001.npz")
    assert found["check_updates"].tolist() == [10, 20, 30, 40] and rows[1]["updates"] == 40
    assert found["check_held_out_of"] == 1 and found["check_held_out_loss"].shape == (4, 60)
    test = toy_data(60, seed=1)
    losses = -log_softmax(logits_of(learner, weights[1], range(60), test))[range(60), test.labels]
    assert np.allclose(found["check_held_out_loss"][-1], losses, rtol=2e-3, atol=2e-3)
    assert (found["check_held_out_right"][-1] == (found["test_predicted"] == found["test_label"])).all()
    assert (found["check_labeled_right"][-1] == (found["labeled_predicted"] == found["labeled_label"])).all()


def test_a_cut_off_run_ends_with_the_same_bytes(tmp_path, recorded):
    folder, *_ = recorded

    class Cut(RunFolder):
        def keep_weights(self, weights):
            raise KeyboardInterrupt

    options = {"test": toy_data(60, seed=1), "diagnosis": DiagnosisConfig(checks=4)}
    for rounds in (1, 2):
        assert campaign(tmp_path, stop_after=rounds, **options) is None
        with pytest.MonkeyPatch.context() as patch:  # after the records of a round, before its commit
            patch.setitem(globals(), "RunFolder", Cut)
            assert campaign(tmp_path, **options) is None
        assert len(list(tmp_path.glob("dynamics_*.npz"))) == rounds + 1, "an uncommitted file"
        if rounds == 1:
            assert read_state(tmp_path)["pool_seen"]["size"] == 82
    campaign(tmp_path, **options)
    names = sorted(path.name for path in folder.glob("*.npz"))
    assert sorted(path.name for path in tmp_path.glob("*.npz")) == names and len(names) == 4
    assert all((tmp_path / name).read_bytes() == (folder / name).read_bytes() for name in names)


def test_extra_passes_stay_within_their_budget(tmp_path):
    training = TrainingConfig(**PLAIN | {"batch_size": 8, "max_updates": 60})
    for name, function, budget in (("pass", Margin(), 16), ("no_pass", Random(), 40)):
        _, rows = campaign(tmp_path / name, acquisition=function, training=training, budget=budget)
        for row in rows:
            spent = sum(value for key, value in row.items() if key.endswith("_diagnose") and key.startswith("flops"))
            base = sum(row[f"flops_{what}"] for what in ("forward_train", "backward_train", "forward_score"))
            assert 0 < spent <= 0.03 * base
            found = arrays(tmp_path / name, f"dynamics_{row['round']:03d}.npz")
            if row["round"]:
                assert found["pool_size"] == 90 - 8 * row["round"]
                assert (found["pool_counts"].sum() == found["pool_size"]) == (name == "pass")
    # The sample of the pool is a hundredth of the forward passes of the last training, of which a backward counts two.
    assert found["pool_counts"].sum() == 3 * rows[-2]["samples_forward_train"] // 100
    # Not all labeled points fit: new ones are there, and older ones are mostly the same in each round.
    assert len(found["labeled_index"]) < 40 and (found["labeled_round"] == 4).sum() == 8


def test_a_random_part_of_the_pool_stands_for_all_of_it(tmp_path):
    _, rows = campaign(tmp_path, candidates=RandomCandidates(30))
    for row in rows[1:]:
        found = arrays(tmp_path, f"dynamics_{row['round']:03d}.npz")
        assert found["pool_counts"].sum() == 30 and found["pool_size"] == 90 - 8 * row["round"]


def test_without_a_test_set_layers_are_compared_on_the_stop_set(tmp_path):
    campaign(tmp_path)
    found, features = arrays(tmp_path, "dynamics_002.npz"), arrays(tmp_path, "features_002.npz")
    assert not any(name.startswith("test") for name in (*found, *features))
    assert features["layer0_stop"].shape == (20, 16) and (found["layer_cka"] > 0).all()
    history = read_history(tmp_path)
    assert history.test_label.shape == (0,) and len(history.recorded) == 0
    assert history.trained[2].index.shape == (24,) and history.features.layer_test == ()
    assert history.features.labeled.shape[0] == 24 and history.pool[1].size == 82


def test_new_weights_have_no_change(tmp_path):
    training = TrainingConfig(**PLAIN | {"max_updates": 60, "warm_start": "shrink_perturb"})
    campaign(tmp_path, test=toy_data(60, 1), training=training, budget=16)
    found = arrays(tmp_path, "dynamics_001.npz")
    assert np.isnan(found["layer_change"]).all() and np.isfinite(found["layer_cka"]).all()


def test_many_classes_keep_the_most_probable_ones():
    logits = torch.randn(6, 25, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 3, 24, 7, 7, 1])
    found = arrays_of_test(0, torch.arange(6), labels, logits)
    expected = log_softmax(logits.double().numpy())
    assert "test_log_prob" not in found
    for row, top, values, own, label in zip(
        expected, found["test_top"], found["test_top_log_prob"], found["test_own_log_prob"], labels, strict=True
    ):
        assert top.tolist() == sorted(range(25), key=lambda k: -row[k])[:5]
        assert np.allclose(values, sorted(row)[:-6:-1], atol=5e-3) and own == pytest.approx(row[label], abs=5e-3)


def test_a_history_has_what_the_files_say(recorded):
    folder, learner, rows, _ = recorded
    history = read_history(folder)
    assert list(history.classes) == ["bright", "left", "top"] and history.num_rounds == 3
    assert history.labels_bought.tolist() == [8, 16, 24] and history.query_sizes.tolist() == [8, 8, 8]
    assert history.starts == ["scratch", "continue", "continue"] and history.recorded.tolist() == [0, 1, 2]
    assert history.new_labels.sum(axis=0).tolist() == np.bincount(learner.pool.labels(learner.pool.labeled)).tolist()
    assert history.right.mean(axis=1).tolist() == pytest.approx([row["test_accuracy"] for row in rows])
    assert history.test_ids[:2] == ["toy-000", "toy-001"] and history.test_of == "test"
    assert np.allclose(np.exp(history.test_log_prob).sum(axis=2), 1, atol=2e-3)
    assert history.train_ids[int(history.trained[2].index[0])].startswith("toy-")
    assert history.pool[0] is None and history.pool[1].counts.sum() == 82
    assert history.checks[0].held_out_of == "test" and history.features.layer_names[-1] == "head"
    assert history.features.layer_test[0].shape == (60, 16) and len(history.features.layer_labeled_row) == 24


def test_a_test_set_that_changes_is_the_union_of_its_points(recorded, monkeypatch):
    folder, *_ = recorded
    whole = read_history(folder)

    def changed(folder, name, state):
        found = read_arrays(folder, name, state)
        few = {key: found[key][20:] for key in found if key.startswith("test") and key != "test_of"}
        if name == "dynamics_000.npz":
            return found | few | {"test_log_prob": few["test_log_prob"][:, :2]}
        return found | {"test_label": 2 - found["test_label"]}

    monkeypatch.setattr(form, "read_arrays", changed)
    history = read_history(folder)
    assert history.test_index.tolist() == list(range(60)) and (history.test_label == 2 - whole.test_label).all()
    assert (history.test_predicted[0, :20] == NOT_TESTED).all() and not history.tested[0, :20].any()
    assert (history.test_predicted[0, 20:] == whole.test_predicted[0, 20:]).all()
    assert np.isnan(history.test_log_prob[0, 20:, 2]).all() and np.isfinite(history.test_log_prob[1]).all()


def test_rounds_without_records_are_empty(tmp_path):
    test = toy_data(60, 1)
    campaign(tmp_path, test=test, stop_after=1)
    campaign(tmp_path, test=test, stop_after=2, diagnosis=OFF)
    campaign(tmp_path, test=test)
    history = read_history(tmp_path)
    assert history.recorded.tolist() == [0, 2] and (history.test_predicted[1] == NOT_TESTED).all()
    assert history.trained[1] is None and history.stop_predicted[1] is None and history.layers[1] is None
    assert history.new_labels[1].sum() == 8, "selections are known without records"
    assert history.missing == {1: NOT_WRITTEN} and history.has_records
    for at in (0, 2):
        counts = np.zeros((3, 3), int)
        np.add.at(counts, (history.test_label, history.test_predicted[at]), 1)
        assert (history.confusion[at] == counts).all(), "the journal has the same counts"
    assert history.confusion[1].sum() == 60
    assert np.isnan(history.layers[2].cka).all()


def test_a_run_without_records_has_its_journal(tmp_path):
    campaign(tmp_path, test=toy_data(60, 1), diagnosis=OFF, budget=8)
    history = read_history(tmp_path)
    assert not history.has_records and history.missing == {0: NOT_WRITTEN} and history.features is None
    assert history.confusion[0].shape == (3, 3) and history.confusion[0].sum() == 60
    assert all(one.unknown and one.quiet == WITHOUT for one in all_detected(history))


def test_damage_is_one_sentence_and_ends_no_run(tmp_path):
    test = toy_data(60, 1)
    campaign(tmp_path, test=test, budget=16, stop_after=1)
    whole = (tmp_path / "features_000.npz").read_bytes()
    (tmp_path / "features_000.npz").write_bytes(whole[:-9])
    history = read_history(tmp_path)
    assert history.features is None and history.missing_features == "features_000.npz is damaged"
    assert history.missing == {} and history.recorded.tolist() == [0]
    with pytest.warns(UserWarning, match="the next round is not compared with the one before"):
        campaign(tmp_path, test=test, budget=16)
    (tmp_path / "dynamics_000.npz").unlink()
    history = read_history(tmp_path)
    assert history.missing == {0: "dynamics_000.npz is missing"} and history.recorded.tolist() == [1]
    assert history.confusion[0].sum() == 60 and history.features is not None


def test_arrays_of_another_form_are_damage(tmp_path, monkeypatch):
    campaign(tmp_path, test=toy_data(60, 1), budget=8)
    found = arrays(tmp_path, "dynamics_000.npz")
    wrong = {
        "test_label": found["test_label"] - 5,
        "test_predicted": found["test_predicted"][:-1],
        "labeled_margin": found["labeled_margin"].astype(np.int64),
        "layer_norm": None,
    }
    for name, values in wrong.items():
        changed = {key: value for key, value in {**found, name: values}.items() if value is not None}
        monkeypatch.setattr(form, "read_arrays", lambda *args, changed=changed: changed)
        history = read_history(tmp_path)
        assert history.missing == {0: "dynamics_000.npz is damaged"} and not history.has_records, name


def test_state_json_refuses_another_form_of_the_pool(tmp_path):
    campaign(tmp_path, stop_after=1)
    state = json.loads((tmp_path / "state.json").read_text())
    state.pop("digest"), state.pop("digests")
    good = {"counts": [1, 2], "probabilities": [1.5, 1.5], "size": 3}
    (tmp_path / "state.json").write_text(json.dumps(state | {"pool_seen": good}))
    assert read_state(tmp_path)["pool_seen"] == good
    for wrong in ([], good | {"size": -1}, good | {"counts": [1]}, good | {"probabilities": [1.5, "x"]}, {"size": 3}):
        (tmp_path / "state.json").write_text(json.dumps(state | {"pool_seen": wrong}))
        with pytest.raises(DalError, match=r"state\.json"):
            read_state(tmp_path)


def test_hooks_leave_transformers_as_they_compute():
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.TransformerEncoder(layer, 2), torch.nn.Linear(8, 3))
    assert list(layers_with_weights(net)) == ["0", "2"]


def test_the_command_line_has_a_short_form_that_a_resumed_run_may_change():
    assert compose(["diagnosis=off"])["diagnosis"] == {"record": False, "checks": 0}
    assert build(compose(["diagnosis=on", "diagnosis.checks=5"])).diagnosis == DiagnosisConfig(True, 5)
    with pytest.raises(DalError, match=r"diagnosis\.record: expected true or false, got maybe"):
        compose(["diagnosis=maybe"])
    with pytest.raises(DalError, match=r"diagnosis\.checks: expected at least 0, got -1"):
        build(compose(["diagnosis.checks=-1"]))
    assert {"diagnosis.record", "diagnosis.checks"} <= without_effect({})
