"""Image data sets with stable ids and labels, in two views."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dal.data.images import ImageData, ImageSplits, TensorSource
    from dal.data.masks import TensorMasks
    from dal.data.sets.config import DataConfig
    from dal.data.sources.torch_dataset import from_dataset
    from dal.data.variants.prepare import load
    from dal.tasks.base import OUT_OF_CLASS, UNKNOWN

__all__ = [
    "OUT_OF_CLASS",
    "UNKNOWN",
    "DataConfig",
    "ImageData",
    "ImageSplits",
    "TensorMasks",
    "TensorSource",
    "from_dataset",
    "load",
]

_HOMES = {
    "OUT_OF_CLASS": "dal.tasks.base",
    "UNKNOWN": "dal.tasks.base",
    "DataConfig": "dal.data.sets.config",
    "ImageData": "dal.data.images",
    "ImageSplits": "dal.data.images",
    "TensorMasks": "dal.data.masks",
    "TensorSource": "dal.data.images",
    "from_dataset": "dal.data.sources.torch_dataset",
    "load": "dal.data.variants.prepare",
}


def __getattr__(name: str) -> Any:
    """Import a name on first use, so that a folder is listed without PyTorch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dal.data' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the names that are not imported yet too, for completion."""
    return sorted({*globals(), *__all__})
