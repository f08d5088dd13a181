"""Onset, stability and capacity on made-up rounds whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dal.analysis.diagnosis import capacity, onset, stability
from dal.analysis.diagnosis.history import Checks, History, LastFeatures, Layers, Trained

CLASSES = ["ant", "bee", "cat"]


def history(rounds=8, points=200, seed=0, **more):
    """A run with a slow churn of its predictions."""
    generator = np.random.default_rng(seed)
    label = np.arange(points) % 3
    predicted = np.tile(label, (rounds, 1))
    for number in range(1, rounds):
        predicted[number] = predicted[number - 1]
        changed = generator.random(points) < 0.03
        predicted[number, changed] = generator.integers(0, 3, int(changed.sum()))
    made = History(
        classes=CLASSES,
        labels_bought=20 * (1 + np.arange(rounds)),
        starts=["scratch"] + ["continue"] * (rounds - 1),
        query_sizes=np.full(rounds, 20),
        new_labels=np.full((rounds, 3), 7),
        test_label=label,
        test_predicted=predicted,
        test_log_prob=np.full((rounds, points, 3), np.nan),
        stop_predicted=[None] * rounds,
        trained=[None] * rounds,
        pool=[None] * rounds,
        layers=[None] * rounds,
        checks=[None] * rounds,
    )
    return replace(made, **more)


def checks(generator, rise, points=300, times=10):
    """Losses that fall and then rise by ``rise`` nats on average."""
    level = np.concatenate([np.linspace(0.8, 0.3, times // 2), np.linspace(0.3, 0.3 + rise, times - times // 2)])
    of_point = generator.normal(0, 0.2, points)
    held_out = np.abs(level[:, None] + of_point + generator.normal(0, 0.15, (times, points)))
    labeled = np.abs(np.linspace(0.8, 0.0, times)[:, None] + generator.normal(0, 0.01, (times, 50)))
    return Checks(
        updates=100 * (1 + np.arange(times)),
        held_out_of="test",
        held_out_loss=held_out,
        held_out_right=held_out < 0.7,
        labeled_loss=labeled,
        labeled_right=labeled < 0.5,
    )


class TestOnset:
    def test_a_rise_is_found_at_its_update(self):
        rising = checks(np.random.default_rng(1), 0.5)
        found = onset.detect(history(checks=[None] * 7 + [rising])).findings
        assert len(found) == 1 and found[0].round == 7
        assert 400 <= found[0].numbers["update"] <= 600
        assert found[0].numbers["nats"] == pytest.approx(0.5, abs=0.1)
        assert "In round 7, the held-out loss rose by 0.47 nats after update 500 of 1,000" in found[0].sentence

    def test_one_in_twenty_clean_rounds_at_most_is_called(self):
        called = sum(
            bool(onset.detect(history(checks=[checks(np.random.default_rng(seed), 0.0)] * 1)).findings)
            for seed in range(60)
        )
        assert called <= 3

    def test_the_levels_hold_for_all_rounds_together(self):
        called = 0
        for seed in range(30):
            generator = np.random.default_rng(1000 + seed)
            called += bool(onset.detect(history(checks=[checks(generator, 0.0) for _ in range(8)])).findings)
        assert called <= 2

    def test_the_best_of_many_checks_is_judged_on_other_points(self):
        called = 0
        for seed in range(20):
            generator = np.random.default_rng(seed)
            flat = checks(generator, 0.0, times=300)
            loss = 1 + generator.normal(0, 0.5, (300, 200))  # no check differs, and the least of 300 means looks low
            many = replace(flat, held_out_loss=loss, held_out_right=loss < 1)
            called += bool(onset.detect(history(checks=[many])).findings)
        assert called <= 2

    def test_p_is_that_of_a_t_test(self):
        rise = np.random.default_rng(3).normal(0.1, 1, 50)
        assert onset._p_of_rise(rise) == pytest.approx(stats.ttest_1samp(rise, 0, alternative="greater").pvalue)

    def test_without_checks_it_cannot_be_told(self):
        found = onset.detect(history())
        assert found.unknown and "diagnosis.checks=10" in found.quiet

    def test_few_points_cannot_tell(self):
        found = onset.detect(history(checks=[checks(np.random.default_rng(0), 0.5, points=30)]))
        assert found.unknown and "30 held-out points" in found.quiet


def layers(rounds, jump=None, frozen=None, seed=0):
    generator = np.random.default_rng(seed)
    made = []
    for number in range(rounds):
        change = 0.05 / (1 + number) * np.exp(generator.normal(0, 0.3, 4)) + 0.01
        if number == 0:
            change[:] = np.nan
        if jump == number:
            change[2] = 1.4
        if frozen is not None and number:
            change[frozen] = 0.0
        made.append(Layers(list("abcd"), np.ones(4), change, np.full(4, 0.9), np.full(4, 3.0), np.full(4, 8)))
    return made


class TestStability:
    def test_a_new_layer_is_named_with_its_round(self):
        for seed in range(10):
            run = history(seed=seed, layers=layers(8, jump=5, seed=seed))
            run.test_predicted[5, :60] = (run.test_predicted[5, :60] + 1) % 3
            found = stability.detect(run).findings
            assert [(one.round, one.numbers["layer"]) for one in found] == [(5, "c")]

    def test_a_jump_without_churn_is_none(self):
        assert stability.detect(history(layers=layers(8, jump=5))).findings == ()

    def test_clean_runs_are_quiet(self):
        found = [stability.detect(history(seed=seed, layers=layers(8, seed=seed))) for seed in range(20)]
        assert not any(one.findings for one in found)
        assert found[0].quiet == "No layer jumped or stood still in 7 rounds."

    def test_a_layer_that_stands_still_is_named(self):
        found = stability.detect(history(layers=layers(8, frozen=1))).findings
        assert [one.sentence for one in found] == [
            "Layer b changed by less than 0.0001 of its norm in each of 7 rounds."
        ]

    def test_scratch_rounds_cannot_be_compared(self):
        found = stability.detect(history(layers=layers(1) * 8))
        assert found.unknown and found.quiet.endswith("and the records have 0.")

    def test_churn_and_kappa_against_loops(self):
        run = history(seed=4)
        table = stability.churn_of(run)
        before, now = run.test_predicted[2], run.test_predicted[3]
        row = table[table["round"] == 3].iloc[0]
        assert row["changed"] == sum(a != b for a, b in zip(before, now, strict=True))
        from sklearn.metrics import cohen_kappa_score

        assert row["kappa"] == pytest.approx(cohen_kappa_score(before, now))

    def test_the_stop_set_comes_first(self):
        stop = [np.zeros(10, dtype=int), np.ones(10, dtype=int), None, np.ones(10, dtype=int)]
        table = stability.churn_of(history(rounds=4, stop_predicted=stop))
        assert table[["round", "of", "share"]].to_numpy().tolist() == [[1, "stop", 1.0]]

    @pytest.mark.parametrize("values", [np.diag([3.0, 3.0, 3.0]), np.ones((5, 4))])
    def test_effective_rank_of_known_matrices(self, values):
        assert stability.effective_rank(values) == pytest.approx(np.linalg.matrix_rank(values))


def trained(number, accuracy, labels=20, seed=0):
    count = labels * (number + 1)
    generator = np.random.default_rng(seed)
    label = np.arange(count) % 3
    predicted = np.where(generator.random(count) < accuracy, label, (label + 1) % 3)
    return Trained(
        index=np.arange(count),
        label=label,
        bought=np.arange(count) // labels,
        predicted=predicted,
        log_prob=np.full(count, -0.7),
        margin=np.zeros(count),
        before=np.full(count, np.nan),
    )


def with_features(accuracy, dimensions, width=16, seed=0):
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(dimensions, width))
    rows = generator.normal(size=(200, dimensions)) @ mixing
    last = LastFeatures(test=rows, test_position=np.arange(200), labeled=rows[:160])
    return history(trained=[trained(n, accuracy, seed=seed) for n in range(8)], features=last)


class TestCapacity:
    def test_a_network_that_fills_its_features_and_does_not_fit_is_too_narrow(self):
        found = capacity.detect(with_features(0.8, 16)).findings
        assert len(found) == 1
        assert "does not fit its own labels" in found[0].sentence and "would tell" in found[0].sentence

    @pytest.mark.parametrize(("accuracy", "dimensions"), [(1.0, 16), (1.0, 4)])
    def test_a_network_that_fits_is_not(self, accuracy, dimensions):
        assert capacity.detect(with_features(accuracy, dimensions)).findings == ()

    def test_free_dimensions_silence_it(self):
        found = capacity.detect(with_features(0.8, 4))
        assert found.findings == () and "use only" in found.silenced[0]

    def test_labels_that_contradict_a_good_model_silence_it(self):
        run = with_features(0.8, 16)
        run.test_predicted[-1] = run.test_label
        found = capacity.detect(run)
        assert found.findings == () and "0 % errors on the test set" in found.silenced[0]

    def test_without_a_test_set_labels_that_contradict_a_sure_model_silence_it(self):
        run = with_features(0.8, 16)
        run.test_predicted[:] = -1
        assert capacity.detect(run).findings
        run.trained[-1].log_prob[:] = -5
        found = capacity.detect(run)
        assert found.findings == () and "contradict" in found.silenced[0]

    def test_a_loss_that_still_falls_silences_it(self):
        run = with_features(0.8, 16)
        falling = checks(np.random.default_rng(0), 0.0)
        found = capacity.detect(replace(run, checks=[None] * 7 + [falling]))
        assert found.findings == () and "still falls" in found.silenced[0]

    def test_without_records_it_cannot_be_told(self):
        found = capacity.detect(history())
        assert found.unknown and found.findings == () and "cannot be told" in found.quiet

    def test_flat_and_falling_losses(self):
        falling = checks(np.random.default_rng(0), 0.0)
        flat = replace(falling, labeled_loss=np.full((10, 5), 0.4))
        assert capacity.is_flat(flat) and not capacity.is_flat(falling)


def deep(gains, points=400, seed=0):
    """Outputs of layers, each of which shows the classes this much better than noise."""
    generator = np.random.default_rng(seed)
    label = np.arange(160) % 3
    test_label = np.arange(points) % 3
    centers = 3 * np.eye(3, 6)
    layers = [(gain * centers[test_label], gain * centers[label]) for gain in gains]
    noise = [generator.normal(size=(len(part), 6)) for part in (test_label, label)]
    last = LastFeatures(
        test=np.zeros((points, 4)),
        test_position=np.arange(points),
        labeled=np.zeros((160, 4)),
        layer_names=[f"block{i}" for i in range(len(gains))],
        layer_test=[test + noise[0] for test, _ in layers],
        layer_position=np.arange(points),
        layer_labeled=[train + noise[1] for _, train in layers],
        layer_labeled_row=np.arange(160),
    )
    return history(points=points, trained=[trained(n, 1.0) for n in range(8)], features=last)


class TestProbes:
    def test_layers_after_the_last_that_adds_something_are_named(self):
        found = capacity.detect(deep([0.2, 0.5, 1.5, 1.5, 1.5, 1.5])).findings
        assert len(found) == 1
        assert found[0].numbers["layer"] == "block2" and found[0].numbers["later_layers"] == 2

    def test_layers_that_add_something_are_not(self):
        assert capacity.detect(deep([0.1, 0.2, 0.4, 0.7, 1.0, 1.0])).findings == ()

    def test_few_points_cannot_tell(self):
        found = capacity.detect(deep([1.0] * 6, points=60))
        assert found.unknown and "add nothing cannot be told" in found.quiet

    def test_few_layers_have_no_tail(self):
        found = capacity.detect(deep([0.5, 1.0, 1.0]))
        assert found.findings == () and "add nothing" not in found.quiet

    def test_the_readout_is_that_of_a_slow_ridge(self):
        run = deep([1.0])
        features = run.features
        label = run.trained[-1].label
        train = np.asarray(features.layer_labeled[0], dtype=np.float64)
        mean, spread = train.mean(0), train.std(0)
        x, t = (train - mean) / spread, (np.asarray(features.layer_test[0]) - mean) / spread
        targets = np.where(label[:, None] == np.arange(3), 1.0, -1.0)
        best = None
        for alpha in np.logspace(-2, 4, 7):  # leave one out, by a loop
            errors = 0.0
            for i in range(len(x)):
                rest = np.delete(np.arange(len(x)), i)
                center, offset = x[rest].mean(0), targets[rest].mean(0)
                weights = np.linalg.solve(
                    (x[rest] - center).T @ (x[rest] - center) + alpha * np.eye(6),
                    (x[rest] - center).T @ (targets[rest] - offset),
                )
                errors += float((((x[i] - center) @ weights + offset - targets[i]) ** 2).sum())
            best = min(best, (errors, alpha)) if best else (errors, alpha)
        center, offset = x.mean(0), targets.mean(0)
        weights = np.linalg.solve(
            (x - center).T @ (x - center) + best[1] * np.eye(6), (x - center).T @ (targets - offset)
        )
        slow = ((t - center) @ weights + offset).argmax(1)
        assert (capacity._readout(features, 0, label) == slow).mean() > 0.995
