import pytest
import torch
from torch import nn

from dal.models.memory_format import channels_last, channels_last_weights, takes_channels_last


@pytest.mark.parametrize("channels", [1, 3])
def test_numbers_stay_and_channels_are_side_by_side(channels):
    x = torch.randn(2, channels, 4, 5)
    moved = channels_last(x)
    assert torch.equal(moved, x) and moved.stride() == (20 * channels, 1, 5 * channels, channels)


@pytest.mark.parametrize("inference", [False, True])
def test_weights_are_the_same_memory_afterwards(inference):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    net.append(net[0])
    weight, dense = net[0].weight, net[2].weight
    values, place, strides, dense_place = weight.detach().clone(), weight.data_ptr(), weight.stride(), dense.data_ptr()
    with torch.inference_mode(inference), channels_last_weights(net):
        assert weight.stride()[1] == 1 and torch.equal(weight, values)
        assert dense.data_ptr() == dense_place and net[0].weight is weight
    assert (weight.data_ptr(), weight.stride()) == (place, strides) and torch.equal(weight, values)
    net[0](torch.zeros(1, 3, 3, 3)).sum().backward()
    assert weight.grad is not None


def test_a_pass_that_fails_or_differs_does_not_take_it():
    net, few = nn.Sequential(nn.Conv2d(2, 4, 3)), torch.randn(3, 2, 6, 6)
    assert takes_channels_last(net, lambda x: net(x).flatten(1), few)
    assert not takes_channels_last(net, lambda x: net(x).view(len(x), -1), few)
    assert not takes_channels_last(net, lambda x: net(x).as_strided((3, 64), (64, 1)), few)

    def full(x):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        takes_channels_last(net, lambda x: full(x) if x.stride()[1] == 1 else net(x), few)


def test_weights_in_half_precision_are_left_as_they_are():
    net = nn.Conv2d(2, 4, 3).bfloat16()
    assert not takes_channels_last(net, lambda x: net(x).flatten(1), torch.randn(3, 2, 6, 6))
