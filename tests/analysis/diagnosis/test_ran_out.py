from dataclasses import replace

import numpy as np
import pytest
from helpers.simulated_history import recall_curves, simulated_history

from dal.analysis.diagnosis.history import NOT_TESTED, Pool
from dal.analysis.diagnosis.ran_out import detect, least_points, least_share


def claims(found):
    table = found.tables["pool"]
    return table[table["claim"].isin(["ran out", "few"])]


def steady(rounds=8, classes=10, recall=0.95):
    return np.full((rounds, classes), recall)


def test_runs_with_all_classes_in_the_pool_make_no_claim():
    for seed in range(8):
        found = detect(simulated_history(seed, probabilities=False))
        assert len(claims(found)) == 0
        assert not found.unknown
    assert found.quiet == "In round 14, no class that can be judged is seen to be below 2 % of the pool."


def test_a_class_that_is_gone_is_found_at_once_and_no_other_one():
    for seed in range(8):
        found = detect(simulated_history(seed, gone=(4, 7), probabilities=False))
        assert [finding.classes for finding in found.findings] == [(4,)]
        found = claims(found)
        assert set(found["class"]) == {4}
        assert 7 <= found["round"].min() <= 9
        assert set(found["claim"]) == {"ran out"}


def test_upper_limits_hold_for_the_hidden_labels_of_the_pool():
    held, false, made = [], 0, 0
    for seed in range(12):
        generator = np.random.default_rng(seed)
        sizes = generator.integers(5, 250, 8)
        recall = np.tile(generator.uniform(0.6, 0.98, 8), (8, 1))
        history = simulated_history(seed, recall, pool_counts=sizes, probabilities=False)
        table = detect(history).tables["pool"].set_index(["round", "class"])
        left = sizes
        for round in range(1, 8):
            left = np.maximum(left - history.new_labels[round - 1], 0)
            share = left / left.sum()
            rows = table.loc[round]
            held.append(share <= rows["high"])
            claimed = rows["claim"].isin(["ran out", "few"])
            made, false = made + claimed.sum(), false + (claimed & (share >= least_share(8))).sum()
    assert np.mean(held) >= 0.94
    assert made > 10
    assert false <= 0.05 * made


def test_the_sentence_says_how_much_of_the_pool_is_left_at_most():
    history = simulated_history(3, steady(), gone=(4, 5), probabilities=False)
    finding = detect(history).findings[0]
    assert finding.sentence.startswith("No label of class 4 was bought after round 4, and at most ")
    assert "% of the pool is class 4 (since round 5; upper 95 % limit" in finding.sentence
    most = float(finding.sentence.split("at most ")[1].split(" %")[0])
    assert most >= 100 * finding.numbers["high"] > most - 0.11


def test_a_class_that_is_still_bought_is_not_said_to_be_over():
    history = simulated_history(3, steady(), gone=(4, 5), probabilities=False)
    labels = history.new_labels.copy()
    labels[-1, 4] = 1
    found = detect(replace(history, new_labels=labels))
    assert found.findings[0].sentence.startswith("At most ")
    assert found.findings[0].sentence.endswith(f"{labels[:, 4].sum()} labels of it were bought.")


def test_a_class_that_was_gone_stays_gone_when_the_model_forgets_it():
    recall = steady()
    recall[6:, 4] = 0.4
    found = detect(simulated_history(3, recall, gone=(4, 4), probabilities=False))
    assert set(found.tables["pool"].query("`class` == 4 and round == 7")["claim"]) == {"unknown"}
    assert [finding.numbers["round"] for finding in found.findings] == [6]
    assert "of the pool of round 6 is class 4 (since round 4;" in found.findings[0].sentence
    assert found.findings[0].sentence.endswith("Later rounds cannot tell.")


def test_a_class_that_comes_back_is_no_longer_said_to_be_gone():
    history = simulated_history(3, steady(), gone=(4, 4), probabilities=False)
    pool = [*history.pool[:-1], simulated_history(3, steady(), probabilities=False).pool[-1]]
    found = detect(replace(history, pool=pool))
    assert len(claims(found)) == 3
    assert found.findings == ()


def test_a_class_without_labels_did_not_run_out_but_is_few():
    history = simulated_history(3, steady(), gone=(4, 0), probabilities=False)
    # The first labels are of every class.
    labels = history.new_labels.copy()
    labels[:, 4] = 0
    found = detect(replace(history, new_labels=labels))
    assert set(claims(found)["claim"]) == {"few"}
    assert found.findings[0].sentence.startswith("No label of class 4 was bought, and at most")
    assert "(since the first look, that of round 1;" in found.findings[0].sentence


