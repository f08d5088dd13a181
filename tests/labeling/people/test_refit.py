"""The rules for labels that arrive while the model trains."""

import subprocess
import sys

import pytest

from dal.labeling.people.refit import labels_to_refit, measured_rho, queue_size, refit_due


def test_the_rules_need_no_torch():
    code = "import sys, dal.labeling.people.refit; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("new", "labeled", "labels", "growth", "due"),
    [
        (0, 0, 1, 0.0, False),  # never for nothing new
        (0, 100, 0, 0.0, False),
        (1, 0, 1, 0.05, True),  # the first label
        (1, 20, 1, 0.05, True),  # 5 % of 20
        (1, 21, 1, 0.05, False),
        (2, 21, 1, 0.05, True),
        (19, 100, 20, 0.05, False),  # refit_labels is the larger one
        (20, 100, 20, 0.05, True),
        (49, 1000, 20, 0.05, False),  # refit_growth is the larger one
        (50, 1000, 20, 0.05, True),
        (7, 100, 1, 0.07, True),  # 0.07 * 100 is 7.000000000000001
        (99, 100, 1, 1.0, False),
        (100, 100, 1, 1.0, True),
    ],
)
def test_a_refit_is_due_when_enough_labels_are_new(new, labeled, labels, growth, due):
    assert refit_due(new, labeled, labels, growth) is due
    assert (new >= labels_to_refit(labeled, labels, growth)) is due


def test_people_without_work_make_a_refit_due_with_any_new_answer():
    assert refit_due(1, 1000, 20, 0.5, no_work=True)
    assert not refit_due(0, 1000, 20, 0.5, no_work=True)


def test_rho_is_the_largest_of_the_last_five_fits():
    assert measured_rho([]) == 0
    assert measured_rho([3]) == 3
    assert measured_rho([50, 1, 2, 7, 4, 5]) == 7


@pytest.mark.parametrize(
    ("rho", "annotators", "prefetch", "left", "to_refit", "size"),
    [
        (5, 1, 8, 1000, 1, 18),
        (60, 10, 8, 1000, 1, 200),
        (0.5, 1, 0, 1000, 1, 2),
        (0, 0, 0, 10, 1, 2),  # nobody yet: enough for the first label and the fit
        (60, 10, 8, 7, 1, 7),  # the rest of the budget
        (60, 10, 8, 0, 1, 0),  # the budget is spent
        (2, 1, 8, 1000, 15, 38),  # fits are rare: two times the labels until the next one
        (0.1, 1, 0, 1000, 1, 2),
    ],
)
def test_the_queue_lasts_until_the_next_ranking(rho, annotators, prefetch, left, to_refit, size):
    assert queue_size(rho, annotators, prefetch, left, to_refit) == size


@pytest.mark.parametrize("labeled", [1, 20, 400, 10_000])
@pytest.mark.parametrize("growth", [0.0, 0.05, 0.5])
def test_the_queue_is_never_shorter_than_what_makes_the_next_refit_due(labeled, growth):
    """Else people answer the whole queue and wait for a refit that is never due."""
    to_refit = labels_to_refit(labeled, 1, growth)
    size = queue_size(rho=0, annotators=1, prefetch=0, left=10**6, to_refit=to_refit)
    assert refit_due(size, labeled, 1, growth)
