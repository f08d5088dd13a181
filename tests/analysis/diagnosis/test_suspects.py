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
