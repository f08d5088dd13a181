import pytest
import torch
from torch import nn

from dal.errors import DalError
from dal.training.warm_start import starting_state


@pytest.fixture
def states():
    """Two networks with BatchNorm whose statistics, int64 counts too, differ."""
    networks = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        for _ in range(seed + 2):
            network(torch.randn(5, 3))
        networks.append(network)
    previous, fresh = (network.state_dict() for network in networks)
    return previous, fresh, {name for name, _ in networks[0].named_parameters()}


def test_scratch_and_continue_take_one_of_the_two(states):
    previous, fresh, parameters = states
    for policy, expected in (("scratch", fresh), ("continue", previous)):
        start = starting_state(policy, previous, fresh, parameters, shrink=0.3, perturb=0.7)
        assert start.keys() == expected.keys()
        assert all(torch.equal(start[k], expected[k]) for k in expected)


def test_shrink_perturb_mixes_parameters_and_takes_fresh_buffers(states):
    previous, fresh, parameters = states
    start = starting_state("shrink_perturb", previous, fresh, parameters, shrink=0.3, perturb=0.7)
    assert parameters == {"0.weight", "0.bias", "1.weight", "1.bias"}
    for name in fresh:
        if name in parameters:
            torch.testing.assert_close(start[name], 0.3 * previous[name] + 0.7 * fresh[name])
        else:
            assert torch.equal(start[name], fresh[name])
    assert start["1.num_batches_tracked"].dtype == torch.int64
    assert start["1.num_batches_tracked"] == 3


@pytest.mark.parametrize("policy", ["scratch", "continue", "shrink_perturb"])
def test_what_comes_is_a_copy(states, policy):
    previous, fresh, parameters = states
    before = [{k: v.clone() for k, v in state.items()} for state in (previous, fresh)]
    for value in starting_state(policy, previous, fresh, parameters).values():
        assert not value.requires_grad
        value.add_(1)
    for state, kept in zip((previous, fresh), before, strict=True):
        assert all(torch.equal(state[k], kept[k]) for k in kept)


def test_unknown_policy(states):
    with pytest.raises(DalError, match=r"^warm_start: expected one of .*, got 'continu' \(did you mean continue\?\)"):
        starting_state("continu", *states)
