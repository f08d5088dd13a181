"""LiveBytes counts storages that live at the same time; running out of memory is told from other errors."""

import pytest
import torch

from dal.runtime.memory import LiveBytes, out_of_memory

KILO = 4000  # bytes of 1000 float32


def live_peak(run):
    live = LiveBytes()
    with live:
        result = run()
    return live.peak, result


def chain():
    x = torch.zeros(1000)
    for _ in range(10):
        x = x + 1
    return x


def kept():
    return [torch.zeros(1000) for _ in range(10)]


def view_keeps_its_storage():
    x = torch.zeros(1000)
    view = x.view(10, 100)[:1]
    del x
    return view, torch.zeros(1000)


def in_place():
    return torch.zeros(1000).add_(1).mul_(2).relu_()


def one_of_two_views_goes():
    x = torch.zeros(1000)
    a, b = x[:500], x[500:]
    del x, a
    return b, torch.zeros(1000), torch.zeros(1000)


@pytest.mark.parametrize(
    ("run", "count"), [(chain, 2), (kept, 10), (view_keeps_its_storage, 2), (in_place, 1), (one_of_two_views_goes, 3)]
)
@pytest.mark.parametrize("inference", [False, True])
def test_peak_is_what_lives_at_once(run, count, inference):
    with torch.inference_mode(inference):
        assert live_peak(run)[0] == count * KILO


def test_inputs_are_not_counted():
    x = torch.zeros(1000)
    assert live_peak(lambda: x.view(-1))[0] == 0
    assert live_peak(lambda: x.add_(1))[0] == 0


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        torch.cuda.OutOfMemoryError(),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: ..."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_out_of_memory(error):
    assert out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("shapes do not fit"), ValueError("out of memory"), KeyboardInterrupt()])
def test_other_errors(error):
    assert not out_of_memory(error)


def test_the_error_that_pytorch_really_raises():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55, dtype=torch.uint8)
    assert out_of_memory(caught.value)