def test_a_low_recall_leaves_it_open():
    recall = steady()
    recall[:, 4] = 0.5
    found = detect(simulated_history(3, recall, gone=(4, 5), probabilities=False))
    assert found.findings == ()
    table = found.tables["pool"]
    assert set(table[table["class"] == 4]["claim"]) == {"unknown"}
    assert "It cannot be told for class 4: on the test set, the lower 95 % limit" in found.quiet


def test_a_class_without_test_points_is_open_and_the_others_are_not():
    images = np.full(10, 50)
    images[2] = 0
    found = detect(simulated_history(3, steady(), images=images, gone=(4, 5), probabilities=False))
    assert [finding.classes for finding in found.findings] == [(4,)]
    table = found.tables["pool"]
    assert table[table["class"] == 2]["high"].isna().all()
    assert found.silenced[0].startswith("It cannot be told for class 2:")


def test_without_a_test_set_only_predicted_shares_are_known():
    found = detect(simulated_history(images=0, gone=(4, 5)))
    assert found.unknown
    assert found.quiet == "Without a test set only the shares of predictions are known, not those of the classes."
    table = found.tables["pool"]
    assert (table["claim"] == "").all()
    assert table["high"].isna().all()
    assert table.groupby("round")["predicted_share"].sum().to_numpy() == pytest.approx(1)


def test_without_records_of_the_pool_nothing_can_be_told():
    history = simulated_history()
    found = detect(replace(history, pool=[None] * 15))
    assert found.unknown
    assert found.quiet.startswith("Without predictions of the pool")
    assert detect(simulated_history(recall=steady(1))).unknown


def test_a_small_pool_cannot_tell():
    found = detect(simulated_history(3, steady(), pool_counts=np.full(10, 30), gone=(4, 5)))
    assert found.unknown
    assert found.quiet.endswith("points of the pool are too few to say: 149 are needed for a share of 2 %.")


def test_the_model_of_the_round_before_must_have_been_tested():
    said = "The round before round 7 has no test predictions, so its pool cannot be judged."
    for gone in (None, (4, 5)):
        history = simulated_history(3, steady(), gone=gone)
        predicted = history.test_predicted.copy()
        predicted[6] = NOT_TESTED
        found = detect(replace(history, test_predicted=predicted))
        # What the rounds before said stands.
        assert [finding.numbers["round"] for finding in found.findings] == ([6] if gone else [])
        assert found.unknown == (gone is None)
        assert found.quiet == said
        assert found.silenced == ((said,) if gone else ())


def test_rounds_without_a_pool_are_left_out():
    history = simulated_history(3, steady(), gone=(4, 4))
    pool = [None if round in (2, 5) else record for round, record in enumerate(history.pool)]
    found = detect(replace(history, pool=pool))
    assert found.findings[0].numbers["since"] == 4
    assert found.tables["pool"]["round"].unique().tolist() == [1, 3, 4, 6, 7]


def test_a_pool_that_a_smaller_model_looked_at_has_no_predictions_of_new_classes():
    history = simulated_history(3, steady())
    short = [
        record and Pool(record.counts[:9], record.probabilities[:9], record.size) if round < 4 else record
        for round, record in enumerate(history.pool)
    ]
    table = detect(replace(history, pool=short)).tables["pool"]
    assert table.query("`class` == 9 and round < 4")["predicted_share"].tolist() == [0, 0, 0]


def test_the_same_history_gives_the_same_limits_and_later_rounds_change_none():
    history = simulated_history(3, recall_curves(np.random.default_rng(0), 6))
    one, other = detect(history).tables["pool"], detect(replace(history, pool=history.pool[:4])).tables["pool"]
    assert one[one["round"] < 4].equals(other)


def test_a_hundred_classes_are_not_all_rare():
    assert (least_share(100), least_points(100)) == (0.002, 1497)
    found = detect(simulated_history(0, steady(3, 100), images=30, pool_counts=np.full(100, 40), query=200))
    assert not found.unknown
    assert found.findings == ()


def test_two_classes_can_run_out():
    found = detect(simulated_history(0, steady(6, 2), images=1000, pool_counts=[9000, 9000], gone=(1, 3)))
    assert [finding.classes for finding in found.findings] == [(1,)]
    # From 50 test images the false predictions of the other class are not known well enough.
    found = detect(simulated_history(0, steady(6, 2), pool_counts=[9000, 9000], gone=(1, 3)))
    assert found.findings == ()
    assert found.quiet.endswith("The limits leave it open for class 1.")
