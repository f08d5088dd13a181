"""The benchmark of people on a virtual clock: its clock, and the whole command at a small size."""

import dataclasses
import sys

import numpy as np
import pandas as pd
import pytest
from helpers.benchmark_scripts import imported, use_small_fashion

SEEDS = range(2)


@pytest.fixture(scope="module")
def clock():
    return imported("people_clock")


@pytest.fixture(scope="module")
def blank(clock):
    """A problem for random picks, which never look at the kernels."""
    labels, nothing = np.arange(400) % 3, np.zeros((0, 0))
    return clock.Problem(["a", "b", "c"], labels, labels, nothing, nothing)


def run(clock, problem, seed=0, annotators=3, fit_seconds=4.0, initial=10, budget=90, **strategy):
    strategy = clock.Strategy(**{"function": "random"} | strategy)
    return clock.Campaign(problem, strategy, clock.Team(annotators, fit_seconds), seed, initial, budget).run()


@pytest.mark.parametrize("strategy", [{}, {"rounds": 20}, {"max_behind": 0.1}, {"ranked_anew": False}], ids=str)
def test_a_campaign_ends_with_the_budget_and_is_the_same_again(clock, blank, strategy):
    found, again = (run(clock, blank, **strategy) for _ in range(2))
    assert found == again and found != run(clock, blank, seed=1, **strategy)
    assert [len(known) for known in found.known] == list(range(1, 91))
    assert found.seconds == sorted(found.seconds) and found.seconds[9] == 0 < found.seconds[10]
    assert all(a < b for a, b in zip(found.paid, found.paid[1:], strict=False))
    assert (found.paid[-1] > 90) == ("max_behind" in strategy)


def test_wrong_labels_are_corrected_twenty_labels_later(clock, blank, monkeypatch):
    monkeypatch.setattr(clock, "WRONG", 0.3)
    found = run(clock, blank)
    wrong = [{i for i, label in known.items() if label != blank.labels[i]} for known in found.known]
    assert all(wrong[n] & set(found.known[n]) - wrong[n + 21] == wrong[n] for n in range(10, 65)), "corrected by then"
    assert any(wrong[n] & wrong[n + 10] for n in range(10, 65)), "and not at once"


def test_people_go_on_while_the_model_trains_and_wait_in_rounds(clock, blank):
    assert all(run(clock, blank, seed, annotators, fit).idle_share == 0 for seed in SEEDS for annotators, fit in TEAMS)
    assert all(run(clock, blank, seed, rounds=20).idle_share > 0.1 for seed in SEEDS)


TEAMS = ((1, 0.5), (1, 20.0), (3, 0.5), (3, 15.0), (10, 0.2), (10, 5.0))


def test_a_ranking_is_stale_by_the_labels_since_its_snapshot(clock, blank):
    at_once = run(clock, blank, annotators=1, fit_seconds=0.0, refit_growth=0.0)
    assert set(at_once.stale) == {1}, "only the image on the screen is older than the last fit"
    slow, held = (run(clock, blank, refit_growth=0.0, fit_seconds=8.0, ranked_anew=anew) for anew in (True, False))
    assert 1 < np.mean(slow.stale) < np.mean(held.stale)


def test_the_seconds_of_a_fit_make_rho_labels_arrive(clock, blank):
    seconds = clock.fit_seconds(3, 5, initial=10, budget=90, seeds=range(100, 104))
    arrived = [count for seed in range(20) for count in run(clock, blank, seed, fit_seconds=seconds).arrived]
    assert np.mean(arrived) == pytest.approx(5, rel=0.3)


def test_people_writes_its_tables_and_figure(monkeypatch, tmp_path):
    people, model = imported("people"), imported("people_model")
    use_small_fashion(monkeypatch, tmp_path / "cache")
    model.splits.cache_clear()
    small = people.Sizes((2,), (1, 8), pool=120, test=60, initial=10, budget=40, fit_seeds=1, curve=(10, 20, 40))
    monkeypatch.setattr(people, "QUICK", small)
    monkeypatch.setattr(sys, "argv", ["people.py", "--quick", "--results", str(tmp_path / "results")])
    assert people.main() == 0
    model.splits.cache_clear()
    (folder,) = tmp_path.glob("results/*")
    tables = {name: pd.read_csv(folder / f"{name}.csv") for name in ("threshold", "by_rho", "cells", "seeds")}
    assert len(tables["seeds"]) == 2 * (2 * 2 * len(people.STRATEGIES) + 2)
    assert len(tables["cells"]) == len(tables["by_rho"]) == 2 * 2 * len(people.STRATEGIES)
    assert tables["threshold"]["seeds"].eq(3).all() and tables["threshold"]["worst_idle"].eq(0).all()
    base = tables["by_rho"][tables["by_rho"]["contender"] == people.ROUNDS]
    assert base[["a label", "a paid label", "an hour"]].eq(0).all(axis=None)
    readme = (folder / "README.md").read_text()
    assert "![by_rho](by_rho.png)" in readme and all(f"## {part}\n" in readme for part in people.PARTS)


def test_the_strategies_change_one_thing_each():
    people = imported("people")
    default = dataclasses.asdict(people.STRATEGIES[people.ASYNC])
    for name, strategy in people.STRATEGIES.items():
        changed = {key for key, value in dataclasses.asdict(strategy).items() if value != default[key]}
        assert len(changed) == (0 if name == people.ASYNC else 1), name
