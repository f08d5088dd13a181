import numpy as np
import pytest
from helpers.labeled_histories import simulated

from dal.analysis.diagnosis import queries
from dal.analysis.statistics.logistic import fit_head, standardized


@pytest.mark.parametrize("seed", range(4))
def test_a_query_of_wrong_labels_is_named(seed):
    found = queries.detect(simulated(seed, poisoned=6)[0])
    assert [finding.round for finding in found.findings] == [6]
    assert found.findings[0].sentence.startswith("Given the final features, the 20 labels of round 6 do harm")


def test_the_matrix_is_the_difference_of_two_fits():
    history, _ = simulated(0, rounds=4)
    table = queries.detect(history).tables["effect"].set_index(["round", "class"])["loss_change"]
    last = history.trained[-1]
    train, test = standardized(history.features.labeled, history.features.test)
    kept = last.bought != 2

    def loss(rows):
        log_probs = fit_head(train[rows], last.label[rows], 5).log_probs(test)
        return -log_probs[np.arange(200), history.test_label][history.test_label == 3].mean()

    assert table[2, 3] == pytest.approx(loss(np.full(len(kept), True)) - loss(kept), abs=1e-4)


def test_one_newton_step_names_the_same_query(monkeypatch):
    monkeypatch.setattr(queries, "QUERY_NEWTON_LABELS", 100)
    found = queries.detect(simulated(0, poisoned=6)[0])
    assert [finding.round for finding in found.findings] == [6]
    assert "one Newton step" in found.method


def test_few_queries_are_no_verdict():
    found = queries.detect(simulated(0, rounds=5, poisoned=3)[0])
    assert found.unknown and not found.findings
    assert found.quiet == "5 queries are too few to say which one did harm: 6 are needed."
    assert len(found.tables["effect"]) == 25
