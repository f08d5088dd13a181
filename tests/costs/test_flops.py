"""The counter of FLOPs against counts by hand, operation by operation."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack as modes

from dal.costs.flops import FlopCounter, OpenCounter


@pytest.mark.parametrize("transposed", [False, True])
def test_grouped_convolutions_by_hand(transposed):
    """PyTorch's own formula takes the weight's gradient for that of a convolution without groups."""
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer, x = kind(8, 16, 3, groups=4), torch.rand(2, 8, 6, 6, requires_grad=True)
    # Filters of 3 x 3 meet 8 x 16 / 4 pairs of channels, at the places of the smaller image of the two.
    places = 6 * 6 if transposed else 4 * 4
    once = 2 * 2 * places * 9 * (8 * 16 // 4)
    with FlopCounter() as counter:
        layer(x).sum().backward()
    assert counter.flops == (once, 2 * once, 0)


@pytest.mark.parametrize("inference", [False, True])
def test_attention_by_hand_whichever_kernel_runs(inference):
    """In eval mode a whole encoder layer is one operation, of which PyTorch knows no formula."""
    layer = nn.TransformerEncoderLayer(16, nhead=2, dim_feedforward=24, batch_first=True).eval()
    x = torch.rand(3, 5, 16)
    projections, pairs, behind = 4 * 2 * 3 * 5 * 16 * 16, 2 * 2 * 3 * 5 * 5 * 16, 2 * 2 * 3 * 5 * 16 * 24
    with torch.inference_mode(inference), FlopCounter() as counter:
        layer(x)
    assert counter.flops.forward == projections + pairs + behind
    attention = layer.self_attn
    with torch.inference_mode(inference), FlopCounter() as counter:
        attention(x, x, x, need_weights=False)
    assert counter.flops.forward == projections + pairs


def test_attention_backward_by_hand():
    q, k, v = (torch.rand(2, 4, length, 8, requires_grad=True) for length in (5, 7, 7))
    with FlopCounter() as counter:
        nn.functional.scaled_dot_product_attention(q, k, v).sum().backward()
    product = 2 * 2 * 4 * 5 * 7 * 8
    assert counter.flops == (2 * product, 5 * product, 0)  # the scores are computed once more


def test_linear_layers_and_vectors_in_inference_mode():
    with torch.inference_mode(), FlopCounter() as counter:
        nn.Linear(6, 4)(torch.rand(3, 6)) @ torch.rand(4)
    assert counter.flops.forward == 2 * 3 * 6 * 4 + 2 * 3 * 4


def test_what_is_apart_is_a_part():
    apart = [False]
    with FlopCounter(apart=lambda: apart[0]) as counter:
        torch.rand(2, 3) @ torch.rand(3, 4)
        apart[0] = True
        torch.rand(1, 3) @ torch.rand(3, 5)
    assert counter.flops == (48 + 30, 0, 30)


def test_an_open_counter_closes_once_and_forgets_on_opening_again():
    counter = OpenCounter()
    assert counter.close() is None
    counter.open()
    torch.rand(2, 3) @ torch.rand(3, 4)
    counter.open()
    torch.rand(1, 3) @ torch.rand(3, 5)
    assert len(modes()) == 1
    assert counter.close() == (30, 0, 0)
    assert modes() == []
