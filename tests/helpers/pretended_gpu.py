"""A pretended CUDA device, for machines without one.

Tensors on it are tensors of the CPU that report another device. As on a GPU, an operation that mixes devices is an
error, as are NumPy and generators of the CPU. Values that are read back are counted, because each of them would wait.
"""

import contextlib
import threading
from types import SimpleNamespace

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

CUDA = torch.device("cuda", 0)
_MOVES = {"copy_", "__setitem__", "index_put_"}
_INDEXES = {"__getitem__", "__setitem__", "index_put_"}
_READS = {"item", "tolist", "__bool__", "__float__", "__int__", "__index__", "nonzero", "unique", "masked_select", "equal"}
_READS |= {"allclose", "_is_true", "unique_consecutive"}
_NOT_ON_GPU = {"numpy", "__array__", "data_ptr"}


class OnGpu(Tensor):
    """A tensor of the CPU that PretendedGpu treats as one of a GPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl


class PretendedGpu(TorchFunctionMode):
    """Makes ``device="cuda"`` work in this thread. ``reads`` counts the values that are read back, by function."""

    def __init__(self):
        super().__init__()
        self.reads = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = _name(func)
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        on_gpu = [x for x in tensors if isinstance(x, OnGpu)]
        if name == "__get__" and on_gpu and (found := _property(func, args[0])) is not None:
            return found
        if name in ("to", "cpu", "cuda"):
            return self._moved(name, args, kwargs)
        if name == "_has_compatible_shallow_copy_type":
            return len(on_gpu) in (0, len(tensors))
        if name in ("pin_memory", "is_pinned"):
            return args[0] if name == "pin_memory" else True
        wanted = _device(kwargs.get("device"))
        if on_gpu:
            self._check(name, tensors, on_gpu, args)
            if name in _READS:
                self._read(name)
        to_gpu = bool(on_gpu) if wanted is None else wanted.type == "cuda"
        generator = kwargs.get("generator")
        if to_gpu and generator is not None and generator.device.type != "cuda":
            raise RuntimeError(f"Expected a 'cuda' device type for generator but found '{generator.device.type}'")
        if wanted is not None:
            kwargs["device"] = torch.device("cpu")
        result = func(*args, **kwargs)
        return _as_gpu(result) if to_gpu else result

    def _check(self, name, tensors, on_gpu, args):
        if name in _NOT_ON_GPU:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu().")
        others = [x for x in tensors if not isinstance(x, OnGpu)]
        if name in _INDEXES:
            # Indices can be on the CPU. Values of a mask or of positions cannot.
            indices = [x for x in tree_leaves(args[1]) if isinstance(x, Tensor)]
            others = [x for x in others if not any(x is index for index in indices)]
            if name == "__setitem__" and not indices:
                others = []
            if not isinstance(args[0], OnGpu) and indices:
                others = [x for x in tensors if x.ndim or isinstance(x, OnGpu)]
        if name == "copy_" or name == "__set__":
            others = []
        if name in ("cat", "stack", "index_select", "gather", "scatter_", "searchsorted", "where") and others:
            others = [x for x in others if x.ndim or name != "where"]
        else:
            others = [x for x in others if x.ndim]
        if others:
            raise RuntimeError(f"Expected all tensors to be on the same device, but found cuda:0 and cpu in {name}.")

    def _moved(self, name, args, kwargs):
        x, others = args[0], [*args[1:], *kwargs.values()]
        others = [part for other in others for part in ((other, other.dtype) if isinstance(other, Tensor) else (other,))]
        named = {"cpu": torch.device("cpu"), "cuda": CUDA}.get(name)
        target = next((d for d in (named, *map(_device, others)) if d is not None), None)
        dtype = next((other for other in others if isinstance(other, torch.dtype)), x.dtype)
        layout = kwargs.get("memory_format", torch.preserve_format)
        was_on_gpu = isinstance(x, OnGpu)
        to_gpu = was_on_gpu if target is None else target.type == "cuda"
        if was_on_gpu and not to_gpu:
            self._read(name)
        # A move copies, as between two memories.
        moved = Tensor.to(x, dtype, copy=was_on_gpu != to_gpu, memory_format=layout)
        return _as_gpu(moved) if to_gpu else moved.as_subclass(Tensor) if was_on_gpu else moved

    def _read(self, name):
        self.reads[name] = self.reads.get(name, 0) + 1


def _name(func):
    return getattr(func, "__name__", "")


def _property(func, x):
    name = getattr(getattr(func, "__self__", None), "__name__", "")
    return {"device": CUDA, "is_cuda": True, "is_cpu": False}.get(name)


def _device(value):
    if isinstance(value, Tensor):
        return CUDA if isinstance(value, OnGpu) else value.device
    if isinstance(value, torch.device):
        return value
    if isinstance(value, str):
        return torch.device(value)
    return CUDA if isinstance(value, int) and not isinstance(value, bool) else None


def _as_gpu(x):
    if isinstance(x, Tensor):
        return x if isinstance(x, OnGpu) else x.as_subclass(OnGpu)
    if isinstance(x, list | tuple) and any(isinstance(part, Tensor) for part in x):
        parts = [_as_gpu(part) for part in x]
        return type(x)(parts) if type(x) in (list, tuple) else type(x)(tuple(parts))
    return x


class _Stream:
    def __init__(self, device=None):
        self.device = device

    def wait_event(self, event): ...

    def synchronize(self): ...

    def record_event(self):
        return object()


@contextlib.contextmanager
def pretended_gpu(monkeypatch):
    """Yield the mode of a pretended GPU, also in threads that start inside."""
    mode = PretendedGpu()
    run = threading.Thread.run

    def run_inside(thread):
        with mode:
            run(thread)

    monkeypatch.setattr(threading.Thread, "run", run_inside)
    for name, value in {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_properties": lambda device: SimpleNamespace(total_memory=2**37, uuid="0"),
        "Stream": _Stream,
        "current_stream": _Stream,
        "stream": lambda stream: contextlib.nullcontext(),
        "synchronize": lambda device=None: None,
        "empty_cache": lambda: None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(Tensor, "record_stream", lambda x, stream: None)
    overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with mode:
            yield mode
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwrites)
