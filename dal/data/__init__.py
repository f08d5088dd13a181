"""Image data sets with stable ids and labels, in two views."""

from dal.data.images import ImageData, ImageSplits, TensorSource
from dal.data.sets.config import DataConfig
from dal.data.sources.torch_dataset import from_dataset
from dal.data.variants.prepare import load
from dal.tasks.base import OUT_OF_CLASS, UNKNOWN

__all__ = ["OUT_OF_CLASS", "UNKNOWN", "DataConfig", "ImageData", "ImageSplits", "TensorSource", "from_dataset", "load"]
