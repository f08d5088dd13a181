"""A pretended CUDA device, for machines without one.

Tensors on it are tensors of the CPU that report another device. As on a GPU, an operation that mixes devices is an
error, and so are NumPy and a generator of the CPU. Values that are read back are counted, because each read waits.
"""

import contextlib
import threading
from collections import Counter
from types import SimpleNamespace

import torch
from pytorch_lightning.accelerators.cuda import CUDAAccelerator
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from dal.runtime.accelerators import has_accelerator

CUDA = torch.device("cuda", 0)
_READS = {"item", "tolist", "nonzero", "unique", "masked_select", "equal", "allclose"}
_READS |= {"__bool__", "__float__", "__int__", "__index__"}
_COPIES = {"copy_", "__set__"}
_NEEDS_ONE_DEVICE = {"cat", "stack", "gather", "index_select", "scatter_", "searchsorted"}


class OnGpu(Tensor):
    """A tensor of the CPU that PretendedGpu treats as one of a GPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl


class PretendedGpu(TorchFunctionMode):
    """Makes ``device="cuda"`` work in this thread. ``reads`` counts the values that are read back, by function."""

    def __init__(self):
        super().__init__()
        self.reads = Counter()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name, kwargs = getattr(func, "__name__", ""), dict(kwargs or {})
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        on_gpu = [x for x in tensors if isinstance(x, OnGpu)]
        if name == "__get__" and on_gpu:
            known = {"device": CUDA, "is_cuda": True, "is_cpu": False}
            asked = getattr(func.__self__, "__name__", "")
            if asked in known:
                return known[asked]
        if name == "_has_compatible_shallow_copy_type":
            return len(on_gpu) in (0, len(tensors))
        if name in ("to", "cpu", "cuda"):
            return self._moved(name, args, kwargs)
        if name in ("pin_memory", "is_pinned"):
            return args[0] if name == "pin_memory" else True
        if on_gpu:
            _check(name, args, tensors)
            self.reads[name] += name in _READS
        wanted = _device(kwargs.get("device"))
        to_gpu = bool(on_gpu) if wanted is None else wanted.type == "cuda"
        if to_gpu and kwargs.get("generator") is not None:
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
        if wanted is not None:
            kwargs["device"] = torch.device("cpu")
        result = func(*args, **kwargs)
        return _as_gpu(result) if to_gpu else result

    def _moved(self, name, args, kwargs):
        x, others = args[0], [*args[1:], *kwargs.values()]
        others = [
            part for other in others for part in ((other, other.dtype) if isinstance(other, Tensor) else (other,))
        ]
        named = {"cpu": torch.device("cpu"), "cuda": CUDA}.get(name)
        target = next((d for d in (named, *map(_device, others)) if d is not None), None)
        dtype = next((other for other in others if isinstance(other, torch.dtype)), x.dtype)
        was_on_gpu = isinstance(x, OnGpu)
        to_gpu = was_on_gpu if target is None else target.type == "cuda"
        waits = not kwargs.get("non_blocking", False)
        self.reads[name] += was_on_gpu and not to_gpu and waits
        copies = kwargs.get("copy", False) or was_on_gpu != to_gpu
        layout = kwargs.get("memory_format", torch.preserve_format)
        moved = Tensor.to(x, dtype, copy=copies, memory_format=layout)
        return _as_gpu(moved) if to_gpu else moved.as_subclass(Tensor) if was_on_gpu else moved


def _check(name, args, tensors):
    if name in ("numpy", "__array__"):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu().")
    others = [x for x in tensors if not isinstance(x, OnGpu)]
    if name in ("__getitem__", "__setitem__"):
        indices = [x for x in tree_leaves(args[1]) if isinstance(x, Tensor)]
        if isinstance(args[0], OnGpu):
            # Indices can be on the CPU. So can values for a slice, which are copied.
            others = [x for x in others if indices and not any(x is index for index in indices)]
    elif name in _COPIES:
        others = []
    if any(x.ndim or name in _NEEDS_ONE_DEVICE for x in others):
        raise RuntimeError(f"Expected all tensors to be on the same device, but found cuda:0 and cpu ({name}).")


def _device(value):
    if isinstance(value, Tensor):
        return CUDA if isinstance(value, OnGpu) else value.device
    if isinstance(value, str | torch.device):
        return torch.device(value)
    return CUDA if isinstance(value, int) and not isinstance(value, bool) else None


def _as_gpu(x):
    if isinstance(x, Tensor):
        return x if isinstance(x, OnGpu) else x.as_subclass(OnGpu)
    if isinstance(x, list | tuple) and any(isinstance(part, Tensor) for part in x):
        parts = [_as_gpu(part) for part in x]
        return type(x)(parts)
    return x


class _Stream:
    def __init__(self, device=None):
        self.device = device

    def wait_event(self, event): ...

    def synchronize(self): ...

    def record_event(self):
        return SimpleNamespace(synchronize=lambda: None)


@contextlib.contextmanager
def pretended_gpu(monkeypatch):
    """Yield the mode of a pretended GPU, also in threads that start inside and for Lightning."""
    mode, run = PretendedGpu(), threading.Thread.run

    def run_inside(thread):
        with mode:
            run(thread)

    monkeypatch.setattr(threading.Thread, "run", run_inside)
    monkeypatch.setattr(Tensor, "record_stream", lambda x, stream: None)
    # Adam would ask the stream of the accelerator, and a loader would pin batches.
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    for name, value in _CUDA.items():
        monkeypatch.setattr(torch.cuda, name, value)
    for name, value in _LIGHTNING.items():
        monkeypatch.setattr(CUDAAccelerator, name, value)
    overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    has_accelerator.cache_clear()
    try:
        with mode:
            yield mode
    finally:
        has_accelerator.cache_clear()
        torch.__future__.set_overwrite_module_params_on_conversion(overwrites)


_CUDA = {
    "is_available": lambda: True,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "get_device_properties": lambda device: SimpleNamespace(total_memory=2**37, uuid="0"),
    "get_rng_state": lambda device=None: torch.get_rng_state(),
    "set_rng_state": lambda state, device=None: None,
    "manual_seed_all": lambda seed: None,
    "Stream": _Stream,
    "current_stream": _Stream,
    "stream": lambda stream: contextlib.nullcontext(),
    "is_current_stream_capturing": lambda: False,
    "synchronize": lambda device=None: None,
    "empty_cache": lambda: None,
}

_LIGHTNING = {
    "setup_device": lambda self, device: None,
    "setup": lambda self, trainer: None,
    "teardown": lambda self: None,
    "is_available": staticmethod(lambda: True),
    "parse_devices": staticmethod(lambda devices: [0]),
    "get_parallel_devices": staticmethod(lambda devices: [CUDA]),
    "auto_device_count": staticmethod(lambda: 1),
}
