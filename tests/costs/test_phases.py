"""Costs by phase, and the flat keys of the journal."""

import pytest

from dal.costs.ledger import Ledger
from dal.costs.phases import PHASES, Costs, flatten_costs, parse_costs, total_costs


def test_costs_add_up_field_by_field():
    total = Costs(samples_forward=1, flops=2, seconds=0.5) + Costs(samples_forward=3, flops_draws=4, joules=6.0)
    assert total == Costs(samples_forward=4, flops=2, flops_draws=4, seconds=0.5, joules=6.0)
    assert (Costs() + Costs()).joules is None


def test_draws_are_a_part_of_the_forward_flops():
    assert Costs(flops_forward=100, flops_draws=60, flops_backward=20, flops=3).total_flops == 123


def test_costs_of_nothing_are_false():
    assert not Costs() and not Costs(joules=0.0)
    assert Costs(flops_draws=1) and Costs(seconds=0.1)


def test_the_sum_is_over_the_phases_that_are_named():
    costs = {phase: Costs(flops_forward=10**i) for i, phase in enumerate(PHASES)}
    assert total_costs(costs, ("score", "train")).flops_forward == 1010
    assert total_costs(costs, ()) == Costs()
    assert total_costs(costs).flops_forward == 111_111_111


def test_the_keys_and_their_order_are_those_of_the_journal():
    forward = [phase for phase in PHASES if phase not in ("select", "checkpoint")]
    expected = [f"samples_forward_{p}" for p in forward] + ["samples_backward_train"]
    expected += [f"flops_forward_{p}" for p in forward]
    expected += ["flops_backward_train", "flops_draws_score", "flops_select", "flops_diagnose"]
    expected += [f"seconds_{p}" for p in PHASES]
    assert list(flatten_costs({})) == expected
    assert list(Ledger().row()) == [*expected, "peak_memory_bytes"]
    costs = {"score": Costs(flops_backward=7), "select": Costs(joules=1.0), "mine": Costs(seconds=2.0, flops=3)}
    more = list(flatten_costs(costs))
    counts = ["flops_backward_score", "flops_mine"]
    assert more[: len(expected) - len(PHASES) + 2] == [*expected[: -len(PHASES)], *counts]
    assert more[-2 * (len(PHASES) + 1) :] == [
        f"{kind}_{p}" for kind in ("seconds", "joules") for p in (*PHASES, "mine")
    ]


def test_what_is_flattened_is_parsed_again():
    costs = {
        "score": Costs(samples_forward=5, flops_forward=50, flops_draws=20, seconds=0.25),
        "select": Costs(flops=3, seconds=0.5),
        "train": Costs(6, 6, 60, 120, seconds=2.0),
        "my_phase": Costs(flops=1, seconds=1.0),
    }
    row = {"round": 3, "test_accuracy": 0.5, "updates": 9} | flatten_costs(costs) | {"peak_memory_bytes": 7}
    parsed = parse_costs(row)
    assert {phase: spent for phase, spent in parsed.items() if spent} == costs
    assert flatten_costs(parsed) == flatten_costs(costs)
    assert list(parsed) == [*PHASES, "my_phase"]


@pytest.mark.parametrize("key", ["seconds", "flops", "test_loss", "stop_uncertainty", "peak_memory_bytes"])
def test_other_keys_are_no_costs(key):
    assert parse_costs({key: 1}) == {}
