from dataclasses import replace

import numpy as np
import pytest
from helpers.labeled_histories import simulated

from dal.analysis.diagnosis import suspects


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_wrong_labels_rank_first(seed):
    history, wrong = simulated(seed, noise=0.1, distance=4.0)
    found = suspects.detect(history)
    (finding,) = found.findings
    assert wrong[1000 - np.array(finding.points[:10])].mean() >= 0.9
    assert len(finding.points) == len(found.tables["suspects"]) <= 24
    assert "An error that is made every time looks right" in finding.sentence
    ranking = found.tables["ranking"]
    assert ranking["p_told"].is_monotonic_increasing and len(ranking) == 200
    assert (ranking["told"] != ranking["suggested"]).all()


def test_classes_that_overlap_are_not_wrong_labels():
    for seed in range(4):
        assert suspects.detect(simulated(seed, distance=2.0)[0]).findings == ()


def test_a_class_with_few_labels_is_not_judged():
    history, _ = simulated(0, weights=[0.01, 0.24, 0.25, 0.25, 0.25])
    found = suspects.detect(history)
    few = int((history.trained[-1].label == 0).sum())
    assert 0 < few < 5
    assert 0 not in found.tables["ranking"]["told"].tolist()
    assert any(text.startswith(f"{few} labels were not judged") for text in found.silenced)


def slowly_fitted(history, rows, starts="continue"):
    """A model that has learned wrong labels by heart: only their way there tells."""
    trained = []
    for record in history.trained:
        log_prob = np.where(np.isin(record.index, 1000 - rows), np.log(0.6), np.log(0.99))
        trained.append(replace(record, log_prob=log_prob))
    right = np.tile(history.test_label, (history.num_rounds, 1))
    return replace(history, trained=trained, test_predicted=right, starts=[starts] * history.num_rounds)


def test_slow_labels_that_the_readout_contradicts_are_shown():
    history, wrong = simulated(3, noise=0.04)
    rows = np.flatnonzero(wrong)
    found = suspects.detect(slowly_fitted(history, rows))
    assert "slow to fit" in found.findings[0].sentence
    # From scratch, slow labels of a round say nothing on the rounds before.
    assert suspects.detect(slowly_fitted(history, rows, "scratch")).findings == ()
