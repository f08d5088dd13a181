"""Image data sets: one index space, ids that people see, labels that may be missing, plain and augmented views."""

from dal.data.images import DataConfig, ImageData, ImageSplits, TensorSource
from dal.data.sources.torch_dataset import from_dataset

__all__ = ["DataConfig", "ImageData", "ImageSplits", "TensorSource", "from_dataset"]
